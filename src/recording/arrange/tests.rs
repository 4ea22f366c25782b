//! What is told when, of recordings that say it and of recordings that do not.

use super::*;
use crate::gossip::Direction;
use crate::recording::{Flags, News, Told};
use crate::synth::{Network, NetworkSpec, Topology};

const NOW_S: u32 = 1_770_076_800;
const YEAR_S: u32 = 365 * 86_400;

fn network() -> Network {
    let spec = NetworkSpec::default();
    Network::new(&Topology::generate(3, spec.seed), spec, UnixMs(u64::from(NOW_S) * 1000)).expect("a network")
}

fn message(wire: &[u8]) -> Body {
    Body::Message(wire.into())
}

/// The records of a network as it stands: channels, updates, nodes.
fn bodies(network: &Network) -> Vec<Body> {
    let channels = network.channels().iter().flat_map(|channel| {
        let [announcement, one, two] = channel.messages();
        [message(&announcement), Body::Amount { capacity_sat: 7 }, message(&one), message(&two)]
    });
    channels.chain(network.nodes().iter().map(|node| message(&node.announcement))).collect()
}

fn located(bodies: impl IntoIterator<Item = Body>) -> Vec<io::Result<Located>> {
    let record = |body| Found::Record(Record { flags: Flags::default(), timestamp: 0, body });
    bodies.into_iter().map(|body| Ok(Located { offset: 0, found: record(body) })).collect()
}

fn arranged(recordings: Vec<Vec<io::Result<Located>>>) -> (Vec<Told>, Vec<Survey>) {
    let mut arrangement = Arrangement::new(false);
    for records in recordings {
        arrangement.add("recording", records.into_iter()).expect("taken in");
    }
    let (script, surveys) = arrangement.finish().expect("arranged");
    (script.map(|told| told.expect("readable")).collect(), surveys)
}

fn wire(told: &Told) -> &[u8] {
    match &told.news {
        News::Message { wire, .. } => wire,
        other => panic!("{other:?}"),
    }
}

/// When this message is told.
fn when(told: &[Told], message: &[u8]) -> UnixMs {
    told.iter().find(|told| wire(told) == message).expect("it is told").seen
}

#[test]
fn without_a_recorders_time_updates_have_their_own_and_channels_that_of_their_first() {
    let network = network();
    let mut shuffled = bodies(&network);
    shuffled.rotate_right(network.nodes().len()); // nodes first
    let (told, surveys) = arranged(vec![located(shuffled)]);
    assert!(told.is_sorted_by_key(|told| told.seen));
    for channel in network.channels() {
        let own = |index: usize| UnixMs(u64::from(channel.timestamps[index]) * 1000);
        let [announcement, one, two] = channel.messages();
        assert_eq!((when(&told, &one), when(&told, &two)), (own(0), own(1)));
        assert_eq!(when(&told, &announcement), own(0).min(own(1)));
        let place = |message: &[u8]| told.iter().position(|told| wire(told) == message).expect("told");
        for node in channel.nodes.map(|node| &network.nodes()[node as usize]) {
            let own = UnixMs(u64::from(node.timestamp) * 1000);
            assert!(when(&told, &node.announcement) >= own);
            let firsts = network.channels().iter().filter(|other| other.node_ids.contains(&node.id));
            let first = firsts.map(|other| place(&other.announcement)).min().expect("it has a channel");
            assert!(place(&node.announcement) > first, "a node is told of after its first channel");
        }
    }
    let capacities = told.iter().filter(|told| matches!(told.news, News::Message { capacity_sat: Some(7), .. }));
    assert_eq!(capacities.count(), 3);
    assert_eq!(surveys[0].records["channel_update"], 6);
}

#[test]
fn a_recording_spans_what_other_messages_support() {
    let network = network();
    let stamps = network.channels().iter().flat_map(|channel| channel.timestamps);
    let (first, last) = (stamps.clone().min().expect("some"), stamps.max().expect("some"));
    let last = network.nodes().iter().map(|node| node.timestamp).max().expect("some").max(last);
    let mut all = bodies(&network);
    let policy = network.channels()[0].policies[0];
    for wrong in [first - 3 * YEAR_S, last + YEAR_S] {
        all.push(message(&network.sign_policy(0, Direction::OneToTwo, &policy, wrong)));
    }
    // A node that has said nothing new for years is as usual as can be.
    let mut old = network.nodes()[0].announcement.to_vec();
    let at = 68 + usize::from(u16::from_be_bytes([old[66], old[67]])); // behind its signature and features
    old[at..at + 4].copy_from_slice(&(first - 2 * YEAR_S).to_be_bytes());
    all.push(message(&old));
    let (_, surveys) = arranged(vec![located(all)]);
    assert_eq!(surveys[0].span.map(|(from, to)| (from.secs(), to.secs())), Some((first, last)));
}

#[test]
fn of_many_messages_a_few_do_not_make_its_end() {
    let network = network();
    let update = |timestamp: u32| {
        let mut update = network.channels()[0].updates[0].to_vec();
        update[106..110].copy_from_slice(&timestamp.to_be_bytes()); // behind its signature, chain and channel
        message(&update)
    };
    let steady = (0..5_000).map(|n| NOW_S + n * 60);
    let wrong = (0..5).map(|n| NOW_S + 50 * YEAR_S + n);
    let (_, surveys) = arranged(vec![located(steady.chain(wrong.clone()).map(update))]);
    assert_eq!(surveys[0].span.map(|(from, to)| (from.secs(), to.secs())), Some((NOW_S, NOW_S + 4_999 * 60)));
    let (_, surveys) = arranged(vec![located(wrong.map(update))]);
    assert_eq!(
        surveys[0].span.map(|(from, _)| from.secs()),
        Some(NOW_S + 50 * YEAR_S),
        "nothing else says otherwise"
    );
}

#[test]
fn a_recorders_time_holds_until_its_next_and_never_goes_back() {
    let network = network();
    let at = |ms| Body::Time(UnixMs(ms));
    let [announcement, one, two] = network.channels()[0].messages();
    let beyond = u64::from(u32::MAX) * 1000 + 1000;
    let timed = [
        at(5_000),
        message(&announcement),
        at(9_000),
        message(&one),
        at(8_000),
        at(beyond),
        message(&two),
        Body::Closed(network.channels()[0].scid),
    ];
    let (told, surveys) = arranged(vec![located(timed)]);
    assert_eq!(told.iter().map(|told| told.seen.0).collect::<Vec<_>>(), [5_000, 9_000, 9_000, 9_000]);
    assert_eq!(surveys[0].span, Some((UnixMs(5_000), UnixMs(9_000))));
    assert_eq!(surveys[0].damage["time"].count, 1, "beyond 2106 there is no time");
}

#[test]
fn a_channel_that_was_deleted_without_a_closing_is_closed_at_the_end() {
    let network = network();
    let mut records = located(bodies(&network));
    for (index, record) in records.iter_mut().enumerate() {
        let Ok(Located { found: Found::Record(record), .. }) = record else { panic!("all are records") };
        record.flags.deleted = index < 8; // all of the first two channels
    }
    records.extend(located([Body::Closed(network.channels()[1].scid)]));
    let (told, surveys) = arranged(vec![records]);
    let end = surveys[0].span.expect("a span").1;
    let closed: Vec<_> = told.iter().filter(|told| matches!(told.news, News::Closed(_))).collect();
    assert_eq!(closed.len(), 2);
    assert!(closed.iter().all(|told| told.seen == end));
    assert_eq!(surveys[0].deleted, 8);
}

#[test]
fn with_strict_the_first_damage_is_an_error_that_names_its_place() {
    let broken = Located { offset: 77, found: Found::Damage(Damage::Checksum) };
    let torn = Located { offset: 99, found: Found::Damage(Damage::TornTail { bytes: 3 }) };
    let mut arrangement = Arrangement::new(true);
    let survey = arrangement.add("whole", [Ok(torn.clone())].into_iter()).expect("a torn tail is no damage");
    assert_eq!(survey.torn_at, Some(99));
    let error = arrangement.add("broken", [Ok(broken.clone()), Ok(torn)].into_iter()).expect_err("strict");
    assert!(error.to_string().starts_with("broken: byte 77: "), "{error}");
    let mut arrangement = Arrangement::new(false);
    let survey = arrangement.add("broken", [Ok(broken.clone()), Ok(broken)].into_iter()).expect("counted");
    assert_eq!(survey.damage["checksum"], Damaged { count: 2, first_offset: 77 });
}

#[test]
fn announcements_come_before_their_updates_in_whichever_recording_these_are() {
    let network = network();
    let [announcement, updates @ ..] = network.channels()[0].messages();
    let parts = || [vec![message(&announcement)], updates.iter().map(|update| message(update)).collect()];
    let (alone, _) = arranged(vec![located(parts().concat())]);
    for reversed in [false, true] {
        let mut order = parts();
        if reversed {
            order.reverse();
        }
        let (told, _) = arranged(order.map(located).into());
        assert_eq!(wire(&told[0]), &announcement[..]);
        assert_eq!(told[0].seen, alone[0].seen);
    }
}

#[test]
fn an_update_that_comes_late_does_not_bring_a_channel_back_before_its_closing() {
    let network = network();
    let channel = &network.channels()[0];
    let [announcement, one, two] = channel.messages().map(|wire| message(&wire));
    let later = network.sign_policy(0, Direction::OneToTwo, &channel.policies[0], NOW_S + 1000);
    let first = vec![announcement.clone(), one.clone(), two, Body::Closed(channel.scid)];
    let (told, _) = arranged(vec![located(first), located([one, announcement, message(&later)])]);
    let place = |wanted: &dyn Fn(&News) -> bool| told.iter().rposition(|told| wanted(&told.news)).expect("told");
    let last = place(&|news| matches!(news, News::Message { wire, .. } if wire[..2] == [1, 0]));
    assert!(last > place(&|news| matches!(news, News::Closed(_))));
}

#[test]
fn a_clock_that_is_off_by_years_does_not_make_its_channel_older_than_the_recording() {
    let network = network();
    let channel = &network.channels()[0];
    let off = network.sign_policy(0, Direction::OneToTwo, &channel.policies[0], 1);
    let [announcement, one, two] = channel.messages().map(|wire| message(&wire));
    let (told, surveys) = arranged(vec![located([announcement, message(&off), one, two])]);
    let (begin, _) = surveys[0].span.expect("it tells a time");
    assert_eq!((wire(&told[0]), told[0].seen), (&off[..], UnixMs(1000)));
    assert_eq!((wire(&told[1]), told[1].seen), (&channel.announcement[..], begin));
}

#[test]
fn an_amount_beyond_damage_is_no_channels() {
    let [announcement, one, two] = network().channels()[0].messages().map(|wire| message(&wire));
    let mut records = located([announcement, Body::Amount { capacity_sat: 5 }, one, two]);
    // The next announcement, say.
    records.insert(1, Ok(Located { offset: 0, found: Found::Damage(Damage::Checksum) }));
    let (told, _) = arranged(vec![records]);
    assert!(matches!(told[0].news, News::Message { capacity_sat: None, .. }), "{:?}", told[0].news);
}

#[test]
fn closings_without_any_time_come_at_the_end() {
    let network = network();
    let channel = &network.channels()[0];
    let messages = channel.messages().map(|wire| message(&wire));
    let (told, _) = arranged(vec![located([Body::Closed(channel.scid)]), located(messages)]);
    let closing = told.iter().find(|told| matches!(told.news, News::Closed(_))).expect("it is there");
    assert_eq!(told.len(), 4);
    assert_eq!(closing.seen, told[3].seen);
    assert!(told[0].seen < closing.seen, "{told:?}");
}
