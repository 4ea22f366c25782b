//! Published files: `data_dir/snapshots/`, laid out so that any static file server or CDN can serve them.
//!
//! | path | what |
//! |---|---|
//! | `<timestamp>/snapshot/0` | RGS v1 |
//! | `<timestamp>/snapshot/v2/0`, `<timestamp>/v2/snapshot/0` | RGS v2, one file under two names |
//! | `<timestamp>/snapshot/returning` | RGS v1 for wallets that come back: an answer to every timestamp but 0 |
//! | `<timestamp>/snapshot/v2/returning`, `<timestamp>/v2/snapshot/returning` | RGS v2, the same |
//! | `<timestamp>/epoch.json` | what the files hold, and their checksums |
//! | `current` | a symbolic link to the newest of these folders |
//!
//! A folder is complete and on the disk before `current` is switched to it by a rename, so a reader never sees a
//! torn or missing snapshot. Old folders stay for a while, for those who are still reading in them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash, sha256};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Bodies, Counts, LeftOut, Snapshot, Version};
use crate::journal::{Epoch, Graph, Rules, Seq};

/// The folders of version 1 and of version 2, and the other name of the latter.
const V1: &str = "snapshot";
const V2: &str = "snapshot/v2";
const V2_AGAIN: &str = "v2/snapshot";
/// The names of the files in them.
const FULL: &str = "0";
const RETURNING: &str = "returning";
const EPOCH: &str = "epoch.json";
const CURRENT: &str = "current";
/// Marks what is not finished; removed at the next publication.
const HALF: &str = ".new";
/// Marks an epoch's other folder: one that `current` leads to is never touched, so when the same epoch is published
/// again (its files were damaged, say), the two names take turns.
const AGAIN: &str = "-again";
/// So many folders stay …
const KEEP: usize = 3;
/// … and none goes before its successor is this much older than the newest, in seconds: until then, somebody may
/// have followed `current` to it and be about to open a file.
const KEEP_S: u32 = 120;
/// The folder of published snapshots.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    network: Network,
}

/// `epoch.json`.
#[derive(Serialize, Deserialize)]
struct Manifest {
    network: Network,
    timestamp: u32,
    seq: u64,
    rules_version: u16,
    graph: Graph,
    counts: Counts,
    full: Sums,
    returning: Sums,
    left_out: LeftOut,
}

/// Of both versions.
#[derive(Serialize, Deserialize)]
struct Sums {
    v1: Sum,
    v2: Sum,
}

impl Sums {
    fn of(bodies: &Bodies) -> Self {
        Self { v1: Sum::of(&bodies.v1), v2: Sum::of(&bodies.v2) }
    }
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Sum {
    bytes: usize,
    sha256: sha256::Hash,
}

impl Sum {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len(), sha256: sha256::Hash::hash(bytes) }
    }
}

impl Folder {
    /// Below `data_dir`.
    pub fn new(data_dir: &Path, network: Network) -> Self {
        Self { path: data_dir.join("snapshots"), network }
    }

    /// Publishes a snapshot: afterwards, `current` is it. On error, `current` is what it was.
    pub fn publish(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.add(snapshot)?;
        self.tidy(snapshot.epoch.timestamp);
        Ok(())
    }

    /// The same, and all the others stay.
    pub fn add(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.try_publish(snapshot).with_context(|| format!("cannot publish a snapshot in {}", self.path.display()))
    }

    /// The files that are published of a snapshot, for whoever takes them elsewhere: paths and contents, `epoch.json`
    /// last.
    pub fn files(&self, snapshot: &Snapshot) -> anyhow::Result<Vec<(String, Bytes)>> {
        let mut files = Vec::new();
        for (name, bodies) in [(FULL, &snapshot.full), (RETURNING, &snapshot.returning)] {
            for (inner, bytes) in [(V1, &bodies.v1), (V2, &bodies.v2), (V2_AGAIN, &bodies.v2)] {
                files.push((format!("{inner}/{name}"), bytes.clone()));
            }
        }
        files.push((EPOCH.to_owned(), self.manifest(snapshot)?.into()));
        Ok(files)
    }

    fn try_publish(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.create()?;
        let name = self.name(snapshot);
        let half = self.path.join(format!("{name}{HALF}"));
        remove(&half)?;
        if let Err(error) = self.write(&half, snapshot) {
            let _ = remove(&half); // a full disk needs the room; the first error is the one to tell
            return Err(error);
        }
        let whole = self.path.join(&name);
        remove(&whole)?; // a folder of a run that was killed before it could switch to it
        fs::rename(&half, &whole)?;
        let link = self.path.join(format!("{CURRENT}{HALF}"));
        remove(&link)?;
        symlink(&name, &link)?;
        sync(&self.path)?;
        fs::rename(&link, self.path.join(CURRENT))?;
        Ok(sync(&self.path)?)
    }

    /// Creates the folder of folders, so that it outlives a power cut.
    fn create(&self) -> std::io::Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.path)?;
        self.path.parent().map_or(Ok(()), sync)
    }

    /// The epoch's folder name that `current` does not lead to.
    fn name(&self, snapshot: &Snapshot) -> String {
        let name = snapshot.epoch.timestamp.to_string();
        match fs::read_link(self.path.join(CURRENT)) {
            Ok(target) if target.as_os_str() == name.as_str() => name + AGAIN,
            _ => name,
        }
    }

    fn write(&self, folder: &Path, snapshot: &Snapshot) -> anyhow::Result<()> {
        for inner in [V2, V2_AGAIN] {
            fs::create_dir_all(folder.join(inner))?;
        }
        for (name, bodies) in [(FULL, &snapshot.full), (RETURNING, &snapshot.returning)] {
            let [v1, v2, v2_again] = [V1, V2, V2_AGAIN].map(|inner| folder.join(inner).join(name));
            write(&v1, &bodies.v1)?;
            write(&v2, &bodies.v2)?;
            if fs::hard_link(&v2, &v2_again).is_err() {
                write(&v2_again, &bodies.v2)?; // a file system without hard links
            }
        }
        write(&folder.join(EPOCH), &self.manifest(snapshot)?)?;
        for inner in [V2, V1, V2_AGAIN, "v2", ""] {
            sync(&folder.join(inner))?;
        }
        Ok(())
    }

    fn manifest(&self, snapshot: &Snapshot) -> serde_json::Result<Vec<u8>> {
        let epoch = snapshot.epoch;
        serde_json::to_vec_pretty(&Manifest {
            network: self.network,
            timestamp: epoch.timestamp,
            seq: epoch.seq.0,
            rules_version: epoch.rules.version,
            graph: epoch.rules.graph,
            counts: snapshot.counts,
            full: Sums::of(&snapshot.full),
            returning: Sums::of(&snapshot.returning),
            left_out: snapshot.left_out.clone(),
        })
    }

    /// Removes half-written folders and old ones. What cannot be removed now is tried again next time.
    fn tidy(&self, newest: u32) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
        let current = fs::read_link(self.path.join(CURRENT)).unwrap_or_default();
        let mut epochs: Vec<(u32, &OsString)> = names.iter().filter_map(|name| Some((epoch(name)?, name))).collect();
        epochs.sort_unstable();
        let successors = epochs.iter().skip(1).map(|(successor, _)| newest.abs_diff(*successor) > KEEP_S);
        let old = epochs.iter().zip(successors).rev().skip(KEEP - 1); // the last has no successor: one is skipped
        let old = old.filter(|((_, name), superseded)| *superseded && current.as_os_str() != *name);
        let old = old.map(|((_, name), _)| (*name).clone());
        let half = names.iter().filter(|name| name.to_string_lossy().ends_with(HALF)).cloned();
        for name in old.chain(half) {
            let path = self.path.join(name);
            if let Err(error) = remove(&path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }

    /// The published snapshot, where there is one that is whole, of this network, and of use to wallets at `now_s`
    /// (unix seconds). Anything else is said in the log and treated as none.
    pub fn load(&self, now_s: u32) -> Option<Snapshot> {
        match self.try_load(now_s) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::warn!("the published snapshot in {} is passed over: {error:#}", self.path.display());
                None
            }
        }
    }

    fn try_load(&self, now_s: u32) -> anyhow::Result<Option<Snapshot>> {
        let folder = self.path.join(CURRENT);
        let manifest = match fs::read(folder.join(EPOCH)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(&folder).is_err() => {
                return Ok(None);
            }
            Err(error) => return Err(error).context(EPOCH),
        };
        let manifest: Manifest = serde_json::from_slice(&manifest).context(EPOCH)?;
        ensure!(manifest.network == self.network, "it is of the network {}", manifest.network);
        let age_s = now_s.saturating_sub(manifest.timestamp);
        ensure!(age_s <= super::USELESS_AFTER_S, "it is {} days old, which wallets no longer apply", age_s / 86_400);
        let full = self.read_both(&folder, FULL, &manifest, &manifest.full)?;
        let returning = self.read_both(&folder, RETURNING, &manifest, &manifest.returning)?;
        let rules = Rules { version: manifest.rules_version, graph: manifest.graph };
        let epoch = Epoch { timestamp: manifest.timestamp, seq: Seq(manifest.seq), rules };
        let (counts, left_out) = (manifest.counts, manifest.left_out);
        Ok(Some(Snapshot { epoch, counts, full, returning, left_out }))
    }

    fn read_both(&self, folder: &Path, name: &str, manifest: &Manifest, sums: &Sums) -> anyhow::Result<Bodies> {
        let read = |inner: &str, sum: &Sum, version| {
            let path = folder.join(inner).join(name);
            self.read(&path, manifest, sum, version).with_context(|| format!("{inner}/{name}"))
        };
        Ok(Bodies { v1: read(V1, &sums.v1, Version::V1)?, v2: read(V2, &sums.v2, Version::V2)? })
    }

    fn read(&self, path: &Path, manifest: &Manifest, sum: &Sum, version: Version) -> anyhow::Result<Bytes> {
        let bytes = fs::read(path)?;
        if Sum::of(&bytes) != *sum {
            bail!("its checksum does not fit");
        }
        let chain = ChainHash::using_genesis_block_const(self.network);
        let head = [b"LDK", &[version as u8][..], chain.as_bytes(), &manifest.timestamp.to_be_bytes()].concat();
        ensure!(bytes.starts_with(&head), "it is not a snapshot of that network, version and time");
        Ok(bytes.into())
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The epoch whose folder has this name.
fn epoch(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?;
    name.strip_suffix(AGAIN).unwrap_or(name).parse().ok()
}

/// Removes a folder or a link, if it is there.
fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
