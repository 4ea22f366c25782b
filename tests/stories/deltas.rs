//! Wallets that come back: over HTTP, from a running service, each gets what fits it, and has what a new one gets.

use bitcoin::Network;
use rgsd::config::Config;
use rgsd::gossip::{Direction, UnixMs};
use rgsd::journal::{Draft, Event, Graph, Journal, SqliteJournal};
use rgsd::snapshot::{Mode, Version, rules};
use rgsd::synth::{PeerHandle, Store};

use crate::support::{Running, Wallet, World, every, story};

/// Header, no nodes, no channels, no updates.
const NOTHING_V1: usize = 52;

fn path(version: Version, last_sync: u32) -> String {
    match version {
        Version::V1 => format!("/snapshot/{last_sync}"),
        Version::V2 => format!("/v2/snapshot/{last_sync}"),
    }
}

/// A wallet syncs; how many bytes that took.
async fn sync(service: &Running, wallet: &mut Wallet) -> usize {
    let answer = service.get(&path(wallet.version(), wallet.synced_at)).await;
    assert_eq!(answer.status(), 200);
    let body = answer.bytes().await.expect("a whole body");
    wallet.sync(&body);
    body.len()
}

async fn new_wallet(service: &Running, version: Version) -> Wallet {
    let mut wallet = Wallet::empty(version);
    sync(service, &mut wallet).await;
    wallet
}

/// A wallet that comes back has what a new one gets.
async fn is_whole(service: &Running, wallet: &Wallet) {
    let fresh = new_wallet(service, wallet.version()).await;
    assert_eq!(wallet.routable(), fresh.routable());
    for node in fresh.node_ids() {
        assert_eq!(wallet.told_of(&node), fresh.told_of(&node));
    }
}

/// A world with one peer, and a configuration with so long an interval that no epoch comes by itself while a story looks at
/// the last one, however slow the machine.
async fn world() -> (World, std::sync::Arc<Store>, PeerHandle, Config) {
    let world = World::new(300).await;
    let store = world.store();
    let peer = world.peer(0, &store).await;
    let config = world.config([&peer]);
    (world, store, peer, config)
}

/// The journal's last epoch is one that was not published before the service was killed, and is of another setting now.
fn unpublished_epoch(world: &World, timestamp: u32) {
    let seen = UnixMs(u64::from(timestamp) * 1_000);
    let opened = SqliteJournal::open(world.data_dir(), Network::Regtest, seen, &mut rand::rng());
    let event = Event::Epoch { timestamp, rules: rules(Graph::Complete) };
    opened.expect("the journal").append(&[Draft { seen, event }]).expect("written");
}

/// Fees change, a node tells other things of itself, a channel is disabled on both sides.
async fn live(world: &mut World, service: &Running, store: &Store) {
    let off = world.a_routable_channel();
    for (channel, direction) in [(off + 3, Direction::OneToTwo), (off + 7, Direction::TwoToOne)] {
        let fee = world.change_fee(channel, direction);
        service.hears(store, fee).await;
    }
    let timestamp = world.now_s() + 1;
    let [node, _] = world.network.channels()[off + 3].node_ids;
    let node = world.network.nodes().iter().position(|other| other.id == node).expect("its node");
    let told = world.network.set_node(node, &[0x01], &[1, 10, 0, 0, 1, 0x26, 0x07], timestamp);
    service.hears(store, told).await;
    for direction in Direction::BOTH {
        let channel = &world.network.channels()[off];
        let timestamp = world.now_s().max(channel.timestamps[direction as usize] + 1);
        let policy = channel.policies[direction as usize];
        let policy = rgsd::gossip::Policy { enabled: false, ..policy };
        let told = world.network.set_policy(off, direction, policy, timestamp);
        service.hears(store, told).await;
    }
}

#[test]
fn a_wallet_that_comes_back_has_what_a_new_one_gets() {
    story(async {
        let (mut world, store, _peer, config) = world().await;
        let service = Running::start(&world, config).await;
        service.ready_after(store.len() as u64).await;
        let mut often = [new_wallet(&service, Version::V1).await, new_wallet(&service, Version::V2).await];
        let mut seldom = [new_wallet(&service, Version::V1).await, new_wallet(&service, Version::V2).await];
        let first = often[0].synced_at;
        for _ in 0..3 {
            live(&mut world, &service, &store).await;
            service.next_epoch().await;
            for wallet in &mut often {
                let full = service.fetch(wallet.version()).await.len();
                let bytes = sync(&service, wallet).await;
                assert!(bytes * 10 < full, "{bytes} of {full} bytes");
                is_whole(&service, wallet).await;
            }
        }
        let epoch = often[0].synced_at;
        assert!(epoch > first);
        let deltas = service.status().deltas;
        assert_eq!((deltas.computed, deltas.late), (6, 0));
        assert_eq!(deltas.last.map(|made| made.until), Some(epoch));
        for wallet in &mut seldom {
            assert_eq!(wallet.synced_at, first);
            sync(&service, wallet).await;
            is_whole(&service, wallet).await;
        }
        // Whoever is up to date is told nothing, in as few bytes as the format has.
        let nothing = service.get(&path(Version::V1, epoch)).await.bytes().await.expect("a body");
        assert_eq!(nothing.len(), NOTHING_V1);
        let mut wallet = seldom.into_iter().next().expect("two");
        wallet.sync(&nothing);
        assert_eq!(wallet.synced_at, epoch);
        is_whole(&service, &wallet).await;
        service.stop().await;
    });
}

#[test]
fn epochs_are_known_after_a_restart_and_under_another_interval() {
    story(async {
        let (mut world, store, _peer, config) = world().await;
        let service = Running::start(&world, config.clone()).await;
        service.ready_after(store.len() as u64).await;
        let mut wallets = [new_wallet(&service, Version::V1).await, new_wallet(&service, Version::V2).await];
        live(&mut world, &service, &store).await;
        service.next_epoch().await;
        let mut behind = new_wallet(&service, Version::V2).await;
        service.stop().await;
        unpublished_epoch(&world, behind.synced_at + 10);

        let service = Running::start(&world, Config { interval: every(60), ..config.clone() }).await;
        // At once, of the epoch that was served before …
        for wallet in &mut wallets {
            let full = service.fetch(wallet.version()).await.len();
            assert!(sync(&service, wallet).await * 10 < full);
            is_whole(&service, wallet).await;
        }
        // … and of those to come.
        service.soon_next_epoch().await;
        live(&mut world, &service, &store).await;
        service.next_epoch().await;
        let full = service.fetch(Version::V2).await.len();
        for wallet in wallets.iter_mut().chain([&mut behind]) {
            assert!(sync(&service, wallet).await * 10 < full);
            is_whole(&service, wallet).await;
        }
        service.stop().await;
    });
}

#[test]
fn a_wallet_from_elsewhere_gets_everything_and_hears_what_is_gone() {
    story(async {
        let (mut world, store, _peer, config) = world().await;
        let service = Running::start(&world, config).await;
        service.ready_after(store.len() as u64).await;
        let mut wallet = new_wallet(&service, Version::V2).await;
        let off = world.network.channels()[world.a_routable_channel()].scid;
        live(&mut world, &service, &store).await;
        service.next_epoch().await;
        assert!(wallet.routable().contains_key(&off));
        let everything = service.fetch(Version::V2).await;
        for strange in [1, wallet.synced_at - 1, wallet.synced_at / 3_600 * 3_600, u32::MAX] {
            let answer = service.body(strange).await;
            assert!(answer.len() > everything.len(), "all of it, and what is gone: {strange}");
        }
        let answer = service.body(1).await;
        wallet.sync(&answer);
        assert!(!wallet.routable().contains_key(&off));
        is_whole(&service, &wallet).await;
        let mut fresh = Wallet::empty(Version::V2);
        fresh.sync(&answer);
        assert_eq!(fresh.told(), new_wallet(&service, Version::V2).await.told(), "what is gone is nothing to it");
        service.stop().await;
    });
}

#[test]
fn where_full_snapshots_are_configured_nobody_gets_a_delta() {
    story(async {
        let (mut world, store, _peer, config) = world().await;
        let service = Running::start(&world, Config { snapshots: Mode::Full, ..config }).await;
        service.ready_after(store.len() as u64).await;
        let mut wallet = new_wallet(&service, Version::V2).await;
        live(&mut world, &service, &store).await;
        service.next_epoch().await;
        let full = service.fetch(Version::V2).await.len();
        assert!(sync(&service, &mut wallet).await > full);
        is_whole(&service, &wallet).await;
        let nothing = service.get(&path(Version::V1, wallet.synced_at)).await.bytes().await.expect("a body");
        assert_eq!(nothing.len(), NOTHING_V1);
        assert_eq!(service.status().deltas.computed, 0);
        service.stop().await;
    });
}

/// Two replicas of one journal never cut at the same moment: a wallet may meet the one that is behind.
#[test]
fn a_wallet_that_is_further_than_the_server_is_told_nothing() {
    story(async {
        let (world, store, _peer, config) = world().await;
        let service = Running::start(&world, config).await;
        service.ready_after(store.len() as u64).await;
        service.next_epoch().await;
        let epoch = service.status().epoch.expect("one").timestamp;
        let interval = service.interval().secs();
        for ahead in [interval, 2 * interval] {
            let body = service.get(&path(Version::V1, epoch + ahead)).await.bytes().await.expect("a body");
            assert_eq!((body.len(), &body[36..40]), (NOTHING_V1, &(epoch + ahead).to_be_bytes()[..]));
        }
        let body = service.get(&path(Version::V1, epoch + 3 * interval)).await.bytes().await.expect("a body");
        assert_eq!(body[36..40], epoch.to_be_bytes(), "that is nobody's");
        assert!(body.len() > NOTHING_V1);
        service.stop().await;
    });
}
