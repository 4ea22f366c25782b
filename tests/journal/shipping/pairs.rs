//! Two collectors on one archive, either of which is killed or stopped at any moment: there is one writer at a time and
//! one order, nothing is lost or doubled, and what is in the archive is never changed or removed.
//!
//! Each collector is this test binary, started again.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rgsd::gossip::{Clock, SystemClock};
use rgsd::journal::Entry;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use tokio::time::sleep;

use super::collector::{Collector, RATE, number, sent};
use super::props::{archived, assert_same, blocking, eventually, journaled, seeded, soak, stamps};
use crate::postgres::{Cluster, Database, Options, Pgbouncer, signal};

const DATA_DIR: &str = "RGSD_TEST_PAIR_DATA_DIR";
const URL: &str = "RGSD_TEST_PAIR_URL";
const FIRST_MS: &str = "RGSD_TEST_PAIR_FIRST_MS";
/// Beside the data directories; see [`Collector::end`].
const END: &str = "end";

fn lease() -> Duration {
    if soak() { Duration::from_secs(15) } else { Duration::from_millis(1_500) }
}

/// Collects until it is killed. Does nothing unless it was started as one of a pair.
#[tokio::test]
async fn one() {
    let (Some(data_dir), Ok(url), Ok(first_ms)) = (env::var_os(DATA_DIR), env::var(URL), env::var(FIRST_MS)) else {
        return;
    };
    // Into the file that the parent made.
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let data_dir = PathBuf::from(data_dir);
    let end = data_dir.with_file_name(END);
    let (lease, timeout) = (lease(), lease() / 2);
    Collector { data_dir, url, lease, timeout, first_ms: first_ms.parse().expect("a number"), end }.live().await
}

/// One of a pair, which starts again whenever it is told to.
struct Member {
    data_dir: PathBuf,
    url: String,
    first_ms: u64,
    process: Option<Child>,
}

impl Member {
    fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let child = Command::new(env::current_exe().expect("this binary"))
            .args(["--exact", "shipping::pairs::one", "--nocapture"])
            .env(DATA_DIR, &self.data_dir)
            .env(URL, &self.url)
            .env(FIRST_MS, self.first_ms.to_string())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("started");
        assert!(self.process.replace(child).is_none(), "it was killed before");
    }

    fn log(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }

    fn signal(&self, name: &str) {
        signal(name, &[self.process.as_ref().expect("it runs").id()]);
    }

    fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let ended = process.try_wait().expect("a child");
        assert_eq!(ended, None, "it died by itself: {}", fs::read_to_string(self.log()).unwrap_or_default());
        process.kill().expect("killed");
        process.wait().expect("waited");
    }

    /// One number or word out of the journal's file; none while that is not there.
    fn ask(&self, sql: &str) -> Option<String> {
        let file = self.data_dir.join("journal.sqlite");
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        connection.query_row(sql, [], |row| row.get(0)).ok()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The pair, its archive, and what that had so far.
struct Pair {
    dir: TempDir,
    database: Database,
    members: [Member; 2],
    first_ms: u64,
    seen: Vec<Entry>,
}

impl Pair {
    /// Starts both on an empty archive at once. `url` is their way to it.
    fn start(database: Database, url: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let first_ms = SystemClock.now().0;
        let member = |name| {
            let data_dir = dir.path().join(name);
            let mut member = Member { data_dir, url: url.to_owned(), first_ms, process: None };
            member.start();
            member
        };
        let members = ["a", "b"].map(member);
        Self { dir, database, members, first_ms, seen: Vec::new() }
    }

    fn term(&self) -> u64 {
        self.database.value("SELECT term FROM rgsd.archive").parse().expect("a number")
    }

    fn last_seq(&self) -> String {
        self.database.value("SELECT last_seq::text FROM rgsd.archive")
    }

    /// The one that holds the lease.
    fn writer(&mut self) -> &mut Member {
        let holder = self.database.value("SELECT upper(encode(holder, 'hex')) FROM rgsd.archive");
        let id = |member: &&mut Member| member.ask("SELECT hex(collector) FROM meta").is_some_and(|id| id == holder);
        self.members.iter_mut().find(id).expect("one of them")
    }

    async fn founded(&self) {
        let founded = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('rgsd.archive')";
        eventually("the tables are there", || self.database.value(founded) == "1").await;
        eventually("it is founded", || self.database.value("SELECT count(*) FROM rgsd.archive") == "1").await;
        let know = || self.members.iter().all(|member| member.ask("SELECT hex(collector) FROM meta").is_some());
        eventually("both know who they are", know).await;
        self.goes_on().await;
    }

    /// Waits until entries come to the archive.
    async fn goes_on(&self) {
        let before = self.last_seq();
        eventually("entries come", || self.last_seq() != before).await;
    }

    async fn taken_over(&self, before: u64) {
        eventually("the other has taken over", || self.term() > before).await;
    }

    /// What was in the archive is there still.
    async fn check_nothing_changed(&mut self) {
        let now = archived(&self.database.url).await;
        assert!(now.len() >= self.seen.len(), "entries are gone");
        assert_same("what was there", &now[..self.seen.len()], &self.seen);
        self.seen = now;
    }

    /// The writer is killed, and comes back when the other one writes.
    async fn kill_the_writer(&mut self) {
        let term = self.term();
        self.writer().kill();
        self.taken_over(term).await;
        self.restart();
    }

    /// The writer stands still, in whatever it does, until the other one writes.
    async fn stop_the_writer(&mut self) {
        let term = self.term();
        let place = self.writer().data_dir.clone();
        let member =
            |pair: &mut Self| pair.members.iter().position(|member| member.data_dir == place).expect("there");
        let stopped = member(self);
        self.members[stopped].signal("STOP");
        self.taken_over(term).await;
        self.members[stopped].signal("CONT");
    }

    fn restart(&mut self) {
        self.members.iter_mut().filter(|member| member.process.is_none()).for_each(Member::start);
    }

    /// No more messages: both end with what the archive has.
    async fn end(mut self) {
        let count = sent(self.first_ms) + RATE;
        let end = self.dir.path().join(END);
        fs::write(end.with_extension("new"), count.to_string()).expect("written");
        fs::rename(end.with_extension("new"), end).expect("renamed"); // so that nobody reads a part of it
        let all = "SELECT count(*) FROM rgsd.entry WHERE kind = 0";
        eventually("every message is there", || {
            let found: u64 = self.database.value(all).parse().expect("a number");
            assert!(found <= count, "more messages than there were");
            found == count
        })
        .await;
        eventually("nothing is on offer", || self.database.value("SELECT count(*) FROM rgsd.offered") == "0").await;
        let last_seq = |member: &Member| member.ask("SELECT max(seq) || '' FROM entry");
        eventually("both have it", || self.members.iter().all(|member| last_seq(member) == Some(self.last_seq())))
            .await;
        self.members.iter_mut().for_each(Member::kill);
        let logs = self.members.each_ref().map(|member| fs::read_to_string(member.log()).expect("a log")).concat();
        let overtaken = logs.contains("another collector had taken over");
        assert_eq!(overtaken, self.term() > 1, "whether an overtaken writer came back: {logs}");
        self.check_nothing_changed().await;
        check(&self.seen, count, &self.database);
        for member in &self.members {
            assert_same("each has what the archive has", &journaled(&member.data_dir), &self.seen);
        }
    }
}

fn check(entries: &[Entry], count: u64, database: &Database) {
    let gapless = (1..).zip(entries).all(|(seq, entry)| entry.seq.0 == seq);
    assert!(gapless, "a gap");
    let mut numbers: Vec<u64> = entries.iter().filter_map(number).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..count), "each message once");
    let terms = database.rows("SELECT term, after_seq, epoch_offset_s FROM rgsd.term ORDER BY term");
    let terms: Vec<[u64; 3]> =
        terms.iter().map(|row| [0, 1, 2].map(|column| row[column].parse().expect("a number"))).collect();
    assert!((1..).zip(&terms).all(|(term, row)| row[0] == term), "{terms:?}");
    assert_eq!(terms[0][1], 0, "{terms:?}");
    for pair in terms.windows(2) {
        assert!(pair[0][1] <= pair[1][1] && pair[0][2] % 10 != pair[1][2] % 10, "{terms:?}");
    }
    let stamps = stamps(entries);
    assert!(stamps.windows(2).all(|pair| pair[0].1 < pair[1].1), "{stamps:?}");
    for (seq, stamp) in &stamps {
        let [_, _, offset] = terms.iter().rev().find(|term| term[1] < seq.0).expect("the first begins at 0");
        assert_eq!(u64::from(*stamp) % 10, offset % 10, "the epoch {stamp} at {seq:?} in {terms:?}");
    }
}

#[tokio::test]
async fn one_order_whoever_is_killed() {
    let database = Cluster::shared().database();
    let url = database.url.clone();
    let mut pair = Pair::start(database, &url);
    pair.founded().await;
    let mut rng = seeded(12);
    for round in 0..if soak() { 20 } else { 5 } {
        match round % 3 {
            0 => pair.kill_the_writer().await,
            1 => pair.stop_the_writer().await,
            _ => {
                pair.members[rng.random_range(0..2)].kill();
                sleep(lease().mul_f64(rng.random_range(0.0..1.5))).await;
                pair.restart();
            }
        }
        pair.goes_on().await;
        pair.check_nothing_changed().await;
        sleep(lease().mul_f64(rng.random_range(0.0..0.7))).await;
    }
    assert!(pair.term() > 2);
    pair.end().await;
}

#[tokio::test]
async fn one_order_behind_pgbouncer() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let bouncer = Pgbouncer::start(cluster, false);
    let mut pair = Pair::start(database.clone(), &bouncer.url(&database));
    pair.founded().await;
    pair.stop_the_writer().await;
    pair.goes_on().await;
    pair.check_nothing_changed().await;
    pair.kill_the_writer().await;
    pair.goes_on().await;
    pair.check_nothing_changed().await;
    pair.end().await;
}

/// Longer than it takes a stand-by to take over, and the back-off to grow beyond that.
fn outage() -> Duration {
    lease() * 3
}

#[tokio::test]
async fn an_outage_for_both_changes_no_writer() {
    let cluster = Arc::new(Cluster::start(Options::default()));
    let database = cluster.database();
    let mut pair = Pair::start(database.clone(), &database.url);
    pair.founded().await;
    let broken = Arc::clone(&cluster);
    blocking(move || broken.stop_immediate()).await;
    sleep(outage()).await;
    let mended = Arc::clone(&cluster);
    blocking(move || mended.start_again()).await;
    pair.goes_on().await;
    pair.check_nothing_changed().await;
    assert_eq!(pair.term(), 1, "the writer was alive");
    pair.end().await;
}

#[tokio::test]
async fn a_writer_that_cannot_ship_is_alive_all_the_same() {
    let database = Cluster::shared().database();
    let pair = Pair::start(database.clone(), &database.url);
    pair.founded().await;
    database.sql("REVOKE INSERT ON rgsd.entry FROM rgsd");
    sleep(outage()).await;
    assert_eq!(pair.term(), 1, "the other one could do no better");
    database.sql("GRANT INSERT ON rgsd.entry TO rgsd");
    pair.goes_on().await;
    assert_eq!(pair.term(), 1, "the writer was alive");
    pair.end().await;
}
