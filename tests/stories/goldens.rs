//! `snapshots/`: small recordings, and the snapshots that replaying them must give, byte for byte.
//!
//! Each story is made here, so that its recording can be made again; what it says is held against the official client,
//! so that a golden that is wrong is noticed; and the real binary replays what is committed. `make goldens` sets
//! `REMAKE_GOLDENS`: then everything is written anew first, and must still be what the stories say.

mod life;
mod messages;
mod play;
mod recorders;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rgsd::gossip::{Clock, SystemClock};
use rgsd::history::History;
use rgsd::journal::{Epoch, Reader, Seq, SqliteJournal};
use rgsd::snapshot::{LeftOut, REACH_S, Version, delta, encode};
use serde_json::Value;

use self::play::{Cut, Story};
use crate::support::Wallet;

const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

/// All stories; `snapshots/` is in order by the time they are there, where it is to be remade.
static STORIES: LazyLock<Vec<Story>> = LazyLock::new(|| {
    let stories = stories();
    if std::env::var_os("REMAKE_GOLDENS").is_some_and(|said| !said.is_empty()) {
        stories.iter().for_each(remake_recordings);
        stories.iter().for_each(remake_goldens);
    }
    stories
});

fn stories() -> Vec<Story> {
    let [routable, complete] = life::switches();
    vec![
        life::heard(),
        life::proofs(),
        routable,
        complete,
        life::two_weeks(),
        life::closed(),
        life::silent_month(),
        messages::fees(),
        messages::chatty(),
        messages::nodes(),
        messages::refused(),
        messages::trusted(),
        recorders::core_lightning(),
        recorders::torn_tail(),
        recorders::gsp(),
        recorders::map(),
        recorders::merged(),
    ]
}

/// The repository's `snapshots/`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots")
}

fn folder_of(story: &Story) -> PathBuf {
    folder().join(story.name)
}

/// Where the full snapshot of a time lies below its story.
fn golden(timestamp: u32, version: Version) -> String {
    format!("golden/{timestamp}/v{}.bin", version as u8)
}

/// Where the delta lies that ends there, and begins at the time before.
fn golden_delta(timestamp: u32, version: Version) -> String {
    format!("golden/{timestamp}/delta-v{}.bin", version as u8)
}

/// The goldens that a story has: those of each time, and a delta from one time to the next where there is one.
fn goldens(story: &Story) -> impl Iterator<Item = (&Cut, String)> {
    let deltas = story.cuts.windows(2).filter(|pair| pair[1].timestamp - pair[0].timestamp < REACH_S);
    let deltas = deltas.flat_map(|pair| VERSIONS.map(|version| (&pair[1], golden_delta(pair[1].timestamp, version))));
    let cuts = story.cuts.iter();
    cuts.flat_map(|cut| VERSIONS.map(|version| (cut, golden(cut.timestamp, version)))).chain(deltas)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; `make goldens` makes it", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file")).expect("a directory");
    fs::write(path, bytes).expect("written");
}

fn remake_recordings(story: &Story) {
    let _ = fs::remove_dir_all(folder_of(story)); // a new story has none
    for (name, bytes) in &story.recordings {
        write(&folder_of(story).join(name), &pack(name, bytes));
    }
    write(&folder_of(story).join("replay.args"), story.arguments().as_bytes());
}

fn remake_goldens(story: &Story) {
    let replayed = replay(story);
    for (file, bytes) in replayed.goldens {
        write(&folder_of(story).join(file), &bytes);
    }
}

/// What another release of a packer makes need not be the same bytes, so only what is in it is compared.
fn pack(name: &str, bytes: &[u8]) -> Vec<u8> {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("zst") => zstd::encode_all(bytes, 19).expect("in memory"),
        Some("gz") => {
            let mut packer = GzEncoder::new(Vec::new(), Compression::best());
            packer.write_all(bytes).and_then(|()| packer.finish()).expect("in memory")
        }
        _ => bytes.to_vec(),
    }
}

fn unpack(name: &str, packed: &[u8]) -> Vec<u8> {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("zst") => zstd::decode_all(packed).expect("zstd"),
        Some("gz") => {
            let mut bytes = Vec::new();
            GzDecoder::new(packed).read_to_end(&mut bytes).expect("gzip");
            bytes
        }
        _ => packed.to_vec(),
    }
}

/// What the real binary made of a story.
struct Replayed {
    report: Value,
    /// What it gives, by the golden's place.
    goldens: BTreeMap<String, Vec<u8>>,
}

/// Replays what is committed, as anybody would: in the story's directory, with `replay.args`.
fn replay(story: &Story) -> Replayed {
    let out = tempfile::tempdir().expect("a temporary directory");
    let arguments = String::from_utf8(read(&folder_of(story).join("replay.args"))).expect("text");
    let run = Command::new(env!("CARGO_BIN_EXE_rgsd"))
        .current_dir(folder_of(story))
        .arg("replay")
        .args(arguments.split_whitespace())
        .args(["--json", "--out"])
        .arg(out.path().join("out"))
        .output()
        .expect("started");
    assert!(run.status.success(), "{}: {}", story.name, String::from_utf8_lossy(&run.stderr));
    let report: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let made = report["snapshots"].as_array().expect("a list").iter();
    let mut goldens = deltas(&out.path().join("out"));
    for timestamp in made.map(|made| made["timestamp"].as_u64().expect("a number") as u32) {
        let folder = out.path().join(format!("out/snapshots/{timestamp}"));
        for (version, file) in VERSIONS.into_iter().zip(["snapshot/0", "snapshot/v2/0"]) {
            goldens.insert(golden(timestamp, version), read(&folder.join(file)));
        }
    }
    Replayed { report, goldens }
}

/// What the journal that a replay leaves behind gives to wallets that were told of each epoch but the last.
fn deltas(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let journal = SqliteJournal::beside(out).expect("a journal");
    let mut history = History::new();
    let read = journal.read(Seq(0), &mut |entry| {
        history.apply(&entry);
        ControlFlow::Continue(())
    });
    read.expect("readable");
    let epochs: Vec<Epoch> = history.epochs().copied().collect();
    let mut goldens = BTreeMap::new();
    for pair in epochs.windows(2).filter(|pair| pair[1].timestamp - pair[0].timestamp < REACH_S) {
        let told = delta(&history.span(&pair[0], &pair[1]).expect("known"), &LeftOut::default());
        for version in VERSIONS {
            let chain = ChainHash::using_genesis_block_const(Network::Regtest);
            let bytes = encode(&told, chain, version).expect("small enough");
            goldens.insert(golden_delta(pair[1].timestamp, version), bytes);
        }
    }
    goldens
}

#[test]
fn each_recording_is_what_its_story_makes() {
    for story in STORIES.iter() {
        for (name, made) in &story.recordings {
            let committed = unpack(name, &read(&folder_of(story).join(name)));
            let difference = difference(&committed, made);
            assert_eq!(difference, None, "snapshots/{}/{name}: `make goldens` makes it anew", story.name);
        }
        let committed = read(&folder_of(story).join("replay.args"));
        assert_eq!(String::from_utf8_lossy(&committed), story.arguments(), "snapshots/{}/replay.args", story.name);
    }
}

#[test]
fn each_recording_gives_its_goldens_byte_for_byte() {
    let mut wrong = Vec::new();
    for story in STORIES.iter() {
        let replayed = replay(story);
        assert_reported(story, &replayed.report);
        for (Cut { words, .. }, file) in goldens(story) {
            let made = replayed.goldens.get(&file).unwrap_or_else(|| panic!("{}: no {file} is made", story.name));
            if let Some(difference) = difference(&read(&folder_of(story).join(&file)), made) {
                wrong.push(format!("snapshots/{}/{file} ({words}): {difference}", story.name));
            }
        }
    }
    let wrong = wrong.join("\n");
    assert!(wrong.is_empty(), "{wrong}\nSee what changes for wallets with `make goldens`, which makes them anew.");
}

/// Asserts that the replay says what was refused and damaged.
fn assert_reported(story: &Story, report: &Value) {
    let refused = report["messages"]["refused"].as_object().expect("counts by reason").iter();
    let refused: Vec<(&str, u64)> =
        refused.map(|(reason, count)| (reason.as_str(), count.as_u64().expect("a number"))).collect();
    assert_eq!(refused, story.refused, "{}: what is refused", story.name);
    let recordings = report["recordings"].as_array().expect("a list");
    let damage = recordings.iter().flat_map(|recording| recording["damage"].as_object().expect("counts").keys());
    assert_eq!(damage.collect::<Vec<_>>(), story.damage, "{}: what is damaged", story.name);
    let torn = recordings.iter().any(|recording| !recording["torn_at"].is_null());
    assert_eq!(torn, story.torn, "{}: whether it ends within a record", story.name);
}

/// Where two snapshots differ, in words.
fn difference(golden: &[u8], made: &[u8]) -> Option<String> {
    let same = golden.iter().zip(made).take_while(|(a, b)| a == b).count();
    let (was, is) = (golden.len(), made.len());
    (golden != made).then(|| format!("{was} bytes are committed, {is} are made; the first to differ is byte {same}"))
}

#[test]
fn each_golden_tells_a_wallet_what_its_story_says() {
    for story in STORIES.iter() {
        for cut in &story.cuts {
            for version in VERSIONS {
                let bytes = read(&folder_of(story).join(golden(cut.timestamp, version)));
                let wallet = Wallet::read(&bytes, version);
                let place = format!("{} at {}, {version:?}: {}", story.name, cut.timestamp, cut.words);
                assert_eq!(wallet.synced_at, cut.timestamp, "{place}");
                assert_tells(cut, &wallet, version, &place);
            }
        }
    }
}

/// A wallet that was there at the first time, and is told of the others one by one, would send the same payments as one that
/// is new, and knows the same of their nodes.
#[test]
fn a_wallet_that_follows_the_deltas_knows_what_a_new_one_does() {
    for story in STORIES.iter() {
        for version in VERSIONS {
            let read = |file: String| read(&folder_of(story).join(file));
            let mut wallet = Wallet::empty(version);
            let mut before: Option<&Cut> = None;
            for (cut, step) in story.cuts.iter().zip(1..) {
                let follows = before.is_some_and(|before| cut.timestamp - before.timestamp < REACH_S);
                let file = if follows { golden_delta } else { golden };
                if !follows {
                    wallet = Wallet::empty(version);
                }
                wallet.sync_as_of(&read(file(cut.timestamp, version)), SystemClock.now().secs() - 1_000 + step);
                let fresh = Wallet::read(&read(golden(cut.timestamp, version)), version);
                let place = format!("{} at {}, {version:?}: {}", story.name, cut.timestamp, cut.words);
                // What a channel turns out to hold, a client does not hear that has the channel already.
                let policies = |wallet: &Wallet| wallet.routable().into_iter().map(|(scid, (told, _))| (scid, told));
                assert!(policies(&wallet).eq(policies(&fresh)), "{place}");
                for node in fresh.node_ids() {
                    assert_eq!(wallet.told_of(&node), fresh.told_of(&node), "{place}: node {node}");
                }
                before = Some(cut);
            }
        }
    }
}

fn assert_tells(cut: &Cut, wallet: &Wallet, version: Version, place: &str) {
    let capacity = |sat: &Option<u64>| sat.filter(|_| version == Version::V2);
    let expected = cut.channels.iter().map(|(scid, policies, sat)| (*scid, (policies.map(Some), capacity(sat))));
    let (told, expected) = (wallet.told(), expected.collect::<BTreeMap<_, _>>());
    assert_eq!(told.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{place}: which channels");
    for (scid, channel) in &expected {
        assert_eq!(told.get(scid), Some(channel), "{place}: channel {scid}");
    }
    for (node, details) in cut.nodes.iter().filter(|_| version == Version::V2) {
        assert_eq!(wallet.told_of(node), *details, "{place}: node {node}");
    }
}

#[test]
fn nothing_else_lies_there_and_the_readme_tells_of_all() {
    let mut expected: BTreeSet<PathBuf> = [PathBuf::from("README.md")].into();
    let readme = String::from_utf8(read(&folder().join("README.md"))).expect("text");
    for story in STORIES.iter() {
        assert!(readme.contains(&format!("| `{}` |", story.name)), "README.md does not tell of {}", story.name);
        let goldens = goldens(story).map(|(_, file)| file);
        let recordings = story.recordings.iter().map(|(name, _)| name.to_string());
        let files = goldens.chain(recordings).chain(["replay.args".to_owned()]);
        expected.extend(files.map(|file| Path::new(story.name).join(file)));
    }
    let mut there = BTreeSet::new();
    let mut bytes = 0;
    let mut folders = vec![folder()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a directory").map(|entry| entry.expect("an entry")) {
            if entry.file_type().expect("a type").is_dir() {
                folders.push(entry.path());
            } else {
                bytes += entry.metadata().expect("a file").len();
                there.insert(entry.path().strip_prefix(folder()).expect("below it").to_owned());
            }
        }
    }
    assert_eq!(there, expected);
    assert!(bytes < 400_000, "snapshots/ has grown to {bytes} bytes: a few hundred thousand are meant");
}
