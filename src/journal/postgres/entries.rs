//! The entries: batches in, pages out.

use std::pin::pin;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::columns::{self, Columns};
use super::days::Days;
use super::errors::{damaged, explain};
use super::{Archive, bigint};
use crate::journal::{CollectorId, Entry, Event, Seq, Term};

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shipped {
    /// It is in the archive.
    Done,
    /// Nothing was written, because the archive is not as it was said to be: another term has begun, or it holds
    /// other entries (an earlier batch of unknown fate, say). [`Archive::look`] tells which.
    Overtaken,
}

impl Archive {
    /// Copies `entries` (ascending, after `after`) into the archive, if the term is still ours and the archive's last
    /// entry is `after`; all of them or none. A sign of life, too. Tells those who [`Archive::listen`].
    pub async fn ship(
        &mut self,
        term: Term,
        holder: CollectorId,
        after: Seq,
        entries: &[Entry],
    ) -> anyhow::Result<Shipped> {
        let mut days = std::mem::take(&mut self.days);
        let shipped = self
            .bounded(async {
                let shipped = self.ship_in(&mut days, term, holder, after, entries).await;
                self.end_stuck_after(shipped).await
            })
            .await?;
        if shipped == Shipped::Done {
            self.days = days;
        }
        Ok(shipped)
    }

    async fn ship_in(
        &self,
        days: &mut Days,
        term: Term,
        holder: CollectorId,
        after: Seq,
        entries: &[Entry],
    ) -> anyhow::Result<Shipped> {
        if let Some(first) = entries.first() {
            days.turn(self, term, holder, after, first.seen).await?;
        }
        // Leaves time to end a stuck session.
        self.begin_waiting(self.timeout / 2).await?;
        if !self.advance(term, holder, after, entries).await? {
            self.rollback().await?;
            return Ok(Shipped::Overtaken);
        }
        self.copy(entries).await?;
        self.commit().await?;
        Ok(Shipped::Done)
    }

    /// At most `limit` of the entries after `after`, in order; an empty page at the end.
    pub async fn page(&mut self, after: Seq, limit: usize) -> anyhow::Result<Vec<Entry>> {
        let statement = format!("SELECT {} FROM rgsd.entry WHERE seq > $1 ORDER BY seq LIMIT $2", columns::READ);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let params = [(&bigint(after.0) as _, Type::INT8), (&limit as _, Type::INT8)];
        self.bounded(async {
            let rows = self.query(&statement, &params).await?;
            let entries = rows.iter().map(columns::entry).collect::<anyhow::Result<Vec<_>>>()?;
            ascending(after, &entries).map(|()| entries)
        })
        .await
    }

    /// The entry with this number or, where that was forgotten, the last one before it.
    pub async fn entry_at_or_before(&mut self, seq: Seq) -> anyhow::Result<Option<Entry>> {
        let statement = format!("SELECT {} FROM rgsd.entry WHERE seq <= $1 ORDER BY seq DESC LIMIT 1", columns::READ);
        let row = self.bounded(self.query_opt(&statement, &[(&bigint(seq.0), Type::INT8)])).await?;
        row.as_ref().map(columns::entry).transpose()
    }

    /// Moves the archive's row on to the batch's end; false if the row is not as it should be. Until the transaction
    /// ends, nobody else can.
    async fn advance(&self, term: Term, holder: CollectorId, after: Seq, entries: &[Entry]) -> anyhow::Result<bool> {
        let last_seq = entries.last().map_or(after, |entry| entry.seq);
        let epochs = entries.iter().rev().find_map(|entry| match entry.event {
            Event::Epoch { timestamp, .. } => Some(i64::from(timestamp)),
            Event::Fact(_) => None,
        });
        let statement = "UPDATE rgsd.archive SET last_seq = $4, last_epoch = coalesce($5, last_epoch),
                renewals = renewals + 1, renewed = clock_timestamp()
            WHERE term = $1 AND holder = $2 AND last_seq = $3
            RETURNING pg_notify('rgsd', last_seq::text)";
        let params = [
            (&bigint(term.0) as _, Type::INT8),
            (&&holder.0[..] as _, Type::BYTEA),
            (&bigint(after.0) as _, Type::INT8),
            (&bigint(last_seq.0) as _, Type::INT8),
            (&epochs as _, Type::INT8),
        ];
        Ok(self.query_opt(statement, &params).await?.is_some())
    }

    async fn copy(&self, entries: &[Entry]) -> anyhow::Result<()> {
        // COPY needs a statement with a name. Dropped at the end of this function, it is closed before the
        // transaction ends: behind pgbouncer the next one may run in another session.
        let statement = format!("COPY rgsd.entry ({}) FROM STDIN (FORMAT binary)", columns::NAMES);
        let statement = self.client.prepare_typed(&statement, &[]).await.map_err(explain)?;
        let sink = self.client.copy_in(&statement).await.map_err(explain)?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &columns::TYPES));
        for entry in entries {
            writer.as_mut().write(&Columns::of(entry).values()).await.map_err(explain)?;
        }
        writer.finish().await.map_err(explain)?;
        Ok(())
    }
}

/// Whoever copies a page counts on it.
fn ascending(after: Seq, entries: &[Entry]) -> anyhow::Result<()> {
    let mut last = after;
    for entry in entries {
        if entry.seq <= last {
            return Err(damaged(&format!("entry {} comes after entry {}", entry.seq.0, last.0)));
        }
        last = entry.seq;
    }
    Ok(())
}
