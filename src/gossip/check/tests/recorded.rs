//! Recorded gossip: what its own clock brings, and what it does not.

use super::super::recorded::Recorded;
use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn recorded(at: UnixMs, message: &Bytes) -> Recorded {
    Recorded { at, message: Gossip::from_wire(message).expect("LDK reads it"), capacity_sat: None, accepted: false }
}

/// Two days of one talkative channel, a month of nothing, and then everybody again; epochs are cut at `waits`.
/// Returns how many messages were accepted.
fn a_month_of_nothing(waits: impl Fn(UnixMs) -> bool) -> u64 {
    let mut network = network(10);
    let mut replayer = Replayer::new(rules(false));
    replayer.check(network.dump().iter().map(|message| recorded(NOW, message)).collect());
    let mut talk = |replayer: &mut Replayer, index: usize, at: UnixMs| {
        let policy = network.channels()[index].policies[0];
        let update = network.set_policy(index, Direction::OneToTwo, policy, at.secs());
        replayer.check(vec![recorded(at, &update)]);
    };
    for half_hour in 1..96 {
        talk(&mut replayer, 0, in_secs(half_hour * HOUR / 2));
    }
    let after = 35 * DAY;
    for at in (0..after / HOUR).map(|hour| in_secs(hour * HOUR)).filter(|at| *at > in_secs(2 * DAY) && waits(*at)) {
        assert_eq!(replayer.wait(at).facts, [], "{at:?}");
    }
    for index in 0..10 {
        talk(&mut replayer, index, in_secs(after + index as u64));
    }
    replayer.tally().accepted
}

#[test]
fn epochs_that_are_cut_while_nothing_is_recorded_silence_nobody() {
    let none = a_month_of_nothing(|_| false);
    assert_eq!(a_month_of_nothing(|_| true), none, "every hour");
    assert_eq!(a_month_of_nothing(|at| at == in_secs(20 * DAY)), none, "once");
}

#[test]
fn what_a_recorder_has_accepted_is_not_rationed_again() {
    let mut network = network(10);
    let dump = network.dump();
    let talk: Vec<Bytes> = (1..60)
        .map(|second| {
            let policy = network.channels()[3].policies[0];
            network.set_policy(3, Direction::OneToTwo, policy, in_secs(second).secs())
        })
        .collect();
    let accepted = |accepted: bool| {
        let mut replayer = Replayer::new(rules(false));
        replayer.check(dump.iter().map(|message| recorded(NOW, message)).collect());
        let told = (1..).zip(&talk).map(|(at, message)| Recorded { accepted, ..recorded(in_secs(at), message) });
        let facts = replayer.check(told.collect()).facts;
        facts
            .iter()
            .filter(|(at, fact)| matches!(fact, Fact::Update(update) if update.timestamp() == at.secs()))
            .count()
    };
    assert_eq!(accepted(true), talk.len());
    assert!(accepted(false) < talk.len() / 2, "gossip that nobody has judged is rationed as it is live");
}

#[test]
fn a_channel_that_was_silent_is_back_with_its_next_update_unless_its_recorder_closed_it() {
    let mut network = network(10);
    let fifth = network.channels()[5].scid;
    let mut replayer = Replayer::new(rules(false));
    replayer.check(network.dump().iter().map(|message| recorded(NOW, message)).collect());
    let mut talk = |replayer: &mut Replayer, index: usize, at: UnixMs| {
        let policy = network.channels()[index].policies[0];
        let update = network.set_policy(index, Direction::OneToTwo, policy, at.secs());
        replayer.check(vec![recorded(at, &update)]).facts.into_iter().map(|(_, fact)| fact).collect::<Vec<_>>()
    };
    let closings = |facts: Vec<Fact>| facts.iter().filter(|fact| matches!(fact, Fact::Closed { .. })).count();
    let silent: usize =
        (1..2 * 24 * 40).map(|half_hour| closings(talk(&mut replayer, 0, in_secs(half_hour * HOUR / 2)))).sum();
    assert_eq!((silent, replayer.channel_count()), (9, 1));
    let facts = talk(&mut replayer, 4, in_secs(40 * DAY));
    assert!(matches!(facts[..], [Fact::Channel { .. }, Fact::Update(_)]), "{facts:?}");
    replayer.close(in_secs(40 * DAY), fifth);
    assert_eq!(talk(&mut replayer, 5, in_secs(40 * DAY + 1)), []);
    let tally = replayer.tally();
    assert_adds_up(tally);
}
