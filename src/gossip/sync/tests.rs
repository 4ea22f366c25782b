//! When is a full sync complete? Peers that are quick, slow, stuck, empty, silent about their inventory, or that
//! never pause; and who is asked next.

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::ecdsa::Signature;
use lightning::ln::msgs::{ChannelAnnouncement, ChannelUpdate, UnsignedChannelAnnouncement, UnsignedChannelUpdate};
use lightning::types::features::ChannelFeatures;

use super::super::check::Gossip;
use super::*;

const T0: UnixMs = UnixMs(1_700_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(seconds: f64) -> UnixMs {
    T0.plus(Duration::from_secs_f64(seconds))
}

fn peer(n: u8) -> NodeId {
    NodeId::from_slice(&[n; 33]).expect("33 bytes")
}

fn no_signature() -> Signature {
    Signature::from_compact(&[1; 64]).expect("a signature's form")
}

fn announcement(peer: NodeId, scid: u64) -> Heard {
    let (signature, key) = (no_signature(), self::peer(9));
    let contents = UnsignedChannelAnnouncement {
        features: ChannelFeatures::empty(),
        chain_hash: ChainHash::REGTEST,
        short_channel_id: scid,
        node_id_1: key,
        node_id_2: key,
        bitcoin_key_1: key,
        bitcoin_key_2: key,
        excess_data: Vec::new(),
    };
    let message = ChannelAnnouncement {
        node_signature_1: signature,
        node_signature_2: signature,
        bitcoin_signature_1: signature,
        bitcoin_signature_2: signature,
        contents,
    };
    Heard { peer, message: Gossip::Channel(Box::new(message)) }
}

fn update(peer: NodeId, scid: u64, direction: u8) -> Heard {
    let contents = UnsignedChannelUpdate {
        chain_hash: ChainHash::REGTEST,
        short_channel_id: scid,
        timestamp: 1,
        message_flags: 1,
        channel_flags: direction,
        cltv_expiry_delta: 40,
        htlc_minimum_msat: 1,
        htlc_maximum_msat: 1000,
        fee_base_msat: 0,
        fee_proportional_millionths: 0,
        excess_data: Vec::new(),
    };
    Heard { peer, message: Gossip::Update(Box::new(ChannelUpdate { signature: no_signature(), contents })) }
}

fn standing(unsettled: usize) -> Standing {
    Standing { unsettled, strange: 0 }
}

/// One peer's store of a hundred channels.
fn store(peer: NodeId) -> impl Iterator<Item = Heard> {
    (1..=100).flat_map(move |scid| [announcement(peer, scid), update(peer, scid, 0), update(peer, scid, 1)])
}

fn inventory(syncs: &mut Syncs, peer: NodeId, channels: u64, now: UnixMs) {
    let scids: Vec<u64> = (1..=channels).collect();
    let (first, last) = scids.split_at(scids.len() / 2);
    syncs.inventory(&peer, 0, 500, first, now);
    syncs.inventory(&peer, 500, u32::MAX - 500, last, now);
}

/// A service without a journal that has just started, and one peer that has just connected.
fn started_with(peers: &[NodeId]) -> Syncs {
    let mut syncs = Syncs::new(None, None, peers.iter().copied(), T0);
    for peer in peers {
        assert_eq!(syncs.connect(*peer, true, T0), Ask::Full);
    }
    syncs
}

fn completed(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Completed { .. }))
}

#[test]
fn a_whole_store_followed_by_quiet_completes_a_sync() {
    let mut syncs = started_with(&[peer(1)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    assert_eq!(syncs.tick(at(2.4), 0, |_| standing(0)), vec![], "not quiet for two seconds yet");
    assert!(!syncs.trusted());
    assert_eq!(syncs.tick(at(2.6), 0, |_| standing(0)), vec![Step::Completed { peer: peer(1), channels: 100 }]);
    assert!(syncs.trusted());
    assert_eq!(syncs.tick(at(9.0), 0, |_| standing(0)), vec![], "said once");
}

#[test]
fn a_handful_of_messages_after_the_start_is_not_a_complete_sync() {
    let mut syncs = started_with(&[peer(1)]);
    store(peer(1)).take(9).for_each(|heard| syncs.heard(&heard, at(0.5)));
    assert!(!completed(&syncs.tick(at(30.0), 0, |_| standing(0))), "no inventory to hold it against");
    inventory(&mut syncs, peer(1), 100, at(31.0));
    assert!(!completed(&syncs.tick(at(59.0), 0, |_| standing(0))), "three channels of a hundred");
}

#[test]
fn a_slow_peer_is_waited_for_however_long_it_takes() {
    let mut syncs = started_with(&[peer(1)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    for (i, heard) in store(peer(1)).enumerate() {
        let now = at(10.0 * i as f64);
        assert_eq!(syncs.tick(now, 0, |_| standing(0)), vec![], "after {i} messages");
        syncs.heard(&heard, now);
    }
    assert_eq!(syncs.tick(at(3000.0), 0, |_| standing(0)), vec![], "such a peer may pause for longer");
    assert!(completed(&syncs.tick(at(3021.0), 0, |_| standing(0))));
}

#[test]
fn a_peer_that_stalls_completes_nothing_and_another_one_is_asked() {
    let mut syncs = started_with(&[peer(1)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).take(150).for_each(|heard| syncs.heard(&heard, at(1.0)));
    assert_eq!(syncs.tick(at(60.0), 0, |_| standing(0)), vec![]);
    let steps = syncs.tick(at(61.5), 0, |_| standing(0));
    assert!(matches!(steps[..], [Step::Reconnect { peer: again, .. }] if again == peer(1)), "{steps:?}");
    syncs.disconnect(&peer(1));
    assert_eq!(syncs.connect(peer(2), true, at(62.0)), Ask::Full);
    assert!(!syncs.trusted());
}

#[test]
fn after_a_restart_on_a_full_journal_nothing_new_needs_to_come() {
    let recent = UnixMs(T0.0 - 600_000);
    let mut syncs = Syncs::new(Some(recent), Some(recent), [peer(1)], T0);
    assert!(syncs.trusted(), "what the journal has is ten minutes old");
    assert_eq!(syncs.connect(peer(1), true, T0), Ask::Recent);
    assert_eq!(syncs.tick(at(600.0), 0, |_| standing(0)), vec![]);

    let old = UnixMs(T0.0 - 7_200_000);
    let mut syncs = Syncs::new(Some(old), Some(old), [peer(1)], T0);
    assert!(!syncs.trusted(), "what the journal has is two hours old");
    assert_eq!(syncs.connect(peer(1), true, T0), Ask::Full);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5))); // all known, nothing accepted
    assert!(completed(&syncs.tick(at(3.0), 0, |_| standing(0))));
}

#[test]
fn live_updates_that_never_pause_hide_nothing() {
    let mut syncs = started_with(&[peer(1)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    for tenth in 6..26_u32 {
        let now = at(f64::from(tenth) / 10.0);
        syncs.heard(&update(peer(1), u64::from(tenth % 7) + 1, 0), now);
        syncs.heard(&announcement(peer(1), 1000 + u64::from(tenth)), now); // and new channels, outside the inventory
        assert!(tenth >= 25 || !completed(&syncs.tick(now, 0, |_| standing(0))));
    }
    assert!(completed(&syncs.tick(at(2.6), 0, |_| standing(0))));
}

#[test]
fn the_first_sync_waits_for_the_other_peers_but_not_for_ever() {
    let mut syncs = started_with(&[peer(1), peer(2)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    inventory(&mut syncs, peer(2), 105, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(1.0)));
    let mut rest = store(peer(2)).enumerate();
    let done = rest.by_ref().find(|(i, heard)| {
        let now = at(1.0 + *i as f64 / 10.0);
        syncs.heard(heard, now);
        completed(&syncs.tick(now, 0, |_| standing(0)))
    });
    let (i, _) = done.expect("the slow peer was not waited for until its end");
    assert!((100..140).contains(&i), "patience is the first peer's time and ten seconds: {i}");
    assert!(rest.next().is_some());
}

#[test]
fn peers_that_are_still_connecting_are_waited_for_at_the_start() {
    let mut syncs = Syncs::new(None, None, [peer(1), peer(2)], T0);
    assert_eq!(syncs.connect(peer(1), true, T0), Ask::Full);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    assert_eq!(syncs.tick(at(5.0), 0, |_| standing(0)), vec![]);
    syncs.disconnect(&peer(2)); // its first try has failed
    assert!(completed(&syncs.tick(at(5.1), 0, |_| standing(0))));
}

#[test]
fn an_unreachable_bitcoind_holds_the_completion_back() {
    let mut syncs = started_with(&[peer(1)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    assert_eq!(syncs.tick(at(100.0), 0, |_| standing(50)), vec![]);
    assert_eq!(syncs.tick(at(500.0), 0, |_| standing(2)), vec![]);
    assert!(completed(&syncs.tick(at(501.0), 0, |_| standing(1))), "one channel of a hundred may wait");
}

#[test]
fn an_empty_inventory_completes_nothing() {
    let mut syncs = started_with(&[peer(1)]);
    syncs.inventory(&peer(1), 0, u32::MAX, &[], at(0.1));
    assert!(!completed(&syncs.tick(at(30.0), 0, |_| standing(0))));
    assert!(!syncs.trusted());
}

#[test]
fn once_a_day_one_peer_after_the_other_is_asked_for_everything() {
    let mut syncs = Syncs::new(Some(T0), Some(T0), [peer(1), peer(2)], T0);
    for n in [1, 2] {
        assert_eq!(syncs.connect(peer(n), true, T0), Ask::Recent);
    }
    let mut asked = Vec::new();
    let mut now = T0;
    for _ in 0..3 {
        now = now.plus(DAY);
        let steps = syncs.tick(now, 0, |_| standing(0));
        let [Step::Reconnect { peer, .. }] = steps[..] else { panic!("{steps:?}") };
        syncs.disconnect(&peer);
        assert_eq!(syncs.tick(now, 0, |_| standing(0)), vec![], "one at a time");
        assert_eq!(syncs.connect(peer, true, now), Ask::Full);
        inventory(&mut syncs, peer, 100, now);
        store(peer).for_each(|heard| syncs.heard(&heard, now));
        assert!(completed(&syncs.tick(now.plus(Duration::from_secs(3)), 0, |_| standing(0))));
        now = now.plus(Duration::from_secs(3));
        asked.push(peer);
    }
    assert_eq!(asked, [peer(1), peer(2), peer(1)]);
    assert!(syncs.trusted());
}

#[test]
fn lost_messages_are_asked_for_until_a_later_sync_is_complete() {
    let mut syncs = Syncs::new(Some(T0), Some(T0), [peer(1)], T0);
    assert_eq!(syncs.connect(peer(1), true, T0), Ask::Recent);
    syncs.owe(peer(1));
    syncs.disconnect(&peer(1));
    assert_eq!(syncs.connect(peer(1), true, at(1.0)), Ask::Full);
    syncs.disconnect(&peer(1));
    assert_eq!(syncs.connect(peer(1), true, at(2.0)), Ask::Full, "it had not told everything");

    syncs.lose(at(3.0));
    inventory(&mut syncs, peer(1), 100, at(4.0));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(4.0)));
    assert!(completed(&syncs.tick(at(7.0), 0, |_| standing(0))), "but that one began before the loss");
    let steps = syncs.tick(at(62.5), 0, |_| standing(0));
    assert!(matches!(steps[..], [Step::Reconnect { .. }]), "{steps:?}");
}

#[test]
fn peers_with_nothing_but_live_gossip_make_way_for_one_that_tells_everything() {
    let mut syncs = started_with(&[peer(1), peer(2), peer(3)]);
    assert_eq!(syncs.connect(peer(4), true, T0), Ask::Recent);
    for n in 1..=3 {
        inventory(&mut syncs, peer(n), 100, at(0.5));
    }
    let mut asked = None;
    for second in 1..70 {
        let now = at(f64::from(second));
        (1..=3)
            .for_each(|n| syncs.heard(&update(peer(n), u64::from(second as u32 % 100) + 1, (second % 2) as u8), now));
        let steps = syncs.tick(now, 0, |_| standing(0));
        assert!(!completed(&steps), "nothing was announced");
        asked = asked.or(steps.first().cloned().map(|step| (second, step)));
    }
    assert!(matches!(asked, Some((61, Step::Reconnect { peer: next, .. })) if next == peer(4)), "{asked:?}");
}

#[test]
fn a_peer_whose_inventory_is_on_its_way_is_waited_for() {
    let mut syncs = started_with(&[peer(1), peer(2)]);
    syncs.inventory(&peer(1), 0, u32::MAX, &[1, 2, 3], at(0.1));
    store(peer(1)).take(9).for_each(|heard| syncs.heard(&heard, at(0.2)));
    assert_eq!(syncs.tick(at(3.0), 0, |_| standing(0)), vec![], "three channels are not the network");
    inventory(&mut syncs, peer(2), 100, at(3.5));
    store(peer(2)).for_each(|heard| syncs.heard(&heard, at(5.0)));
    assert_eq!(syncs.tick(at(8.0), 0, |_| standing(0)), vec![Step::Completed { peer: peer(2), channels: 100 }]);
}

#[test]
fn peers_that_come_and_go_do_not_put_completion_off_for_ever() {
    let mut syncs = started_with(&[peer(1), peer(2)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    let done = (1..600).find(|second| {
        let now = at(f64::from(*second));
        if second % 20 == 0 {
            syncs.disconnect(&peer(2));
            syncs.connect(peer(2), true, now);
        }
        completed(&syncs.tick(now, 0, |_| standing(0)))
    });
    assert!(done.is_some_and(|second| second <= 130), "{done:?}");
}

#[test]
fn a_peer_without_queries_completes_nothing_and_takes_nobodys_place() {
    let mut syncs = Syncs::new(None, None, [peer(1), peer(2)], T0);
    assert_eq!(syncs.connect(peer(1), false, T0), Ask::Full, "what it tells is welcome");
    assert_eq!(syncs.connect(peer(2), true, T0), Ask::Full);
    inventory(&mut syncs, peer(2), 100, at(0.1));
    for n in [1, 2] {
        store(peer(n)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    }
    assert_eq!(syncs.tick(at(3.0), 0, |_| standing(0)), vec![Step::Completed { peer: peer(2), channels: 100 }]);
}

#[test]
fn after_an_hour_of_silence_only_a_full_sync_is_trusted() {
    let mut syncs = Syncs::new(Some(T0), Some(T0), [peer(1)], T0);
    assert_eq!(syncs.connect(peer(1), true, T0), Ask::Recent);
    syncs.tick(at(3600.0), 0, |_| standing(0));
    assert!(syncs.trusted());
    let steps = syncs.tick(at(3601.0), 0, |_| standing(0));
    assert!(!syncs.trusted() && matches!(steps[..], [Step::Reconnect { .. }]), "{steps:?}");
    syncs.disconnect(&peer(1));
    syncs.accepted(at(3602.0));
    assert!(!syncs.trusted(), "one message is not the network");
    assert_eq!(syncs.connect(peer(1), true, at(3603.0)), Ask::Full);
    inventory(&mut syncs, peer(1), 100, at(3603.0));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(3604.0)));
    assert!(completed(&syncs.tick(at(3607.0), 0, |_| standing(0))) && syncs.trusted());
    assert_eq!(syncs.last_heard(), Some(at(3607.0)));
}

#[test]
fn a_clock_that_was_ahead_is_no_news() {
    let ahead = at(1_000_000.0);
    let mut syncs = Syncs::new(Some(ahead), Some(ahead), [peer(1)], T0);
    assert!(syncs.trusted());
    syncs.tick(at(3601.0), 0, |_| standing(0));
    assert!(!syncs.trusted(), "the last word was at the start at the latest");
}

#[test]
fn when_all_who_were_asked_are_gone_somebody_else_is_asked() {
    let mut syncs = started_with(&[peer(1), peer(2), peer(3)]);
    assert_eq!(syncs.connect(peer(4), true, T0), Ask::Recent, "three at a time are enough");
    (1..=3).for_each(|n| syncs.disconnect(&peer(n)));
    assert_eq!(syncs.tick(at(59.0), 0, |_| standing(0)), vec![], "they may come back");
    let steps = syncs.tick(at(60.0), 0, |_| standing(0));
    assert!(matches!(steps[..], [Step::Reconnect { peer: other, .. }] if other == peer(4)), "{steps:?}");
    assert_eq!(syncs.tick(at(61.0), 0, |_| standing(0)), vec![]);
    syncs.disconnect(&peer(4));
    assert_eq!(syncs.connect(peer(4), true, at(62.0)), Ask::Full);
}

#[test]
fn a_peer_that_knows_little_does_not_speak_for_one_that_knows_much() {
    let mut syncs = started_with(&[peer(1), peer(2)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    inventory(&mut syncs, peer(2), 5000, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    for scid in 1..=80 {
        let now = at(scid as f64 * 10.0);
        syncs.heard(&announcement(peer(2), scid), now);
        assert_eq!(syncs.tick(now, 0, |_| standing(0)), vec![], "the larger inventory is on its way");
    }
    assert!(completed(&syncs.tick(at(1900.0), 0, |_| standing(0))), "but not for ever");
}

#[test]
fn a_peer_that_knows_little_does_not_freshen_a_large_journal() {
    let old = UnixMs(T0.0 - 7_200_000);
    let mut syncs = Syncs::new(Some(old), Some(old), [peer(1)], T0);
    assert_eq!(syncs.connect(peer(1), true, T0), Ask::Full);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    let steps = syncs.tick(at(30.0), 201, |_| standing(0));
    assert!(matches!(steps[..], [Step::Reconnect { .. }]), "it, or another one, is asked again: {steps:?}");
    syncs.disconnect(&peer(1));
    assert_eq!(syncs.connect(peer(1), true, at(31.0)), Ask::Full);
    inventory(&mut syncs, peer(1), 101, at(31.0));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(32.0)));
    assert!(completed(&syncs.tick(at(35.0), 201, |_| standing(0))));
}

#[test]
fn what_is_made_up_does_not_complete_a_first_sync() {
    let mut syncs = started_with(&[peer(1)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    let steps = syncs.tick(at(3.0), 0, |_| Standing { unsettled: 0, strange: 51 });
    assert!(!completed(&steps) && !syncs.trusted());
}

#[test]
fn a_sync_from_before_a_long_sleep_does_not_end_the_silence() {
    let mut syncs = started_with(&[peer(1)]);
    inventory(&mut syncs, peer(1), 100, at(0.1));
    store(peer(1)).for_each(|heard| syncs.heard(&heard, at(0.5)));
    assert_eq!(syncs.tick(at(1.0), 0, |_| standing(0)), vec![], "not quiet yet");
    let steps = syncs.tick(at(8.0 * 3600.0), 0, |_| standing(0));
    assert!(matches!(steps[..], [Step::Reconnect { .. }]) && !syncs.trusted(), "{steps:?}");
}

#[test]
fn a_collector_that_stands_by_is_as_fresh_as_what_it_was_told() {
    let fact = Fact::SyncCompleted { peer: peer(1) };
    let mut syncs = Syncs::new(None, None, [], T0);
    syncs.told(UnixMs(T0.0 - 4_000_000), &fact, T0);
    assert!(!syncs.trusted(), "that was long ago");
    syncs.told(at(3.0), &fact, at(2.0));
    assert!(syncs.trusted());
    assert_eq!(syncs.last_heard(), Some(at(2.0)), "by our clock");
    syncs.look_at_the_clock(at(3000.0));
    assert!(syncs.trusted());
    syncs.look_at_the_clock(at(3603.0));
    assert!(!syncs.trusted(), "the leader fell silent");
}
