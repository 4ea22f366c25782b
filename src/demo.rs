//! The service on a synthetic network of its own: real peers on loopback TCP, a chain behind bitcoind's REST paths,
//! fees that change all the while; in a directory that is gone afterwards.

mod progress;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::progress::Progress;
use crate::cli::DemoOptions;
use crate::config::{self, Bitcoind, Config, RestUrl};
use crate::gossip::{Clock, PeerAddress, SystemClock};
use crate::serve::{Service, stop_on_signals};
use crate::synth::{Behaviour, Chain, ChainServer, Network, NetworkSpec, Peer, PeerHandle, Store, Topology};
use crate::tasks::Tasks;

/// How many peers tell of the network.
const PEERS: usize = 3;
/// Of so many messages one is a node's announcement, as on mainnet.
const NODE_EVERY: u64 = 3;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs the demo until Ctrl-C, or for the duration that was asked for.
pub async fn run(options: DemoOptions) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let started = Instant::now();
    let folder = tempfile::Builder::new().prefix("rgsd-demo-").tempdir().context("cannot make a directory")?;

    let mut progress = Progress::new();
    progress.say("making a network: keys, channels, signatures");
    let network = network(&options).await?;
    let world = World::start(&network).await?;
    progress.say(&format!(
        "{} channels, {} nodes, {PEERS} peers, a chain of {} blocks",
        network.channels().len(),
        network.nodes().len(),
        world.chain.tip_height(),
    ));
    let config = Config {
        network: network.spec().chain,
        data_dir: folder.path().to_owned(),
        peers: world.addresses(),
        interval: options.interval,
        listen: options.listen,
        bitcoind: Bitcoind { rest_url: Some(world.rest_url()?) },
        ..Config::default()
    };
    let messages = world.store.len() as u64;
    let service = Service::start(config, Arc::new(SystemClock), Tasks::new(stop.clone())).await?;
    let traffic = tokio::spawn(traffic(network, Arc::clone(&world.store), options.updates_per_second, stop.clone()));
    watch(&service, &mut progress, messages, started, options.duration, &stop).await;
    stop.cancel();
    progress.end();
    let finished = service.finish().await;
    traffic.await.context("the synthetic traffic failed")?;
    world.stop().await;
    finished
}

async fn network(options: &DemoOptions) -> anyhow::Result<Network> {
    let options = options.clone();
    tokio::task::spawn_blocking(move || {
        let seed = NetworkSpec::default().seed;
        let topology = match &options.topology {
            Some(path) => Topology::open(path)?,
            None => Topology::generate(options.channels as usize, seed),
        };
        Network::new(&topology, NetworkSpec::default(), SystemClock.now())
    })
    .await?
}

/// What the service finds around it.
struct World {
    chain: Chain,
    bitcoind: ChainServer,
    store: Arc<Store>,
    peers: Vec<PeerHandle>,
}

impl World {
    async fn start(network: &Network) -> anyhow::Result<Self> {
        let chain = Chain::of(network, network.last_height() + 6);
        let bitcoind = chain.serve(loopback().await?)?;
        let store = Store::new(network.dump());
        let mut peers = Vec::new();
        for node in network.nodes().iter().take(PEERS) {
            let (listener, store) = (loopback().await?, Arc::clone(&store));
            peers.push(Peer::start(listener, node.secret, network.chain_hash(), Behaviour::default(), store)?);
        }
        Ok(Self { chain, bitcoind, store, peers })
    }

    fn addresses(&self) -> Vec<PeerAddress> {
        let address = |peer: &PeerHandle| PeerAddress {
            node_id: peer.node_id,
            host: peer.addr.ip().to_string(),
            port: peer.addr.port(),
        };
        self.peers.iter().map(address).collect()
    }

    fn rest_url(&self) -> anyhow::Result<RestUrl> {
        config::parse_rest_url(&self.bitcoind.url()).map_err(anyhow::Error::msg)
    }

    async fn stop(self) {
        for peer in self.peers {
            peer.stop().await;
        }
        self.bitcoind.stop().await;
    }
}

async fn loopback() -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on the loopback address")
}

/// Lets things happen on the network, `per_second` of them, until the stop.
async fn traffic(mut network: Network, store: Arc<Store>, per_second: u32, stop: CancellationToken) {
    if per_second == 0 {
        return;
    }
    let mut beats = tokio::time::interval(Duration::from_secs(1) / per_second);
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut count = 0_u64;
    while stop.run_until_cancelled(beats.tick()).await.is_some() {
        count += 1;
        let now = SystemClock.now();
        let of_a_node = count.is_multiple_of(NODE_EVERY);
        store.append(if of_a_node { network.next_node_announcement(now) } else { network.next_update(now) });
    }
}

/// Shows how the service fares until the end.
async fn watch(
    service: &Service,
    progress: &mut Progress,
    messages: u64,
    started: Instant,
    duration: Option<Duration>,
    stop: &CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut shown = None;
    while stop.run_until_cancelled(looks.tick()).await.is_some() {
        let status = service.status();
        match status.epoch {
            None => progress.syncing(status.messages.accepted, messages, status.problem.as_deref()),
            Some(epoch) if shown != Some(epoch.timestamp) => {
                if shown.is_none() {
                    progress.ready(service.address(), started.elapsed());
                }
                shown = Some(epoch.timestamp);
                progress.epoch(&epoch, &status);
            }
            Some(_) => {}
        }
        if duration.is_some_and(|duration| started.elapsed() >= duration) {
            break;
        }
    }
}
