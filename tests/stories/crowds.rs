//! Clients that are slow, idle, rude or too many: wallets are answered all the same.

use std::net::SocketAddr;
use std::time::Duration;

use rgsd::snapshot::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{Process, Wallet, World, eventually_told, status, story};

/// What a wallet's user waits for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that ask for nothing.
const IDLE: usize = 10_000;

/// As ldk-node asks: a connection of its own, no coding accepted, all within five seconds.
async fn fetch(address: SocketAddr) -> Vec<u8> {
    let fetched = timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = "GET /v2/snapshot/0 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("a whole answer");
        answer
    });
    let answer = fetched.await.expect("answered in time");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    answer[end..].to_vec()
}

/// Sends a byte of a request now and then, for ever.
async fn drip(address: SocketAddr) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    for byte in b"GET /v2/snapshot/0 HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Asks again and again, and takes nothing of the answers.
async fn take_nothing(address: SocketAddr) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    while stream.write_all(&b"GET /v2/snapshot/0 HTTP/1.1\r\nhost: h\r\n\r\n".repeat(100)).await.is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
}

/// Asks, and hangs up at once.
async fn run_away(address: SocketAddr) {
    for _ in 0..20 {
        let Ok(mut stream) = TcpStream::connect(address).await else { return };
        let _ = stream.write_all(b"GET /v2/snapshot/0 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    }
}

#[test]
fn a_crowd_does_not_keep_wallets_from_being_answered() {
    story(async {
        rlimit::increase_nofile_limit(u64::MAX).expect("a limit of open files");
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let process = Process::serve(&world.config_file("10s", [&peer]));
        let url = process.url().await;
        let ready = async || status(&url).await["ready"] == true;
        eventually_told("there is a snapshot", || process.said(), ready).await;
        let address: SocketAddr = url.strip_prefix("http://").expect("a URL").parse().expect("an address");

        let mut crowd = JoinSet::new();
        for _ in 0..100 {
            crowd.spawn(drip(address));
            crowd.spawn(take_nothing(address));
            crowd.spawn(run_away(address));
        }
        let mut idle = Vec::new();
        for _ in 0..IDLE {
            // Some are let go to make room for others.
            idle.extend(TcpStream::connect(address).await.ok());
        }
        assert!(idle.len() > IDLE * 9 / 10, "they get in: {}", idle.len());
        for _ in 0..50 {
            Wallet::read(&fetch(address).await, Version::V2);
        }
        // Whoever asks for something after all is answered, if it was not let go meanwhile.
        let mut late = idle.pop().expect("the newest");
        late.write_all(b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.expect("it reads");
        let mut answer = String::new();
        timeout(PATIENCE, late.read_to_string(&mut answer)).await.expect("in time").expect("text");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        crowd.shutdown().await;
        drop(idle);
        Wallet::read(&fetch(address).await, Version::V2);
    });
}
