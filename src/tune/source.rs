//! What the figures are made from: a journal or recordings, read once, from the first fact to the last.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::ensure;

use super::Asked;
use crate::cli::TuneOptions;
use crate::gossip::check::Tally;
use crate::gossip::{Fact, UnixMs};
use crate::journal::{Beside, Draft, Event, Reader, Seq, SqliteJournal};
use crate::recording;
use crate::replay::{INTERRUPTED, Progress, Recordings, Run, Terms};
use crate::staleness::Meter;
use crate::staleness::past::{Chronicle, Past, Propagation};

/// Something to read.
pub(super) enum Opened {
    Journal { journal: Beside, name: String },
    Recordings { read: Recordings, terms: Terms },
}

/// What was read.
pub(super) struct Told {
    pub names: Vec<String>,
    pub past: Past,
    pub propagation: Propagation,
    /// When it begins and ends.
    pub span: (UnixMs, UnixMs),
}

/// Opens what the options name.
pub(super) fn open(options: &TuneOptions, asked: &Asked, progress: &Progress) -> anyhow::Result<Opened> {
    if let Some(data_dir) = options.journal()? {
        let name = data_dir.display().to_string();
        return Ok(Opened::Journal { journal: SqliteJournal::beside(&data_dir)?, name });
    }
    let terms = options.terms.terms();
    let readings = options.recordings.iter().map(|source| Ok((source.to_string(), recording::open(source)?)));
    let read = Recordings::read(readings, terms.network, asked.to, terms.strict, progress)?;
    Ok(Opened::Recordings { read, terms })
}

impl Opened {
    pub fn span(&self) -> (UnixMs, UnixMs) {
        match self {
            Opened::Journal { journal, .. } => journal.extent().span,
            Opened::Recordings { read, .. } => read.span,
        }
    }

    /// Reads all of it, for the meter as well.
    pub fn read(self, asked: &Asked, meter: &mut Meter, progress: &Progress) -> anyhow::Result<Told> {
        let span = self.span();
        let recorded = match &self {
            Opened::Journal { .. } => true,
            Opened::Recordings { read, .. } => read.surveys.iter().all(|survey| survey.has_arrivals),
        };
        let propagation = Propagation { recorded, mean: asked.propagation, seed: asked.seed };
        let mut chronicle = Chronicle::new(propagation, asked.since(span.1));
        let take = |seen: UnixMs, fact: Fact| {
            chronicle.take(seen, &fact);
            meter.take(seen, fact);
        };
        let names = match self {
            Opened::Journal { journal, name } => {
                read_journal(&journal, take, progress)?;
                vec![name]
            }
            Opened::Recordings { read, terms } => replay(read, terms, take, progress)?,
        };
        Ok(Told { names, past: chronicle.finish(), propagation, span })
    }
}

fn read_journal(journal: &Beside, mut take: impl FnMut(UnixMs, Fact), progress: &Progress) -> anyhow::Result<()> {
    progress.working("reading the journal", journal.extent().last_seq.0 as usize);
    let last = journal.extent().last_seq;
    let mut before = Seq(0);
    journal.read(Seq(0), &mut |entry| {
        if entry.seq > last || progress.is_interrupted() {
            return ControlFlow::Break(()); // what comes meanwhile is left for the next time
        }
        progress.told(entry.seq.0 - before.0);
        before = entry.seq;
        if let Event::Fact(fact) = entry.event {
            take(entry.seen, fact);
        }
        ControlFlow::Continue(())
    })?;
    ensure!(!progress.is_interrupted(), INTERRUPTED);
    Ok(())
}

/// Through the checking stage, as `rgsd replay` does it. Returns the recordings' names.
fn replay(
    read: Recordings,
    terms: Terms,
    mut take: impl FnMut(UnixMs, Fact) + Send,
    progress: &Progress,
) -> anyhow::Result<Vec<String>> {
    let names = read.names();
    progress.working("replaying", read.script.len());
    let end = [u32::try_from(read.span.1.0.div_ceil(1_000)).unwrap_or(u32::MAX)];
    let run = Run { names: names.clone(), script: read.script, cuts: &end, terms, stop: progress.stop() };
    let each = |draft: Draft| {
        if let Event::Fact(fact) = draft.event {
            take(draft.seen, fact);
        }
    };
    let Tally { accepted, received, .. } = run.drafts(each, |told| progress.told(told))?.tally;
    ensure!(
        accepted > 0,
        "{}: none of {received} messages could be used; are they of the network {}?",
        names.join(", "),
        terms.network
    );
    Ok(names)
}

/// How much of the processors' time this process has used.
pub(super) fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}
