//! What the service finds around it: a synthetic network, its chain behind bitcoind's REST paths, its peers, a
//! directory, and the time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rgsd::config::{Bitcoind, Config, parse_rest_url};
use rgsd::gossip::{Clock, Direction, PeerAddress, Policy, ShiftedClock};
use rgsd::synth::{Behaviour, Chain, ChainServer, Channel, Network, NetworkSpec, Peer, PeerHandle, Store, Topology};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{Truth, every};

/// See the module's words.
pub struct World {
    pub network: Network,
    pub clock: Arc<ShiftedClock>,
    pub chain: Chain,
    bitcoind: ChainServer,
    data_dir: TempDir,
}

impl World {
    /// A network of that many channels, its chain, and nobody who tells of it yet.
    pub async fn new(channels: usize) -> Self {
        let clock = Arc::new(ShiftedClock::default());
        let topology = Topology::generate(channels, channels as u64);
        let network = Network::new(&topology, NetworkSpec::default(), clock.now()).expect("a network");
        let chain = Chain::of(&network, network.last_height() + 6);
        let bitcoind = chain.serve(listener(0).await).expect("a chain");
        let data_dir = tempfile::Builder::new().prefix("rgsd-story-").tempdir().expect("a temporary directory");
        Self { network, clock, chain, bitcoind, data_dir }
    }

    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    pub fn bitcoind_url(&self) -> String {
        self.bitcoind.url()
    }

    /// The whole network, as a peer that knows all of it would store it.
    pub fn store(&self) -> Arc<Store> {
        Store::new(self.network.dump())
    }

    /// What a wallet should know now.
    pub fn truth(&self) -> Truth {
        Truth::of(&self.network)
    }

    /// Now, as the service sees it, in unix seconds.
    pub fn now_s(&self) -> u32 {
        self.clock.now().secs()
    }

    /// A peer that behaves well; `who` is the number of its node.
    pub async fn peer(&self, who: usize, store: &Arc<Store>) -> PeerHandle {
        self.peer_like(who, store, Behaviour::default()).await
    }

    /// A peer with a behaviour of its own.
    pub async fn peer_like(&self, who: usize, store: &Arc<Store>, behaviour: Behaviour) -> PeerHandle {
        self.peer_at(0, who, store, behaviour).await
    }

    /// A peer on this port; 0 for any.
    pub async fn peer_at(&self, port: u16, who: usize, store: &Arc<Store>, behaviour: Behaviour) -> PeerHandle {
        let secret = self.network.nodes()[who].secret;
        let chain = self.network.chain_hash();
        Peer::start(listener(port).await, secret, chain, behaviour, Arc::clone(store)).expect("a peer")
    }

    /// A configuration with these peers.
    pub fn config<'a>(&self, peers: impl IntoIterator<Item = &'a PeerHandle>) -> Config {
        Config {
            network: self.network.spec().chain,
            data_dir: self.data_dir().to_owned(),
            peers: peers.into_iter().map(address).collect(),
            interval: every(600),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            bitcoind: Bitcoind { rest_url: Some(parse_rest_url(&self.bitcoind.url()).expect("a URL")) },
            ..Config::default()
        }
    }

    /// Where a direction is that wallets are told of, by the number of its channel.
    pub fn a_routable_channel(&self) -> usize {
        let enabled = |channel: &Channel| channel.policies.iter().all(|policy| policy.enabled);
        self.network.channels().iter().position(enabled).expect("a channel that is enabled on both sides")
    }

    /// A fee changes. The signed update says so.
    pub fn change_fee(&mut self, channel: usize, direction: Direction) -> Bytes {
        let now_s = self.now_s();
        let Channel { policies, timestamps, .. } = &self.network.channels()[channel];
        let old = policies[direction as usize];
        let timestamp = now_s.max(timestamps[direction as usize] + 1);
        let fee_proportional_millionths = old.fee_proportional_millionths + 137;
        self.network.set_policy(channel, direction, Policy { fee_proportional_millionths, ..old }, timestamp)
    }
}

/// Listens on the loopback address.
pub async fn listener(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a port on the loopback address")
}

pub fn address(peer: &PeerHandle) -> PeerAddress {
    PeerAddress { node_id: peer.node_id, host: peer.addr.ip().to_string(), port: peer.addr.port() }
}
