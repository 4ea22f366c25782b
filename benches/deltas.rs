//! Deltas on a network shaped like mainnet, after a week of its talk: how long one takes, and how many bytes it is
//! beside the full snapshot.
//!
//! The shape is drawn at random, or read from the file that `BENCH_TOPOLOGY` names (Core Lightning's compressed map).

mod support;

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use bitcoin::constants::ChainHash;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, Clock, Closing, Fact, NodeAnnouncement, SystemClock, UnixMs};
use rgsd::history::History;
use rgsd::journal::{Entry, Epoch, Event, Graph, Seq};
use rgsd::snapshot::{Contents, LeftOut, Version, delta, encode, rules};
use rgsd::synth::{Network, NetworkSpec, Topology};

const CHANNELS: usize = 51_000;
const CHAIN: bitcoin::Network = bitcoin::Network::Bitcoin;
const HOURS: u32 = 6 * 24;
const UPDATES_AN_HOUR: u32 = 250_000 / 24;
/// Of 125,000 announcements a day, one in ten brings other details; what the others repeat leaves no trace.
const NODE_NEWS_AN_HOUR: u32 = 12_500 / 24;
const CHANNELS_A_DAY: u32 = 96;

struct Week {
    history: History,
    seq: u64,
}

impl Week {
    fn apply(&mut self, seen: UnixMs, event: Event) {
        self.seq += 1;
        self.history.apply(&Entry { seq: Seq(self.seq), seen, event });
    }

    /// A week that ends at `now`, with an epoch an hour.
    fn new(now: UnixMs) -> Self {
        let spec = NetworkSpec { chain: CHAIN, ..NetworkSpec::default() };
        let topology = match std::env::var_os("BENCH_TOPOLOGY") {
            Some(path) => Topology::open(Path::new(&path)).expect("a map"),
            None => Topology::generate(CHANNELS, spec.seed),
        };
        let start = UnixMs(now.0 - u64::from(HOURS) * 3_600_000);
        let mut network = Network::new(&topology, spec, start).expect("a network");
        let mut week = Self { history: History::new(), seq: 0 };
        for n in 0..network.channels().len() {
            week.announce(&network, n, start);
        }
        for n in 0..network.nodes().len() {
            let wire = network.nodes()[n].announcement.clone();
            week.node(start, &wire);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        week.cut(start);
        for hour in 0..HOURS {
            week.hour(&mut network, UnixMs(start.0 + u64::from(hour) * 3_600_000), &mut rng);
        }
        week.history.compact();
        week
    }

    fn hour(&mut self, network: &mut Network, from: UnixMs, rng: &mut ChaCha8Rng) {
        let at = |n: u32, of: u32| UnixMs(from.0 + 3_600_000 * u64::from(n) / u64::from(of));
        for n in 0..UPDATES_AN_HOUR {
            let seen = at(n, UPDATES_AN_HOUR);
            let wire = network.next_update(seen);
            self.apply(seen, Event::Fact(Fact::Update(ChannelUpdate::from_wire(&wire[..]).expect(WELL_FORMED))));
        }
        for n in 0..NODE_NEWS_AN_HOUR {
            let seen = at(n, NODE_NEWS_AN_HOUR);
            let wire = network.next_node_announcement(seen);
            self.node(seen, &wire);
        }
        for n in 0..CHANNELS_A_DAY / 24 {
            let seen = at(n, CHANNELS_A_DAY / 24);
            let opened = network.last_height() + 1;
            network.add_channel(opened, seen).expect("there is room");
            self.announce(network, network.channels().len() - 1, seen);
            let scid = network.channels()[rng.random_range(0..network.channels().len())].scid;
            self.apply(seen, Event::Fact(Fact::Closed { scid, reason: Closing::Silent }));
        }
        self.cut(UnixMs(from.0 + 3_600_000));
    }

    fn announce(&mut self, network: &Network, channel: usize, seen: UnixMs) {
        let channel = &network.channels()[channel];
        let announcement = ChannelAnnouncement::from_wire(&channel.announcement[..]).expect(WELL_FORMED);
        let capacity_sat = Some(channel.capacity_sat);
        self.apply(seen, Event::Fact(Fact::Channel { announcement, capacity_sat }));
        for wire in &channel.updates {
            self.apply(seen, Event::Fact(Fact::Update(ChannelUpdate::from_wire(&wire[..]).expect(WELL_FORMED))));
        }
    }

    fn node(&mut self, seen: UnixMs, wire: &[u8]) {
        self.apply(seen, Event::Fact(Fact::Node(NodeAnnouncement::from_wire(wire).expect(WELL_FORMED))));
    }

    fn cut(&mut self, at: UnixMs) {
        self.apply(at, Event::Epoch { timestamp: at.secs(), rules: rules(Graph::Routable) });
    }
}

const WELL_FORMED: &str = "the network's own";

fn contents(history: &History, hours: usize) -> Contents {
    let epochs: Vec<Epoch> = history.epochs().copied().collect();
    let last = epochs.len() - 1;
    delta(&history.span(&epochs[last - hours], &epochs[last]).expect("known"), &LeftOut::default())
}

fn bench(_criterion: &mut Criterion) {
    let started = Instant::now();
    let Week { history, .. } = Week::new(SystemClock.now());
    println!("a week made in {:.0?}: {:?}", started.elapsed(), history.size());
    let chain = ChainHash::using_genesis_block_const(CHAIN);
    for (hours, name) in [(1, "1h"), (6, "6h"), (24, "1d"), (48, "2d"), (72, "3d"), (120, "5d"), (143, "6d")] {
        let started = Instant::now();
        let told = black_box(contents(&history, hours));
        let planned = started.elapsed();
        let v2 = encode(&told, chain, Version::V2).expect("small enough");
        let took = started.elapsed();
        let v1 = encode(&told, chain, Version::V1).expect("small enough");
        println!(
            "{name}: v1 {} v2 {} {:?} planned {planned:.1?} with v2 {took:.1?}",
            v1.len(),
            v2.len(),
            told.breakdown()
        );
    }
    let epoch = *history.last_epoch().expect("one");
    let started = Instant::now();
    let departed = history.departed(&epoch, 8 * 86_400).expect("known");
    println!("departed {} {:.1?}", departed.len(), started.elapsed());
    let view = history.view(&epoch).expect("known");
    println!("view {:.1?}", started.elapsed());
    let full = Contents::full(&view);
    println!("full {:.1?}", started.elapsed());
    let v1 = encode(&full, chain, Version::V1).expect("small enough");
    println!("v1 {} {:.1?}", v1.len(), started.elapsed());
    let v2 = encode(&full, chain, Version::V2).expect("small enough");
    println!("v2 {} {:.1?}", v2.len(), started.elapsed());
}

criterion_group!(benches, bench);
criterion_main!(benches);
