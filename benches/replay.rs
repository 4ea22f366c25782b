//! Replays at mainnet's size, by the binary as a user runs it: from a recording to a journal and a snapshot.
//!
//! Six days, 1.5 million messages, trusted: a time. An initial sync with what follows it, 200,000 messages, checked:
//! against the signature checks of the same messages alone, on the same cores in the same run.

mod support;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::UnixMs;
use rgsd::recording::store::Writer;
use rgsd::recording::{Body, Flags, Record};
use rgsd::synth::{Network, NetworkSpec};
use tempfile::TempDir;

use support::checks::Checks;
use support::turns::{Turns, middle, slow_group, times};
use support::{budgets, shape};

const START_S: u32 = 1_770_076_800;
const DAYS: u32 = 6;
const MESSAGES: u32 = 1_500_000;
/// Messages beyond the initial sync, in the replay whose signatures are checked.
const CHECKED_UPDATES: u32 = 30_000;

fn bench(criterion: &mut Criterion) {
    let spec = NetworkSpec::default();
    let topology = shape::topology(spec.seed);
    let mut network = Network::new(&topology, spec, UnixMs(u64::from(START_S) * 1000)).expect("a network");
    let folder = TempDir::new().expect("a directory");
    let file = folder.path().join("recording");

    let count = record(&file, &network, six_days(&network));
    println!("{count} messages, trusted");
    let mut group = slow_group(criterion, "replay");
    let trusted = times(&mut group, "six days, trusted", || replay(folder.path(), &file, &["--trust"]));
    middle(&trusted).into_iter().for_each(|took| budgets::REPLAY_TRUSTED.took(took));

    let updates = (1..=CHECKED_UPDATES).map(|n| network.next_update(UnixMs(u64::from(START_S + n / 3) * 1000)));
    let updates: Vec<Bytes> = updates.collect();
    let before = Network::new(&topology, NetworkSpec::default(), UnixMs(u64::from(START_S) * 1000));
    let before = before.expect("a network");
    let count = record(&file, &before, updates.iter().cloned());
    let checks = Checks::of(&before, before.dump().into_iter().chain(updates).collect());
    println!("{count} messages, checked");
    let replayed =
        Turns::take(&mut group, "an initial sync, checked", || checks.run(), || replay(folder.path(), &file, &[]));
    replayed.tell(&budgets::REPLAY_CHECKED, "the checks alone");
    group.finish();
}

/// Records a network, as it stands and then as it talks. Returns how many messages that makes.
fn record(file: &Path, network: &Network, talk: impl Iterator<Item = Bytes>) -> u64 {
    let file = File::create(file).expect("a file");
    let mut recording = Writer::new(BufWriter::new(file)).expect("room");
    let mut messages = 0;
    let mut write = |body| {
        messages += u64::from(matches!(body, Body::Message(_)));
        recording.write(&Record { flags: Flags::default(), timestamp: 0, body }).expect("room");
    };
    for channel in network.channels() {
        let [announcement, one, two] = channel.messages();
        write(Body::Message(announcement.to_vec().into()));
        write(Body::Amount { capacity_sat: channel.capacity_sat });
        [one, two].into_iter().for_each(|update| write(Body::Message(update.to_vec().into())));
    }
    network.nodes().iter().for_each(|node| write(Body::Message(node.announcement.to_vec().into())));
    talk.for_each(|message| write(Body::Message(message.to_vec().into())));
    messages
}

/// What a network says in six days: two updates for each node's announcement, with new times and fees under the old
/// signatures.
fn six_days(network: &Network) -> impl Iterator<Item = Bytes> {
    let known = 3 * network.channels().len() + network.nodes().len();
    let count = MESSAGES - u32::try_from(known).expect("fewer");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    (0..count).map(move |n| {
        let time = START_S + (u64::from(n) * u64::from(DAYS * 86_400) / u64::from(count)) as u32;
        if n % 3 == 2 {
            let node = &network.nodes()[rng.random_range(0..network.nodes().len())];
            restamped(&node.announcement, 2 + 64 + 2 + features_len(&node.announcement, 66), time)
        } else {
            let channel = &network.channels()[rng.random_range(0..network.channels().len())];
            let update = &channel.updates[rng.random_range(0..2usize)];
            let mut update = restamped(update, 2 + 64 + 32 + 8, time).to_vec();
            update[2 + 64 + 32 + 8 + 4 + 2 + 2 + 8 + 4 + 3] = rng.random();
            update.into()
        }
    })
}

fn features_len(message: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([message[at], message[at + 1]]))
}

fn restamped(message: &[u8], at: usize, time: u32) -> Bytes {
    let mut message = message.to_vec();
    message[at..at + 4].copy_from_slice(&time.to_be_bytes());
    message.into()
}

/// How long the binary takes.
fn replay(folder: &Path, file: &Path, flags: &[&str]) -> Duration {
    let out = folder.join("out");
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rgsd"));
    let output = command.arg("replay").arg(file).arg("--out").arg(&out).args(["--network", "regtest"]).args(flags);
    let output = output.output().expect("the binary runs");
    let took = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(out).expect("there");
    took
}

criterion_group!(benches, bench);
criterion_main!(benches);
