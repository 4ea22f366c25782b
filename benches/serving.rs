//! Requests a second, beside nginx: the same bytes, on the same machine, in the same run, by turns.
//!
//! Snapshots of mainnet's size and a delta over the last hour, with connections that are kept and ones that are not. What
//! counts is the ratio. `wrk` asks; it and nginx are Debian's. Not with criterion: what is measured is what `wrk` counts
//! while it keeps all cores busy, and turns of the two servers must alternate.
//!
//! Then wallets in a crowd: how long they wait for a full snapshot while ten thousand connections ask for nothing, and
//! hundreds ask and take nothing, or never come to an end.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use support::budgets;
use support::service::{Service, fill, free_address};
use support::table::Budget;
use support::talking::DAYS;

/// How long each turn takes, and how many there are.
const TURN: &str = "3s";
const TURNS: usize = 5;
const CONNECTIONS: &str = "64";
/// How many connections ask for nothing, how many are worse, and how many wallets come meanwhile.
const IDLE: usize = 10_000;
const RUDE: usize = 200;
const WALLETS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for, and the budgets for connections that are kept and closed.
struct Case {
    path: String,
    coding: Option<&'static str>,
    budgets: [Budget; 2],
}

fn main() {
    let folder = TempDir::new().expect("a directory");
    let entries = fill(folder.path());
    println!("a journal of {entries} entries");
    let service = Service::start(folder.path(), "1h", &[]);
    service.until(|service| {
        let status = service.status();
        let is_new = status["epoch"]["seq"].as_u64() > Some(entries);
        is_new && status["deltas"]["known_epochs"].as_u64() > Some(100)
    });
    let oldest = service.status()["deltas"]["oldest_epoch"].as_u64().expect("known epochs");
    let epoch = |hour: u64| oldest + hour * 3_600;
    let last = u64::from(DAYS) * 24 - 1;
    let full = || "/v2/snapshot/0".to_owned();
    let delta_since = |hour: u64| format!("/v2/snapshot/{}", epoch(hour));
    let cases = [
        Case { path: full(), coding: None, budgets: budgets::FULL },
        Case { path: full(), coding: Some("zstd"), budgets: budgets::FULL_ZSTD },
        Case { path: delta_since(last - 1), coding: None, budgets: budgets::HOUR_DELTA },
        Case { path: delta_since(last), coding: None, budgets: budgets::SMALL_DELTA },
    ];
    let files = TempDir::new().expect("a directory");
    let nginx = Nginx::start(files.path());
    for (n, case) in cases.iter().enumerate() {
        let body = fetch(service.address, case);
        std::fs::write(files.path().join(n.to_string()), &body).expect("room");
        for (budget, kept) in case.budgets.iter().zip([true, false]) {
            let ours = || requests_a_second(&format!("http://{}{}", service.address, case.path), case.coding, kept);
            let theirs = || requests_a_second(&format!("http://{}/{n}", nginx.address), None, kept);
            compare(budget, body.len(), ours, theirs);
        }
    }
    crowd(service.address);
    println!("memory at the end: {}", service.memory());
}

/// How long wallets wait that come one after the other: half of them at most, and 99 of a hundred.
fn wait(address: SocketAddr) -> [Duration; 2] {
    let mut waits: Vec<Duration> = (0..WALLETS)
        .map(|_| {
            let started = Instant::now();
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream
                .write_all(b"GET /v2/snapshot/0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                .expect("it reads");
            let read = std::io::copy(&mut stream, &mut std::io::sink()).expect("a whole answer");
            assert!(read > 1_000_000, "a snapshot");
            started.elapsed()
        })
        .collect();
    waits.sort_unstable();
    [waits[WALLETS / 2], waits[WALLETS * 99 / 100]]
}

fn crowd(address: SocketAddr) {
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit of open files");
    let [alone, alone_99] = wait(address);
    let idle: Vec<TcpStream> = (0..IDLE).filter_map(|_| TcpStream::connect(address).ok()).collect();
    let crowding = Arc::new(AtomicBool::new(true));
    let rude: Vec<JoinHandle<()>> = (0..RUDE)
        .map(|n| {
            let crowding = Arc::clone(&crowding);
            spawn(move || {
                while crowding.load(Ordering::Relaxed) {
                    be_rude(address, n.is_multiple_of(2), &crowding);
                }
            })
        })
        .collect();
    let [crowded, crowded_99] = wait(address);
    crowding.store(false, Ordering::Relaxed);
    rude.into_iter().for_each(|thread| thread.join().expect("no panic"));
    println!("{} idle connections, {RUDE} rude ones: {crowded:.1?} instead of {alone:.1?}", idle.len());
    println!("and 99 of a hundred {crowded_99:.1?} instead of {alone_99:.1?}");
    budgets::CROWD.took(crowded_99);
}

/// Asks for snapshots and takes nothing of them, or sends a head that never ends.
fn be_rude(address: SocketAddr, asks: bool, crowding: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    let request =
        if asks { "GET /v2/snapshot/0 HTTP/1.1\r\nHost: h\r\n\r\n" } else { "GET /v2/snapshot/0 HTTP/1.1\r\n" };
    if stream.write_all(request.as_bytes()).is_err() {
        return;
    }
    while crowding.load(Ordering::Relaxed) && (asks || stream.write_all(b"X: y\r\n").is_ok()) {
        sleep(Duration::from_millis(200));
    }
}

/// By turns; the middle one of the ratios counts.
fn compare(budget: &Budget, bytes: usize, ours: impl Fn() -> f64, theirs: impl Fn() -> f64) {
    let mut turns = [(); TURNS].map(|()| (ours(), theirs()));
    turns.sort_by(|(a, b), (c, d)| (a / b).total_cmp(&(c / d)));
    let (ours, theirs) = turns[TURNS / 2];
    let ratio = ours / theirs;
    budget.came_to(ratio, &format!("{ratio:.2} ×: {ours:.0} to {theirs:.0}, of {bytes} bytes"));
}

/// The body of an answer in the case's coding, once it is there.
fn fetch(address: SocketAddr, case: &Case) -> Vec<u8> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let started = Instant::now();
    loop {
        let request = reqwest::Client::new().get(format!("http://{address}{}", case.path));
        let request = case.coding.iter().fold(request, |request, coding| request.header("accept-encoding", *coding));
        let (coding, body) = runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            let coding = answer.headers().get("content-encoding").map(|coding| coding.as_bytes().to_vec());
            (coding, answer.bytes().await.expect("a body").to_vec())
        });
        if coding.as_deref() == case.coding.map(str::as_bytes) {
            return body;
        }
        assert!(started.elapsed() < PATIENCE, "it is never compressed");
        sleep(Duration::from_millis(100));
    }
}

fn requests_a_second(url: &str, coding: Option<&str>, kept: bool) -> f64 {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t", "1", "-c", CONNECTIONS, "-d", TURN, url]);
    if let Some(coding) = coding {
        wrk.args(["-H", &format!("Accept-Encoding: {coding}")]);
    }
    if !kept {
        wrk.args(["-H", "Connection: close"]);
    }
    let output = wrk.output().expect("wrk, of Debian's package wrk");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("Non-2xx"), "{said}");
    let line = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("wrk failed: {said}"))
}

/// nginx with files; ended when dropped.
struct Nginx {
    process: Child,
    address: SocketAddr,
}

impl Nginx {
    /// As an operator who wants to serve files fast would set it up.
    fn start(folder: &Path) -> Self {
        let address = free_address();
        let config = format!(
            "daemon off; worker_processes auto; pid {0}/pid; error_log stderr; user root;
             events {{ worker_connections 1024; multi_accept on; }}
             http {{
                access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000;
                open_file_cache max=100; default_type application/octet-stream;
                client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
                uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
                server {{ listen {address} backlog=4096; root {0}; }}
             }}",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).expect("room");
        // Where a user's path does not lead.
        let program =
            ["/usr/sbin/nginx", "nginx"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("nginx");
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).stdin(Stdio::null());
        let process = command.spawn().expect("nginx, of Debian's package nginx-light");
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "nginx does not listen");
            sleep(Duration::from_millis(10));
        }
        Self { process, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its workers at SIGTERM, and not at SIGKILL.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
