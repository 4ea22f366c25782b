//! Retention: whole days leave, but for what the journal still holds of them, which moves to the partition `kept`.
//!
//! The long part, copying what stays, takes no lock that anybody would notice. The short part puts the copy in the
//! place of the old partitions; it waits [`SHORT_LOCK`] for them at a time, and gives up, with nothing done, when
//! somebody reads too long.
//!
//! Closings stay longer than the rest, by [`CLOSINGS_LONGER_MS`], whatever the journal holds. Somebody who reads page by
//! page may have an announcement of a day that goes meanwhile; without the closing, which the journal forgot together with
//! it, the channel would stand there for ever. A closing without its announcement says nothing to anybody. The same goes
//! for a reopening, without which a possible splice would be waited for that was reorganised away.

use std::time::Duration;

use anyhow::bail;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::{CLOSING, REOPENING, moment};
use super::days::{NAME, SHORT_LOCK, STORAGE, day};
use super::errors::{explain, is_lock_timeout};
use super::{Archive, bigint, unsigned};
use crate::gossip::UnixMs;
use crate::journal::{CollectorId, Seq, Term};

/// How often the short part is tried, and how long the others are let through in between.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);
/// How long the short part may stand still: everybody waits for it.
const SHORT_IDLE: Duration = Duration::from_secs(10);
/// Eight days: more than anybody's reading takes.
const CLOSINGS_LONGER_MS: u64 = 8 * 86_400_000;

/// What became of a retention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retained {
    /// Below the bound the archive holds what was to be kept: so many entries.
    Done { kept: u64 },
    /// Nothing was changed: somebody reads the old days. Try again later.
    Busy,
    /// Nothing was changed: another term has begun.
    Overtaken,
}

impl Archive {
    /// Below which number every entry is in a partition of a day before that of `before`; none if there is no such
    /// partition. The one that is being written stays.
    pub async fn retention_bound(&mut self, before: UnixMs) -> anyhow::Result<Option<Seq>> {
        // After the last old one: a day that a wrong clock put into the future holds up nothing that came later.
        let statement = "SELECT coalesce(min(first_seq), 0) FROM rgsd.day WHERE first_seq > (
            SELECT max(first_seq) FROM rgsd.day
            WHERE day < date '1970-01-01' + $1 AND first_seq < (SELECT max(first_seq) FROM rgsd.day))";
        let row = self.bounded(self.query_opt(statement, &[(&day(before), Type::INT4)])).await?;
        let bound = row.map_or(Ok(0), |row| unsigned(&row, 0))?;
        Ok((bound > 0).then_some(Seq(bound)))
    }

    /// Removes every entry below `bound` (from [`Archive::retention_bound`] for `before`) that is not in `kept`, if the
    /// term is still ours; a closing or reopening only by a retention whose `before` is more than eight days after it was seen. Takes
    /// as long as copying what stays takes: best on a connection of its own, with a time-out to match.
    pub async fn retain(
        &mut self,
        term: Term,
        holder: CollectorId,
        bound: Seq,
        before: UnixMs,
        kept: &[Seq],
    ) -> anyhow::Result<Retained> {
        self.bounded(async {
            self.begin().await?;
            if !self.is_ours(term, holder, "").await? {
                self.rollback().await?;
                return Ok(Retained::Overtaken);
            }
            let count = self.copy_kept(bound, before, kept).await?;
            for _ in 0..TRIES {
                self.execute("SAVEPOINT swap").await?;
                match self.swap(term, holder, bound).await {
                    Ok(true) => {
                        self.commit().await?;
                        return Ok(Retained::Done { kept: count });
                    }
                    Ok(false) => {
                        self.rollback().await?;
                        return Ok(Retained::Overtaken);
                    }
                    Err(error) if is_lock_timeout(&error) => self.execute("ROLLBACK TO SAVEPOINT swap").await?,
                    Err(error) => return Err(error),
                }
                tokio::time::sleep(PAUSE).await;
            }
            self.rollback().await?;
            Ok(Retained::Busy)
        })
        .await
    }

    async fn is_ours(&self, term: Term, holder: CollectorId, lock: &str) -> anyhow::Result<bool> {
        let statement = format!("SELECT FROM rgsd.archive WHERE term = $1 AND holder = $2 {lock}");
        let params = [(&bigint(term.0) as _, Type::INT8), (&&holder.0[..] as _, Type::BYTEA)];
        Ok(self.query_opt(&statement, &params).await?.is_some())
    }

    /// The long part: what stays, in a table that only this transaction sees. Returns how many entries that are.
    async fn copy_kept(&self, bound: Seq, before: UnixMs, kept: &[Seq]) -> anyhow::Result<u64> {
        let bound = bound.0;
        let closed_since = moment(UnixMs(before.0.saturating_sub(CLOSINGS_LONGER_MS)));
        // The check lets the table be attached without another look at each row.
        self.execute(&format!(
            "CREATE TABLE rgsd.kept_next (
                 LIKE rgsd.entry INCLUDING STORAGE INCLUDING INDEXES, CHECK (seq < {bound})) {STORAGE}"
        ))
        .await?;
        let kept: Vec<i64> = kept.iter().map(|seq| bigint(seq.0)).collect();
        let statement = format!(
            "WITH copied AS (
                INSERT INTO rgsd.kept_next SELECT entry.* FROM rgsd.entry JOIN (
                    SELECT unnest($1) UNION
                    SELECT seq FROM rgsd.entry
                    WHERE seq < {bound} AND kind IN ({CLOSING}, {REOPENING}) AND seen >= $2
                ) AS kept (seq) USING (seq)
                WHERE entry.seq < {bound} ORDER BY entry.seq RETURNING 1
            )
            SELECT count(*) FROM copied"
        );
        let params = [(&kept as _, Type::INT8_ARRAY), (&closed_since as _, Type::TIMESTAMPTZ)];
        let row = self.query_opt(&statement, &params).await?;
        let count = row.map_or(Ok(0), |row| unsigned(&row, 0))?;
        self.execute("ANALYZE rgsd.kept_next").await?;
        Ok(count)
    }

    /// The short part: false if the term is over.
    async fn swap(&self, term: Term, holder: CollectorId, bound: Seq) -> anyhow::Result<bool> {
        let (lock_ms, idle_ms) = (SHORT_LOCK.as_millis(), self.timeout.min(SHORT_IDLE).as_millis().max(1));
        self.execute(&format!(
            "SET LOCAL lock_timeout = {lock_ms}; SET LOCAL idle_in_transaction_session_timeout = {idle_ms}"
        ))
        .await?;
        // In the order in which a writer takes its locks: the row, then the entries.
        if !self.is_ours(term, holder, "FOR UPDATE").await? {
            return Ok(false);
        }
        // Another bound would take entries with it that come after it.
        let is_bound = "SELECT FROM rgsd.day WHERE first_seq = $1";
        if self.query_opt(is_bound, &[(&bigint(bound.0), Type::INT8)]).await?.is_none() {
            bail!("no partition of the archive begins at entry {}", bound.0);
        }
        let days = self.old_days(bound.0).await?;
        let dropped: String = days.iter().map(|name| format!(", rgsd.{name}")).collect();
        let bound = bound.0;
        self.execute(&format!(
            "LOCK TABLE rgsd.entry IN ACCESS EXCLUSIVE MODE;
             DROP TABLE rgsd.kept{dropped};
             ALTER TABLE rgsd.kept_next RENAME TO kept;
             ALTER TABLE rgsd.entry ATTACH PARTITION rgsd.kept FOR VALUES FROM (MINVALUE) TO ({bound});
             DELETE FROM rgsd.day WHERE first_seq < {bound}"
        ))
        .await?;
        Ok(true)
    }

    /// The partitions of the days below `bound`.
    async fn old_days(&self, bound: u64) -> anyhow::Result<Vec<String>> {
        let statement = format!("SELECT {NAME} FROM rgsd.day WHERE first_seq < $1 ORDER BY first_seq");
        let rows = self.query(&statement, &[(&bigint(bound), Type::INT8)]).await?;
        let name = |row: &Row| row.try_get(0).map_err(explain);
        rows.iter().map(name).collect()
    }
}
