//! Keeps every configured peer connected: resolves its name at each try, connects, waits for the end, backs off.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bitcoin::secp256k1::PublicKey;
use lightning::routing::gossip::NodeId;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::intake::{Arrival, Intake};
use super::wire::Peers;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_AT_LEAST: Duration = Duration::from_secs(1);
/// Jitter adds up to as much again: a minute at most.
const BACKOFF_AT_MOST: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one: the next try comes soon.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);

/// Where a Lightning node is found: `pubkey@host:port`, an IPv6 host in brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    pub node_id: PublicKey,
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    pub port: u16,
}

impl PeerAddress {
    /// `host:port`, as it is resolved.
    pub fn socket(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node_id, self.socket())
    }
}

impl FromStr for PeerAddress {
    type Err = String;

    /// The error says what is wrong and what was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, address) = text.split_once('@').ok_or("expected pubkey@host:port; there is no '@'")?;
        let node_id = PublicKey::from_str(key)
            .map_err(|_| format!("'{key}' is not a node's public key: expected 66 hexadecimal digits"))?;
        let (host, port) = address.rsplit_once(':').ok_or("expected pubkey@host:port; there is no port")?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or("expected pubkey@host:port with a port from 1 to 65535")?;
        let host = match host.strip_prefix('[') {
            Some(v6) => v6
                .strip_suffix(']')
                .filter(|v6| v6.parse::<Ipv6Addr>().is_ok())
                .ok_or("expected an IPv6 address between the brackets")?,
            None => host,
        };
        check_host(host)?;
        Ok(Self { node_id, host: host.to_owned(), port })
    }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.to_ascii_lowercase().ends_with(".onion") {
        return Err("Tor addresses cannot be reached from here: give a DNS name, an IPv4 or an [IPv6] address".into());
    }
    if host.parse::<Ipv6Addr>().is_ok() || host.parse::<Ipv4Addr>().is_ok() {
        return Ok(());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    // A last label of digits alone is a mistyped IPv4 address, not a name.
    let numeric_end = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || numeric_end || !name.split('.').all(label) {
        return Err(format!("'{host}' is not a DNS name, an IPv4 or an [IPv6] address"));
    }
    Ok(())
}

/// How a peer's connection fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerState {
    Connecting,
    Connected,
    /// Connected, and telling everything it knows.
    Syncing,
    /// Not connected; the next try comes after a pause. Says why.
    Waiting {
        why: String,
    },
}

/// The peers and their states, for whoever wants to look.
#[derive(Debug)]
pub struct Board {
    rows: Mutex<Vec<(PeerAddress, PeerState)>>,
}

impl Board {
    pub fn new(peers: &[PeerAddress]) -> Self {
        Self { rows: Mutex::new(peers.iter().map(|peer| (peer.clone(), PeerState::Connecting)).collect()) }
    }

    /// Every peer as it is now.
    pub fn rows(&self) -> Vec<(PeerAddress, PeerState)> {
        self.lock().clone()
    }

    pub(super) fn set(&self, peer: &NodeId, state: PeerState) {
        for row in self.lock().iter_mut().filter(|row| NodeId::from_pubkey(&row.0.node_id) == *peer) {
            row.1 = state.clone();
        }
    }

    /// Nobody is being asked for everything any more.
    pub(super) fn end_syncing(&self) {
        for row in self.lock().iter_mut().filter(|row| row.1 == PeerState::Syncing) {
            row.1 = PeerState::Connected;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PeerAddress, PeerState)>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one peer connected until `stop`.
pub(super) async fn keep(
    address: PeerAddress,
    manager: Arc<Peers>,
    intake: Arc<Intake>,
    board: Arc<Board>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let node = NodeId::from_pubkey(&address.node_id);
    let mut pauses = backoff().build();
    while !stop.is_cancelled() {
        board.set(&node, PeerState::Connecting);
        let since = Instant::now();
        let why = tokio::select! {
            () = stop.cancelled() => break,
            why = connect_until_lost(&address, &manager) => why,
        };
        if since.elapsed() >= GOOD_CONNECTION {
            pauses = backoff().build();
        }
        tracing::debug!(peer = %address, "{why}");
        intake.event(Arrival::Unreachable(node));
        board.set(&node, PeerState::Waiting { why });
        let pause = pauses.next().unwrap_or(BACKOFF_AT_MOST);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

fn backoff() -> ExponentialBuilder {
    let pauses = ExponentialBuilder::default().with_min_delay(BACKOFF_AT_LEAST).with_max_delay(BACKOFF_AT_MOST);
    pauses.with_factor(2.0).with_jitter().without_max_times()
}

/// Connects, and returns when the connection is no more, with the reason.
async fn connect_until_lost(address: &PeerAddress, manager: &Arc<Peers>) -> String {
    let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address.socket())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return format!("cannot connect: {error}"),
        Err(_) => return format!("cannot connect: no answer within {} s", CONNECT_TIMEOUT.as_secs()),
    };
    match stream.into_std() {
        Ok(stream) => {
            lightning_net_tokio::setup_outbound(Arc::clone(manager), address.node_id, stream).await;
            "the connection was closed, or its handshake failed".into()
        }
        Err(error) => format!("cannot connect: {error}"),
    }
}
