use super::*;

const LIMITS: Limits = Limits {
    connections: 4,
    first_request: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    stalled: Duration::from_secs(10),
    slowest_bytes_per_s: 4_096,
    patience: Duration::from_secs(30),
    age: Duration::from_secs(900),
    drain: Duration::from_secs(3),
};

/// A line that was opened at 1 s.
fn line() -> Line {
    let line = Line::new(Instant::now());
    line.pace().asked_ms = 1_000;
    line
}

fn asked(line: &Line, at_s: u64) {
    let mut pace = line.pace();
    (pace.asked_ms, pace.has_asked) = (at_s * 1_000, true);
}

fn sends(line: &Line, since_s: u64, moved_s: u64, sent_bytes: u64) {
    let mut pace = line.pace();
    (pace.is_full, pace.sending_ms) = (true, Some(since_s * 1_000));
    (pace.moved_ms, pace.sent_bytes) = (moved_s * 1_000, sent_bytes);
}

#[test]
fn who_asks_for_nothing_has_ten_seconds_and_who_did_has_more() {
    let line = line();
    let overdue = |line: &Line, at_s: u64| line.is_overdue(at_s * 1_000, &LIMITS);
    assert!(!overdue(&line, 11) && overdue(&line, 12));
    line.pace().moved_ms = 11_000; // what the server says by itself, as HTTP/2 has it
    assert!(overdue(&line, 12));
    asked(&line, 5);
    assert!(!overdue(&line, 80) && overdue(&line, 87));
}

#[test]
fn who_takes_an_answer_slowly_has_time_and_who_takes_none_has_little() {
    let line = line();
    asked(&line, 1);
    let overdue = |at_s: u64| line.is_overdue(at_s * 1_000, &LIMITS);
    sends(&line, 1, 1, 0);
    assert!(!overdue(11) && overdue(12), "takes nothing");
    sends(&line, 1, 30, 1_000);
    assert!(!overdue(31) && overdue(32), "a trickle");
    sends(&line, 1, 600, 600 * 4_096);
    assert!(!overdue(601), "a slow network");
    line.flushed();
    assert!(!overdue(601), "has taken all of it a moment ago");
}

#[test]
fn an_answer_is_owed_until_nobody_holds_its_bytes() {
    let line = Arc::new(line());
    asked(&line, 1);
    let parts = [line.owes(vec![1; 10].into()), line.owes(vec![2; 10].into())];
    let rest = parts[0].slice(5..);
    line.waits();
    line.flushed();
    assert!(line.pace().sending_ms.is_some(), "the kernel has what there was, and there is more");
    {
        let mut pace = line.pace();
        (pace.sending_ms, pace.moved_ms) = (Some(1_000), 40_000); // other bytes than the answer's
    }
    assert!(line.is_overdue(41_000, &LIMITS), "over HTTP/2, a client may ask for nothing but signs of life");
    drop(parts);
    assert!(line.pace().sending_ms.is_some());
    drop(rest);
    assert!(line.pace().sending_ms.is_none() && !line.is_overdue(41_000, &LIMITS));
}

#[test]
fn where_answers_take_too_much_memory_those_go_who_hold_the_oldest() {
    let connections = Connections::new(Limits { connections: 100, ..LIMITS });
    let places: Vec<Place> = (0..20).map(|_| connections.admit()).collect();
    for (place, since_ms) in places.iter().zip([1_000, 2_000, 900, 2_000, 2_000, 2_000, 2_000, 2_000, 800]) {
        asked(&place.line, 1);
        sends(&place.line, 0, 0, 0);
        place.line.pace().sending_ms = Some(since_ms);
    }
    let gone = |connections: &Connections| {
        let open = connections.open();
        (1..=20).filter(|id| !open.lines.contains_key(id)).collect::<Vec<u64>>()
    };
    connections.open().relieve(2_001, Duration::from_millis(500));
    assert_eq!(gone(&connections), [9], "an eighth of the three that are slow");
    connections.open().relieve(5_000, Duration::from_millis(500));
    assert_eq!(gone(&connections), [3, 9]);
}

#[test]
fn where_there_is_no_room_those_go_who_keep_their_places_longest() {
    let connections = Connections::new(LIMITS);
    let places: Vec<Place> = (0..4).map(|_| connections.admit()).collect();
    for (place, at_s) in places.iter().zip([90, 70, 95, 60]) {
        asked(&place.line, at_s);
    }
    let ids = |connections: &Connections| {
        let mut ids: Vec<u64> = connections.open().lines.keys().copied().collect();
        ids.sort_unstable();
        ids
    };
    sends(&places[2].line, 1, 95, 100); // a quarter of 99 s
    let left = [4, 2, 3, 1].map(|next| {
        connections.open().let_go(1, 100_000);
        (next, ids(&connections))
    });
    assert!(left.iter().all(|(gone, left)| !left.contains(gone)), "{left:?}");
    drop(places);
    assert!(ids(&connections).is_empty());
}

#[test]
fn a_newcomer_gets_the_place_of_the_longest_idle() {
    let connections = Connections::new(LIMITS);
    let places: Vec<Place> = (0..4).map(|_| connections.admit()).collect();
    std::thread::sleep(Duration::from_millis(20));
    places[1..].iter().for_each(|place| place.line.asked());
    let newcomer = connections.admit();
    let open = connections.open();
    assert!(open.lines.contains_key(&newcomer.id) && !open.lines.contains_key(&places[0].id));
    assert_eq!(open.lines.len(), 4);
}

proptest::proptest! {
    /// However clients behave, there are never more than there is room for, and the newest has a place.
    #[test]
    fn there_is_always_a_place(behaviours in proptest::collection::vec((0_u8..4, 1_u64..100), 1..60)) {
        let connections = Connections::new(LIMITS);
        let mut places = Vec::new();
        for (behaviour, at_s) in behaviours {
            let place = connections.admit();
            proptest::prop_assert!(connections.open().lines.contains_key(&place.id));
            proptest::prop_assert!(connections.open().lines.len() <= LIMITS.connections);
            match behaviour {
                0 => {}
                1 => asked(&place.line, at_s),
                2 => sends(&place.line, at_s, at_s, 10),
                _ => continue, // leaves at once
            }
            places.push(place);
        }
    }
}
