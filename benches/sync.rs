//! An initial sync at mainnet's size, 51,000 channels, 102,000 updates and 17,000 nodes: from a peer on loopback TCP,
//! through the running service, until the journal has all of it.
//!
//! The measure is the time that the signature checks of the same messages take on the same cores, in the same run:
//! everything else (the peer's own work, which shares the cores, included) may take half as much again. Then the same
//! with funding proofs from a chain behind bitcoind's REST paths, and with an archive, whose PostgreSQL shares the cores,
//! too.

#[path = "../tests/support/postgres.rs"]
mod postgres;
mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::Cluster;
use rgsd::config::{self, Bitcoind, Config, Database};
use rgsd::gossip::{Clock, PeerAddress, SystemClock};
use rgsd::http::Status;
use rgsd::serve::Service;
use rgsd::synth::{Behaviour, Chain, Network, NetworkSpec, Peer, PeerHandle, Store, Topology};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use support::checks::Checks;
use support::table;

const CHANNELS: usize = 51_000;
/// Each a pair of checks alone and a sync; the middle ratio counts.
const ROUNDS: usize = 3;
const RATIO: f64 = 1.5;
const REQUESTS_A_BLOCK: f64 = 2.2;

fn main() {
    let network = network();
    let messages = network.dump();
    println!("{} messages of {} channels and {} nodes", messages.len(), CHANNELS, network.nodes().len());
    let store = Store::new(messages);
    let runtime = Runtime::new().expect("a runtime");

    let checks = Checks::of(&network, network.dump());
    let mut rounds: Vec<(Duration, Duration)> = (0..ROUNDS)
        .map(|round| {
            let alone = checks.run();
            let sync = runtime.block_on(sync(&network, &store, None, None));
            println!("round {round}: the checks alone {alone:.2?}, the sync {sync:.2?}");
            (alone, sync)
        })
        .collect();
    let ratio = |(alone, sync): &(Duration, Duration)| sync.as_secs_f64() / alone.as_secs_f64();
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let middle = rounds[ROUNDS / 2];

    let chain = Chain::of(&network, network.last_height() + 6);
    let proven = runtime.block_on(sync(&network, &store, Some(&chain), None));
    let requests = chain.requests();
    let blocks = blocks_touched(&network);
    println!("with funding proofs: {requests:?} for {blocks} blocks");

    let database = Cluster::shared().database();
    let url = database.url.parse().expect("a database's URL");
    let archived = runtime.block_on(sync(&network, &store, None, Some(Database::new(url))));

    let (alone, unproven) = middle;
    let measured = format!("{unproven:.2?}, the checks alone {alone:.2?}: {:.2} ×", ratio(&middle));
    table::row(
        "initial sync without funding proofs",
        "1.5 × its signature checks",
        &measured,
        ratio(&middle) / RATIO,
    );
    let measured = format!("{archived:.2?}: {:.2} ×", ratio(&(alone, archived)));
    let share = ratio(&(alone, archived)) / RATIO;
    table::row(
        "the same with an archive, PostgreSQL on the same cores",
        "1.5 × its signature checks",
        &measured,
        share,
    );
    let a_block = requests.total() as f64 / blocks as f64;
    let measured = format!("{a_block:.2} a block touched; {} requests, {proven:.2?}", requests.total());
    table::row("its funding proofs", "2.2 requests a block touched", &measured, a_block / REQUESTS_A_BLOCK);
}

fn network() -> Network {
    let spec = NetworkSpec::default();
    let topology = Topology::generate(CHANNELS, spec.seed);
    Network::new(&topology, spec, SystemClock.now()).expect("a network")
}

fn blocks_touched(network: &Network) -> usize {
    let mut heights: Vec<u32> = network.channels().iter().map(|channel| channel.scid.height()).collect();
    heights.dedup(); // in ascending order
    heights.len()
}

/// A sync by a new service, from the first connection until the journal has every message.
async fn sync(network: &Network, store: &Arc<Store>, chain: Option<&Chain>, database: Option<Database>) -> Duration {
    let folder = TempDir::new().expect("a directory");
    let secret = network.nodes()[0].secret;
    let peer = Peer::start(loopback().await, secret, network.chain_hash(), Behaviour::default(), Arc::clone(store));
    let peer = peer.expect("a peer");
    let bitcoind = match chain {
        Some(chain) => Some(chain.serve(loopback().await).expect("a chain")),
        None => None,
    };
    let rest_url = bitcoind.as_ref().map(|server| config::parse_rest_url(&server.url()).expect("a URL"));
    let config = Config {
        network: network.spec().chain,
        data_dir: folder.path().to_owned(),
        peers: vec![address(&peer)],
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        bitcoind: Bitcoind { rest_url },
        database,
        ..Config::default()
    };
    let stop = CancellationToken::new();
    let service =
        Service::start(config, Arc::new(SystemClock), rgsd::tasks::Tasks::new(stop.clone())).await.expect("started");
    until(|| peer.connection_count() > 0).await;
    let started = Instant::now();
    let all = store.len() as u64;
    until(|| journaled(&service.status(), all)).await;
    let took = started.elapsed();
    let shipped =
        |status: Status| status.archive.is_none_or(|archive| archive.last_seq.is_some_and(|last| last.0 >= all));
    until(|| shipped(service.status())).await;
    if service.status().archive.is_some() {
        println!("shipped {:.2?} later", started.elapsed() - took);
    }
    stop.cancel();
    service.finish().await.expect("a clean end");
    peer.stop().await;
    if let Some(server) = bitcoind {
        server.stop().await;
    }
    took
}

/// Whether the journal has `all` messages.
fn journaled(status: &Status, all: u64) -> bool {
    status.journal.last_seq.0 >= all
}

async fn until(happened: impl Fn() -> bool) {
    while !happened() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn loopback() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the loopback address")
}

fn address(peer: &PeerHandle) -> PeerAddress {
    PeerAddress { node_id: peer.node_id, host: peer.addr.ip().to_string(), port: peer.addr.port() }
}
