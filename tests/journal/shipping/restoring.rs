//! What a data directory and an archive are to each other at start: restored, caught up, or refused in a sentence.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::Network;
use rgsd::journal::lease::Misfit;
use rgsd::journal::link::{Link, Role};
use rgsd::journal::settle::Settled;
use rgsd::journal::{Attachment, Draft, Identity, Journal, Seq, Term};
use tempfile::TempDir;

use super::line::Line;
use super::props::{
    Shipping, archive, archived, assert_same, connector, eventually, journaled, nth, open, settle, settle_on, story,
    times,
};
use crate::entries;
use crate::postgres::{Cluster, Database};

/// Long enough for every operation on a busy machine; where nothing answers, nothing waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where collectors live.
struct Homes(TempDir);

impl Homes {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn home(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A copy of a data directory whose collector has ended.
    fn copy(&self, of: &str, name: &str) -> PathBuf {
        fs::create_dir(self.home(name)).expect("a new directory");
        for file in fs::read_dir(self.home(of)).expect("a directory").flatten() {
            fs::copy(file.path(), self.home(name).join(file.file_name())).expect("copied");
        }
        self.home(name)
    }
}

/// The writer journals the story up to entry `to`, and ships it.
async fn write(data_dir: &Path, url: &str, to: u64) {
    let shipping = Shipping::start(data_dir, url, times()).await;
    let last = shipping.status.borrow().last_seq.0;
    for n in last + 1..=to {
        shipping.drafts.send(nth(n)).await.expect("the journal takes it");
    }
    eventually("it is shipped", || shipping.health.borrow().last_seq == Some(Seq(to))).await;
    shipping.stop().await;
}

fn link(url: &str) -> Link {
    Link::new(connector(url, TIMEOUT), 2 * TIMEOUT, Role::Writer)
}

async fn settled(data_dir: &Path, url: &str) -> Settled {
    settle(data_dir, &mut link(url), false).await.unwrap_or_else(|why| panic!("refused: {why:#}"))
}

async fn refused(data_dir: &Path, url: &str) -> Misfit {
    misfit(settle(data_dir, &mut link(url), false).await)
}

fn misfit(outcome: anyhow::Result<Settled>) -> Misfit {
    outcome.map(|settled| settled.role).expect_err("refused").downcast().expect("a misfit")
}

/// Puts an archive's present state by, as another database.
fn back_up(cluster: &Cluster, database: &Database, name: &str) -> String {
    let copy = format!("{}_{name}", database.name);
    cluster
        .sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name));
    cluster.sql(&format!("CREATE DATABASE {copy} OWNER rgsd TEMPLATE {}", database.name));
    database.url.replace(&format!("/{}?", database.name), &format!("/{copy}?"))
}

#[tokio::test]
async fn an_empty_directory_is_filled() {
    let (homes, database) = (Homes::new(), Cluster::shared().database());
    write(&homes.home("a"), &database.url, 3_000).await;
    let restored = settled(&homes.home("b"), &database.url).await;
    assert_eq!(restored.role, Role::StandBy);
    let first = open(&homes.home("a")).identity();
    let identity = restored.journal.identity();
    assert_eq!((identity.journal, identity.attachment), (first.journal, Attachment::Following));
    assert_ne!(identity.collector, first.collector);
    assert_same("restored", &entries(&restored.journal, 0), &story(1, 3_000));
}

#[tokio::test]
async fn what_is_behind_catches_up() {
    let (homes, database) = (Homes::new(), Cluster::shared().database());
    write(&homes.home("a"), &database.url, 1_000).await;
    let older = homes.copy("a", "older");
    drop(settled(&homes.home("b"), &database.url).await);
    write(&homes.home("a"), &database.url, 3_000).await;
    for (home, role) in [(older, Role::Writer), (homes.home("b"), Role::StandBy)] {
        let behind = settled(&home, &database.url).await;
        assert_eq!(behind.role, role);
        assert_same("caught up", &entries(&behind.journal, 0), &story(1, 3_000));
    }
}

#[tokio::test]
async fn a_copy_that_went_its_own_way_is_refused() {
    let (homes, database) = (Homes::new(), Cluster::shared().database());
    write(&homes.home("a"), &database.url, 1_000).await;
    let (short, long) = (homes.copy("a", "short"), homes.copy("a", "long"));
    write(&homes.home("a"), &database.url, 2_000).await;
    // The same numbers, and other entries: shorter than the archive, and longer.
    for (home, count) in [(&short, 500), (&long, 1_500)] {
        let own: Vec<Draft> = (10_001..=10_000 + count).map(nth).collect();
        open(home).append(&own).expect("room");
        let last = 1_000 + count.min(1_000);
        assert_eq!(refused(home, &database.url).await, Misfit::Differs(last));
        assert_eq!(journaled(home).len() as u64, 1_000 + count, "nothing was cut off");
    }
    assert_same("the archive", &archived(&database.url).await, &story(1, 2_000));
}

#[tokio::test]
async fn who_does_not_belong_is_refused() {
    let (homes, database) = (Homes::new(), Cluster::shared().database());
    let other = Cluster::shared().database();
    write(&homes.home("a"), &database.url, 100).await;
    write(&homes.home("other"), &other.url, 100).await;
    assert!(matches!(refused(&homes.home("other"), &database.url).await, Misfit::OtherJournal { .. }));
    let signet = settle_on(&homes.home("new"), &mut link(&database.url), false, Network::Signet, &mut || {}).await;
    assert!(matches!(misfit(signet), Misfit::OtherNetwork { local: Network::Signet, .. }));
    let replica = settle(&homes.home("a"), &mut link(&database.url), true).await;
    assert_eq!(misfit(replica), Misfit::NoReplica);
    let replica = settle(&homes.home("replica"), &mut link(&database.url), true).await.expect("a replica");
    assert_eq!((replica.role, replica.journal.last_seq()), (Role::Replica, Seq(100)));
}

#[tokio::test]
async fn an_archive_from_an_older_back_up() {
    // On a cluster that nobody else connects to while a database is copied.
    let cluster = Cluster::start(Default::default());
    let (homes, database) = (Homes::new(), cluster.database());
    write(&homes.home("a"), &database.url, 500).await;
    let older = back_up(&cluster, &database, "first");
    write(&homes.home("a"), &database.url, 1_000).await;
    drop(settled(&homes.home("b"), &database.url).await);
    // Whose copy is longer than the archive waits; the writer has all that the archive lost, and fills it up.
    let waiting = settled(&homes.home("b"), &older).await;
    assert_eq!((waiting.role, waiting.journal.last_seq()), (Role::StandBy, Seq(1_000)));
    drop(waiting);
    write(&homes.home("a"), &older, 1_500).await;
    assert_same("filled up", &archived(&older).await, &story(1, 1_500));

    // From before its term began: another may have written since.
    let older = back_up(&cluster, &database, "second");
    let settled_b = settled(&homes.home("b"), &database.url).await;
    let (collector, mut journal) = (settled_b.journal.identity().collector, settled_b.journal);
    let (mut taken, _wire) = archive(&database.url).await;
    let row = taken.look().await.expect("answers").expect("founded");
    let row = taken.take_over(&row, collector, 13, TIMEOUT).await.expect("answers").expect("nobody renews");
    let identity = Identity { attachment: Attachment::Writing(row.term), epoch_offset_s: 13, ..journal.identity() };
    journal.identify(identity).expect("room");
    drop(journal);
    assert_eq!(row.term, Term(2));
    assert_eq!(refused(&homes.home("b"), &older).await, Misfit::ArchiveIsOlder { local: 1_000 });
}

#[tokio::test]
async fn without_the_archive_a_journal_knows_what_it_is() {
    let (homes, database) = (Homes::new(), Cluster::shared().database());
    write(&homes.home("writer"), &database.url, 100).await;
    drop(settled(&homes.home("standby"), &database.url).await);
    let nowhere = Line::closed().url(&database.url, Cluster::shared().port());
    for (home, replica, role) in
        [("writer", false, Role::Writer), ("standby", false, Role::StandBy), ("standby", true, Role::Replica)]
    {
        let mut link = link(&nowhere);
        let alone = settle(&homes.home(home), &mut link, replica).await.expect("a journal will do");
        assert_eq!((alone.role, alone.journal.last_seq()), (role, Seq(100)));
        let health = link.health().borrow().clone();
        assert!(!health.connected && health.trouble.is_some(), "{health:?}");
    }
}

#[tokio::test]
async fn an_empty_directory_waits_for_the_archive() {
    let (homes, cluster) = (Homes::new(), Cluster::shared());
    let database = cluster.database();
    write(&homes.home("a"), &database.url, 100).await;
    let line = Line::closed();
    let mut link = link(&line.url(&database.url, cluster.port()));
    let (told, mut waits) = tokio::sync::mpsc::unbounded_channel();
    let mut tell = move || told.send(()).expect("the test listens");
    let home = homes.home("b");
    let settling = settle_on(&home, &mut link, false, Network::Regtest, &mut tell);
    let opening = async {
        waits.recv().await.expect("it waits");
        waits.recv().await.expect("it goes on waiting");
        line.open(cluster.port());
    };
    let (settled, ()) = tokio::join!(settling, opening);
    assert_same("restored", &entries(&settled.expect("restored").journal, 0), &story(1, 100));
}

#[tokio::test]
async fn of_two_that_found_an_archive_one_does() {
    for _ in 0..5 {
        let (homes, database) = (Homes::new(), Cluster::shared().database());
        let (a, b) = (homes.home("a"), homes.home("b"));
        let (a, b) = tokio::join!(settled(&a, &database.url), settled(&b, &database.url));
        let mut roles = [a.role, b.role];
        roles.sort_by_key(|role| *role != Role::Writer);
        assert_eq!(roles, [Role::Writer, Role::StandBy]);
        let (a, b) = (a.journal.identity(), b.journal.identity());
        assert_eq!(a.journal, b.journal);
        assert_ne!(a.collector, b.collector);
        assert_eq!(database.value("SELECT count(*) FROM rgsd.term"), "1");
    }
}
