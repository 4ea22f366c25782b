//! PostgreSQL goes away in every way there is, under a steady 1,000 entries a second: the journal never stops, and
//! afterwards the archive is equal to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rgsd::journal::postgres::Shipped;
use rgsd::journal::{Seq, Term};
use tempfile::TempDir;
use tracing::subscriber::DefaultGuard;

use super::line::{Line, Mood};
use super::props::{
    Log, Shipping, Steady, archive, archived, assert_same, blocking, eventually, eventually_told, journaled, nth,
    soak, story, times,
};
use crate::postgres::{Cluster, Database, Options, Pgbouncer};

const GONE: &str = "the archive cannot be used";
const BACK: &str = "the archive is back";
/// How long a draft may take to be durable, or an outage to be noticed, on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(15);

/// A collector under load.
struct Scene {
    dir: TempDir,
    /// Not by way of anything that the story breaks.
    url: String,
    shipping: Shipping,
    steady: Steady,
    log: Log,
    _captured: DefaultGuard,
}

impl Scene {
    /// Begins, and waits until the archive keeps up. `url` is the collector's way to the database.
    async fn begin(database: &Database, url: &str) -> Self {
        let (log, captured) = Log::capture();
        let dir = TempDir::new().expect("a temporary directory");
        let shipping = Shipping::start(&dir.path().join("data"), url, times()).await;
        let steady = Steady::start(&shipping, 0);
        eventually("the first entries are there", || shipping.status.borrow().last_seq > Seq(100)).await;
        shipping.caught_up().await;
        let said = log.take();
        assert!(!said.iter().any(|line| line.contains("WARN")), "{said:?}");
        Self { dir, url: database.url.clone(), shipping, steady, log, _captured: captured }
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// The archive is gone, for as long as it takes the journal to grow by `entries`; what is told is true.
    async fn gone_for(&self, entries: u64) {
        let health = &self.shipping.health;
        eventually("it is noticed", || !health.borrow().connected).await;
        let before = self.shipping.status.borrow().last_seq.0;
        let grown = || self.shipping.status.borrow().last_seq.0 >= before + entries;
        eventually("the journal goes on", grown).await;
        let health = health.borrow().clone();
        assert!(!health.connected && health.trouble.is_some() && health.term.is_some(), "{health:?}");
        let shipped = health.last_seq.expect("known");
        assert!(shipped.0 <= before, "{health:?}");
        assert_eq!(health.waiting_since, Some(nth(shipped.0 + 1).seen), "{health:?}");
    }

    /// The archive is back, and has all; the log has said each thing once.
    async fn is_back(&self) {
        self.shipping.caught_up().await;
        self.has_said(1);
    }

    /// The log has told of so many outages, and of nothing else that is amiss.
    fn has_said(&self, outages: usize) {
        let said = self.log.take();
        let count = |what: &str| said.iter().filter(|line| line.contains(what)).count();
        assert_eq!((count(GONE), count(BACK)), (outages, outages), "{said:#?}");
        let amiss = said.iter().filter(|line| !line.contains(" INFO ")).count();
        assert_eq!(amiss, outages, "{said:#?}");
    }

    /// Ends the stream; everything is in the journal, and in the archive.
    async fn end(self) {
        let data_dir = self.data_dir();
        let (last, slowest) = self.steady.end().await;
        assert!(slowest < WITHIN, "a draft took {slowest:?}");
        eventually("nothing waits", || {
            let health = self.shipping.health.borrow();
            health.connected && health.last_seq == Some(Seq(last)) && health.waiting_since.is_none()
        })
        .await;
        self.shipping.stop().await;
        check(&data_dir, &self.url, last).await;
    }
}

async fn check(data_dir: &Path, url: &str, last: u64) {
    let journal = journaled(data_dir);
    assert_same("the journal has what was accepted", &journal, &story(1, last));
    assert_same("the archive has what the journal has", &archived(url).await, &journal);
}

/// How many entries an outage lasts, at 1,000 a second.
fn length(soaking_s: u64) -> u64 {
    if soak() { soaking_s * 1_000 } else { 1_500 }
}

/// How often it goes away.
fn times_over() -> u32 {
    if soak() { 3 } else { 1 }
}

#[tokio::test]
async fn stopped() {
    let cluster = Arc::new(Cluster::start(Options::default()));
    let database = cluster.database();
    let scene = Scene::begin(&database, &database.url).await;
    for _ in 0..times_over() {
        let broken = Arc::clone(&cluster);
        blocking(move || broken.stop_immediate()).await;
        scene.gone_for(length(60)).await;
        let mended = Arc::clone(&cluster);
        blocking(move || mended.start_again()).await;
        scene.is_back().await;
    }
    scene.end().await;
}

#[tokio::test]
async fn frozen() {
    let cluster = Arc::new(Cluster::start(Options::default()));
    let database = cluster.database();
    let scene = Scene::begin(&database, &database.url).await;
    for _ in 0..times_over() {
        let broken = Arc::clone(&cluster);
        blocking(move || broken.freeze()).await;
        scene.gone_for(length(30)).await;
        let mended = Arc::clone(&cluster);
        blocking(move || mended.thaw()).await;
        scene.is_back().await;
    }
    scene.end().await;
}

/// Makes every COPY take its time, so that there is something to hit.
const SLOW: &str = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.seq % 20 = 0 THEN PERFORM pg_sleep(0.005); END IF; RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON rgsd.entry FOR EACH ROW EXECUTE FUNCTION public.slow()";
const COPYING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'rgsd' AND state = 'active' AND query LIKE 'COPY %'";

#[tokio::test]
async fn killed_in_mid_copy() {
    let cluster = Arc::new(Cluster::start(Options::default()));
    let database = cluster.database();
    let scene = Scene::begin(&database, &database.url).await;
    database.sql(SLOW);
    for _ in 0..if soak() { 20 } else { 4 } {
        eventually_told("a batch is under way", async || {
            let database = database.clone();
            blocking(move || database.value(COPYING) != "0").await
        })
        .await;
        let broken = Arc::clone(&cluster);
        assert!(blocking(move || broken.kill_backends("rgsd")).await > 0);
        scene.is_back().await;
    }
    database.sql("DROP TRIGGER slow ON rgsd.entry");
    scene.end().await;
}

#[tokio::test]
async fn a_batch_that_came_through_after_all() {
    let database = Cluster::shared().database();
    let dir = TempDir::new().expect("a temporary directory");
    let shipping = Shipping::start(&dir.path().join("data"), &database.url, times()).await;
    eventually("it is founded", || shipping.health.borrow().connected).await;
    let holder = shipping.identity.collector;
    {
        // What the shipper gave up is in the archive when it has just looked.
        let (mut archive, _wire) = archive(&database.url).await;
        let shipped = archive.ship(Term(1), holder, Seq(0), &story(1, 5)).await.expect("ships");
        assert_eq!(shipped, Shipped::Done);
    }
    for n in 1..=8 {
        shipping.drafts.send(nth(n)).await.expect("the journal takes it");
    }
    eventually("it goes on", || shipping.health.borrow().last_seq == Some(Seq(8))).await;
    shipping.stop().await;
    check(&dir.path().join("data"), &database.url, 8).await;
}

#[tokio::test]
async fn a_commit_of_unknown_fate() {
    let database = Cluster::shared().database();
    let scene = Scene::begin(&database, &database.url).await;
    // One commit takes longer than the shipper waits: it comes through while the next try is under way.
    let late_s = times().1.as_secs_f64() + 0.8;
    database.sql(&format!(
        "CREATE SEQUENCE public.commits;
        GRANT ALL ON public.commits TO rgsd;
        CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF nextval('public.commits') = 1 THEN PERFORM pg_sleep({late_s}); END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON rgsd.archive DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.last_seq > OLD.last_seq) EXECUTE FUNCTION public.late()"
    ));
    scene.gone_for(1).await;
    scene.is_back().await;
    scene.end().await;
}

#[tokio::test]
async fn a_role_that_may_not_write() {
    let database = Cluster::shared().database();
    let scene = Scene::begin(&database, &database.url).await;
    database.sql("REVOKE INSERT ON rgsd.entry FROM rgsd");
    scene.gone_for(length(10)).await;
    let trouble = scene.shipping.health.borrow().trouble.clone().expect("checked");
    assert!(trouble.contains("lacks a right"), "{trouble}");
    database.sql("GRANT INSERT ON rgsd.entry TO rgsd");
    scene.is_back().await;
    scene.end().await;
}

#[tokio::test]
async fn a_role_whose_statements_are_broken_off() {
    let database = Cluster::shared().database();
    let scene = Scene::begin(&database, &database.url).await;
    // Longer than anything else takes, shorter than the slowed COPY of the smallest batch.
    database.sql(
        "CREATE FUNCTION public.stuck() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$;
        CREATE TRIGGER stuck BEFORE INSERT ON rgsd.entry FOR EACH ROW EXECUTE FUNCTION public.stuck()",
    );
    database.sql(&format!("ALTER ROLE rgsd IN DATABASE {} SET statement_timeout = '1s'", database.name));
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'rgsd' AND datname = current_database()",
    );
    scene.gone_for(length(10)).await;
    eventually("the remedy is named", || {
        let health = scene.shipping.health.borrow();
        health.trouble.as_ref().is_some_and(|trouble| trouble.contains("raise statement_timeout"))
    })
    .await;
    database.sql(&format!("ALTER ROLE rgsd IN DATABASE {} RESET statement_timeout", database.name));
    database.sql("DROP TRIGGER stuck ON rgsd.entry");
    scene.is_back().await;
    scene.end().await;
}

#[tokio::test]
async fn a_black_hole() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let line = Line::to(cluster.port());
    let scene = Scene::begin(&database, &line.url(&database.url, cluster.port())).await;
    // In the middle of a batch: the server goes on waiting for the rest, and holds the archive's row meanwhile.
    line.turn(Mood::Armed);
    eventually("it is there", || line.mood() == Mood::Hole).await;
    scene.gone_for(length(20)).await;
    line.turn(Mood::Whole);
    scene.is_back().await;
    line.turn(Mood::Hole);
    let began = Instant::now();
    eventually("it is noticed", || !scene.shipping.health.borrow().connected).await;
    let patience = if soak() { Duration::from_secs(15) } else { WITHIN };
    assert!(began.elapsed() < patience, "noticed after {:?}", began.elapsed());
    scene.gone_for(length(20)).await;
    line.turn(Mood::Whole);
    scene.is_back().await;
    scene.end().await;
}

#[tokio::test]
async fn behind_pgbouncer() {
    let cluster = Arc::new(Cluster::start(Options::default()));
    let database = cluster.database();
    let bouncer = Pgbouncer::start(&cluster, true);
    let scene = Scene::begin(&database, &bouncer.url(&database)).await;
    let broken = Arc::clone(&cluster);
    blocking(move || broken.stop_immediate()).await;
    scene.gone_for(length(20)).await;
    let mended = Arc::clone(&cluster);
    blocking(move || mended.start_again()).await;
    scene.is_back().await;
    scene.end().await;
}
