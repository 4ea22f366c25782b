//! The archive: every entry reaches it, nothing waits for it, and whoever has it has the service back.

use std::time::Duration;

use rgsd::config::Config;
use rgsd::gossip::Direction;
use rgsd::http::{ArchiveStatus, Status};
use rgsd::journal::link::Role;
use rgsd::journal::{Event, Term};
use rgsd::serve::Service;
use rgsd::snapshot::Version;
use rgsd::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use crate::postgres::{Cluster, Database, Options};
use crate::support::archive::{Line, archive, archived, beside, journal, replica};
use crate::support::{Running, World, story};

/// The bytes of a snapshot in version 2 that tells nothing.
const NOTHING_V2: usize = 53;

fn stands(status: &Status) -> ArchiveStatus {
    status.archive.expect("an archive is configured")
}

fn is_caught_up(status: &Status) -> bool {
    let archive = stands(status);
    archive.connected && archive.lag_entries == Some(0) && archive.last_seq == Some(status.journal.last_seq)
}

fn is(role: Role) -> impl Fn(&Status) -> bool {
    move |status| stands(status).role == role
}

/// The timestamp of the epoch that is served; 0 before the first.
fn epoch(status: &Status) -> u32 {
    status.epoch.map_or(0, |epoch| epoch.timestamp)
}

#[test]
fn every_entry_reaches_the_archive() {
    story(async {
        let mut world = World::new(150).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let database = Cluster::shared().database();
        let service = Running::start(&world, archived(world.config([&peer]), &database.url)).await;
        service.ready_after(store.len() as u64).await;
        let channel = world.a_routable_channel();
        for _ in 0..5 {
            store.append(world.change_fee(channel, Direction::OneToTwo));
            world.clock.advance(Duration::from_secs(61));
        }
        service.next_epoch().await;
        service.eventually("all is shipped", is_caught_up).await;
        let stands = stands(&service.status());
        assert_eq!((stands.role, stands.term, stands.lag_seconds), (Role::Writer, Some(Term(1)), Some(0)));
        service.stop().await;
        assert_eq!(archive(&database).await, journal(world.data_dir()));
    });
}

#[test]
fn an_outage_holds_up_neither_peers_nor_wallets() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let cluster = Cluster::start(Options::default());
        let database = cluster.database();
        let service = Running::start(&world, archived(world.config([&peer]), &database.url)).await;
        service.ready_after(store.len() as u64).await;
        service.eventually("all is shipped", is_caught_up).await;

        cluster.stop_immediate();
        service.eventually("the archive is gone", |status| !stands(status).connected).await;
        let channel = world.a_routable_channel();
        for changes in 1..=3 {
            service.hears(&store, world.change_fee(channel, Direction::TwoToOne)).await;
            service.next_epoch().await;
            service.tells(&world.truth()).await;
            service
                .eventually("what waits is counted", |status| stands(status).lag_entries >= Some(2 * changes))
                .await;
        }
        let problem = service.status().problem.expect("an operator should know");
        assert!(problem.contains("the archive lacks"), "{problem}");

        cluster.start_again();
        service.eventually("all is shipped", is_caught_up).await;
        assert_eq!(service.status().problem, None);
        service.stop().await;
        assert_eq!(archive(&database).await, journal(world.data_dir()));
    });
}

/// The URL of a role that can only read.
fn reader(cluster: &Cluster, database: &Database) -> String {
    cluster.sql("CREATE ROLE reader LOGIN PASSWORD 'reading'");
    database.sql("GRANT USAGE ON SCHEMA rgsd TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA rgsd TO reader");
    let (_, place) = database.url.split_once('@').expect("a user before the host");
    format!("postgres://reader:reading@{place}")
}

#[test]
fn a_replica_serves_the_same_bytes_also_without_the_archive() {
    story(async {
        let mut world = World::new(80).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let cluster = Cluster::start(Options::default());
        let database = cluster.database();
        let config = world.config([&peer]);
        let writer = Running::start(&world, archived(config.clone(), &database.url)).await;
        writer.ready_after(store.len() as u64).await;
        let replica = replica(&archived(config, &reader(&cluster, &database)));
        let copy = Running::start(&world, replica.clone()).await;
        let channel = world.a_routable_channel();
        let first = epoch(&writer.status());
        for _ in 0..3 {
            writer.hears(&store, world.change_fee(channel, Direction::OneToTwo)).await;
            writer.next_epoch().await;
            let last = epoch(&writer.status());
            copy.eventually("the same epoch", |status| epoch(status) == last).await;
            for version in [Version::V1, Version::V2] {
                assert!(writer.fetch(version).await == copy.fetch(version).await, "other bytes at {last}");
            }
            // To a wallet of the first epoch, and to one that comes from elsewhere; and to one that was at a replica which
            // is further.
            for last_sync in [first, 1, last + writer.interval().secs()] {
                let [told, copied] = [&writer, &copy].map(|service| service.body(last_sync));
                let (told, copied) = (told.await, copied.await);
                assert!(told == copied, "other bytes at {last} since {last_sync}");
            }
            assert!(copy.body(first).await.len() * 4 < copy.fetch(Version::V2).await.len(), "a delta");
        }

        // It figures by itself what wallets get wrong.
        writer.just_cut().await;
        let last = epoch(&writer.status());
        copy.eventually("nothing is stale", |status| {
            (status.stale_fees.epoch, status.stale_fees.share) == (Some(last), Some(0.0))
        })
        .await;
        writer.hears(&store, world.change_fee(channel, Direction::OneToTwo)).await;
        copy.eventually("it is copied", |status| status.fee_changes.total == 4).await;
        world.clock.advance(Duration::from_secs(10));
        copy.eventually("a fee is stale", |status| status.stale_fees.share > Some(0.0)).await;
        writer.stop().await;
        let before = copy.fetch(Version::V2).await;

        // An archive that is no longer what was copied from it is not followed any further.
        database
            .sql("UPDATE rgsd.entry SET seen = seen - interval '1 s' WHERE seq = (SELECT max(seq) FROM rgsd.entry)");
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'");
        let told =
            |status: &Status| status.problem.as_ref().is_some_and(|problem| problem.contains("is not the one"));
        copy.eventually("the difference is told", told).await;
        cluster.stop_immediate();
        copy.eventually("the archive is gone", |status| !stands(status).connected).await;
        assert!(copy.fetch(Version::V2).await == before);
        copy.stop().await;
        let copy = Running::start(&world, replica).await;
        assert!(copy.fetch(Version::V2).await == before, "started without the archive");
        let problem = copy.status().problem.expect("an operator should know");
        assert!(problem.contains("cut off from the archive"), "{problem}");
        copy.stop().await;
    });
}

#[test]
fn an_empty_directory_is_restored_and_goes_on() {
    story(async {
        let world = World::new(80).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let database = Cluster::shared().database();
        let config = archived(world.config([&peer]), &database.url);
        let first = Running::start(&world, config.clone()).await;
        first.ready_after(store.len() as u64).await;
        first.eventually("all is shipped", is_caught_up).await;
        let bytes = first.fetch(Version::V2).await;
        let offset = epoch(&first.status()) % 10;
        first.stop().await;
        let kept = journal(world.data_dir());

        let second = Running::start(&world, beside(&config, "second")).await;
        second.eventually("it serves", |status| status.ready).await;
        assert_eq!(second.fetch(Version::V2).await, bytes);
        second.eventually("it has taken over", is(Role::Writer)).await;
        second.soon_next_epoch().await;
        assert_ne!(epoch(&second.status()) % 10, offset, "stamped by another writer");
        second.tells(&world.truth()).await;
        second.eventually("all is shipped", is_caught_up).await;
        assert_eq!(stands(&second.status()).term, Some(Term(2)));

        // An archive that is lost is filled anew, in the same term.
        database.sql("DROP SCHEMA rgsd CASCADE");
        second.next_epoch().await;
        second.eventually("all is shipped again", is_caught_up).await;
        assert_eq!(stands(&second.status()).term, Some(Term(2)));
        second.stop().await;
        let restored = journal(&beside(&config, "second").data_dir);
        assert_eq!(restored[..kept.len()], kept);
        assert_eq!(archive(&database).await, restored);
    });
}

#[test]
fn a_standby_takes_over_with_what_it_heard() {
    story(async {
        let mut world = World::new(60).await;
        let store = world.store();
        let peers = [world.peer(0, &store).await, world.peer(1, &store).await];
        let database = Cluster::shared().database();
        let config = archived(world.config(&peers), &database.url);
        let first = Running::start(&world, config.clone()).await;
        first.ready_after(store.len() as u64).await;
        let second = Running::start(&world, beside(&config, "second")).await;
        second.eventually("it serves", |status| status.ready).await;
        assert!(is(Role::StandBy)(&second.status()));
        first.stop().await;

        let channel = world.a_routable_channel();
        store.append(world.change_fee(channel, Direction::OneToTwo));
        second.eventually("it has taken over", is(Role::Writer)).await;
        second.soon_next_epoch().await;
        let changed = |status: &Status| status.problem.is_none() && is_caught_up(status);
        second.eventually("all is well", changed).await;
        second.next_epoch().await;
        second.tells(&world.truth()).await;

        let first = Running::start(&world, config.clone()).await;
        assert!(is(Role::StandBy)(&first.status()), "the other one writes now");
        second.hears(&store, world.change_fee(channel, Direction::TwoToOne)).await;
        second.next_epoch().await;
        let last = epoch(&second.status());
        first.eventually("the same epoch", |status| epoch(status) == last).await;
        first.tells(&world.truth()).await;
        // A wallet that has met one which is further is told nothing by either: epochs are where the new writer cuts them.
        let ahead = last + second.interval().secs();
        let nothing = second.body(ahead).await;
        assert_eq!((nothing.len(), first.body(ahead).await), (NOTHING_V2, nothing));
        second.eventually("all is shipped", is_caught_up).await;
        let last = second.status().journal.last_seq;
        first.eventually("it follows", |status| status.journal.last_seq == last).await;
        first.stop().await;
        second.stop().await;
        let all = archive(&database).await;
        assert_eq!(journal(&config.data_dir), all);
        assert_eq!(journal(&beside(&config, "second").data_dir), all);
        assert!(all.windows(2).all(|pair| pair[0].seq.0 + 1 == pair[1].seq.0));
    });
}

#[test]
fn a_writer_that_was_cut_off_comes_back_as_a_standby_and_loses_nothing() {
    story(async {
        let mut world = World::new(60).await;
        let (store, other) = (world.store(), world.store());
        let peers = [world.peer(0, &store).await, world.peer(1, &other).await];
        let cluster = Cluster::shared();
        let database = cluster.database();
        let line = Line::to(cluster.port()).await;
        let url = line.url(&database, cluster.port());
        let first = Running::start(&world, archived(world.config([&peers[0]]), &url)).await;
        first.ready_after(store.len() as u64).await;
        let config = archived(world.config([&peers[1]]), &database.url);
        let second = Running::start(&world, beside(&config, "second")).await;
        second.eventually("it serves", |status| status.ready).await;

        line.cut();
        second.eventually("it has taken over", is(Role::Writer)).await;
        // Only the writer that was cut off hears of this, and wallets get to know it there.
        let channel = world.a_routable_channel();
        first.hears(&store, world.change_fee(channel, Direction::OneToTwo)).await;
        first.next_epoch().await;
        first.tells(&world.truth()).await;
        let lost = epoch(&first.status());

        // What it cannot offer at once is offered later, and nothing else waits for that.
        database.sql("REVOKE INSERT ON rgsd.offered FROM rgsd");
        line.mend();
        first.eventually("it stands by", is(Role::StandBy)).await;
        let refused = |status: &Status| status.problem.as_ref().is_some_and(|problem| problem.contains("archive"));
        first.eventually("it cannot offer", refused).await;
        assert!(is(Role::StandBy)(&first.status()));
        database.sql("GRANT INSERT ON rgsd.offered TO rgsd");
        let fee_is_known = || async {
            let entries = archive(&database).await;
            let update = |event: &Event| format!("{event:?}");
            let told = world.network.channels()[channel].timestamps[0];
            entries.iter().any(|entry| update(&entry.event).contains(&format!("/0 at {told})")))
        };
        crate::support::eventually_told("what it offered is journaled", String::new, async || fee_is_known().await)
            .await;
        second.next_epoch().await;
        second.tells(&world.truth()).await;
        second.eventually("all is shipped", is_caught_up).await;
        let last = second.status().journal.last_seq;
        first.eventually("it follows", |status| status.journal.last_seq == last).await;
        first.stop().await;
        second.stop().await;
        let all = archive(&database).await;
        assert_eq!(journal(world.data_dir()), all);
        assert_eq!(journal(&beside(&config, "second").data_dir), all);
        let stamps: Vec<u32> = all.iter().filter_map(|entry| stamp(&entry.event)).collect();
        assert!(!stamps.contains(&lost) && stamps.windows(2).all(|pair| pair[0] < pair[1]), "{lost} in {stamps:?}");
    });
}

fn stamp(event: &Event) -> Option<u32> {
    match event {
        Event::Epoch { timestamp, .. } => Some(*timestamp),
        Event::Fact(_) => None,
    }
}

/// The sentence with which a configuration is refused at the start.
async fn refusal(world: &World, config: Config) -> String {
    let tasks = Tasks::new(CancellationToken::new());
    let refused = Service::start(config, world.clock.clone() as _, tasks).await.err().expect("refused");
    let sentence = format!("{refused:#}");
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

#[test]
fn what_does_not_go_together_is_refused() {
    story(async {
        let world = World::new(10).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let database = Cluster::shared().database();
        let config = archived(world.config([&peer]), &database.url);
        Running::start(&world, config.clone()).await.stop().await;
        let alone = Config { database: None, ..beside(&config, "other") };
        Running::start(&world, alone.clone()).await.stop().await;
        let wrong = Config { database: config.database.clone(), ..alone };
        let sentence = refusal(&world, wrong).await;
        assert!(sentence.contains("the archive holds the journal") && sentence.contains("data_dir"), "{sentence}");

        let copy = beside(&config, "copy");
        Running::start(&world, copy.clone()).await.stop().await;
        let sentence = refusal(&world, Config { database: None, ..copy }).await;
        assert!(sentence.contains("set database.url"), "{sentence}");

        let own = replica(&config);
        let sentence = refusal(&world, Config { data_dir: config.data_dir, ..own }).await;
        assert!(sentence.contains("start it without replica"), "{sentence}");
    });
}
