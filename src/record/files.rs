//! The files of a live recording, one after the other: each tells of the whole network from its start on.
//!
//! A file gets its name when what is current at its start is written, so that a file with a name is never without it.
//! It grows batch by batch, and whoever reads it meanwhile finds whole records and, at worst, a torn tail. It is made
//! durable when the next one begins, and at the end.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rand::RngExt;
use tempfile::NamedTempFile;

use super::name_of;
use crate::gossip::{Fact, UnixMs};
use crate::recording::{Counts, Keeper, Tape};

/// When a file is followed by the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// At so many bytes. What is told at a file's start counts, but never makes up more than half of the file: the
    /// files of a large network are larger.
    pub size: u64,
    /// And whenever the clock shows a multiple of this, counted from 1970: at midnight (UTC) for a day.
    pub every: Option<Duration>,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { size: 256_000_000, every: None }
    }
}

/// See the module's head.
pub struct Files<R> {
    dir: PathBuf,
    rotation: Rotation,
    rng: R,
    keeper: Keeper,
    current: Current,
}

/// The file that is being written.
struct Current {
    path: PathBuf,
    tape: Tape<File>,
    /// How many of its bytes tell what was current at its start.
    start_bytes: u64,
    /// When it is followed by the next one at the latest.
    until: UnixMs,
}

impl<R: rand::Rng> Files<R> {
    /// Begins the first file in `dir`, which is made where it is missing. The files' ids come from `rng`.
    pub fn begin(dir: &Path, rotation: Rotation, now: UnixMs, mut rng: R) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create the directory {}", dir.display()))?;
        let keeper = Keeper::default();
        let current = Current::begin(dir, rotation, now, &keeper, rng.random())?;
        Ok(Self { dir: dir.to_owned(), rotation, rng, keeper, current })
    }

    /// Writes facts that were accepted at `seen`, in the next file if the current one is full. After an error the
    /// current file ends with a whole record, and nothing more can be written.
    pub fn take(&mut self, seen: UnixMs, facts: Vec<Fact>) -> anyhow::Result<()> {
        if self.is_full(seen) {
            self.rotate(seen)?;
        }
        let Self { keeper, current: Current { tape, path, .. }, .. } = self;
        let told = facts.into_iter().try_for_each(|fact| tape.tell(keeper, seen, fact));
        told.and_then(|()| tape.hand_on()).map_err(|error| {
            // What cannot even be cut off is a torn tail.
            let _ = tape.get_ref().set_len(tape.handed_on());
            unwritten(error, path)
        })
    }

    /// Makes the current file durable.
    pub fn finish(&self) -> anyhow::Result<()> {
        let Current { tape, path, .. } = &self.current;
        tape.get_ref().sync_all().map_err(|error| unwritten(error, path))
    }

    /// The file that is being written.
    pub fn path(&self) -> &Path {
        &self.current.path
    }

    /// How many bytes that has.
    pub fn bytes(&self) -> u64 {
        self.current.tape.bytes()
    }

    /// How much is current.
    pub fn counts(&self) -> Counts {
        self.keeper.counts()
    }

    fn is_full(&self, now: UnixMs) -> bool {
        let Current { tape, start_bytes, until, .. } = &self.current;
        now >= *until || tape.bytes() >= self.rotation.size.max(start_bytes.saturating_mul(2))
    }

    fn rotate(&mut self, now: UnixMs) -> anyhow::Result<()> {
        self.finish()?;
        let next = Current::begin(&self.dir, self.rotation, now, &self.keeper, self.rng.random())?;
        let (bytes, Counts { channels, nodes }) = (self.bytes(), self.counts());
        let last = std::mem::replace(&mut self.current, next).path;
        let (last, path) = (last.display(), self.path().display());
        tracing::info!(bytes, channels, nodes, "{last} is complete; recording goes on in {path}");
        Ok(())
    }
}

impl Current {
    fn begin(dir: &Path, rotation: Rotation, now: UnixMs, keeper: &Keeper, uuid: [u8; 32]) -> anyhow::Result<Self> {
        let half = || {
            // As any other new file; the user's umask says who may read it.
            let mut builder = tempfile::Builder::new();
            builder
                .prefix(".")
                .suffix(".gossip_store.part")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(dir)
        };
        let half = half().with_context(|| format!("cannot write to the directory {}", dir.display()))?;
        let name = name_of(now.secs());
        let write = |half: NamedTempFile| -> io::Result<(PathBuf, Tape<File>)> {
            let (file, half) = half.into_parts();
            let mut tape = Tape::new(file, uuid)?;
            tape.tell_state(now, keeper)?;
            tape.hand_on()?;
            let path = give_name(half, dir, &name)?;
            Ok((path, tape))
        };
        let (path, tape) = write(half).map_err(|error| unwritten(error, &place(dir, &name)))?;
        let until = rotation.every.map_or(UnixMs(u64::MAX), |every| next_multiple(now, every));
        Ok(Self { path, start_bytes: tape.bytes(), tape, until })
    }
}

/// Moves the file to its name, or to the first of `name_02`, `name_03`, … that is free.
fn give_name(mut half: tempfile::TempPath, dir: &Path, name: &str) -> io::Result<PathBuf> {
    let mut path = place(dir, name);
    for count in 2.. {
        match half.persist_noclobber(&path) {
            Ok(()) => break,
            Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => half = taken.path,
            Err(error) => return Err(error.error),
        }
        path = place(dir, &format!("{name}_{count:02}"));
    }
    File::open(dir)?.sync_all()?; // the name must outlive a power cut, like what is in the file
    Ok(path)
}

fn place(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.gossip_store"))
}

/// The first multiple of `every` after `now`.
fn next_multiple(now: UnixMs, every: Duration) -> UnixMs {
    let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
    UnixMs((now.0 / every_ms).saturating_add(1).saturating_mul(every_ms))
}

fn unwritten(error: io::Error, path: &Path) -> anyhow::Error {
    let path = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => anyhow!(
            "there is no room left for the recording {path} ({error}): make room and start again; what is recorded so \
             far is whole"
        ),
        _ => anyhow!("cannot write the recording {path}: {error}"),
    }
}

#[cfg(test)]
mod tests;
