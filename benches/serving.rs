//! Requests a second, beside nginx: the same bytes, on the same machine, in the same run, by turns.
//!
//! Snapshots of mainnet's size and a delta over the last hour, with connections that are kept and ones that are not. What
//! counts is the ratio. `wrk` asks; it and nginx are Debian's. Then, how long wallets wait in a crowd.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use support::service::{Service, fill, free_address};
use support::table;

/// How long each turn takes, and how many there are.
const TURN: &str = "3s";
const TURNS: usize = 5;
const CONNECTIONS: &str = "64";
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that ask for nothing, of each kind that is slow, and of wallets.
const IDLE: usize = 10_000;
const SLOW: usize = 100;
const WALLETS: usize = 1_000;
/// How long one in a hundred wallets may have to wait for the first byte.
const WAIT: Duration = Duration::from_millis(100);

/// What is asked for, and how many requests a second there must be for each of nginx's.
struct Case {
    what: &'static str,
    path: String,
    coding: Option<&'static str>,
    at_least: f64,
}

fn main() {
    let folder = TempDir::new().expect("a directory");
    let entries = fill(folder.path());
    println!("a journal of {entries} entries");
    let service = Service::start(folder.path(), "1h", &[]);
    service.until(|service| service.status()["deltas"]["known_epochs"].as_u64() > Some(100));
    let served = service.status()["epoch"]["timestamp"].as_u64().expect("an epoch");
    let cases = [
        Case { what: "full v2", path: "/v2/snapshot/0".to_owned(), coding: None, at_least: 1.0 },
        Case { what: "full v2, zstd", path: "/v2/snapshot/0".to_owned(), coding: Some("zstd"), at_least: 1.0 },
        Case { what: "delta", path: format!("/v2/snapshot/{}", served - 3_600), coding: None, at_least: 0.8 },
        Case { what: "nothing", path: format!("/v2/snapshot/{served}"), coding: None, at_least: 0.8 },
    ];
    wait_in_a_crowd(&service, &cases);
    let files = TempDir::new().expect("a directory");
    let nginx = Nginx::start(files.path());
    for (n, case) in cases.iter().enumerate() {
        let body = fetch(service.address, case);
        std::fs::write(files.path().join(n.to_string()), &body).expect("room");
        for (kept, how) in [(true, "kept"), (false, "closed")] {
            compare(case, body.len(), &service, &nginx, n, kept, how);
        }
    }
}

/// Among clients that are idle, or send their heads slowly, or take nothing of many answers.
fn wait_in_a_crowd(service: &Service, cases: &[Case]) {
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit of open files");
    let connect = || TcpStream::connect(service.address).ok();
    let idle: Vec<TcpStream> = (0..IDLE).filter_map(|_| connect()).collect();
    let slow: Vec<TcpStream> = (0..2 * SLOW).filter_map(|_| connect()).collect();
    for (n, mut stream) in slow.iter().enumerate() {
        let whole = "GET /v2/snapshot/0 HTTP/1.1\r\nHost: bench\r\n\r\n";
        let said = if n % 2 == 0 { whole.repeat(50) } else { whole.trim_end().to_owned() };
        stream.write_all(said.as_bytes()).expect("they have just come");
    }
    for case in cases.iter().filter(|case| case.coding.is_none()) {
        let mut waits: Vec<Duration> = (0..WALLETS).map(|_| service.time(&case.path).0).collect();
        waits.sort_unstable();
        let wait = waits[WALLETS * 99 / 100];
        let work = format!("{} among {IDLE} idle clients and {} slow ones: 99 % wait at most", case.what, 2 * SLOW);
        table::time_row(&work, WAIT, wait);
    }
    drop((idle, slow));
}

fn compare(case: &Case, bytes: usize, service: &Service, nginx: &Nginx, file: usize, kept: bool, how: &str) {
    let ours = || requests_a_second(&format!("http://{}{}", service.address, case.path), case.coding, kept);
    let theirs = || requests_a_second(&format!("http://{}/{file}", nginx.address), None, kept);
    let mut turns: Vec<(f64, f64)> = (0..TURNS).map(|_| (ours(), theirs())).collect();
    turns.sort_by(|(a, b), (c, d)| (a / b).total_cmp(&(c / d)));
    let (rgsd, nginx) = turns[TURNS / 2];
    let work = format!("{} ({bytes} bytes), connections {how}: requests a second", case.what);
    let budget = format!("{} of nginx's", case.at_least);
    table::row(
        &work,
        &budget,
        &format!("{rgsd:.0} to {nginx:.0}: {:.2}", rgsd / nginx),
        case.at_least * nginx / rgsd,
    );
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
        let mut command = Command::new("nginx");
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
