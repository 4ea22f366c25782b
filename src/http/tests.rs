//! Over real sockets, spoken to byte by byte.

mod conformance;
mod protocols;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bitcoin::Network;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connections::Limits;
use super::server::serve_within;
use super::*;
use crate::gossip::{Clock, UnixMs};
use crate::history::HourOfFees;
use crate::journal::{Epoch, Graph, Rules, Seq};
use crate::snapshot::{Bodies, Counts, Interval, LeftOut, Mode, Served, Snapshot};

const PATIENT: Limits = Limits {
    connections: 16,
    first_request: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    stalled: Duration::from_secs(10),
    slowest_bytes_per_s: 1,
    patience: Duration::from_secs(10),
    age: Duration::from_secs(60),
    drain: Duration::from_secs(10),
};

/// The served epoch's time, in unix seconds.
const EPOCH: u64 = 1_700_000_000;

/// A clock that stands.
struct At(UnixMs);

impl Clock for At {
    fn now(&self) -> UnixMs {
        self.0
    }
}

struct Quiet;

impl StatusSource for Quiet {
    fn status(&self) -> Status {
        Status {
            version: "0.1.0".to_owned(),
            network: "signet".to_owned(),
            peers: vec![PeerStatus { address: "h:1".to_owned(), ..PeerStatus::default() }],
            snapshots: Some(SnapshotSizes::of(&Served::new(a_snapshot("one", "two!"), Vec::new(), Weak::new()))),
            recent: vec![RecentSnapshot::of(&a_snapshot("one", "two!"))],
            fee_changes: FeeStatus { total: 7, hours: vec![HourOfFees { from: 1_699_999_200, changes: 7 }] },
            messages: MessageCounts { refused: [("stale".to_owned(), 3)].into(), ..MessageCounts::default() },
            ..Status::default()
        }
    }
}

/// The same bytes for whoever has nothing and for whoever comes back.
fn a_snapshot(v1: impl Into<Bytes>, v2: impl Into<Bytes>) -> Snapshot {
    let rules = Rules { version: 1, graph: Graph::Routable };
    let epoch = Epoch { timestamp: EPOCH as u32, seq: Seq(9), rules };
    let full = Bodies { v1: v1.into(), v2: v2.into() };
    let returning = full.clone();
    Snapshot { epoch, counts: Counts::default(), full, returning, left_out: LeftOut::default() }
}

/// A server on a free port, and the means to stop it.
struct Server {
    address: SocketAddr,
    desk: Arc<Desk>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits, snapshot: Option<Snapshot>) -> Self {
        Self::start_with(limits, None, snapshot).await
    }

    async fn start_with(limits: Limits, tls: Option<Tls>, snapshot: Option<Snapshot>) -> Self {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk::new(Network::Signet, Mode::Delta, Interval::default()));
        desk.cut_at((EPOCH % 3_600) as u32); // the next epoch comes in an hour
        let app = App {
            network: Network::Signet,
            desk: Arc::clone(&desk),
            clock: Arc::new(At(UnixMs((EPOCH + 60) * 1_000))),
            status: Arc::new(Quiet),
            metrics: Arc::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(serve_within(limits, listener, tls, app, async { drop(stopped.await) }));
        let server = Self { address, desk, stop, done };
        if let Some(snapshot) = snapshot {
            server.publish(snapshot);
        }
        server
    }

    fn publish(&self, snapshot: Snapshot) {
        self.desk.serve(Served::new(snapshot, Vec::new(), Weak::new()));
    }

    async fn serving() -> Self {
        Self::start(PATIENT, Some(a_snapshot("one", "two!"))).await
    }

    async fn ask(&self, head: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        Answer::read(&mut stream).await.unwrap()
    }

    /// The status of an answer in cleartext, if there is one.
    async fn plain(&self) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /snapshot/0 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        Answer::read(&mut stream).await.ok().map(|answer| answer.status)
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1")).await
    }
}

/// What came back before the connection ended.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Self { status, head, body: bytes[end + 4..].to_vec() })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The headers but for the date.
    fn headers(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.head.lines().filter(|line| !line.starts_with("date:")).collect();
        lines.sort_unstable();
        lines
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

#[tokio::test]
async fn every_shape_and_every_number_gets_a_snapshot() {
    let server = Server::serving().await;
    for (path, body) in [
        ("/snapshot/0", "one"),
        ("/snapshot/v2/0", "two!"),
        ("/v2/snapshot/1700000001", "two!"),
        ("/0.bin", "one"),
        ("/v2/0.bin", "two!"),
        ("/signet/snapshot/0", "one"),
        ("/signet/v2/snapshot/0", "two!"),
        ("/signet/snapshot/v2/0", "two!"),
        ("/snapshot/0/1600000000", "one"),
        ("/v1/rgs/snapshot/0", "one"),
        ("/snapshot/v2//0", "two!"),
        ("//snapshot//0", "one"),
        ("/snapshot/99999999999999999999999999", "one"),
        ("/snapshot/0?x=y", "one"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.text()), (200, body), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "{path}");
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_gets_one_clear_line() {
    let server = Server::serving().await;
    for (request, status) in [
        ("GET /snapshot/abc HTTP/1.1", 400),
        ("GET /snapshot/-1 HTTP/1.1", 400),
        ("GET /x.bin HTTP/1.1", 400),
        ("GET /bitcoin/snapshot/0 HTTP/1.1", 404),
        ("GET /favicon.ico HTTP/1.1", 404),
        ("POST /nowhere HTTP/1.1", 404),
        ("POST /snapshot/0 HTTP/1.1", 405),
        ("DELETE /status.json HTTP/1.1", 405),
    ] {
        let answer = server.ask(request).await;
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.text().lines().count(), 1, "{request}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{request}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{request}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("get, head, options"), "{request}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::serving().await;
    for path in ["/snapshot/0", "/v2/snapshot/0", "/status.json", "/", "/nowhere", "/snapshot/x"] {
        let (get, head) = (server.get(path).await, server.ask(&format!("HEAD {path} HTTP/1.1")).await);
        assert_eq!(head.headers(), get.headers(), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn browsers_may_ask() {
    let server = Server::serving().await;
    for path in ["/snapshot/0", "/nowhere", "*"] {
        let preflight = format!(
            "OPTIONS {path} HTTP/1.1\r\nOrigin: https://wallet.example\r\nAccess-Control-Request-Method: GET\r\n\
             Access-Control-Request-Headers: x-wallet"
        );
        let answer = server.ask(&preflight).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("get, head, options"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("x-wallet"));
        assert_eq!(answer.header("content-length"), None);
    }
}

#[tokio::test]
async fn before_the_first_snapshot_wallets_are_told_when_to_ask_again() {
    let server = Server::start(PATIENT, None).await;
    for path in ["/snapshot/0", "/v2/snapshot/0", "/readyz"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.header("retry-after"), Some("10"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    assert_eq!(server.get("/snapshot/x").await.status, 400);
    assert_eq!(server.get("/healthz").await.status, 200);
    assert!(server.get("/status.json").await.text().contains("\"ready\":false"));

    server.publish(a_snapshot("first", "second"));
    assert_eq!(server.get("/snapshot/0").await.text(), "first");
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_status_has_the_fields_of_the_contract() {
    let server = Server::serving().await;
    let answer = server.get("/status.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let sizes = |bytes: usize| serde_json::json!({ "identity": bytes, "zstd": null, "gzip": null, "br": null });
    let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        status,
        serde_json::json!({
            "version": "0.1.0", "network": "signet", "ready": true, "problem": null, "epoch": null,
            "interval_seconds": 0, "next_cut": null,
            "snapshots": {
                "v1": { "full": sizes(3), "returning": sizes(3) },
                "v2": { "full": sizes(4), "returning": sizes(4) },
            },
            "recent": [{ "timestamp": 1_700_000_000, "channels": 0, "v1_bytes": 3, "v2_bytes": 4 }], "left_out": 0,
            "deltas": {
                "snapshots": "delta", "known_epochs": 0, "oldest_epoch": null, "cached": 0, "cached_bytes": 0,
                "computed": 0, "late": 0, "held_bytes": 0, "last": null,
            },
            "journal": { "last_seq": 0 }, "history": { "channels": 0, "nodes": 0, "versions": 0, "epochs": 0 },
            "fee_changes": { "total": 7, "hours": [{ "from": 1_699_999_200, "changes": 7 }] }, "archive": null,
            "stale_fees": { "epoch": null, "share": null, "ages": [], "reference_sat": 0 },
            "peers": [{ "node_id": "", "address": "h:1", "state": "" }],
            "proofs": { "required": false, "pending": 0, "chain_height": null, "closing": 0 },
            "messages": { "received": 0, "accepted": 0, "refused": { "stale": 3 }, "dropped": 0, "waiting": 0 },
            "uploads": [],
        })
    );
    let epoch = serde_json::to_value(EpochStatus::of(&a_snapshot("", ""), UnixMs(1_700_000_060_999))).unwrap();
    assert_eq!((&epoch["timestamp"], &epoch["age_seconds"]), (&1_700_000_000.into(), &60.into()));
}

#[tokio::test]
async fn people_get_a_page_that_lets_nothing_else_in() {
    let server = Server::start(PATIENT, None).await;
    let answer = server.get("/").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(answer.text().starts_with("<!doctype html>") && answer.text().contains("No snapshot yet"));
}

/// Bytes: more than the sockets' buffers hold, so that a client that does not read holds the answer up.
const BIG: usize = 32 << 20;

fn a_big_snapshot() -> Snapshot {
    a_snapshot((0..=250).collect::<Vec<u8>>().repeat(BIG / 251), "")
}

/// A client that has asked for the big snapshot, and read nothing but the first byte of the answer.
async fn slow_client(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /snapshot/0 HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    stream
}

#[tokio::test]
async fn a_stop_lets_a_slow_reader_finish_and_a_new_snapshot_leaves_its_body_alone() {
    let big = a_big_snapshot();
    let server = Server::start(PATIENT, Some(big.clone())).await;
    let mut slow = slow_client(&server).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    server.publish(a_snapshot("new", "new"));
    assert_eq!(server.get("/snapshot/0").await.text(), "new");

    server.stop.send(()).unwrap();
    assert_eq!(
        timeout(Duration::from_secs(1), idle.read(&mut [0; 1])).await.unwrap().unwrap_or(0),
        0,
        "idle: closed"
    );
    assert!(TcpStream::connect(server.address).await.is_err(), "accepts no more");
    assert!(!server.done.is_finished(), "waits for the slow reader");

    let answer = Answer::read(&mut slow).await.unwrap();
    assert!(answer.body == big.full.v1, "the whole body, unchanged");
    timeout(Duration::from_secs(1), server.done).await.expect("ends when the last answer is taken").unwrap();
}

#[tokio::test]
async fn a_stop_cuts_off_who_does_not_read() {
    let limits = Limits { drain: Duration::from_millis(100), ..PATIENT };
    let server = Server::start(limits, Some(a_big_snapshot())).await;
    let mut stuck = slow_client(&server).await;
    server.stop.send(()).unwrap();
    timeout(Duration::from_secs(1), server.done).await.expect("ends at the deadline").unwrap();
    let mut rest = Vec::new();
    let read = stuck.read_to_end(&mut rest).await;
    assert!(read.is_err() || rest.len() < BIG / 2, "cut off");
}

#[tokio::test]
async fn silent_clients_are_let_go_and_give_up_their_place() {
    let limits = Limits { first_request: Duration::from_millis(100), ..PATIENT };
    let server = Server::start(limits, Some(a_snapshot("one", "two!"))).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(b"GET /snap").await.unwrap();
    let answer = timeout(Duration::from_secs(2), server.get("/snapshot/0")).await.expect("gets the place");
    assert_eq!(answer.text(), "one");
}

#[tokio::test]
async fn a_connection_can_be_used_again() {
    let server = Server::serving().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET /snapshot/0 HTTP/1.1\r\nHost: h\r\n\r\nHEAD /snapshot/0 HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(b"GET /v2/snapshot/0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 3);
    assert!(all.contains("\r\n\r\noneHTTP/1.1") && all.ends_with("two!"), "{all}");
}

#[tokio::test]
async fn a_socket_that_cannot_be_opened_is_explained() {
    let taken = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind(address).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");
    let error = bind(([192, 0, 2, 1], 3000).into()).unwrap_err().to_string();
    assert!(error.contains("192.0.2.1:3000") && error.contains("no such address"), "{error}");
}
