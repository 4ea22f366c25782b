//! A restart at mainnet's size: how soon the service answers, and how much memory it takes while it publishes and
//! serves. The journal holds six days of talk (see `support/talking.rs`); no peer can be reached.
//!
//! Then the same journal gets an archive, to which all of it is shipped meanwhile.
//!
//! The service is the real program in a process of its own, so that memory is its alone.

#[path = "../tests/support/postgres.rs"]
mod postgres;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use postgres::Cluster;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::budgets;
use support::process::memory_mb;
use support::service::{Service, fill};
use support::turns::{middle, slow_group, times};

/// Snapshots to publish before memory is looked at.
const PUBLICATIONS: usize = 4;

fn bench(criterion: &mut Criterion) {
    let folder = TempDir::new().expect("a directory");
    let entries = fill(folder.path());
    println!("a journal of {entries} entries");

    let mut group = slow_group(criterion, "restart");
    let from_journal = times(&mut group, "from the journal", || {
        let _ = std::fs::remove_dir_all(folder.path().join("snapshots")); // none yet, at first
        first_answer(&Service::start(folder.path(), "10s", &[]))
    });
    let published =
        times(&mut group, "published before", || first_answer(&Service::start(folder.path(), "10s", &[])));
    group.finish();
    middle(&from_journal).into_iter().for_each(|took| budgets::RESTART.took(took));
    middle(&published).into_iter().for_each(|took| budgets::RESTART_PUBLISHED.took(took));

    serve(folder.path(), entries);
    ship(folder.path(), entries);
}

fn first_answer(service: &Service) -> Duration {
    service.until(|service| service.get("/snapshot/v2/0").is_some())
}

/// What wallets wait for, and how much memory it takes.
fn serve(folder: &Path, entries: u64) {
    let service = Service::start(folder, "10s", &[]);
    let read = service.until(|service| service.status()["journal"]["last_seq"].as_u64() >= Some(entries));
    println!("the journal read after {read:.2?}: {}", service.memory());
    for _ in 0..PUBLICATIONS {
        let epoch = service.status()["epoch"]["timestamp"].clone();
        service.until(|service| {
            let bytes = ["/snapshot/0", "/snapshot/v2/0"].map(|path| service.get(path).map_or(0, |body| body.len()));
            bytes.iter().all(|bytes| *bytes > 0) && service.status()["epoch"]["timestamp"] != epoch
        });
        println!("memory after another snapshot: {}", service.memory());
    }
    let rush = rush(&service);
    budgets::NEW_DELTA.took(rush.uncached);
    budgets::CACHED_DELTA.took(rush.cached);
    budgets::RUSH.took(rush.last);
    budgets::MEMORY.takes_mb(memory_mb(&service.pid(), "VmRSS:") as f64, "");
    budgets::MEMORY_PEAK.takes_mb(memory_mb(&service.pid(), "VmHWM:") as f64, "");
}

/// The same journal gets an archive.
fn ship(folder: &Path, entries: u64) {
    let database = Cluster::shared().database();
    let service = Service::start(folder, "10s", &["--database-url", &database.url]);
    budgets::RESTART_ARCHIVE.took(first_answer(&service));
    let shipped = |service: &Service| {
        let archive = &service.status()["archive"];
        archive["connected"] == true && archive["last_seq"].as_u64() >= Some(entries)
    };
    println!("with an archive: all of it shipped after {:.1?}", service.until(shipped));
    budgets::MEMORY_SHIPPING.takes_mb(memory_mb(&service.pid(), "VmHWM:") as f64, "");
}

/// Wallets that come back.
struct Rush {
    /// The slowest answer of those that were asked for one after the other, and of the same again.
    uncached: Duration,
    cached: Duration,
    /// When the last of a thousand had its answer, who asked at the same time.
    last: Duration,
}

fn rush(service: &Service) -> Rush {
    let newest = || service.status()["epoch"]["timestamp"].as_u64().expect("an epoch");
    let hour = |hours: u64| {
        let first = service.status()["deltas"]["oldest_epoch"].as_u64().expect("known epochs");
        first + (143 - hours) * 3600
    };
    // Right after a cut, so that all of it is of one epoch.
    let cut = || {
        let before = newest();
        while newest() == before {
            sleep(Duration::from_millis(5));
        }
    };
    cut();
    let paths: Vec<String> = (0..144).map(|hours| format!("/v2/snapshot/{}", hour(hours))).collect();
    let slowest = |what: &str| {
        let timed = [1, 6, 24, 72, 120].map(|hours: usize| {
            let (began, bytes) = service.time(&paths[hours]);
            println!("{what}, {hours} h: {bytes} bytes, the first after {began:.2?}");
            began
        });
        timed.into_iter().max().expect("five")
    };
    let (uncached, cached) = (slowest("a delta nobody asked for yet"), slowest("one already asked for"));
    println!("memory before the rush: {}", service.memory());
    cut();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let started = Instant::now();
    let bytes: usize = runtime.block_on(async {
        let wallets = (0..1_000).map(|n| tokio::spawn(fetch(service.address, paths[n % paths.len()].clone())));
        let mut bytes = 0;
        for wallet in wallets.collect::<Vec<_>>() {
            bytes += wallet.await.expect("no panic");
        }
        bytes
    });
    let last = started.elapsed();
    println!("a thousand wallets got {} MB in {last:.2?}: {}", bytes / 1_000_000, service.status()["deltas"]);
    println!("memory after the rush: {}", service.memory());
    Rush { uncached, cached, last }
}

/// Reads an answer as it comes, and keeps nothing of it but how long it was.
async fn fetch(address: SocketAddr, path: String) -> usize {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("asked");
    let (mut bytes, mut buffer) = (0, vec![0; 16 << 10]);
    loop {
        match stream.read(&mut buffer).await.expect("an answer") {
            0 => break bytes,
            read if bytes == 0 => {
                assert!(buffer[..read].starts_with(b"HTTP/1.1 200 "), "an answer");
                bytes += read;
            }
            read => bytes += read,
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
