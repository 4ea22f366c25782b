//! Reading the local journal beside the archive: on a thread that may block, and to compare the two.

use std::ops::ControlFlow;

use anyhow::Context;
use tokio::task::spawn_blocking;

use super::lease::Misfit;
use super::postgres::Archive;
use super::{Entry, Reader, Seq};

/// A reader that is lent to a thread for each reading.
pub(super) struct Shelf {
    reader: Option<Box<dyn Reader>>,
}

impl Shelf {
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self { reader: Some(reader) }
    }

    /// Up to `at_most` entries after `last`.
    pub async fn after(&mut self, last: Seq, at_most: usize) -> anyhow::Result<Vec<Entry>> {
        self.read(move |reader| {
            let mut entries = Vec::with_capacity(at_most.min(1_024));
            reader.read(last, &mut |entry| {
                entries.push(entry);
                if entries.len() < at_most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            Ok(entries)
        })
        .await
    }

    /// Sees to it that the last entry at or before `last` that the archive has is the journal's, too: two that agree
    /// there have gone the same way up to there.
    pub async fn check_common(&mut self, archive: &mut Archive, last: Seq) -> anyhow::Result<()> {
        let Some(theirs) = archive.entry_at_or_before(last).await? else { return Ok(()) };
        let ours = self.after(Seq(theirs.seq.0.saturating_sub(1)), 1).await?;
        match ours.first() {
            Some(ours) if ours.seq == theirs.seq && *ours != theirs => Err(Misfit::Differs(theirs.seq.0).into()),
            _ => Ok(()), // one that the journal has forgotten was superseded long ago
        }
    }

    /// The numbers below `bound` of the entries that the journal has.
    pub async fn numbers(&mut self, bound: Seq) -> anyhow::Result<Vec<Seq>> {
        self.read(move |reader| reader.numbers(bound)).await
    }

    async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&dyn Reader) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let reader = self.reader.take().context("the journal's reader is gone")?;
        let (reader, read) = spawn_blocking(move || {
            let result = read(&*reader);
            (reader, result)
        })
        .await?;
        self.reader = Some(reader);
        read
    }
}
