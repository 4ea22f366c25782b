//! What the checking stage lets through, refuses, holds back and waits for, told on a small synthetic network.

mod oracle;
mod proofs;
mod recorded;
mod spends;
mod told;

use bitcoin::constants::ChainHash;
use bytes::Bytes;

use super::*;
use crate::synth::{Network, NetworkSpec, Topology};

pub(super) const NOW: UnixMs = UnixMs(1_760_000_000_000);

pub(super) fn network(channels: usize) -> Network {
    Network::new(&Topology::generate(channels, 7), NetworkSpec::default(), NOW).expect("a valid network")
}

pub(super) fn peer(n: u8) -> NodeId {
    NodeId::from_slice(&[n; 33]).expect("33 bytes")
}

pub(super) fn heard(messages: impl IntoIterator<Item = Bytes>) -> Vec<Heard> {
    heard_from(peer(2), messages)
}

pub(super) fn heard_from(peer: NodeId, messages: impl IntoIterator<Item = Bytes>) -> Vec<Heard> {
    let read = |bytes: Bytes| Heard { peer, message: Gossip::from_wire(&bytes).expect("LDK reads it") };
    messages.into_iter().map(read).collect()
}

pub(super) fn rules(proofs: bool) -> Rules {
    let retention = Duration::from_secs(30 * 24 * 3600);
    Rules { chain: ChainHash::REGTEST, proofs, retention, limits: Limits::default(), signatures: Signatures::Checked }
}

fn in_secs(seconds: u64) -> UnixMs {
    NOW.plus(Duration::from_secs(seconds))
}

/// A checker that nobody can prove anything to, and that knows this network.
fn knowing(network: &Network) -> Checker {
    let mut checker = Checker::new(rules(false));
    let outcome = checker.check(NOW, heard(network.dump()));
    assert_eq!(outcome.facts.len(), network.dump().len());
    checker
}

/// Every message is accounted for, by reason and by kind.
fn assert_adds_up(tally: &Tally) {
    assert_eq!(tally.accepted + tally.refused.values().sum::<u64>(), tally.received, "{tally:?}");
    assert_eq!(tally.by_kind.iter().map(|ends| ends.accepted).sum::<u64>(), tally.accepted, "{tally:?}");
    for reason in Refusal::ALL {
        let of_all = tally.by_kind.iter().map(|ends| ends.refused[reason as usize]).sum::<u64>();
        assert_eq!(of_all, tally.refused_for(reason), "{reason:?}: {tally:?}");
    }
}

fn check_one(checker: &mut Checker, now: UnixMs, message: Bytes) -> Result<(), Refusal> {
    let before = checker.tally().clone();
    let outcome = checker.check(now, heard([message]));
    let after = checker.tally();
    // A newer message that supersedes one which waits is not itself refused.
    let mut reasons = Refusal::ALL.into_iter().filter(|r| *r != Refusal::Superseded);
    let refused = reasons.find(|r| after.refused_for(*r) > before.refused_for(*r));
    match refused {
        Some(refusal) => {
            assert_eq!(outcome.facts, []);
            Err(refusal)
        }
        None => Ok(()),
    }
}

#[test]
fn a_whole_network_goes_through_and_nothing_twice() {
    let network = network(60);
    let dump = network.dump();
    let mut checker = Checker::new(rules(false));
    let facts = checker.check(NOW, heard(dump.clone())).facts;
    let kept: Vec<&[u8]> = facts
        .iter()
        .map(|fact| match fact {
            Fact::Channel { announcement, capacity_sat: None } => announcement.wire(),
            Fact::Update(update) => update.wire(),
            Fact::Node(node) => node.wire(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kept, dump.iter().map(|m| &m[..]).collect::<Vec<_>>(), "the same bytes in the same order");
    assert_eq!(checker.channel_count(), 60);

    let again = checker.check(NOW, heard(dump.clone()));
    assert_eq!(again.facts, []);
    assert_eq!(checker.tally().refused_for(Refusal::AlreadyKnown), dump.len() as u64);
}

#[test]
fn two_peers_that_say_the_same_at_once_are_heard_once() {
    let network = network(10);
    let twice = network.dump().into_iter().flat_map(|m| [m.clone(), m]);
    let mut checker = Checker::new(rules(false));
    assert_eq!(checker.check(NOW, heard(twice)).facts.len(), network.dump().len());
}

#[test]
fn a_forged_copy_does_not_push_out_the_true_message_of_its_batch() {
    let mut network = network(10);
    let mut checker = knowing(&network);
    let update = network.next_update(in_secs(60));
    let mut forged = update.to_vec();
    forged[20] ^= 1; // within the signature
    let batch = heard([forged.into(), update.clone(), update]);
    assert_eq!(checker.check(in_secs(61), batch).facts.len(), 1);
    assert_eq!(checker.tally().refused_for(Refusal::BadSignature), 1);
}

#[test]
fn a_restart_that_learns_the_facts_refuses_what_was_known() {
    let mut network = network(40);
    let mut first = knowing(&network);
    let mut facts = Checker::new(rules(false)).check(NOW, heard(network.dump())).facts;
    for second in 1..30 {
        facts.extend(first.check(in_secs(second), heard([network.next_update(in_secs(second))])).facts);
    }
    let mut restarted = Checker::new(rules(false));
    facts.iter().for_each(|fact| restarted.learn(NOW, fact));
    assert_eq!(restarted.check(in_secs(60), heard(network.dump())).facts, []);
    assert_eq!(restarted.channel_count(), first.channel_count());
}

#[test]
fn updates_that_cannot_be_true_are_refused_for_their_reason() {
    let network = network(10);
    let mut checker = knowing(&network);
    let policy = network.channels()[0].policies[0];
    let sign = |policy: &_, timestamp| network.sign_policy(0, Direction::OneToTwo, policy, timestamp);
    let now_s = NOW.secs();
    let cases = [
        (sign(&policy, now_s - 15 * 86_400), Err(Refusal::Stale)),
        (sign(&policy, now_s + 86_400 + 1), Err(Refusal::FromTheFuture)),
        (sign(&policy, network.channels()[0].timestamps[0]), Err(Refusal::AlreadyKnown)),
        (sign(&policy, network.channels()[0].timestamps[0] - 1), Err(Refusal::AlreadyKnown)),
        (sign(&crate::gossip::Policy { htlc_maximum_msat: u64::MAX, ..policy }, now_s), Err(Refusal::HtlcMaximum)),
        (sign(&policy, now_s + 86_000), Ok(())),
    ];
    for (n, (message, expected)) in cases.into_iter().enumerate() {
        assert_eq!(check_one(&mut checker, NOW, message), expected, "case {n}");
    }
}

#[test]
fn what_nobody_announced_is_refused() {
    let network = network(10);
    let mut checker = Checker::new(rules(false));
    let channel = &network.channels()[3];
    assert_eq!(check_one(&mut checker, NOW, channel.updates[0].clone()), Err(Refusal::NoChannel));
    let node = network.nodes()[channel.nodes[0] as usize].announcement.clone();
    assert_eq!(check_one(&mut checker, NOW, node), Err(Refusal::NoChannel));
    let other_chain = NetworkSpec { chain: bitcoin::Network::Signet, ..NetworkSpec::default() };
    let other = Network::new(&Topology::generate(10, 7), other_chain, NOW).expect("a valid network");
    assert_eq!(check_one(&mut checker, NOW, other.channels()[0].announcement.clone()), Err(Refusal::WrongChain));
}

#[test]
fn without_proofs_the_first_announcement_of_a_place_stays() {
    let network = network(10);
    let mut checker = knowing(&network);
    let [announcement, update, _] = network.rival(4, 1);
    assert_eq!(check_one(&mut checker, NOW, announcement), Err(Refusal::AlreadyKnown));
    assert_eq!(check_one(&mut checker, NOW, update), Err(Refusal::AlreadyKnown));
}

#[test]
fn a_direction_may_speak_twenty_times_and_then_once_a_minute() {
    let network = network(10);
    let mut checker = knowing(&network);
    let (policy, last) = (network.channels()[0].policies[0], NOW.secs());
    let update = |n: u32| network.sign_policy(0, Direction::OneToTwo, &policy, last + n);
    // One of the burst went to the update in the dump.
    for n in 1..=19 {
        assert_eq!(checker.check(NOW, heard([update(n)])).facts.len(), 1, "update {n}");
    }
    for n in 20..=25 {
        assert_eq!(checker.check(NOW, heard([update(n)])).facts, [], "update {n} waits");
    }
    assert_eq!(checker.tally().refused_for(Refusal::Superseded), 5, "the newest waits for all");
    assert_eq!(checker.release_held(in_secs(59)).facts, []);
    let released = checker.release_held(in_secs(60)).facts;
    let [Fact::Update(kept)] = &released[..] else { panic!("{released:?}") };
    assert_eq!(kept.timestamp(), last + 25);
    assert_eq!(checker.release_held(in_secs(120)).facts, []);
    assert_eq!(checker.check(in_secs(121), heard([update(30)])).facts.len(), 1);
    // The other direction was never held up.
    let other = network.sign_policy(0, Direction::TwoToOne, &policy, last + 1);
    assert_eq!(checker.check(NOW, heard([other])).facts.len(), 1);
}

#[test]
fn forged_announcements_give_nobody_a_say() {
    // Nor do they cost a check for each update that names their place.
    let network = network(10);
    let mut checker = Checker::new(rules(false));
    let forged = (0..100).map(|impostor| {
        let mut announcement = network.rival(0, impostor)[0].to_vec();
        announcement[20] ^= 1; // within the first signature
        Bytes::from(announcement)
    });
    let updates = (0..100).map(|impostor| network.rival(0, impostor)[1].clone());
    let outcome = checker.check(NOW, heard(forged.chain(updates)));
    assert_eq!(outcome.facts, []);
    assert_eq!(outcome.forgeries, [(peer(2), 100)].into());
    assert_eq!(checker.tally().refused_for(Refusal::NoChannel), 100);
}

#[test]
fn a_node_may_speak_twenty_times_and_then_once_a_minute() {
    let mut network = Network::new(&Topology::generate(1, 7), NetworkSpec::default(), NOW).expect("a valid network");
    let mut checker = knowing(&network);
    let mut kept = 0;
    for second in 1..=60 {
        let announcement = network.next_node_announcement(in_secs(second));
        kept += checker.check(NOW, heard([announcement])).facts.len();
    }
    assert_eq!(kept, 2 * 19, "both nodes, but for the one in the dump");
    assert_eq!(checker.release_held(in_secs(59)).facts, []);
    assert_eq!(checker.release_held(in_secs(61)).facts.len(), 2, "the newest of each");
}

#[test]
fn a_clock_that_was_ahead_holds_nobody_up() {
    let network = network(10);
    let mut checker = knowing(&network);
    let (policy, last) = (network.channels()[0].policies[0], NOW.secs());
    let update = |n: u32| network.sign_policy(0, Direction::OneToTwo, &policy, last + n);
    assert_eq!(checker.check(in_secs(12 * 3600), heard([update(1)])).facts.len(), 1);
    for minute in 1..60 {
        let outcome = checker.check(in_secs(minute * 60), heard([update(1 + minute as u32)]));
        assert_eq!(outcome.facts.len(), 1, "minute {minute}");
    }
}

#[test]
fn oversized_messages_are_refused_and_counted_at_their_size() {
    let network = network(3);
    let mut checker = knowing(&network);
    let node = network.nodes()[0].announcement.clone();
    let Ok(Gossip::Node(mut message)) = Gossip::from_wire(&node) else { panic!("a node's announcement") };
    message.contents.timestamp += 1;
    message.contents.features = lightning::types::features::NodeFeatures::from_le_bytes(vec![1; 60_000]);
    let message = Gossip::Node(message);
    assert!(message.approximate_len() > 60_000);
    assert_eq!(checker.check(NOW, vec![Heard { peer: peer(2), message }]).facts, []);
    assert_eq!(checker.tally().refused_for(Refusal::ExcessData), 1);
}

#[test]
fn unproven_channels_beyond_a_peers_rate_are_refused() {
    let network = network(30);
    let limits = Limits { unproven_burst: 10, unproven_per_hour: 5, ..Limits::default() };
    let mut checker = Checker::new(Rules { limits, ..rules(false) });
    let announcements = || network.channels().iter().map(|c| c.announcement.clone());
    assert_eq!(checker.check(NOW, heard(announcements())).facts.len(), 10);
    assert_eq!(checker.tally().refused_for(Refusal::UnprovenTooFast), 20);
    assert_eq!(checker.check(in_secs(3600), heard(announcements())).facts.len(), 5);
    assert_eq!(checker.check(in_secs(3600), heard_from(peer(3), announcements())).facts.len(), 10, "another peer");
}

#[test]
fn a_network_beyond_what_wallets_take_is_refused() {
    let network = network(30);
    let limits = Limits { channels: 12, ..Limits::default() };
    let mut checker = Checker::new(Rules { limits, ..rules(false) });
    for channel in network.channels() {
        let _ = checker.check(NOW, heard([channel.announcement.clone()]));
    }
    assert_eq!(checker.channel_count(), 12);
    assert_eq!(checker.tally().refused_for(Refusal::NetworkFull), 18);
}

#[test]
fn a_channel_that_falls_silent_is_closed_and_may_come_back() {
    let mut network = network(10);
    let mut checker = knowing(&network);
    let (day, index) = (86_400, 5);
    let (policy, scid) = (network.channels()[index].policies[0], network.channels()[index].scid);
    let alive = network.set_policy(index, Direction::OneToTwo, policy, in_secs(20 * day).secs());
    assert_eq!(checker.check(in_secs(20 * day), heard([alive])).facts.len(), 1);
    assert_eq!(checker.close_silent(in_secs(29 * day)).facts, []);
    let closed = checker.close_silent(in_secs(31 * day)).facts;
    assert_eq!(closed.len(), 9, "all but the one that spoke");
    assert!(closed.iter().all(|f| matches!(f, Fact::Closed { scid: s, reason: Closing::Silent } if *s != scid)));
    assert_eq!(checker.channel_count(), 1);
    let back = network.channels()[0].announcement.clone();
    assert_eq!(checker.check(in_secs(31 * day), heard([back])).facts.len(), 1);
}
