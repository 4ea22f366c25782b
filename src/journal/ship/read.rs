//! Reading the journal for the archive, on a thread that may block.

use std::ops::ControlFlow;

use anyhow::Context;
use tokio::task::spawn_blocking;

use crate::journal::{Entry, Reader, Seq};

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

    /// The entry with this number, if the journal still has it.
    pub async fn entry(&mut self, seq: Seq) -> anyhow::Result<Option<Entry>> {
        let found = self.after(Seq(seq.0.saturating_sub(1)), 1).await?;
        Ok(found.into_iter().find(|entry| entry.seq == seq))
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
