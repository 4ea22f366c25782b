//! A fee change, from a peer's wire to a wallet that fetches it: the real program in a process of its own, with a snapshot
//! every ten seconds; a peer on loopback TCP that knows a network of mainnet's size and goes on as mainnet does; and the
//! official client, which asks again and again for what has changed since its last answer.
//!
//! Not with criterion: what takes time is the interval, and changes come at random moments of it.

mod support;

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lightning::routing::gossip::NetworkGraph;
use lightning::util::logger::{Logger, Record};
use lightning_rapid_gossip_sync::RapidGossipSync;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::{Clock, Direction, Policy, SystemClock};
use rgsd::synth::{Behaviour, Network, NetworkSpec, Peer, PeerHandle, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use support::service::Service;
use support::table::time;
use support::{budgets, shape};

/// So many changes, at random moments of so long.
const CHANGES: usize = 40;
const WITHIN: Duration = Duration::from_secs(100);
/// How soon the wallet asks again.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);
/// What mainnet says besides: 250,000 updates a day, and half as many announcements of nodes.
const MESSAGES_A_SECOND: f64 = 375_000.0 / 86_400.0;

fn main() {
    let spec = NetworkSpec::default();
    let network = Network::new(&shape::topology(spec.seed), spec, SystemClock.now()).expect("a network");
    let runtime = Runtime::new().expect("a runtime");
    let peer = runtime.block_on(peer(&network));
    let folder = TempDir::new().expect("a directory");
    let address = format!("{}@{}", peer.node_id, peer.addr);
    let service = Service::start_with_peer(folder.path(), &address, "10s", &["--network", "regtest"]);
    let first = service.until(|service| service.get("/v2/snapshot/0").is_some());
    println!("{} channels; the first snapshot after {first:.1?}", network.channels().len());

    let mut times = World { network, peer, changes: Vec::new() }.live(&service);
    times.sort_unstable();
    let (middle, slowest) = (times[CHANGES / 2], times[CHANGES - 1]);
    println!("{CHANGES} changes: {times:.2?}");
    let told = format!("{}; half of {CHANGES} within {}", time(slowest), time(middle));
    budgets::FEE_CHANGE.came_to(slowest.as_secs_f64(), &told);
}

async fn peer(network: &Network) -> PeerHandle {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the loopback address");
    let (secret, chain) = (network.nodes()[0].secret, network.chain_hash());
    Peer::start(listener, secret, chain, Behaviour::default(), Store::new(network.dump())).expect("a peer")
}

/// A fee that was changed, and is on its way.
struct Change {
    scid: u64,
    direction: Direction,
    /// What the direction charged before. Whatever the wallet knows instead is the change, or a newer one.
    old: u32,
    sent: Instant,
    took: Option<Duration>,
}

struct World {
    network: Network,
    peer: PeerHandle,
    changes: Vec<Change>,
}

impl World {
    /// Has fees changed while the network goes on. Returns how long each change took to the wallet.
    fn live(mut self, service: &Service) -> Vec<Duration> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let wallet = Wallet::new(self.network.spec().chain);
        wallet.sync(service);
        let mut moments: Vec<Duration> = (0..CHANGES).map(|_| WITHIN.mul_f64(rng.random())).collect();
        moments.sort_unstable_by(|a, b| b.cmp(a));
        let (started, mut said) = (Instant::now(), 0);
        while !moments.is_empty() || self.changes.iter().any(|change| change.took.is_none()) {
            assert!(started.elapsed() < WITHIN + PATIENCE, "a change never arrives: {}", service.status());
            while f64::from(said) < started.elapsed().as_secs_f64() * MESSAGES_A_SECOND {
                self.talk(said);
                said += 1;
            }
            while moments.pop_if(|moment| *moment <= started.elapsed()).is_some() {
                let index = rng.random_range(0..self.network.channels().len());
                self.change_fee(index);
            }
            wallet.sync(service);
            for change in self.changes.iter_mut().filter(|change| change.took.is_none()) {
                change.took = wallet.fee(change).filter(|fee| *fee != change.old).map(|_| change.sent.elapsed());
            }
            sleep(PAUSE);
        }
        self.changes.iter().filter_map(|change| change.took).collect()
    }

    /// The network says something that this bench does not wait for.
    fn talk(&mut self, n: u32) {
        let now = SystemClock.now();
        let message =
            if n % 3 == 2 { self.network.next_node_announcement(now) } else { self.network.next_update(now) };
        self.peer.store().append(message);
    }

    /// Of a direction that a wallet knows: this channel's, or the next one's that is enabled.
    fn change_fee(&mut self, index: usize) {
        let channels = self.network.channels();
        let index = (index..channels.len())
            .chain(0..index)
            .find(|n| channels[*n].policies.iter().all(|policy| policy.enabled))
            .expect("some are enabled");
        let (channel, direction) = (&channels[index], Direction::BOTH[self.changes.len() % 2]);
        let policy = channel.policies[direction as usize];
        let (scid, old) = (channel.scid.0, policy.fee_proportional_millionths);
        let timestamp = SystemClock.now().secs().max(channel.timestamps[direction as usize] + 1);
        let policy = Policy { fee_proportional_millionths: old + 137, ..policy };
        let update = self.network.set_policy(index, direction, policy, timestamp);
        self.changes.push(Change { scid, direction, old, sent: Instant::now(), took: None });
        self.peer.store().append(update);
    }
}

/// The official client.
struct Wallet {
    graph: NetworkGraph<Quiet>,
}

impl Wallet {
    fn new(network: bitcoin::Network) -> Self {
        Self { graph: NetworkGraph::new(network, Quiet) }
    }

    /// Takes what has changed since its last answer.
    fn sync(&self, service: &Service) {
        let since = self.graph.get_last_rapid_gossip_sync_timestamp().unwrap_or(0);
        let bytes = service.get(&format!("/v2/snapshot/{since}")).expect("an answer");
        RapidGossipSync::new(&self.graph, Quiet).update_network_graph(&bytes).expect("the client takes it");
    }

    /// What it thinks that the changed direction charges.
    fn fee(&self, change: &Change) -> Option<u32> {
        let graph = self.graph.read_only();
        let channel = graph.channels().get(&change.scid)?;
        let direction = match change.direction {
            Direction::OneToTwo => channel.one_to_two.as_ref(),
            Direction::TwoToOne => channel.two_to_one.as_ref(),
        };
        Some(direction?.fees.proportional_millionths)
    }
}

struct Quiet;

impl Logger for Quiet {
    fn log(&self, _record: Record) {}
}

impl std::ops::Deref for Quiet {
    type Target = Self;

    fn deref(&self) -> &Self {
        self
    }
}
