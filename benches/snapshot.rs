//! A full snapshot at mainnet's size, 51,000 channels between 17,000 nodes: how long it takes to encode, to have the
//! official client check, and to publish; and how many bytes it is.
//!
//! The network is drawn from a fixed seed. Its shape is mainnet's in what matters here: few nodes have most channels,
//! and few values make up most policies.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::{NodeDetails, NodeId, Policy, ShortChannelId};
use rgsd::history::{View, ViewChannel, ViewNode};
use rgsd::journal::{Epoch, Graph, Seq};
use rgsd::snapshot::{Folder, Snapshot, Version, cut, differences, encode_full, rules};

const CHANNELS: u32 = 51_000;
const NODES: u32 = 17_000;
const NETWORK: Network = Network::Bitcoin;
const CHAIN: ChainHash = ChainHash::BITCOIN;

fn view() -> View {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut nodes: Vec<ViewNode> = (0..NODES).map(|_| node(&mut rng)).collect();
    nodes.sort_by_key(|node| node.id);
    let channels = (0..CHANNELS).map(|n| channel(n, &mut rng)).collect();
    let epoch = Epoch { timestamp: 1_770_000_003, seq: Seq(1), rules: rules(Graph::Routable) };
    View { epoch, nodes, channels }
}

fn node(rng: &mut ChaCha8Rng) -> ViewNode {
    let mut id = [0; 33];
    rng.fill_bytes(&mut id);
    id[0] = 2 + id[0] % 2;
    let mut features = vec![0x80; 7];
    features[0] = 1 << skewed(8, rng);
    features[6] = skewed(30, rng) as u8;
    let mut addresses = vec![4; 38];
    rng.fill_bytes(&mut addresses[1..]);
    if rng.random_bool(0.3) {
        addresses.extend([1, 10, 0, 0, 1, 0x26, 0x07]);
    }
    let details = NodeDetails { features: features.into(), addresses: addresses.into() };
    let details = rng.random_bool(0.85).then(|| Arc::new(details));
    ViewNode { id: NodeId::from_slice(&id).expect("33 bytes"), details }
}

fn channel(n: u32, rng: &mut ChaCha8Rng) -> ViewChannel {
    // The first channels see to it that every node has one.
    let one = if n < NODES { n } else { skewed(NODES, rng) };
    let other = (one + 1 + skewed(NODES - 1, rng)) % NODES;
    let capacity_sat = 20_000 + u64::from(skewed(100, rng)) * 500_000;
    ViewChannel {
        scid: ShortChannelId::new(500_000 + n * 8, rng.random_range(1..4000), rng.random_range(0..3)),
        features: Box::default(),
        nodes: [one.min(other), one.max(other)],
        capacity_sat: Some(capacity_sat),
        policies: [policy(capacity_sat, rng), policy(capacity_sat, rng)],
    }
}

fn policy(capacity_sat: u64, rng: &mut ChaCha8Rng) -> Policy {
    Policy {
        htlc_minimum_msat: [1000, 1, 1000, 0][skewed(4, rng) as usize],
        htlc_maximum_msat: capacity_sat * 990,
        fee_base_msat: [1000, 0, 1, 500][skewed(4, rng) as usize],
        fee_proportional_millionths: skewed(5000, rng),
        cltv_expiry_delta: [40, 80, 144, 34][skewed(4, rng) as usize],
        enabled: rng.random_bool(0.9),
    }
}

/// Below `end`, the low ones far more often.
fn skewed(end: u32, rng: &mut ChaCha8Rng) -> u32 {
    let x: f64 = rng.random();
    (x.powi(4) * f64::from(end)) as u32
}

fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u32::try_from(since.as_secs()).expect("before 2106")
}

fn both<T: Send>(work: impl Fn(Version) -> T + Sync) -> (T, T) {
    rayon::join(|| work(Version::V1), || work(Version::V2))
}

fn bench(criterion: &mut Criterion) {
    let view = view();
    let encode = |version| encode_full(&view, CHAIN, version).expect("small enough");
    let (v1, v2) = both(encode);
    println!("{CHANNELS} channels, {NODES} nodes: v1 {} bytes, v2 {} bytes", v1.len(), v2.len());
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10);
    group.bench_function("encode v1", |bencher| bencher.iter(|| encode(Version::V1)));
    group.bench_function("encode v2", |bencher| bencher.iter(|| encode(Version::V2)));
    group.bench_function("encode both", |bencher| bencher.iter(|| black_box(both(encode))));
    let check = |version| {
        let bytes = if version == Version::V1 { &v1 } else { &v2 };
        let found = differences(&view, bytes, version, NETWORK, now_s()).expect("the client takes it");
        assert!(found.is_empty());
    };
    group.bench_function("verify both", |bencher| bencher.iter(|| both(check)));
    group.bench_function("cut", |bencher| bencher.iter(|| cut(view.clone(), NETWORK, now_s()).expect("a snapshot")));
    let dir = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(dir.path(), NETWORK);
    let Snapshot { epoch, counts, v1, v2 } = cut(view.clone(), NETWORK, now_s()).expect("a snapshot").snapshot;
    let mut snapshot = Snapshot { epoch, counts, v1, v2 };
    group.bench_function("publish", |bencher| {
        bencher.iter(|| {
            snapshot.epoch.timestamp += 60;
            folder.publish(&snapshot).expect("published");
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
