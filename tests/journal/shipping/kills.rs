//! `kill -9` of a collector that ships, at any moment: the archive ends as its journal.
//!
//! The victim is this test binary, started again.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::RngExt;
use rgsd::journal::Seq;
use tempfile::TempDir;

use super::props::{Shipping, Steady, archived, assert_same, eventually, journaled, seeded, soak, story, times};
use crate::postgres::Cluster;

const DATA_DIR: &str = "RGSD_TEST_SHIP_DATA_DIR";
const URL: &str = "RGSD_TEST_SHIP_URL";

/// Writes and ships until it is killed. Does nothing unless it was started as a victim.
#[tokio::test]
async fn victim() {
    let (Some(data_dir), Ok(url)) = (env::var_os(DATA_DIR), env::var(URL)) else { return };
    let shipping = Shipping::start(Path::new(&data_dir), &url, times()).await;
    let last = shipping.status.borrow().last_seq.0;
    let _steady = Steady::start(&shipping, last);
    eventually("something is shipped", || shipping.health.borrow().last_seq > Some(Seq(last))).await;
    // Past the test harness, which holds back what a test prints.
    writeln!(std::io::stderr(), "shipping").expect("the parent listens");
    std::future::pending().await
}

/// Starts a victim and kills it: at a random moment after it has shipped something, or at any.
fn start_and_kill(data_dir: &Path, url: &str, after_shipping: bool, wait: Duration) {
    let mut child = Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", "shipping::kills::victim", "--nocapture"])
        .env(DATA_DIR, data_dir)
        .env(URL, url)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    if after_shipping {
        assert!(lines.any(|line| line == "shipping"), "the victim died by itself");
    }
    std::thread::sleep(wait);
    child.kill().expect("killed");
    child.wait().expect("waited");
}

#[tokio::test]
async fn a_kill_loses_and_doubles_nothing() {
    let database = Cluster::shared().database();
    let dir = TempDir::new().expect("a temporary directory");
    let data_dir = dir.path().join("data");
    let mut rng = seeded(11);
    for n in 0..if soak() { 50 } else { 6 } {
        let wait = Duration::from_millis(rng.random_range(0..500));
        start_and_kill(&data_dir, &database.url, n % 3 != 2, wait);
    }
    let shipping = Shipping::start(&data_dir, &database.url, times()).await;
    shipping.caught_up().await;
    shipping.stop().await;
    let journal = journaled(&data_dir);
    assert_same("the journal has what was accepted", &journal, &story(1, journal.len() as u64));
    assert_same("the archive has what the journal has", &archived(&database.url).await, &journal);
    assert!(journal.len() > 500, "only {} entries", journal.len());
}
