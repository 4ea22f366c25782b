//! From the history to a snapshot, on a network shaped like mainnet: cutting the view, encoding it in both versions,
//! having the official client check it; and how many bytes it is, for both settings of `graph`.
//!
//! Sizes mean what their budgets mean only with the real map (`support/shape.rs`), because these were measured on it; a
//! drawn shape keeps them, too.

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use criterion::{Criterion, criterion_group, criterion_main};
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, Clock, Closing, Fact, NodeAnnouncement, SystemClock, UnixMs};
use rgsd::history::{History, View};
use rgsd::journal::{Entry, Event, Graph, Seq};
use rgsd::snapshot::{LeftOut, Matter, Version, cut, encode_full, rules};
use rgsd::synth::{Network, NetworkSpec};

use support::table::Budget;
use support::{budgets, shape};

/// A day's: who comes back is told of them, in a body of its own.
const CLOSINGS: usize = 100;
const CHAIN: bitcoin::Network = bitcoin::Network::Bitcoin;
/// Runs of each work for the table; the middle one counts.
const RUNS: usize = 9;

/// A history with three epochs of one network: all of it, what of it is routable, and all but what was closed then.
fn history(now: UnixMs) -> History {
    let spec = NetworkSpec { chain: CHAIN, ..NetworkSpec::default() };
    let network = Network::new(&shape::topology(spec.seed), spec, now).expect("a network");
    let mut history = History::new();
    let mut events = facts(&network);
    events.push(Event::Epoch { timestamp: now.secs() - 20, rules: rules(Graph::Complete) });
    events.push(Event::Epoch { timestamp: now.secs() - 10, rules: rules(Graph::Routable) });
    let channels = network.channels().iter().step_by(network.channels().len() / CLOSINGS);
    let closed = channels.map(|channel| Fact::Closed { scid: channel.scid, reason: Closing::Silent });
    events.extend(closed.map(Event::Fact));
    events.push(Event::Epoch { timestamp: now.secs(), rules: rules(Graph::Complete) });
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
fn middle(work: impl Fn() -> Duration) -> Duration {
    let mut times = [(); RUNS].map(|()| work());
    times.sort();
    times[RUNS / 2]
}

fn bench(criterion: &mut Criterion) {
    let now = SystemClock.now();
    let history = history(now);
    let views = history.epochs().map(|epoch| history.view(epoch).expect("known"));
    let [complete, routable, last] = <[View; 3]>::try_from(views.collect::<Vec<_>>()).expect("three epochs");
    let epoch = complete.epoch;
    let cut_and_encode = || encode(&history.view(&epoch).expect("known"));
    let matter = || Matter::of(&history, &last.epoch).expect("known");
    let cut = || cut(matter(), &LeftOut::default(), CHAIN, now.secs()).expect("good");

    let mut group = criterion.benchmark_group("mainnet");
    group.sample_size(10);
    group.bench_function("view", |bencher| bencher.iter(|| history.view(&epoch)));
    group.bench_function("view and encode both", |bencher| bencher.iter(cut_and_encode));
    group.bench_function("cut, encode and verify all", |bencher| bencher.iter(cut));
    group.bench_function("verify all", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| cut().verified_in).sum());
    });
    group.finish();

    budgets::CUT.took(middle(|| {
        let started = Instant::now();
        black_box(cut_and_encode());
        started.elapsed()
    }));
    budgets::VERIFY.took(middle(|| cut().verified_in));
    tell_sizes(&complete, [&budgets::FULL_V1_COMPLETE, &budgets::FULL_V2_COMPLETE]);
    tell_sizes(&routable, [&budgets::FULL_V1_ROUTABLE, &budgets::FULL_V2_ROUTABLE]);
}

/// Of v1 and v2.
fn tell_sizes(view: &View, budgets: [&Budget; 2]) {
    println!("{} channels, {} nodes", view.channels.len(), view.nodes.len());
    for (bytes, budget) in encode(view).iter().zip(budgets) {
        budget.takes_mb(bytes.len() as f64 / 1e6, &format!(", {}", shape::name()));
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
