//! What peers tell is what wallets get: the whole network at first, and every change at the next epoch.

use std::time::Duration;

use rgsd::gossip::Direction;
use rgsd::http::Status;
use rgsd::snapshot::Version;
use rgsd::synth::Store;

use crate::support::{Running, World, story};

#[test]
fn two_peers_that_know_a_part_each_give_the_whole_network() {
    story(async {
        let world = World::new(120).await;
        let part = |left_out: usize| {
            let mut place = 0;
            Store::new(world.network.dump_where(|_| {
                place += 1;
                place % 3 != left_out
            }))
        };
        let (one, two) = (part(0), part(1));
        assert!(one.len() < world.store().len() && two.len() < world.store().len());
        let peers = [world.peer(0, &one).await, world.peer(1, &two).await];

        let service = Running::start(&world, world.config(&peers)).await;
        service.ready_after(world.store().len() as u64).await;
        service.tells(&world.truth()).await;
        let epoch = service.status().epoch.expect("an epoch");
        assert_eq!(epoch.channels as usize, world.truth().channel_count());
        assert!(peers.iter().all(|peer| peer.dumps() == 1));
        service.stop().await;
    });
}

#[test]
fn a_fee_change_comes_with_the_next_epoch_and_not_before() {
    story(async {
        let mut world = World::new(40).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        let before = service.fetch(Version::V2).await;

        let channel = world.a_routable_channel();
        let scid = world.network.channels()[channel].scid;
        let old = world.network.channels()[channel].policies[0];
        store.append(world.change_fee(channel, Direction::OneToTwo));
        let new = world.network.channels()[channel].policies[0];
        service.accepted(store.len() as u64 + 1).await;
        let wallet = service.wallet(Version::V2).await;
        assert_eq!(wallet.policy(scid, 0), Some(old));
        assert_eq!(service.fetch(Version::V2).await, before);

        service.next_epoch().await;
        let later = service.wallet(Version::V2).await;
        assert_eq!(later.policy(scid, 0), Some(new));
        assert!(later.synced_at > wallet.synced_at);
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}

#[test]
fn a_keep_alive_changes_nothing_that_wallets_are_told() {
    story(async {
        let mut world = World::new(40).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.ready_after(store.len() as u64).await;
        let unstamped = |mut bytes: Vec<u8>| {
            bytes.drain(36..40);
            bytes
        };
        let before = unstamped(service.fetch(Version::V2).await);

        let policy = world.network.channels()[3].policies[1];
        let now_s = world.now_s();
        store.append(world.network.set_policy(3, Direction::TwoToOne, policy, now_s));
        service.accepted(store.len() as u64 + 1).await;
        service.next_epoch().await;
        assert_eq!(unstamped(service.fetch(Version::V2).await), before);
        service.stop().await;
    });
}

#[test]
fn a_new_channel_is_told_once_it_is_confirmed_and_both_ends_have_spoken() {
    story(async {
        let mut world = World::new(40).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        let messages = store.len() as u64;
        service.ready_after(messages).await;
        let before = world.truth();

        let height = world.chain.tip_height() + 1;
        let now = rgsd::gossip::Clock::now(&*world.clock);
        for _ in 0..2 {
            let channel = world.network.add_channel(height, now).expect("room in the block");
            world.chain.add_funding(channel).expect("a block to come");
        }
        let [whole, half] = world.network.channels().last_chunk().expect("two channels").clone();
        whole.messages().into_iter().for_each(|message| store.append(message));
        [half.announcement, half.updates[1].clone()].into_iter().for_each(|message| store.append(message));
        service.eventually("both channels wait", |status| status.proofs.pending == 2).await;
        world.chain.mine(3);
        service.next_epoch().await;
        service.tells(&before).await;

        world.chain.mine(3);
        service.accepted(messages + 5).await;
        service.next_epoch().await;
        service.tells(&world.truth().without(half.scid)).await;

        store.append(half.updates[0].clone());
        service.accepted(messages + 6).await;
        service.next_epoch().await;
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}

#[test]
fn a_flood_of_one_direction_is_thinned_and_its_last_word_counts() {
    story(async {
        const FLOOD: u64 = 300;
        let mut world = World::new(30).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        let messages = store.len() as u64;
        service.ready_after(messages).await;

        let channel = world.a_routable_channel();
        for _ in 0..FLOOD {
            peer.broadcast(world.change_fee(channel, Direction::TwoToOne));
        }
        let all_but_the_held = |status: &Status| {
            let refused: u64 = status.messages.refused.values().sum();
            status.messages.received >= messages + FLOOD && status.messages.accepted + refused + 1 >= messages + FLOOD
        };
        service.eventually("the flood is through", all_but_the_held).await;
        let accepted = service.status().messages.accepted - messages;
        assert!(accepted <= 25, "{accepted} of {FLOOD} accepted");
        assert!(service.status().messages.refused["superseded"] >= FLOOD - 26);

        service.pass(Duration::from_secs(120)).await;
        service.accepted(messages + accepted + 1).await;
        service.next_epoch().await;
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}
