//! What another collector has let through, told between our own checks.

use super::*;

fn tell(checker: &mut Checker, now: UnixMs, fact: &Fact) -> Outcome {
    let mut outcome = Outcome::default();
    checker.told(now, now, fact, &mut outcome);
    outcome
}

fn update(network: &Network, seconds: u32) -> Bytes {
    network.sign_policy(0, Direction::OneToTwo, &network.channels()[0].policies[0], NOW.secs() + seconds)
}

fn fact(bytes: &Bytes) -> Fact {
    Fact::Update(ChannelUpdate::from_wire(&bytes[..]).expect("well-formed"))
}

fn channel(network: &Network, capacity_sat: Option<u64>) -> Fact {
    let announcement = &network.channels()[0].announcement;
    Fact::Channel { announcement: ChannelAnnouncement::from_wire(&announcement[..]).expect("fits"), capacity_sat }
}

#[test]
fn what_is_older_sets_nothing_back() {
    let network = network(3);
    let mut checker = knowing(&network);
    assert_eq!(check_one(&mut checker, NOW, update(&network, 9)), Ok(()));
    assert_eq!(tell(&mut checker, in_secs(10), &fact(&update(&network, 5))).facts, []);
    assert_eq!(check_one(&mut checker, in_secs(10), update(&network, 7)), Err(Refusal::AlreadyKnown));
    assert_eq!(tell(&mut checker, in_secs(10), &fact(&update(&network, 12))).facts, []);
    assert_eq!(check_one(&mut checker, in_secs(13), update(&network, 11)), Err(Refusal::AlreadyKnown));
    assert_eq!(check_one(&mut checker, in_secs(13), update(&network, 13)), Ok(()));
}

#[test]
fn an_announcement_of_a_channel_that_is_known_changes_nothing_but_its_proof() {
    let network = network(3);
    let mut checker = knowing(&network);
    tell(&mut checker, NOW, &channel(&network, Some(5_000_000)));
    assert_eq!(checker.check(NOW, heard(network.dump())).facts, [], "no update, no node is news");
    assert_eq!((checker.channel_count(), checker.proven_count()), (3, 1));
    tell(&mut checker, NOW, &channel(&network, None));
    assert_eq!((checker.channel_count(), checker.proven_count()), (3, 1));
    tell(&mut checker, NOW, &Fact::Closed { scid: network.channels()[0].scid, reason: Closing::Silent });
    assert_eq!((checker.channel_count(), checker.proven_count()), (2, 0));
}

#[test]
fn a_held_update_waits_only_while_it_is_the_newest() {
    for (told, released) in [(39, 1), (40, 0), (41, 0)] {
        let network = network(3);
        let mut checker = knowing(&network);
        for n in (1..=19).chain([40]) {
            assert_eq!(check_one(&mut checker, NOW, update(&network, n)), Ok(()));
        }
        tell(&mut checker, in_secs(1), &fact(&update(&network, told)));
        assert_eq!(checker.release_held(in_secs(61)).facts.len(), released, "told of {told}");
    }
}

#[test]
fn the_leaders_unproven_channels_are_asked_about_until_somebody_knows() {
    let network = network(3);
    let scid = network.channels()[0].scid;
    for end in [Fact::Proof { scid, capacity_sat: 5 }, Fact::Closed { scid, reason: Closing::Unfunded }] {
        let mut checker = Checker::new(rules(true));
        let asked = tell(&mut checker, NOW, &channel(&network, None)).claims;
        let [claim] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!(claim.script, network.channels()[0].funding_script().as_bytes());
        assert_eq!(tell(&mut checker, NOW, &end).withdrawn, [(claim.id, scid)]);
        let verdict = crate::gossip::funding::Verdict::Proven { capacity_sat: 5 };
        let late = checker.settle(NOW, [Settled { id: claim.id, verdict }]);
        assert_eq!(late.facts, [], "its answer was on the way");
    }
}

#[test]
fn what_a_node_said_while_its_channels_waited_goes_through_with_any_of_them() {
    let network = network(8);
    let mut checker = Checker::new(rules(true));
    let busy = (0..network.nodes().len() as u32)
        .max_by_key(|node| network.channels().iter().filter(|channel| channel.nodes.contains(node)).count())
        .expect("there are nodes");
    let mut of_it = network.channels().iter().filter(|channel| channel.nodes.contains(&busy));
    let (told, waiting) = (of_it.next().expect("a channel"), of_it.next().expect("another"));
    let node = network.nodes()[busy as usize].announcement.clone();
    assert_eq!(checker.check(NOW, heard([waiting.announcement.clone(), node.clone()])).facts, []);
    let announcement = ChannelAnnouncement::from_wire(&told.announcement[..]).expect("well-formed");
    let released = tell(&mut checker, NOW, &Fact::Channel { announcement, capacity_sat: Some(5) }).facts;
    let [Fact::Node(released)] = &released[..] else { panic!("{released:?}") };
    assert_eq!(released.wire(), &node[..]);
    assert_eq!((checker.waiting_channels(), checker.waiting_messages()), (1, 1));
}
