//! Waiting for funding proofs: what waits, what is set free, and what is remembered.

use super::*;
use crate::gossip::funding::{self, Verdict};

fn proven(claim: &Claim, network: &Network) -> Settled {
    let channel = network.index_of(claim.scid).map(|index| &network.channels()[index]).expect("a real place");
    let genuine = channel.funding_script().as_bytes() == claim.script;
    let refused = Verdict::Refused(funding::Refusal::WrongScript);
    let verdict = if genuine { Verdict::Proven { capacity_sat: channel.capacity_sat } } else { refused };
    Settled { id: claim.id, verdict }
}

#[test]
fn everything_about_a_channel_waits_for_its_proof_and_goes_through_with_it() {
    let network = network(40);
    let mut checker = Checker::new(rules(true));
    let waiting = checker.check(NOW, heard(network.dump()));
    assert_eq!(waiting.facts, []);
    assert_eq!(waiting.claims.len(), 40);
    assert_eq!(checker.waiting_messages(), network.dump().len());

    let answers: Vec<_> = waiting.claims.iter().rev().map(|claim| proven(claim, &network)).collect();
    let facts = checker.settle(NOW, answers).facts;
    assert_eq!(facts.len(), network.dump().len());
    for channel in network.channels() {
        let place = |wanted: &Fact| facts.iter().position(|fact| fact == wanted);
        let announcement = ChannelAnnouncement::from_wire(&channel.announcement[..]).expect("well-formed");
        let announced = place(&Fact::Channel { announcement, capacity_sat: Some(channel.capacity_sat) });
        for update in &channel.updates {
            let update = ChannelUpdate::from_wire(&update[..]).expect("well-formed");
            assert!(announced.is_some() && place(&Fact::Update(update)) > announced);
        }
    }
    assert_eq!((checker.waiting_messages(), checker.waiting_channels()), (0, 0));
}

#[test]
fn nothing_falls_between_waiting_and_known() {
    // The proof arrives at every possible place in the stream: the outcome is the same.
    let network = network(3);
    let dump = network.dump();
    for place in 1..=dump.len() {
        let mut checker = Checker::new(rules(true));
        let (before, after) = dump.split_at(place);
        let first = checker.check(NOW, heard(before.to_vec()));
        let mut facts = checker.settle(NOW, first.claims.iter().map(|claim| proven(claim, &network))).facts;
        let second = checker.check(NOW, heard(after.to_vec()));
        facts.extend(second.facts);
        facts.extend(checker.settle(NOW, second.claims.iter().map(|claim| proven(claim, &network))).facts);
        assert_eq!(facts.len(), dump.len(), "with the proof after message {place}: {:?}", checker.tally());
    }
}

#[test]
fn of_several_waiting_updates_the_newest_goes_through() {
    let mut network = network(5);
    let mut checker = Checker::new(rules(true));
    let claims = checker.check(NOW, heard(network.dump())).claims;
    let policy = network.channels()[0].policies[0];
    for second in 1..=3 {
        let newer = network.set_policy(0, Direction::OneToTwo, policy, in_secs(second).secs());
        assert_eq!(check_one(&mut checker, in_secs(second), newer), Ok(()));
    }
    let older = network.sign_policy(0, Direction::OneToTwo, &policy, in_secs(2).secs());
    assert_eq!(check_one(&mut checker, NOW, older), Err(Refusal::AlreadyKnown));
    let facts = checker.settle(NOW, claims.iter().map(|claim| proven(claim, &network))).facts;
    let scid = network.channels()[0].scid;
    let updates = facts.iter().filter_map(|fact| match fact {
        Fact::Update(u) if u.scid() == scid && u.direction() == Direction::OneToTwo => Some(u.timestamp()),
        _ => None,
    });
    assert_eq!(updates.collect::<Vec<_>>(), [in_secs(3).secs()]);
    let tally = checker.tally();
    assert_eq!(tally.refused_for(Refusal::Superseded), 3, "the dump's, the first and the second");
    assert_adds_up(tally);
}

#[test]
fn rivals_for_one_place_wait_side_by_side_and_the_chain_decides() {
    let network = network(5);
    let mut checker = Checker::new(rules(true));
    let [fake, fake_one, fake_two] = network.rival(2, 1);
    let mut claims = checker.check(NOW, heard_from(peer(3), [fake.clone(), fake_one, fake_two])).claims;
    claims.extend(checker.check(NOW, heard(network.dump())).claims);
    assert_eq!(claims.len(), 6, "the rival's and all five true ones");
    assert_eq!(checker.tally().refused.values().sum::<u64>(), 0, "{:?}", checker.tally());

    let facts = checker.settle(NOW, claims.iter().map(|claim| proven(claim, &network))).facts;
    assert_eq!(facts.len(), network.dump().len(), "all of the true network, nothing of the rival");
    let tally = checker.tally();
    assert_eq!((tally.refused_for(Refusal::FundingRefused), tally.refused_for(Refusal::ChannelRefused)), (1, 2));

    let again = checker.check(NOW, heard_from(peer(3), [fake.clone()]));
    assert!(again.claims.is_empty(), "a refused funding is remembered");
    let next_week = in_secs(8 * 86_400);
    assert_eq!(checker.check(next_week, heard_from(peer(3), [fake])).claims.len(), 1, "but not for ever");
}

#[test]
fn a_peer_cannot_crowd_a_place_with_rivals() {
    let network = network(5);
    let mut checker = Checker::new(rules(true));
    let rivals = (0..6).map(|impostor| network.rival(0, impostor)[0].clone());
    let crowd = checker.check(NOW, heard_from(peer(3), rivals));
    assert_eq!(crowd.claims.len(), 2);
    assert_eq!(checker.tally().refused_for(Refusal::TooManyCandidates), 4);
    let honest = checker.check(NOW, heard([network.channels()[0].announcement.clone()]));
    assert_eq!(honest.claims.len(), 1);
}

#[test]
fn the_waiting_room_is_bounded_and_says_that_it_lost_something() {
    let network = network(20);
    let waiting = Capacity { messages: 10, ..Capacity::default() };
    let limits = Limits { waiting, ..Limits::default() };
    let mut checker = Checker::new(Rules { limits, ..rules(true) });
    let outcome = checker.check(NOW, heard(network.dump()));
    assert!(outcome.lost);
    assert_eq!(checker.waiting_messages(), 10);
    assert!(!checker.waiting_has_room());
    let claims = outcome.claims;
    checker.settle(NOW, claims.iter().map(|claim| proven(claim, &network)));
    assert!(checker.waiting_has_room());
    assert_eq!(checker.waiting_messages(), 0);
}

#[test]
fn channels_of_blocks_to_come_do_not_keep_out_those_that_can_be_proven() {
    let network = network(30);
    let waiting = Capacity { messages: 20, ..Capacity::default() };
    let limits = Limits { waiting, ..Limits::default() };
    let mut checker = Checker::new(Rules { limits, ..rules(true) });
    let (now, to_come) = network.channels().split_at(10);
    let announcements = |channels: &[crate::synth::Channel]| {
        heard(channels.iter().map(|c| c.announcement.clone()).collect::<Vec<_>>())
    };
    let crowd = checker.check(NOW, announcements(to_come));
    assert_eq!((crowd.claims.len(), crowd.lost), (20, false), "the room is full");
    let true_ones = checker.check(NOW, announcements(now));
    assert_eq!(true_ones.claims.len(), 10);
    let evicted: Vec<_> = true_ones.withdrawn.iter().map(|(_, scid)| *scid).collect();
    let highest: Vec<_> = to_come[10..].iter().rev().map(|c| c.scid).collect();
    assert_eq!(evicted, highest, "the farthest go first");
    assert!(true_ones.lost, "and are asked for again when there is room");
    assert_eq!(checker.waiting_messages(), 20);
    assert!(checker.settle(NOW, crowd.claims[10..].iter().map(|c| proven(c, &network))).facts.is_empty());
}

#[test]
fn whoever_fills_the_room_gives_way_to_the_others() {
    let network = network(40);
    let waiting = Capacity { messages: 60, ..Capacity::default() };
    let limits = Limits { waiting, ..Limits::default() };
    let mut checker = Checker::new(Rules { limits, ..rules(true) });
    let (honest, others) = network.channels().split_at(5);
    let junk = others
        .iter()
        .enumerate()
        .flat_map(|(n, _)| [network.rival(5 + n, 1)[0].clone(), network.rival(5 + n, 2)[0].clone()]);
    checker.check(NOW, heard_from(peer(3), junk));
    assert_eq!(checker.waiting_messages(), 60, "one peer has filled the room");
    let store = network.dump_where(|channel| honest.iter().any(|c| c.scid == channel.scid));
    let claims = checker.check(NOW, heard(store.clone())).claims;
    let facts = checker.settle(NOW, claims.iter().map(|claim| proven(claim, &network))).facts;
    assert_eq!(facts.len(), store.len(), "all of what another peer tells goes through");
}

#[test]
fn an_update_above_the_proven_capacity_is_refused() {
    let network = network(5);
    let mut checker = Checker::new(rules(true));
    let claims = checker.check(NOW, heard(network.dump())).claims;
    checker.settle(NOW, claims.iter().map(|claim| proven(claim, &network)));
    let channel = &network.channels()[0];
    let policy = |msat| crate::gossip::Policy { htlc_maximum_msat: msat, ..channel.policies[0] };
    let sign = |msat| network.sign_policy(0, Direction::OneToTwo, &policy(msat), NOW.secs() + 5);
    let capacity_msat = channel.capacity_sat * 1000;
    assert_eq!(check_one(&mut checker, NOW, sign(capacity_msat + 1)), Err(Refusal::HtlcMaximum));
    assert_eq!(check_one(&mut checker, NOW, sign(capacity_msat)), Ok(()));
}

#[test]
fn channels_accepted_unproven_are_proven_when_a_bitcoind_comes() {
    let network = network(6);
    let facts = Checker::new(rules(false)).check(NOW, heard(network.dump())).facts;
    let mut checker = Checker::new(rules(true));
    facts.iter().for_each(|fact| checker.learn(NOW, fact));
    let claims = checker.claim_unproven();
    assert_eq!(claims.len(), 6);
    let mut answers: Vec<_> = claims.iter().map(|claim| proven(claim, &network)).collect();
    answers[0].verdict = Verdict::Refused(funding::Refusal::SpentOrMissing);
    let settled = checker.settle(NOW, answers).facts;
    let gone = claims[0].scid;
    assert_eq!(settled[0], Fact::Closed { scid: gone, reason: Closing::Unfunded });
    for (fact, channel) in settled[1..].iter().zip(&network.channels()[1..]) {
        assert_eq!(*fact, Fact::Proof { scid: channel.scid, capacity_sat: channel.capacity_sat });
    }
    assert_eq!(checker.channel_count(), 5);
    assert!(checker.claim_unproven().is_empty());
}

#[test]
fn a_proven_channel_takes_the_place_of_one_that_was_reorganised_away() {
    let network = network(5);
    let [old, ..] = network.rival(1, 9);
    let old_channel = ChannelAnnouncement::from_wire(&old[..]).expect("well-formed");
    let mut checker = Checker::new(rules(true));
    checker.learn(NOW, &Fact::Channel { announcement: old_channel, capacity_sat: Some(5) });
    let today = checker.check(in_secs(3600), heard(network.channels()[1].messages()));
    assert!(today.claims.is_empty(), "a proven channel stays for a day");
    let claims = checker.check(in_secs(86_400), heard(network.channels()[1].messages())).claims;
    assert_eq!(claims.len(), 1);
    let facts = checker.settle(in_secs(86_400), claims.iter().map(|claim| proven(claim, &network))).facts;
    assert_eq!(facts.len(), 3, "the channel and both updates");
    assert_eq!(checker.channel_count(), 1);
}

#[test]
fn what_was_proven_while_another_collector_watched_the_chain_is_looked_up_again() {
    let network = network(3);
    let mut checker = Checker::new(rules(true));
    let claims = checker.check(NOW, heard(network.dump())).claims;
    let facts = checker.settle(NOW, claims.iter().map(|claim| proven(claim, &network))).facts;
    let announcements: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Channel { announcement, .. } => Some(announcement),
            _ => None,
        })
        .collect();
    let again: Vec<_> = announcements.iter().filter_map(|channel| checker.claim_again(channel)).collect();
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|claim| claims.iter().any(|c| (c.scid, c.script) == (claim.scid, claim.script))));
    let spent = again[1].scid;
    let answers = again.iter().map(|claim| match claim.scid {
        scid if scid == spent => {
            Settled { id: claim.id, verdict: Verdict::Refused(funding::Refusal::SpentOrMissing) }
        }
        _ => proven(claim, &network),
    });
    let facts = checker.settle(NOW, answers).facts;
    assert_eq!(facts, [Fact::Closed { scid: spent, reason: Closing::Unfunded }]);
    let of_spent = announcements.iter().find(|channel| channel.scid() == spent).expect("one of three");
    assert_eq!(checker.claim_again(of_spent), None);
}

#[test]
fn a_late_question_ends_when_another_channel_is_proven_in_that_place() {
    let network = network(3);
    let mut checker = Checker::new(rules(true));
    let real = &network.channels()[0];
    let rival = ChannelAnnouncement::from_wire(&network.rival(0, 1)[0][..]).expect("well-formed");
    checker.learn(NOW, &Fact::Channel { announcement: rival, capacity_sat: None });
    let late = checker.claim_unproven();
    assert_eq!(late.len(), 1);
    let waiting = checker.check(NOW, heard(real.messages()));
    let accepted = checker.settle(NOW, waiting.claims.iter().map(|claim| proven(claim, &network)));
    assert_eq!(accepted.withdrawn, [(late[0].id, real.scid)]);
    let refused = Verdict::Refused(funding::Refusal::WrongScript);
    assert_eq!(checker.settle(NOW, [Settled { id: late[0].id, verdict: refused }]).facts, []);
    assert!(checker.is_known(real.scid));
}
