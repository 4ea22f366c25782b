//! A restart serves at once what was served before, and goes on from the journal.

use std::fs;
use std::time::Duration;

use rgsd::snapshot::Version;

use crate::support::{Running, World, story};

#[test]
fn within_the_hour_nothing_old_is_asked_for() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let config = world.config([&peer]);
        let service = Running::start(&world, config.clone()).await;
        service.ready_after(store.len() as u64).await;
        service.stop().await;
        assert_eq!(peer.dumps(), 1);

        world.clock.advance(Duration::from_secs(900));
        let service = Running::start(&world, config).await;
        assert!(service.status().ready);
        service.tells(&world.truth()).await;
        service.eventually("connected", |status| status.peers[0].state == "connected").await;
        service.soon_next_epoch().await;
        service.tells(&world.truth()).await;
        assert_eq!(peer.dumps(), 1);
        service.stop().await;
    });
}

#[test]
fn after_hours_everything_is_asked_for_again_though_nothing_new_comes() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let config = world.config([&peer]);
        let service = Running::start(&world, config.clone()).await;
        service.ready_after(store.len() as u64).await;
        let before = service.fetch(Version::V2).await;
        service.stop().await;

        world.clock.advance(Duration::from_secs(2 * 3600));
        let service = Running::start(&world, config).await;
        assert!(service.status().ready);
        assert_eq!(service.fetch(Version::V2).await, before, "no new epoch before the sync is complete");
        service.eventually("all is heard again", |status| status.messages.received >= store.len() as u64).await;
        service.soon_next_epoch().await;
        service.tells(&world.truth()).await;
        assert_eq!((peer.dumps(), service.status().messages.accepted), (2, 0));
        service.stop().await;
    });
}

#[test]
fn the_last_snapshot_is_served_though_no_peer_can_be_reached() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let config = world.config([&peer]);
        let service = Running::start(&world, config.clone()).await;
        service.ready_after(store.len() as u64).await;
        let before = [service.fetch(Version::V1).await, service.fetch(Version::V2).await];
        let epoch = service.status().epoch.expect("an epoch");
        service.stop().await;
        peer.stop().await;
        // So long that the journal's state is not taken for today's: no other epoch comes.
        world.clock.advance(Duration::from_secs(2 * 3600));

        let service = Running::start(&world, config.clone()).await;
        assert!(service.status().ready);
        assert_eq!([service.fetch(Version::V1).await, service.fetch(Version::V2).await], before);
        assert_ne!(service.status().peers[0].state, "connected");
        assert_eq!(service.get("/readyz").await.status(), 200);
        service.stop().await;

        // The epoch is in the journal, as if the service had been killed before it was published.
        fs::remove_dir_all(world.data_dir().join("snapshots")).expect("removed");
        let service = Running::start(&world, config).await;
        service.eventually("it is made again", |status| status.ready).await;
        assert_eq!([service.fetch(Version::V1).await, service.fetch(Version::V2).await], before);
        let again = service.status().epoch.expect("an epoch");
        assert_eq!((again.timestamp, again.seq), (epoch.timestamp, epoch.seq));
        service.stop().await;
    });
}
