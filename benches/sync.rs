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

use criterion::{Criterion, criterion_group, criterion_main};
use postgres::Cluster;
use rgsd::config::{self, Bitcoind, Config, Database};
use rgsd::gossip::{Clock, PeerAddress, SystemClock};
use rgsd::http::Status;
use rgsd::serve::Service;
use rgsd::synth::{Behaviour, Chain, Network, NetworkSpec, Peer, PeerHandle, Requests, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use support::checks::Checks;
use support::turns::{Turns, slow_group};
use support::{budgets, shape, table};

fn bench(criterion: &mut Criterion) {
    let network = network();
    let messages = network.dump();
    println!("{} messages of {} channels, {}", messages.len(), network.channels().len(), shape::name());
    let store = Store::new(messages);
    let runtime = Runtime::new().expect("a runtime");

    let checks = Checks::of(&network, network.dump());
    let mut group = slow_group(criterion, "initial sync");
    let unproven =
        Turns::take(&mut group, "alone", || checks.run(), || runtime.block_on(sync(&network, &store, None, None)));
    let cluster = Cluster::shared();
    let archived = Turns::take(
        &mut group,
        "with an archive",
        || checks.run(),
        || {
            let database = Database::new(cluster.database().url.parse().expect("a database's URL"));
            runtime.block_on(sync(&network, &store, None, Some(database)))
        },
    );
    group.finish();

    let chain = Chain::of(&network, network.last_height() + 6);
    let proven = runtime.block_on(sync(&network, &store, Some(&chain), None));
    unproven.tell(&budgets::SYNC, "the checks alone");
    archived.tell(&budgets::SYNC_ARCHIVE, "the checks alone");
    tell_requests(&chain.requests(), blocks_touched(&network), proven);
}

/// A bench that has whole blocks fetched must not look well.
fn tell_requests(requests: &Requests, blocks: usize, took: Duration) {
    println!("with funding proofs: {requests:?} for {blocks} blocks");
    assert_eq!(requests.whole_block, 0, "whole blocks were fetched");
    let a_block = requests.total() as f64 / blocks as f64;
    let told = format!("{a_block:.2}, none of them for a whole block; the sync takes {}", table::time(took));
    budgets::PROOFS.came_to(a_block, &told);
}

fn network() -> Network {
    let spec = NetworkSpec::default();
    Network::new(&shape::topology(spec.seed), spec, SystemClock.now()).expect("a network")
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

criterion_group!(benches, bench);
criterion_main!(benches);
