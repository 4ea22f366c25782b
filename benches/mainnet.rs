//! From the history to a snapshot, on a network shaped like mainnet: cutting the view, encoding it in both versions,
//! having the official client check it; and how many bytes it is, for both settings of `graph`.
//!
//! The shape is drawn at random, or read from the file that `BENCH_TOPOLOGY` names (Core Lightning's compressed map).
//! Sizes mean what their budgets mean only with the real map, because these were measured on it.

mod support;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use criterion::{Criterion, criterion_group, criterion_main};
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, Clock, Fact, NodeAnnouncement, SystemClock, UnixMs};
use rgsd::history::{History, View};
use rgsd::journal::{Entry, Event, Graph, Seq};
use rgsd::snapshot::{LeftOut, Matter, Version, cut, differences, encode_full, rules};
use rgsd::synth::{Network, NetworkSpec, Topology};

use support::table;

const CHANNELS: usize = 51_000;
const CHAIN: bitcoin::Network = bitcoin::Network::Bitcoin;
/// Runs of each work for the table; the middle one counts.
const RUNS: usize = 9;
const CUT_WITHIN: Duration = Duration::from_millis(100);
const VERIFY_WITHIN: Duration = Duration::from_millis(500);
/// In MB, v1 and v2.
const COMPLETE_MB: [f64; 2] = [3.6, 4.92];
const ROUTABLE_MB: [f64; 2] = [2.55, 3.4];

/// A history with two epochs of one network: the older shows all of it, the newer what is routable.
fn history(now: UnixMs) -> History {
    let spec = NetworkSpec { chain: CHAIN, ..NetworkSpec::default() };
    let topology = match std::env::var_os("BENCH_TOPOLOGY") {
        Some(path) => Topology::open(Path::new(&path)).expect("a map"),
        None => Topology::generate(CHANNELS, spec.seed),
    };
    let network = Network::new(&topology, spec, now).expect("a network");
    let mut history = History::new();
    let mut events = facts(&network);
    events.push(Event::Epoch { timestamp: now.secs() - 10, rules: rules(Graph::Complete) });
    events.push(Event::Epoch { timestamp: now.secs(), rules: rules(Graph::Routable) });
    for (seq, event) in (1..).zip(events) {
        history.apply(&Entry { seq: Seq(seq), seen: now, event });
    }
    history
}

fn facts(network: &Network) -> Vec<Event> {
    let well_formed = "the network's own";
    let channels = network.channels().iter().flat_map(|channel| {
        let announcement = ChannelAnnouncement::from_wire(&channel.announcement[..]).expect(well_formed);
        let updates = channel.updates.clone();
        let updates = updates.map(|wire| Fact::Update(ChannelUpdate::from_wire(&wire[..]).expect(well_formed)));
        let announced = Fact::Channel { announcement, capacity_sat: Some(channel.capacity_sat) };
        std::iter::once(announced).chain(updates)
    });
    let nodes = network.nodes().iter();
    let nodes = nodes.map(|node| Fact::Node(NodeAnnouncement::from_wire(&node.announcement[..]).expect(well_formed)));
    channels.chain(nodes).map(Event::Fact).collect()
}

fn encode(view: &View) -> [Vec<u8>; 2] {
    let chain = ChainHash::using_genesis_block_const(CHAIN);
    let encode = |version| encode_full(view, chain, version).expect("small enough");
    let (v1, v2) = rayon::join(|| encode(Version::V1), || encode(Version::V2));
    [v1, v2]
}

/// The middle one of several runs.
fn middle<T>(work: impl Fn() -> T) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            black_box(work());
            started.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn bench(criterion: &mut Criterion) {
    let now = SystemClock.now();
    let history = history(now);
    let views = history.epochs().map(|epoch| history.view(epoch).expect("known"));
    let [complete, routable] = <[View; 2]>::try_from(views.collect::<Vec<_>>()).expect("two epochs");
    let epoch = complete.epoch;
    let cut_and_encode = || encode(&history.view(&epoch).expect("known"));
    let [v1, v2] = encode(&complete);
    let verify = || {
        [(Version::V1, &v1), (Version::V2, &v2)].map(|(version, bytes)| {
            differences(&complete, bytes, version, CHAIN, now.secs()).expect("the client takes it")
        })
    };

    let matter = || Matter::of(&history, &epoch).expect("known");

    let mut group = criterion.benchmark_group("mainnet");
    group.sample_size(10);
    group.bench_function("view", |bencher| bencher.iter(|| history.view(&epoch)));
    group.bench_function("view and encode both", |bencher| bencher.iter(cut_and_encode));
    group.bench_function("verify both", |bencher| bencher.iter(verify));
    group.bench_function("cut", |bencher| {
        bencher.iter(|| cut(matter(), &LeftOut::default(), CHAIN, now.secs()).expect("good"))
    });
    group.finish();

    table::time_row("cut an epoch and encode the full snapshot, v1 and v2", CUT_WITHIN, middle(cut_and_encode));
    table::time_row("its verification by the official client, v1 and v2", VERIFY_WITHIN, middle(verify));
    let shape = if std::env::var_os("BENCH_TOPOLOGY").is_some() { "" } else { ", drawn shape" };
    for (view, name, budgets) in [(&complete, "complete", COMPLETE_MB), (&routable, "routable", ROUTABLE_MB)] {
        println!("{name}: {} channels, {} nodes", view.channels.len(), view.nodes.len());
        for ((bytes, budget_mb), version) in encode(view).iter().zip(budgets).zip(["v1", "v2"]) {
            table::bytes_row(&format!("full {version}, {name}{shape}"), budget_mb, bytes.len());
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
