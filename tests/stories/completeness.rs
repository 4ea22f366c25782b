//! The first snapshot comes when a sync is trustworthily complete: not sooner, and not never.

use std::time::{Duration, Instant};

use rgsd::gossip::Clock;
use rgsd::snapshot::{Blocked, Version};
use rgsd::synth::Behaviour;

use crate::support::{DEADLINE, Running, World, story};

/// Waits until the status says that no full sync is complete: between two connections, it says that first.
async fn says_that_it_is_incomplete(service: &Running) {
    let why = Blocked::Syncing.to_string();
    service.eventually("it says that it waits for a sync", |status| status.problem.as_ref() == Some(&why)).await;
}

#[test]
fn a_slow_peer_is_heard_out() {
    story(async {
        let world = World::new(120).await;
        let store = world.store();
        let messages = store.len() as u64;
        let peer = world.peer_like(0, &store, Behaviour { pace: Some(200), ..Behaviour::default() }).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service
            .eventually("the last message is sent", |status| {
                let all = peer.sent() == messages;
                assert!(all || !status.ready, "a snapshot after {} of {messages} messages", peer.sent());
                all
            })
            .await;
        service.ready_after(messages).await;
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}

#[test]
fn a_peer_that_stalls_half_way_gives_no_snapshot_until_it_has_told_the_rest() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let half = store.len() as u64 / 2;
        let peer = world.peer_like(0, &store, Behaviour { stall_after: Some(half), ..Behaviour::default() }).await;
        let service = Running::start(&world, world.config([&peer])).await;
        service.eventually("half is heard", |status| status.messages.received >= half).await;
        service.stays_without_snapshot_for(Duration::from_secs(30)).await;
        says_that_it_is_incomplete(&service).await;
        assert_eq!(peer.dumps(), 1);

        service.pass(Duration::from_secs(60)).await;
        service.eventually("it is asked again", |_| peer.dumps() >= 2).await;
        service.has_no_snapshot().await;

        peer.set_behaviour(Behaviour::default());
        service.ready_after(store.len() as u64).await;
        service.tells(&world.truth()).await;
        assert_eq!(service.status().problem, None);
        service.stop().await;
    });
}

#[test]
fn another_peer_completes_what_a_stalled_one_began() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let half = store.len() as u64 / 2;
        let stalled = world.peer_like(0, &store, Behaviour { stall_after: Some(half), ..Behaviour::default() }).await;
        let late = world.peer(1, &store).await;
        let config = world.config([&stalled, &late]);
        let port = late.addr.port();
        late.stop().await;

        let service = Running::start(&world, config).await;
        service.eventually("half is heard", |status| status.messages.received >= half).await;
        service.stays_without_snapshot_for(Duration::from_secs(120)).await;
        says_that_it_is_incomplete(&service).await;

        let late = world.peer_at(port, 1, &store, Behaviour::default()).await;
        service.ready_after(store.len() as u64).await;
        service.tells(&world.truth()).await;
        assert!(late.dumps() >= 1);
        service.stop().await;
    });
}

#[test]
fn live_updates_that_never_pause_hide_nothing() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        let started = Instant::now();
        while !service.status().ready {
            assert!(started.elapsed() < DEADLINE, "{:#?}", service.status());
            for _ in 0..4 {
                store.append(world.network.next_update(world.clock.now()));
            }
            world.clock.advance(Duration::from_millis(100));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(service.wallet(Version::V2).await.channel_count(), world.truth().channel_count());

        // Directions that spoke too often are held until they may speak again, a minute later.
        service.eventually("all that was said is heard", |status| status.messages.received == peer.sent()).await;
        loop {
            service.next_epoch().await;
            match service.wallet(Version::V2).await.difference(&world.truth()) {
                None => break,
                Some(difference) => assert!(started.elapsed() < 2 * DEADLINE, "{difference}"),
            }
        }
        service.stop().await;
    });
}

#[test]
fn a_peer_that_refuses_queries_completes_nothing_alone() {
    story(async {
        let world = World::new(40).await;
        let store = world.store();
        let reticent = Behaviour { refuses_queries: true, ..Behaviour::default() };
        let one = world.peer_like(0, &store, reticent).await;
        let two = world.peer(1, &store).await;
        let config = world.config([&one, &two]);
        let port = two.addr.port();
        two.stop().await;

        let service = Running::start(&world, config).await;
        service.accepted(store.len() as u64).await;
        service.stays_without_snapshot_for(Duration::from_secs(600)).await;
        says_that_it_is_incomplete(&service).await;

        let _two = world.peer_at(port, 1, &store, Behaviour::default()).await;
        service.ready_after(store.len() as u64).await;
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}
