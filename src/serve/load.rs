//! Starting from the journal: everything that is remembered is rebuilt from its entries, in one pass.

use std::time::Instant;

use crate::gossip::check::{Checker, Rules};
use crate::gossip::{Fact, UnixMs};
use crate::history::History;
use crate::journal::{Entry, Event, Journal, Seq, read_ahead_for_two};

/// What a journal tells the rooms at the start.
pub(super) struct Remembered {
    pub history: History,
    pub checker: Checker,
    /// When the last full sync was completed.
    pub last_sync: Option<UnixMs>,
    /// When the last message was accepted.
    pub last_message: Option<UnixMs>,
    /// How many entries it holds.
    pub entries: u64,
}

/// Reads the whole journal.
pub(super) fn remember(journal: &dyn Journal, rules: Rules) -> anyhow::Result<Remembered> {
    let started = Instant::now();
    let mut history = History::new();
    let mut checker = Checker::new(rules);
    let (mut last_sync, mut last_message) = (None, None);
    let mut entries = 0;
    let mut reader = journal.reader()?;
    let recollect = |entry: &Entry| {
        entries += 1;
        match &entry.event {
            Event::Fact(Fact::SyncCompleted { .. }) => last_sync = Some(entry.seen),
            Event::Fact(fact) => {
                checker.learn(entry.seen, fact);
                last_message = if fact.is_message() { Some(entry.seen) } else { last_message };
            }
            Event::Epoch { .. } => {}
        }
    };
    read_ahead_for_two(&mut *reader, Seq(0), |entry| history.apply(entry), recollect)?;
    history.compact();
    let size = history.size();
    tracing::info!(
        last_seq = history.last_seq().0,
        channels = size.channels,
        epochs = size.epochs,
        "journal read in {:.1?}",
        started.elapsed()
    );
    Ok(Remembered { history, checker, last_sync, last_message, entries })
}
