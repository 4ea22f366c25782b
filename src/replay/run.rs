//! The run itself, on four threads: the recordings' messages are read, checked, journaled and applied to the history,
//! and published, each while the others go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, anyhow};
use tokio_util::sync::CancellationToken;

use super::report::INTERRUPTED;
use super::score::{Score, Step};
use super::stage::{Stage, Terms};
use crate::gossip::check::Tally;
use crate::history::History;
use crate::journal::{Draft, Event, Journal, Seq, SqliteJournal};
use crate::recording::Script;
use crate::snapshot::Matter;

/// How many steps, or batches of drafts, may be under way between two threads.
const AHEAD: usize = 4;
/// How many views may wait to be published: each holds the whole network.
const VIEWS_AHEAD: usize = 1;

/// What is replayed, and how.
pub struct Run<'a> {
    pub script: Script,
    /// The epochs' timestamps, ascending.
    pub cuts: &'a [u32],
    pub terms: Terms,
    /// The recordings' names, in their order.
    pub names: Vec<String>,
    /// Ends the run, with an error.
    pub stop: CancellationToken,
}

/// What became of what was told.
pub struct Outcome {
    pub tally: Tally,
    /// How much was told of later than the last epoch, and left alone.
    pub later: u64,
}

impl Run<'_> {
    /// Runs all of it: entries into `journal`, what is to be told of each epoch to `publish`, and how many messages are done to
    /// `progress`.
    pub fn run(
        self,
        journal: Option<SqliteJournal>,
        publish: impl FnMut(Matter) -> anyhow::Result<()> + Send,
        progress: impl Fn(u64) + Send,
    ) -> anyhow::Result<Outcome> {
        let keep = move |drafted: Receiver<Vec<Draft>>| {
            thread::scope(|scope| {
                let (views, viewed) = sync_channel(VIEWS_AHEAD);
                let ledger = scope.spawn(move || Ledger::new(journal).keep(&drafted, &views));
                let published = viewed.into_iter().try_for_each(publish);
                join(ledger).and(published)
            })
        };
        self.through(keep, progress)
    }

    /// Runs all of it without a journal: what passes the checking stage to `each`, in order, and how many messages are done
    /// to `progress`.
    pub fn drafts(self, each: impl FnMut(Draft) + Send, progress: impl Fn(u64) + Send) -> anyhow::Result<Outcome> {
        let keep = move |drafted: Receiver<Vec<Draft>>| {
            drafted.into_iter().flatten().for_each(each);
            Ok(())
        };
        self.through(keep, progress)
    }

    /// `keep` gets the drafts, batch by batch.
    fn through(
        self,
        keep: impl FnOnce(Receiver<Vec<Draft>>) -> anyhow::Result<()> + Send,
        progress: impl Fn(u64) + Send,
    ) -> anyhow::Result<Outcome> {
        let Self { script, cuts, terms, names, stop } = self;
        let (score, later) = (Score::new(script, cuts), AtomicU64::new(0));
        let mut stage = Stage::new(terms, names);
        thread::scope(|scope| {
            let (steps, stepped) = sync_channel(AHEAD);
            let (drafts, drafted) = sync_channel(AHEAD);
            let later = &later;
            let reader = scope.spawn(move || read(score, &steps, &stop, &progress, later));
            let keeper = scope.spawn(move || keep(drafted));
            let checked = check(&mut stage, stepped, drafts);
            // Who fails stops listening, and whoever spoke to it ends without an error: the first error is the one.
            [join(reader), checked, join(keeper)].into_iter().collect::<anyhow::Result<()>>()
        })?;
        Ok(Outcome { tally: stage.tally(), later: later.into_inner() })
    }
}

fn join(thread: ScopedJoinHandle<'_, anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("a part of the replay failed; the log says why")))
}

fn read(
    mut score: Score,
    steps: &SyncSender<Step>,
    stop: &CancellationToken,
    progress: &impl Fn(u64),
    later: &AtomicU64,
) -> anyhow::Result<()> {
    for step in score.by_ref() {
        anyhow::ensure!(!stop.is_cancelled(), INTERRUPTED);
        let step = step?;
        if let Step::Stretch(stretch) = &step {
            progress(stretch.told);
        }
        if steps.send(step).is_err() {
            break;
        }
    }
    later.store(score.left() as u64, Ordering::Relaxed);
    Ok(())
}

fn check(stage: &mut Stage, steps: Receiver<Step>, drafts: SyncSender<Vec<Draft>>) -> anyhow::Result<()> {
    for step in steps {
        let drafted = stage.take(step)?;
        if !drafted.is_empty() && drafts.send(drafted).is_err() {
            break;
        }
    }
    Ok(())
}

/// Numbers drafts, in a journal where there is one, and applies them to a history.
struct Ledger {
    journal: Option<SqliteJournal>,
    last: Seq,
    history: History,
}

impl Ledger {
    fn new(journal: Option<SqliteJournal>) -> Self {
        Self { journal, last: Seq(0), history: History::new() }
    }

    fn keep(mut self, drafts: &Receiver<Vec<Draft>>, views: &SyncSender<Matter>) -> anyhow::Result<()> {
        while let Ok(drafts) = drafts.recv() {
            let first = self.number(&drafts)?;
            for (seq, draft) in (first.0..).map(Seq).zip(drafts) {
                let is_epoch = matches!(draft.event, Event::Epoch { .. });
                self.history.apply(&draft.numbered(seq));
                let epoch = self.history.last_epoch().filter(|_| is_epoch);
                if let Some(matter) = epoch.and_then(|epoch| Matter::of(&self.history, epoch))
                    && views.send(matter).is_err()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The first draft's number.
    fn number(&mut self, drafts: &[Draft]) -> anyhow::Result<Seq> {
        match &mut self.journal {
            Some(journal) => journal.append(drafts).context("cannot journal it"),
            None => {
                let first = Seq(self.last.0 + 1);
                self.last.0 += drafts.len() as u64;
                Ok(first)
            }
        }
    }
}
