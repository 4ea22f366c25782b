//! A partition a day: `rgsd.entry_<day>_<first seq>`, the last one open at its end.
//!
//! Closing one and opening the next takes a lock that nobody else may share, for as long as it takes to see that the
//! closed one holds nothing beyond its end: some ten milliseconds for a usual day. It is therefore a transaction of its
//! own, before the batch; where the lock is not to be had at once (somebody reads at length), the batch goes
//! into the old partition, and a later one tries again.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::errors::{code, damaged, explain, is_lock_timeout};
use super::{Archive, bigint};
use crate::gossip::UnixMs;
use crate::journal::{CollectorId, Seq, Term};

/// How long anything here waits for a lock, and keeps others waiting behind it.
pub(super) const SHORT_LOCK: Duration = Duration::from_millis(250);
/// So many batches pass at most between two tries.
const MOST_BATCHES: u32 = 64;
const DAY_MS: u64 = 86_400_000;

/// How a partition of entries is stored: full pages, vacuumed for its visibility map and frozen as it fills, because
/// nothing in it is ever changed.
pub(super) const STORAGE: &str = "WITH (fillfactor = 100, autovacuum_vacuum_insert_threshold = 50000, \
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_freeze_min_age = 0, \
    autovacuum_analyze_threshold = 20000, autovacuum_analyze_scale_factor = 0.1)";

/// A partition's name, from its row of `rgsd.day`.
pub(super) const NAME: &str = "'entry_' || to_char(day, 'YYYYMMDD') || '_' || first_seq";

/// What the writer knows of the partition that is open at its end.
#[derive(Clone, Default)]
pub(super) struct Days {
    /// Its day, since 1970; unknown at first.
    open: Option<i32>,
    /// So many batches pass before the next try, and so many after that one.
    pass: u32,
    next_pass: u32,
    /// Whether it was said that the day cannot turn.
    warned: bool,
}

/// The partition that is open at its end.
struct Open {
    first_seq: i64,
    day: i32,
    name: String,
}

impl Days {
    /// Sees to it that there is a partition for what comes after `after`, and that it is of the day of `seen`, if
    /// that can be had soon. Does nothing if the archive is not as the writer believes.
    pub(super) async fn turn(
        &mut self,
        archive: &Archive,
        term: Term,
        holder: CollectorId,
        after: Seq,
        seen: UnixMs,
    ) -> anyhow::Result<()> {
        let day = day(seen);
        if self.open.is_some_and(|open| !is_over(open, day)) {
            return Ok(());
        }
        if self.pass > 0 {
            self.pass -= 1;
            return Ok(());
        }
        match self.try_turn(archive, term, holder, after, day).await {
            Ok(()) => Ok((self.pass, self.next_pass, self.warned) = (0, 0, false)),
            // The old partition will do.
            Err(error) if self.open.is_some() && code(&error).is_some() => {
                archive.rollback().await?;
                self.next_pass = (self.next_pass * 2).clamp(1, MOST_BATCHES);
                self.pass = self.next_pass;
                if is_lock_timeout(&error) {
                    tracing::debug!("the archive's day cannot turn while somebody reads; trying again later");
                } else if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!("the archive's day cannot turn, trying again later: {error:#}");
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn try_turn(
        &mut self,
        archive: &Archive,
        term: Term,
        holder: CollectorId,
        after: Seq,
        day: i32,
    ) -> anyhow::Result<()> {
        archive.begin_waiting(SHORT_LOCK).await?;
        let guard = "SELECT FROM rgsd.archive WHERE term = $1 AND holder = $2 AND last_seq = $3 FOR UPDATE";
        let params = [
            (&bigint(term.0) as _, Type::INT8),
            (&&holder.0[..] as _, Type::BYTEA),
            (&bigint(after.0) as _, Type::INT8),
        ];
        if archive.query_opt(guard, &params).await?.is_none() {
            return archive.rollback().await;
        }
        let open = last(archive).await?;
        self.open = open.as_ref().map(|open| open.day);
        if self.open.is_some_and(|open| !is_over(open, day)) {
            return archive.rollback().await;
        }
        let first_seq = if open.is_some() { bigint(after.0).saturating_add(1) } else { 1 };
        let name = note(archive, day, first_seq).await?;
        archive.execute(&statements(open.as_ref(), first_seq, &name)).await?;
        archive.commit().await?;
        self.open = Some(day);
        Ok(())
    }
}

/// The UTC day, since 1970. (As far as dates go, and timestamps end well before that.)
pub(super) fn day(seen: UnixMs) -> i32 {
    i32::try_from(seen.0 / DAY_MS).unwrap_or(i32::MAX).min(106_000_000)
}

/// Whether a partition of the day `open` is closed when `day` comes: if that is a later one, or if `open` was so far
/// in the future that the clock must have been wrong.
fn is_over(open: i32, day: i32) -> bool {
    day > open || day < open - 1
}

async fn last(archive: &Archive) -> anyhow::Result<Option<Open>> {
    let statement =
        format!("SELECT first_seq, day - date '1970-01-01', {NAME} FROM rgsd.day ORDER BY first_seq DESC LIMIT 1");
    let open = |row: &Row| -> Result<Open, tokio_postgres::Error> {
        Ok(Open { first_seq: row.try_get(0)?, day: row.try_get(1)?, name: row.try_get(2)? })
    };
    archive.query_opt(&statement, &[]).await?.as_ref().map(open).transpose().map_err(explain)
}

/// Notes the partition that is about to be made, and returns its name.
async fn note(archive: &Archive, day: i32, first_seq: i64) -> anyhow::Result<String> {
    let statement =
        format!("INSERT INTO rgsd.day (first_seq, day) VALUES ($1, date '1970-01-01' + $2) RETURNING {NAME}");
    let row = archive.query_opt(&statement, &[(&first_seq, Type::INT8), (&day, Type::INT4)]).await?;
    row.map_or_else(|| Err(damaged("rgsd.day takes no row")), |row| row.try_get(0).map_err(explain))
}

/// Closes `open` before `first_seq`, and opens the next. What locks others out comes last.
fn statements(open: Option<&Open>, first_seq: i64, name: &str) -> String {
    let create = format!("CREATE TABLE rgsd.{name} (LIKE rgsd.entry INCLUDING STORAGE INCLUDING INDEXES) {STORAGE};");
    let close = open.map(|Open { first_seq: from, name: closed, .. }| {
        format!(
            "ALTER TABLE rgsd.entry DETACH PARTITION rgsd.{closed};
             ALTER TABLE rgsd.entry ATTACH PARTITION rgsd.{closed} FOR VALUES FROM ({from}) TO ({first_seq});"
        )
    });
    let attach =
        format!("ALTER TABLE rgsd.entry ATTACH PARTITION rgsd.{name} FOR VALUES FROM ({first_seq}) TO (MAXVALUE)");
    [create, close.unwrap_or_default(), attach].concat()
}
