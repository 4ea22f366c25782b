//! Published files: whoever reads them, however often and at whatever moment, finds a whole snapshot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcoin::hashes::{Hash, sha256};
use rgsd::gossip::Direction;
use serde_json::Value;

use crate::support::{Running, World, every, story};

/// Each file, where the manifest speaks of it, and its version.
const FILES: [(&str, &str, u8); 6] = [
    ("snapshot/0", "/full/v1", 1),
    ("snapshot/v2/0", "/full/v2", 2),
    ("v2/snapshot/0", "/full/v2", 2),
    ("snapshot/returning", "/returning/v1", 1),
    ("snapshot/v2/returning", "/returning/v2", 2),
    ("v2/snapshot/returning", "/returning/v2", 2),
];

fn manifest(folder: &Path) -> Value {
    let text = fs::read(folder.join("epoch.json")).expect("epoch.json is there");
    serde_json::from_slice(&text).expect("epoch.json is whole")
}

/// Asserts that these bytes are what the manifest says of them.
fn assert_whole(bytes: &[u8], manifest: &Value, place: &str, version: u8) {
    let sums = manifest.pointer(place).expect("there is a sum of every file");
    assert_eq!(bytes[..4], [b'L', b'D', b'K', version]);
    assert_eq!(sums["bytes"], bytes.len());
    assert_eq!(sums["sha256"], sha256::Hash::hash(bytes).to_string());
}

/// Reads everything over and over; how often, and how many epochs were met.
fn hammer(snapshots: PathBuf, stop: &AtomicBool) -> (u32, usize) {
    let current = snapshots.join("current");
    let mut rounds = 0;
    let mut epochs = std::collections::BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        // As a server that looks each path up anew …
        for (file, place, version) in FILES {
            let bytes = fs::read(current.join(file)).expect("the file is there");
            let stamp = u32::from_be_bytes(bytes[36..40].try_into().expect("a whole header"));
            assert_whole(&bytes, &manifest(&snapshots.join(stamp.to_string())), place, version);
        }
        // … and as a copier that stays with the folder that it has found.
        let folder = fs::canonicalize(&current).expect("the link is there");
        let told = manifest(&folder);
        for (file, place, version) in FILES {
            assert_whole(&fs::read(folder.join(file)).expect("the file is there"), &told, place, version);
        }
        epochs.insert(told["timestamp"].as_u64());
        rounds += 1;
    }
    (rounds, epochs.len())
}

#[test]
fn a_reader_never_sees_a_missing_or_torn_file() {
    story(async {
        const EPOCHS: usize = 10;
        let mut world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let mut config = world.config([&peer]);
        config.interval = every(10);
        let service = Running::start(&world, config).await;
        let messages = store.len() as u64;
        service.ready_after(messages).await;

        let stop = Arc::<AtomicBool>::default();
        let (snapshots, told) = (world.data_dir().join("snapshots"), Arc::clone(&stop));
        let reader = tokio::task::spawn_blocking(move || hammer(snapshots, &told));
        let channel = world.a_routable_channel();
        for change in 1..=EPOCHS as u64 {
            store.append(world.change_fee(channel, Direction::OneToTwo));
            service.accepted(messages + change).await;
            service.next_epoch().await;
        }
        stop.store(true, Ordering::Relaxed);
        let (rounds, epochs) = reader.await.expect("the reader is content");
        assert!(rounds as usize > EPOCHS && epochs > EPOCHS / 2, "{rounds} rounds, {epochs} epochs");
        service.tells(&world.truth()).await;
        service.stop().await;
    });
}
