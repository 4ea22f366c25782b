//! Deltas on a network shaped like mainnet, after six days of its talk: how long one takes, and how many bytes it is
//! beside the full snapshot (`make sizes` prints that table alone).

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, Clock, Closing, Fact, NodeAnnouncement, SystemClock, UnixMs};
use rgsd::history::History;
use rgsd::inspect::report;
use rgsd::journal::{Entry, Epoch, Event, Graph, Seq};
use rgsd::snapshot::{Contents, LeftOut, Matter, Version, delta, encode, rules};
use rgsd::source::Opened;

use rgsd::synth::{Network, NetworkSpec};

use support::{budgets, shape, table};

const CHAIN: bitcoin::Network = bitcoin::Network::Bitcoin;
const HOURS: u32 = 6 * 24;
const UPDATES_AN_HOUR: u32 = 250_000 / 24;
/// Of 125,000 announcements a day, one in ten brings other details; what the others repeat leaves no trace.
const NODE_NEWS_AN_HOUR: u32 = 12_500 / 24;
const CHANNELS_A_DAY: u32 = 96;
/// Runs of each work for the table; the middle one counts.
const RUNS: usize = 9;

struct Week {
    history: History,
    seq: u64,
}

impl Week {
    fn apply(&mut self, seen: UnixMs, event: Event) {
        self.seq += 1;
        self.history.apply(&Entry { seq: Seq(self.seq), seen, event });
    }

    /// Six days that end at `now`, with an epoch an hour.
    fn new(now: UnixMs) -> Self {
        let spec = NetworkSpec { chain: CHAIN, ..NetworkSpec::default() };
        let start = UnixMs(now.0 - u64::from(HOURS) * 3_600_000);
        let mut network = Network::new(&shape::topology(spec.seed), spec, start).expect("a network");
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

/// How far back wallets were here last.
const SPANS: [(usize, &str); 5] = [(1, "1 h"), (6, "6 h"), (24, "1 d"), (72, "3 d"), (120, "5 d")];

/// The delta over the last hours.
fn told(history: &History, hours: usize) -> Contents {
    let epochs: Vec<&Epoch> = history.epochs().collect();
    let last = epochs.len() - 1;
    delta(&history.span(epochs[last - hours], epochs[last]).expect("known"), &LeftOut::default())
}

fn encoded(contents: &Contents, version: Version) -> Vec<u8> {
    encode(contents, ChainHash::using_genesis_block_const(CHAIN), version).expect("small enough")
}

/// A row of the README's table: bytes raw, and compressed as a server would.
fn size_row(what: &str, contents: &Contents) {
    let sizes = [Version::V1, Version::V2].map(|version| {
        let opened = Opened { name: what.to_owned(), bytes: encoded(contents, version), packed: None };
        let total = report(&opened, contents.timestamp).expect("decodable").bytes.total;
        [total.raw, total.gzip, total.zstd, total.brotli]
            .map(|bytes| format!("{:.0}", bytes as f64 / 1e3))
            .join(" | ")
    });
    println!("| {what} | {} |", sizes.join(" | "));
}

fn sizes(history: &History) {
    println!("| kB | v1 | gzip | zstd | brotli | v2 | gzip | zstd | brotli |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let view = history.view(history.last_epoch().expect("one")).expect("known");
    size_row("full", &Contents::full(&view));
    for (hours, name) in SPANS {
        size_row(&format!("delta over {name}"), &told(history, hours));
    }
}

fn bench(criterion: &mut Criterion) {
    let started = Instant::now();
    let history = Week::new(SystemClock.now()).history;
    if std::env::args().any(|argument| argument == "sizes") {
        return sizes(&history);
    }
    println!("six days made in {:.0?}: {:?}", started.elapsed(), history.size());
    let mut group = criterion.benchmark_group("delta");
    group.sample_size(20);
    let mut slowest = Duration::ZERO;
    for (hours, name) in SPANS {
        println!("{name}: {:?}", told(&history, hours).breakdown());
        group.bench_function(name, |bencher| {
            bencher.iter(|| encoded(black_box(&told(&history, hours)), Version::V2));
        });
        let mut times = [(); RUNS].map(|()| {
            let started = Instant::now();
            black_box(encoded(&told(&history, hours), Version::V2));
            started.elapsed()
        });
        times.sort();
        slowest = slowest.max(times[RUNS / 2]);
    }
    group.finish();
    let epoch = history.last_epoch().expect("one");
    let matter = || Matter::of(&history, epoch).expect("known");
    let started = Instant::now();
    let returning = Contents::full(&matter().view).with_departed(&matter().departed);
    println!("what a returning wallet is told, made in {:.1?}: {:?}", started.elapsed() / 2, returning.breakdown());
    let told = format!("{}, {}", table::time(slowest), shape::name());
    budgets::ENCODE_DELTA.came_to(slowest.as_secs_f64(), &told);
}

criterion_group!(benches, bench);
criterion_main!(benches);
