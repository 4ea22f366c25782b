//! A journal, or a part of it, as one recording.
//!
//! An entry's time is when it was accepted. But an epoch has what stands before it in the journal, and the last of that
//! may have been accepted a moment after the epoch's second, or the first of what follows a moment before it: such an
//! entry is told with the time nearest to its own on its side of the epoch. So a replay that is cut at an epoch's
//! timestamp has just what the epoch has.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use rand::RngExt;
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::gossip::UnixMs;
use crate::journal::{Beside, Entry, Event, Extent, Reader, Seq, SqliteJournal};
use crate::recording::{Keeper, Tape};
use crate::serve::stop_on_signals;
use crate::text::rfc_3339 as show;

/// What is asked for. Times are unix seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    pub data_dir: PathBuf,
    pub out: Target,
    /// Begin with what was current at this time; without it, with the journal's first entry.
    pub from: Option<u32>,
    /// End with what was accepted by this time.
    pub to: Option<u32>,
}

/// Where a recording goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A file that is not there yet.
    File(PathBuf),
    /// Named `-`.
    Stdout,
}

impl From<OsString> for Target {
    fn from(name: OsString) -> Self {
        if name == "-" { Target::Stdout } else { Target::File(name.into()) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::File(path) => write!(f, "{}", path.display()),
            Target::Stdout => f.write_str("standard output"),
        }
    }
}

/// Exports a journal; the service that writes it may be running.
pub async fn export(asked: Export) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let uuid = rand::rng().random();
    tokio::task::spawn_blocking(move || asked.run(uuid, stop)).await.context("the export failed")?
}

impl Export {
    /// `uuid` tells this recording from every other.
    fn run(&self, uuid: [u8; 32], stop: CancellationToken) -> anyhow::Result<()> {
        let journal = SqliteJournal::beside(&self.data_dir)?;
        self.check_range(journal.extent())?;
        let telling = Telling { journal, from: self.from.map(ms), to: self.to.map(ms), uuid, stop };
        match &self.out {
            Target::File(path) => {
                let bytes = to_file(path, &telling)?;
                cli::print(&format!("{}: {bytes} bytes\n", path.display()))
            }
            Target::Stdout => to_stdout(&telling),
        }
    }

    /// A range that the journal has nothing of is a slip.
    fn check_range(&self, extent: &Extent) -> anyhow::Result<()> {
        let (first, last) = (extent.span.0.secs(), extent.span.1.secs());
        let span = format!("the journal has {} to {}", show(first), show(last));
        if let Some(from) = self.from {
            ensure!(from >= first, "--from {} is before the journal begins: {span}", show(from));
            ensure!(from <= last, "--from {} is after the journal ends: {span}", show(from));
        }
        if let Some(to) = self.to {
            ensure!(to >= first, "--to {} is before the journal begins: {span}", show(to));
            ensure!(self.from.is_none_or(|from| from < to), "--to {} is not after --from: {span}", show(to));
        }
        Ok(())
    }
}

/// All of it, or nothing. Returns how many bytes that is.
fn to_file(path: &Path, telling: &Telling) -> anyhow::Result<u64> {
    let taken = || anyhow!("--out {} is there already: name another file, or move it away", path.display());
    ensure!(path.symlink_metadata().is_err(), taken());
    let dir = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any other new file; the user's umask says who may read it.
    let half = tempfile::Builder::new().prefix(".").permissions(Permissions::from_mode(0o666)).tempfile_in(dir);
    let half = half.with_context(|| format!("cannot write to the directory {}", dir.display()))?;
    let unwritten = || format!("cannot write {}", path.display());
    let tape = telling.tell(half, unwritten)?;
    let (bytes, half) = (tape.handed_on(), tape.into_inner());
    half.as_file().sync_all().with_context(unwritten)?;
    match half.persist_noclobber(path) {
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Err(taken()),
        moved => moved.map_err(|error| error.error).with_context(unwritten)?,
    };
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(unwritten)?;
    Ok(bytes)
}

/// A reader that goes away (`| head`) is a normal end.
fn to_stdout(telling: &Telling) -> anyhow::Result<()> {
    let out = io::stdout();
    ensure!(!out.is_terminal(), "--out - is a terminal, and a recording is no text: name a file, or pipe it on");
    match telling.tell(out.lock(), || "cannot write to standard output".to_owned()) {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_broken_pipe) => Ok(()),
        told => told.map(|_| ()),
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// What is told of which journal.
struct Telling {
    journal: Beside,
    from: Option<UnixMs>,
    to: Option<UnixMs>,
    uuid: [u8; 32],
    stop: CancellationToken,
}

impl Telling {
    /// Writes it; where that fails, the error is `unwritten`.
    fn tell<W: Write>(&self, out: W, unwritten: impl Fn() -> String) -> anyhow::Result<Tape<W>> {
        let Self { journal, from, to, uuid, stop } = self;
        let Extent { last_seq, epochs, .. } = journal.extent();
        let mut tape = Tape::new(out, *uuid).with_context(&unwritten)?;
        let mut part = Part { from: *from, to: *to, keeper: Keeper::default() };
        let (mut times, mut outcome) = (Times::new(epochs), Ok(ControlFlow::Continue(())));
        journal.read(Seq(0), &mut |entry| {
            if entry.seq > *last_seq || stop.is_cancelled() {
                return ControlFlow::Break(());
            }
            let at = times.of(&entry);
            outcome = part.take(at, entry, &mut tape);
            if let Ok(flow) = outcome { flow } else { ControlFlow::Break(()) }
        })?;
        ensure!(!stop.is_cancelled(), "interrupted");
        outcome.and_then(|_| part.begin(&mut tape)).and_then(|()| tape.hand_on()).with_context(&unwritten)?;
        Ok(tape)
    }
}

fn ms(unix_s: u32) -> UnixMs {
    UnixMs(u64::from(unix_s) * 1000)
}

/// The part of a journal that is told.
struct Part {
    /// `None` once the state at that time is told.
    from: Option<UnixMs>,
    to: Option<UnixMs>,
    /// What is current.
    keeper: Keeper,
}

impl Part {
    /// Takes the next entry; breaks off after the last.
    fn take<W: Write>(&mut self, at: UnixMs, entry: Entry, tape: &mut Tape<W>) -> io::Result<ControlFlow<()>> {
        let Event::Fact(fact) = entry.event else { return Ok(ControlFlow::Continue(())) };
        if self.to.is_some_and(|to| at > to) {
            return Ok(ControlFlow::Break(()));
        }
        if self.from.is_some_and(|from| at <= from) {
            self.keeper.take(at, fact);
        } else {
            self.begin(tape)?;
            tape.tell(&mut self.keeper, at, fact)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Tells the state at the beginning, if that was asked for and is not done.
    fn begin<W: Write>(&mut self, tape: &mut Tape<W>) -> io::Result<()> {
        self.from.take().map_or(Ok(()), |from| tape.tell_state(from, &self.keeper))
    }
}

/// When entries are told to have been accepted; see the module's head. It never goes back.
struct Times {
    /// Those that are still to come.
    epochs: VecDeque<(Seq, u32)>,
    /// The first moment after the last epoch.
    after: UnixMs,
    last: UnixMs,
}

impl Times {
    fn new(epochs: &[(Seq, u32)]) -> Self {
        Self { epochs: epochs.iter().copied().collect(), after: UnixMs(0), last: UnixMs(0) }
    }

    fn of(&mut self, entry: &Entry) -> UnixMs {
        while let Some((_, timestamp)) = self.epochs.pop_front_if(|(seq, _)| *seq < entry.seq) {
            self.after = UnixMs(ms(timestamp).0 + 1);
        }
        let until = self.epochs.front().map_or(UnixMs(u64::MAX), |(_, timestamp)| ms(*timestamp));
        self.last = entry.seen.max(self.last).max(self.after).min(until);
        self.last
    }
}

#[cfg(test)]
mod tests;
