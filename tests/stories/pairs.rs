//! Two collectors on one archive, the real binary twice: whichever dies, and whenever, the archive goes on in one
//! order, without a gap and without anything twice.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;
use rgsd::gossip::{Clock, SystemClock};
use rgsd::journal::{Entry, Event};
use rgsd::snapshot::Version;
use serde_json::Value;

use crate::postgres::{Cluster, Database, Pgbouncer};
use crate::support::archive::{archive, journal};
use crate::support::{Process, Wallet, World, eventually_told, soak, status, story};

/// How often something happens on the network.
const BEAT: Duration = Duration::from_millis(25);

#[test]
fn whichever_collector_dies_the_archive_goes_on_in_one_order() {
    story(async {
        let database = Cluster::shared().database();
        let url = database.url.clone();
        tell(database, &url, if soak() { 20 } else { 4 }).await;
    });
}

#[test]
fn the_same_by_way_of_pgbouncer() {
    story(async {
        let cluster = Cluster::shared();
        let pgbouncer = Pgbouncer::start(cluster, true);
        let database = cluster.database();
        let url = pgbouncer.url(&database);
        tell(database, &url, if soak() { 20 } else { 2 }).await;
    });
}

async fn tell(database: Database, url: &str, blows: usize) {
    let mut world = World::new(300).await;
    let store = world.store();
    let peers = [world.peer(0, &store).await, world.peer(1, &store).await];
    let lines = format!("database.url = {url:?}\ndatabase.lease = \"2s\"\ndatabase.timeout = \"1s\"\n");
    let folders = ["one", "two"].map(|name| world.data_dir().join(name));
    let configs = folders.clone().map(|folder| world.config_file_in(&folder, "10s", &peers, &lines));
    let mut pair = Pair::start(configs).await;
    {
        let traffic = async {
            loop {
                tokio::time::sleep(BEAT).await;
                store.append(world.network.next_update(SystemClock.now()));
            }
        };
        tokio::select! {
            () = traffic => {}
            () = pair.suffer(blows) => {}
        }
    }
    let writer = pair.settles().await;
    let truth = world.truth();
    let url = pair.collectors[writer].url().await;
    let told = async || Wallet::read(&fetch(&url).await, Version::V2).difference(&truth).is_none();
    eventually_told("wallets know everything", || pair.said(), told).await;
    pair.stop(writer).await;

    let entries = archive(&database).await;
    assert_one_order(&entries);
    assert_terms(&database);
    assert!(journal(&folders[writer]) == entries, "the writer's journal differs from the archive");
    let follower = journal(&folders[1 - writer]);
    assert!(follower == entries[..follower.len()], "the follower's journal differs from the archive");
}

async fn fetch(url: &str) -> Vec<u8> {
    let answer = reqwest::get(format!("{url}/v2/snapshot/0")).await.expect("an answer");
    answer.bytes().await.expect("a whole body").into()
}

/// Numbers without gaps, no message twice, and time that goes forward.
fn assert_one_order(entries: &[Entry]) {
    assert!((1..).zip(entries).all(|(n, entry)| entry.seq.0 == n), "a gap");
    let mut messages = HashSet::new();
    let mut last_epoch = 0;
    for Entry { seq, event, .. } in entries {
        let message = match event {
            Event::Fact(fact) => fact.message(),
            Event::Epoch { timestamp, .. } => {
                assert!(*timestamp > last_epoch, "{timestamp} after {last_epoch}");
                last_epoch = *timestamp;
                None
            }
        };
        let again = message.is_some_and(|message| !messages.insert(message.to_vec()));
        assert!(!again, "entry {} is there twice: {event:?}", seq.0);
    }
}

/// Terms follow one another, each stamping epochs otherwise than the last.
fn assert_terms(database: &Database) {
    let rows = database.rows("SELECT term, after_seq, epoch_offset_s FROM rgsd.term ORDER BY term");
    let terms: Vec<Vec<u64>> =
        rows.iter().map(|row| row.iter().map(|field| field.parse().expect("a number")).collect()).collect();
    assert!((1..).zip(&terms).all(|(n, term)| term[0] == n), "{terms:?}");
    let other = |pair: &[Vec<u64>]| pair[0][1] <= pair[1][1] && pair[0][2] % 10 != pair[1][2] % 10;
    assert!(terms.windows(2).all(other), "{terms:?}");
}

struct Pair {
    configs: [PathBuf; 2],
    collectors: [Process; 2],
}

impl Pair {
    /// Starts one, and the other when there is something to stand by for.
    async fn start(configs: [PathBuf; 2]) -> Self {
        let first = Process::serve(&configs[0]);
        first.url().await;
        let second = Process::serve(&configs[1]);
        second.url().await;
        Self { configs, collectors: [first, second] }
    }

    fn said(&self) -> String {
        format!("ONE\n{}\nTWO\n{}", self.collectors[0].said(), self.collectors[1].said())
    }

    /// Takes so many blows: either is killed, or stands still for longer than the lease, at any moment.
    async fn suffer(&mut self, blows: usize) {
        for blow in 0..blows {
            a_moment(500..3_500).await;
            let victim = rand::rng().random_range(0..2);
            if blow % 3 == 2 {
                self.collectors[victim].signal("STOP");
                a_moment(2_500..4_500).await;
                self.collectors[victim].signal("CONT");
                continue;
            }
            self.collectors[victim].signal("KILL");
            self.collectors[victim].ended().await;
            a_moment(0..4_000).await;
            self.collectors[victim] = Process::serve(&self.configs[victim]);
        }
    }

    async fn statuses(&self) -> [Value; 2] {
        [status(&self.collectors[0].url().await).await, status(&self.collectors[1].url().await).await]
    }

    /// Waits until one of them writes, the other stands by, and both have everything. Returns which one writes.
    async fn settles(&self) -> usize {
        let mut writer = 0;
        let settled = async || {
            let both = self.statuses().await;
            let is = |role: &str| both.iter().position(|status| status["archive"]["role"] == role);
            writer = is("writer").unwrap_or(0);
            let well = |status: &Value| {
                let archive = &status["archive"];
                archive["connected"] == true
                    && archive["lag_entries"] == 0
                    && status["ready"] == true
                    && status["problem"].is_null()
            };
            let same = both[0]["journal"] == both[1]["journal"];
            is("writer").is_some() && is("stand-by").is_some() && same && both.iter().all(well)
        };
        eventually_told("one writes and the other follows", || self.said(), settled).await;
        writer
    }

    /// Stops the one that follows first, so that nobody takes over.
    async fn stop(&mut self, writer: usize) {
        for each in [1 - writer, writer] {
            self.collectors[each].signal("TERM");
            let (_, ended) = self.collectors[each].ended().await;
            assert!(ended.success(), "{}", self.collectors[each].said());
        }
    }
}

async fn a_moment(ms: std::ops::Range<u64>) {
    let ms = rand::rng().random_range(ms);
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
