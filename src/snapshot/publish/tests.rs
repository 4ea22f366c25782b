//! What a reader of the folder sees, after every kind of accident.

use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::super::testing::*;
use super::super::{Matter, cut};
use super::*;
use crate::gossip::ShortChannelId;

const NETWORK: Network = Network::Regtest;
const T: u32 = 1_770_000_003;

fn snapshot(timestamp: u32, nodes: u32) -> Snapshot {
    let mut view = chain_of(nodes);
    view.epoch.timestamp = timestamp;
    let departed = vec![ShortChannelId(u64::from(nodes) << 41)];
    let matter = Matter { departed, ..alone(view) };
    cut(matter, &LeftOut::default(), NETWORK, now_s()).expect("a snapshot").snapshot
}

fn folder() -> (TempDir, Folder) {
    let dir = TempDir::new().expect("a folder");
    let folder = Folder::new(&dir.path().join("data"), NETWORK);
    (dir, folder)
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.path).expect("the folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn what_is_published_is_read_back() {
    let (_dir, folder) = folder();
    assert_eq!(folder.load(T), None, "nothing yet");
    for (n, nodes) in [(0, 3), (10, 5)] {
        let snapshot = snapshot(T + n, nodes);
        folder.publish(&snapshot).expect("published");
        assert_eq!(folder.load(T + 60).as_ref(), Some(&snapshot));
        let files = folder.files(&snapshot).expect("files");
        assert_eq!((files.len(), files[6].0.as_str()), (7, EPOCH));
        let read = |name: &str| fs::read(folder.path.join(CURRENT).join(name)).expect("a file");
        for (name, bodies) in [(FULL, snapshot.full), (RETURNING, snapshot.returning)] {
            assert_eq!(read(&format!("{V1}/{name}")), bodies.v1);
            assert_eq!(read(&format!("{V2}/{name}")), bodies.v2);
            assert_eq!(read(&format!("{V2_AGAIN}/{name}")), bodies.v2);
        }
        for (path, bytes) in files {
            assert_eq!(read(&path), bytes, "{path}");
        }
    }
}

#[test]
fn a_week_is_the_limit() {
    let (_dir, folder) = folder();
    folder.publish(&snapshot(T, 3)).expect("published");
    assert!(folder.load(T + 7 * 86_400).is_some());
    assert_eq!(folder.load(T + 7 * 86_400 + 1), None);
    assert!(folder.load(T - 5).is_some(), "a clock that was put back is no reason");
}

#[test]
fn another_network_is_passed_over() {
    let (dir, folder) = folder();
    folder.publish(&snapshot(T, 3)).expect("published");
    assert_eq!(Folder::new(&dir.path().join("data"), Network::Bitcoin).load(T), None);
}

#[test]
fn every_damage_is_noticed_and_healed_by_the_next_epoch() {
    for file in ["snapshot/0", "snapshot/v2/0", "snapshot/returning", "snapshot/v2/returning", EPOCH] {
        for damage in [|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2), |bytes: &mut Vec<u8>| bytes[9] ^= 1] {
            let (_dir, folder) = folder();
            folder.publish(&snapshot(T, 3)).expect("published");
            let path = folder.path.join(CURRENT).join(file);
            let mut bytes = fs::read(&path).expect("a file");
            damage(&mut bytes);
            fs::write(&path, bytes).expect("written");
            assert_eq!(folder.load(T), None, "{file}");
            let next = snapshot(T + 10, 4);
            folder.publish(&next).expect("published");
            assert_eq!(folder.load(T), Some(next));
        }
    }
}

#[test]
fn a_snapshot_under_anothers_name_is_noticed() {
    let (_dir, folder) = folder();
    folder.publish(&snapshot(T, 3)).expect("published");
    let manifest = folder.path.join(CURRENT).join(EPOCH);
    let text = fs::read_to_string(&manifest).expect("text").replace(&T.to_string(), &(T + 10).to_string());
    fs::write(&manifest, text).expect("written");
    assert_eq!(folder.load(T), None);
}

#[test]
fn what_a_killed_run_leaves_is_cleaned_up() {
    let (_dir, folder) = folder();
    folder.publish(&snapshot(T, 3)).expect("published");
    // Killed while writing; before switching; while switching.
    fs::create_dir_all(folder.path.join(format!("{}{HALF}/snapshot", T + 10))).expect("a folder");
    fs::create_dir_all(folder.path.join((T + 20).to_string())).expect("a folder");
    symlink((T + 20).to_string(), folder.path.join(format!("{CURRENT}{HALF}"))).expect("a link");
    assert_eq!(folder.load(T).map(|found| found.epoch.timestamp), Some(T), "the last whole one counts");
    folder.publish(&snapshot(T + 20, 3)).expect("published");
    assert_eq!(folder.load(T).map(|found| found.epoch.timestamp), Some(T + 20));
    assert_eq!(names(&folder), [T.to_string(), (T + 20).to_string(), CURRENT.to_string()]);
}

#[test]
fn a_dangling_link_is_none_and_is_replaced() {
    let (_dir, folder) = folder();
    fs::create_dir_all(&folder.path).expect("a folder");
    symlink("17", folder.path.join(CURRENT)).expect("a link");
    assert_eq!(folder.load(T), None);
    folder.publish(&snapshot(T, 3)).expect("published");
    assert!(folder.load(T).is_some());
}

#[test]
fn an_epoch_can_be_published_again() {
    let (_dir, folder) = folder();
    for nodes in 3..7 {
        let snapshot = snapshot(T, nodes);
        folder.publish(&snapshot).expect("published");
        assert_eq!(folder.load(T), Some(snapshot));
    }
    assert_eq!(names(&folder), [T.to_string(), format!("{T}{AGAIN}"), CURRENT.to_string()]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (dir, folder) = folder();
    fs::write(dir.path().join("data"), "a file").expect("written");
    let error = folder.publish(&snapshot(T, 3)).expect_err("no folder");
    assert!(format!("{error:#}").contains("data/snapshots"), "{error:#}");
}

#[test]
fn old_folders_stay_while_they_may_be_in_use() {
    let (_dir, folder) = folder();
    let publish = |timestamp| folder.publish(&snapshot(timestamp, 3)).expect("published");
    (0..13).for_each(|n| publish(T + 10 * n));
    assert_eq!(names(&folder).len(), 14, "two minutes, and the link");
    (13..20).for_each(|n| publish(T + 10 * n));
    assert_eq!(names(&folder)[0], (T + 60).to_string(), "its successor is exactly two minutes old");
    (1..5).for_each(|n| publish(T + 3600 * n));
    let three = [2, 3, 4].map(|n| (T + 3600 * n).to_string());
    assert_eq!(names(&folder), [&three[..], &[CURRENT.to_string()]].concat());
}

/// Opens by path what the manifest names, again and again, as a static file server would.
#[test]
fn a_reader_never_sees_a_torn_or_missing_snapshot() {
    let (_dir, folder) = folder();
    folder.publish(&snapshot(T, 3)).expect("published");
    let snapshots: Vec<Snapshot> = (1..80).map(|n| snapshot(T + 10 * (n / 2), 3 + n % 7)).collect();
    let (done, folder) = (AtomicBool::new(false), &folder);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let inside = fs::canonicalize(folder.path.join(CURRENT)).expect("current");
                let manifest: Manifest =
                    serde_json::from_slice(&fs::read(inside.join(EPOCH)).expect("a manifest")).expect("whole");
                for (name, sums) in [(FULL, &manifest.full), (RETURNING, &manifest.returning)] {
                    for (folders, sum) in [(V1, &sums.v1), (V2, &sums.v2), (V2_AGAIN, &sums.v2)] {
                        let file = Path::new(folders).join(name);
                        assert!(Sum::of(&fs::read(inside.join(&file)).expect("a file")) == *sum);
                        assert!(!fs::read(folder.path.join(CURRENT).join(&file)).expect("a file").is_empty());
                    }
                }
                seen += 1;
            }
            seen
        });
        snapshots.iter().for_each(|snapshot| folder.publish(snapshot).expect("published"));
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("a reader without complaints") > 0);
    });
}
