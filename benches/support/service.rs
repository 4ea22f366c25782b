//! The real program in a process of its own, on a journal of mainnet's size (see `talking.rs`), without a peer that can be
//! reached, or with one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bitcoin::Network;
use rgsd::gossip::{Clock, Fact, SystemClock, UnixMs};
use rgsd::journal::{Journal, SqliteJournal};

use super::process::memory_mb;
use super::talking::{DAYS, Gossip};
use super::unsigned::{draft, node};

/// Nobody listens there.
const PEER: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798@127.0.0.1:1";
const PATIENCE: Duration = Duration::from_secs(120);

/// Six days of talk that end now. Returns how many entries there are.
pub fn fill(data_dir: &Path) -> u64 {
    let start = SystemClock.now().secs() - DAYS * 24 * 3600 - 120;
    let began = UnixMs(u64::from(start) * 1000);
    let mut journal = SqliteJournal::open(data_dir, Network::Bitcoin, began, &mut rand::rng()).expect("opens");
    let mut network = Gossip::new(start);
    for group in network.initial_sync().chunks(10_000) {
        journal.append(group).expect("room");
    }
    journal.append(&[draft(start.into(), Fact::SyncCompleted { peer: node(0) })]).expect("room");
    network.fill(&mut journal);
    journal.last_seq().0
}

/// The program in a process of its own; killed when dropped, as in a crash.
pub struct Service {
    process: Child,
    pub address: SocketAddr,
    started: Instant,
}

impl Service {
    pub fn start(data_dir: &Path, interval: &str, more: &[&str]) -> Self {
        Self::start_with_peer(data_dir, PEER, interval, more)
    }

    pub fn start_with_peer(data_dir: &Path, peer: &str, interval: &str, more: &[&str]) -> Self {
        let address = free_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rgsd"));
        command.env_clear().arg("serve").arg("--data-dir").arg(data_dir);
        command.args(["--peers", peer, "--interval", interval, "--log", "warn", "--listen", &address.to_string()]);
        command.args(more);
        let started = Instant::now();
        Self { process: command.spawn().expect("the program"), address, started }
    }

    /// Waits until it `happened`; how long that was after the start.
    pub fn until(&self, happened: impl Fn(&Self) -> bool) -> Duration {
        while !happened(self) {
            assert!(self.started.elapsed() < PATIENCE, "it never happens: {}", self.status());
            sleep(Duration::from_millis(5));
        }
        self.started.elapsed()
    }

    /// The body of an answer 200.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n")?;
        answer.starts_with(b"HTTP/1.1 200 ").then(|| answer.split_off(head + 4))
    }

    /// When the first byte of an answer comes, and how many there are.
    pub fn time(&self, path: &str) -> (Duration, usize) {
        let started = Instant::now();
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").expect("it reads");
        stream.read_exact(&mut [0]).expect("an answer");
        let began = started.elapsed();
        (began, stream.read_to_end(&mut Vec::new()).expect("a whole answer"))
    }

    pub fn status(&self) -> serde_json::Value {
        let body = self.get("/status.json").unwrap_or_default();
        serde_json::from_slice(&body).unwrap_or_default()
    }

    pub fn memory(&self) -> String {
        let [resident, peak] = ["VmRSS:", "VmHWM:"].map(|line| memory_mb(&self.pid(), line));
        format!("{resident} MB resident, {peak} MB at its peak")
    }

    pub fn pid(&self) -> String {
        self.process.id().to_string()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // An error says that it is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback address");
    listener.local_addr().expect("bound")
}
