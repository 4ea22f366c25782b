//! The real binary as a process: killed at any moment, stopped under load, and its demo.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::RngExt;
use rgsd::gossip::{Clock, SystemClock};
use rgsd::journal::{Journal, Reader, Seq, SqliteJournal};
use rgsd::snapshot::Version;
use rgsd::synth::Behaviour;

use crate::support::{Process, Truth, Wallet, World, eventually_told, status, story};

/// A snapshot, once there is one.
async fn snapshot(process: &Process, url: &str) -> Vec<u8> {
    eventually_ready(process, url).await;
    let answer = reqwest::get(format!("{url}/v2/snapshot/0")).await.expect("an answer");
    answer.bytes().await.expect("a whole body").into()
}

async fn eventually_ready(process: &Process, url: &str) {
    let url = format!("{url}/readyz");
    let ready = async || reqwest::get(&url).await.is_ok_and(|answer| answer.status() == 200);
    eventually_told("a snapshot", || process.said(), ready).await;
}

async fn last_seq(url: &str) -> u64 {
    status(url).await["journal"]["last_seq"].as_u64().expect("a number")
}

/// Opens the journal of a service that is gone, and reads all of it; its last entry's number.
fn read_journal(data_dir: &Path) -> u64 {
    let journal = SqliteJournal::open(data_dir, bitcoin::Network::Regtest, SystemClock.now(), &mut rand::rng());
    let journal = journal.expect("the journal is sound");
    let mut expected = 0;
    let read = journal.read(Seq(0), &mut |entry| {
        expected += 1;
        assert_eq!(entry.seq, Seq(expected));
        ControlFlow::Continue(())
    });
    read.expect("every entry can be read");
    assert_eq!(journal.last_seq(), Seq(expected));
    expected
}

fn assert_knows(bytes: &[u8], truth: &Truth) {
    Wallet::read(bytes, Version::V2).assert_knows(truth);
}

/// Runs the service until it has committed something more, after which a moment passes; how far it said it was.
async fn ingest_for_a_moment(config: &Path, committed: u64) -> u64 {
    let process = Process::serve(config);
    let url = process.url().await;
    eventually_told("some progress", || process.said(), async || last_seq(&url).await > committed).await;
    tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..300))).await;
    let seen = last_seq(&url).await;
    process.kill();
    seen
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    story(async {
        let mut world = World::new(250).await;
        let store = world.store();
        let paced = Behaviour { pace: Some(500), ..Behaviour::default() };
        let peer = world.peer_like(0, &store, paced).await;
        let config = world.config_file("1h", [&peer]);
        for _ in 0..3 {
            let process = Process::serve(&config);
            tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..200))).await;
            process.kill();
        }
        let mut committed = 0;
        for _ in 0..3 {
            // So that there is something new even where one round came to the end of the store.
            store.append(world.network.next_node_announcement(SystemClock.now()));
            let seen = ingest_for_a_moment(&config, committed).await;
            let there = read_journal(world.data_dir());
            assert!(there >= seen, "{there} entries, but {seen} were seen");
            committed = there;
        }

        peer.set_behaviour(Behaviour::default());
        let process = Process::serve(&config);
        let url = process.url().await;
        assert_knows(&snapshot(&process, &url).await, &world.truth());
        assert!(last_seq(&url).await >= committed);
        process.kill();

        // Killed after it had published: the next start serves that at once, whoever can be reached.
        peer.stop().await;
        let process = Process::serve(&config);
        let answer = reqwest::get(format!("{}/v2/snapshot/0", process.url().await)).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_knows(&answer.bytes().await.expect("a whole body"), &world.truth());
        process.kill();
        read_journal(world.data_dir());
    });
}

/// Wallets that fetch one snapshot after another until the service is gone.
struct Crowd {
    wallets: Vec<tokio::task::JoinHandle<()>>,
    served: Arc<AtomicU32>,
}

impl Crowd {
    fn gather(url: &str) -> Self {
        let served = Arc::<AtomicU32>::default();
        let wallet = |url: String, served: Arc<AtomicU32>| async move {
            // Whoever is not answered any more comes too late; whoever is must get all of it.
            while let Ok(answer) = reqwest::get(&url).await {
                assert_eq!(answer.status(), 200);
                let declared = answer.content_length();
                let body = answer.bytes().await.expect("a download that has begun is completed");
                assert_eq!(declared, Some(body.len() as u64));
                served.fetch_add(1, Ordering::Relaxed);
            }
        };
        let url = format!("{url}/v2/snapshot/0");
        let wallets = (0..8).map(|_| tokio::spawn(wallet(url.clone(), Arc::clone(&served)))).collect();
        Self { wallets, served }
    }

    async fn disperse(self) {
        for wallet in self.wallets {
            wallet.await.expect("a content wallet");
        }
    }
}

async fn stopped_under_load(signal: &str) {
    let mut world = World::new(150).await;
    let store = world.store();
    let peer = world.peer(0, &store).await;
    let mut process = Process::serve(&world.config_file("10s", [&peer]));
    let url = process.url().await;
    eventually_ready(&process, &url).await;
    let before = last_seq(&url).await;

    let crowd = Crowd::gather(&url);
    let busy = async || {
        store.append(world.network.next_update(SystemClock.now()));
        crowd.served.load(Ordering::Relaxed) >= 100 && last_seq(&url).await > before
    };
    eventually_told("wallets are served and traffic flows", || process.said(), busy).await;

    process.signal(signal);
    let (after, ended) = process.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", process.said());
    assert!(after < Duration::from_secs(5), "it took {after:?}");
    crowd.disperse().await;
    assert!(read_journal(world.data_dir()) >= before);
}

#[test]
fn signals_end_it_cleanly_under_load() {
    story(async {
        tokio::join!(stopped_under_load("TERM"), stopped_under_load("INT"));
    });
}

#[test]
fn the_demo_shows_a_snapshot_and_ends_by_itself() {
    story(async {
        let mut demo = Process::start(["demo", "--duration", "20s", "--listen", "127.0.0.1:0", "--channels", "300"]);
        let url = demo.url().await;
        let bytes = snapshot(&demo, &url).await;
        let wallet = Wallet::read(&bytes, Version::V2);
        assert!(wallet.channel_count() > 150, "{} channels", wallet.channel_count());
        let (_, ended) = demo.ended().await;
        let said = demo.said();
        assert_eq!(ended.code(), Some(0), "{said}");
        assert!(said.contains(" messages accepted") && said.contains("ready after "), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    });
}
