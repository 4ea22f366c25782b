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
    line.asked_ms.store(1_000, Relaxed);
    line
}

fn asked(line: &Line, at_s: u64) {
    line.asked_ms.store(at_s * 1_000, Relaxed);
    line.has_asked.store(true, Relaxed);
}

fn sends(line: &Line, since_s: u64, moved_s: u64, sent_bytes: u64) {
    line.sending_ms.store(since_s * 1_000, Relaxed);
    line.moved_ms.store(moved_s * 1_000, Relaxed);
    line.sent_bytes.store(sent_bytes, Relaxed);
}

#[test]
fn who_asks_for_nothing_has_ten_seconds_and_who_did_has_more() {
    let line = line();
    let overdue = |line: &Line, at_s: u64| line.is_overdue(at_s * 1_000, &LIMITS);
    assert!(!overdue(&line, 11) && overdue(&line, 12));
    line.moved_ms.store(11_000, Relaxed); // what the server says by itself, as HTTP/2 has it
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
