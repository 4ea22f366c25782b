//! The archive's one row: whose journal it is, how far it goes, and who may write it.
//!
//! The writer's right is a term, not a session: whoever changes anything compares the row with what it believes, in
//! the same statement. The row's renewal counter tells a standby that the writer lives; the database's clock, which
//! comes with every look, is the only one that measures for how long it did not.

use std::time::Duration;

use anyhow::bail;
use bitcoin::Network;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::errors::{damaged, explain, is_lock_timeout};
use super::offered::FITS;
use super::{Archive, bigint, unsigned};
use crate::journal::{CollectorId, JournalId, Seq, Term, is_epoch_offset_s};

/// What a new archive starts with.
#[derive(Clone, Debug)]
pub struct Founding {
    pub journal: JournalId,
    pub network: Network,
    /// The first writer.
    pub holder: CollectorId,
    /// The first term: 1, but for a journal that had an archive before this one.
    pub term: Term,
    /// How many seconds past the aligned time its epochs are stamped.
    pub epoch_offset_s: u32,
}

/// The archive's row as it was at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub journal: JournalId,
    /// As in the configuration.
    pub network: String,
    /// The number of the last entry; `Seq(0)` before the first.
    pub last_seq: Seq,
    /// The last epoch's timestamp.
    pub last_epoch: Option<u32>,
    pub term: Term,
    /// Whose term it is.
    pub holder: CollectorId,
    /// Grows with every sign of the writer's life.
    pub renewals: u64,
    /// How many seconds past the aligned time this term's epochs are stamped.
    pub epoch_offset_s: u32,
    /// The database's clock, since 1970.
    pub now: Duration,
    /// Whether something waits in what an overtaken writer offered.
    pub offered: bool,
}

/// The columns that [`standing`] reads.
fn columns() -> String {
    format!(
        "journal_id, network, last_seq, last_epoch, term, holder, renewals, epoch_offset_s::bigint AS epoch_offset_s,
         (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, EXISTS (SELECT FROM rgsd.offered WHERE {FITS})"
    )
}

impl Archive {
    /// The archive's row; none in a new archive. One round trip, and no locks.
    pub async fn look(&mut self) -> anyhow::Result<Option<Standing>> {
        self.bounded(self.looked()).await
    }

    /// Founds the archive unless that was done. Returns its row as it is then: ours, or another's.
    pub async fn found(&mut self, founding: &Founding) -> anyhow::Result<Standing> {
        self.bounded(async {
            self.begin().await?;
            let statement = "WITH founded AS (
                    INSERT INTO rgsd.archive (journal_id, network, last_seq, term, holder, renewals, epoch_offset_s)
                    VALUES ($1, $2, 0, $5, $3, 0, $4) ON CONFLICT DO NOTHING RETURNING *
                )
                INSERT INTO rgsd.term (term, holder, after_seq, epoch_offset_s)
                SELECT term, holder, last_seq, epoch_offset_s FROM founded";
            let params = [
                (&&founding.journal.0[..] as _, Type::BYTEA),
                (&founding.network.to_string() as _, Type::TEXT),
                (&&founding.holder.0[..] as _, Type::BYTEA),
                (&offset(founding.epoch_offset_s) as _, Type::INT4),
                (&bigint(founding.term.0) as _, Type::INT8),
            ];
            self.query(statement, &params).await?;
            let standing = self.looked().await?;
            self.commit().await?;
            standing.ok_or_else(|| damaged("it has no row in rgsd.archive"))
        })
        .await
    }

    /// A sign of life from the writer. None: it was overtaken.
    pub async fn renew(&mut self, term: Term, holder: CollectorId) -> anyhow::Result<Option<Standing>> {
        self.bounded(async {
            let renewed = self.renewed(term, holder).await;
            self.end_stuck_after(renewed).await
        })
        .await
    }

    async fn renewed(&self, term: Term, holder: CollectorId) -> anyhow::Result<Option<Standing>> {
        // Leaves time to end a stuck session.
        self.begin_waiting(self.timeout / 2).await?;
        let statement = format!(
            "UPDATE rgsd.archive SET renewals = renewals + 1, renewed = clock_timestamp()
             WHERE term = $1 AND holder = $2 RETURNING {}",
            columns()
        );
        let params = [(&bigint(term.0) as _, Type::INT8), (&&holder.0[..] as _, Type::BYTEA)];
        let row = self.query_opt(&statement, &params).await?;
        self.commit().await?;
        row.as_ref().map(standing).transpose()
    }

    /// Where the writer's own row was locked for so long: a session of ours whose connection was lost without the
    /// server's noticing would hold it until TCP gives up, in hours. One that has held it for longer than the time-out,
    /// after which whoever opened it has given up, is ended. The failure stays one, and the next call works.
    pub(super) async fn end_stuck_after<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        if outcome.as_ref().is_err_and(is_lock_timeout) {
            self.rollback().await?;
            self.end_stuck_writers(self.timeout).await?;
        }
        outcome
    }

    /// Begins the next term if the row is still as `watched`: neither renewed nor written to. None if it is not.
    ///
    /// A writer whose process stands still in the middle of a transaction would hold the row for ever: a session of
    /// the same role that has been writing to the archive for longer than `lease` is ended by the server.
    pub async fn take_over(
        &mut self,
        watched: &Standing,
        holder: CollectorId,
        epoch_offset_s: u32,
        lease: Duration,
    ) -> anyhow::Result<Option<Standing>> {
        self.bounded(async {
            match self.begin_term(watched, holder, epoch_offset_s).await {
                Err(error) if is_lock_timeout(&error) => {
                    self.rollback().await?;
                    self.end_stuck_writers(lease).await?;
                    self.begin_term(watched, holder, epoch_offset_s).await
                }
                outcome => outcome,
            }
        })
        .await
    }

    /// After which entry the term that followed `term` began: there the copy of `term`'s entries ends. None if no
    /// term followed.
    pub async fn end_of_term(&mut self, term: Term) -> anyhow::Result<Option<Seq>> {
        let statement = "SELECT after_seq FROM rgsd.term WHERE term > $1 ORDER BY term LIMIT 1";
        let row = self.bounded(self.query_opt(statement, &[(&bigint(term.0), Type::INT8)])).await?;
        row.map(|row| unsigned(&row, 0).map(Seq)).transpose()
    }

    async fn looked(&self) -> anyhow::Result<Option<Standing>> {
        let row = self.query_opt(&format!("SELECT {} FROM rgsd.archive", columns()), &[]).await?;
        row.as_ref().map(standing).transpose()
    }

    async fn begin_term(
        &self,
        watched: &Standing,
        holder: CollectorId,
        epoch_offset_s: u32,
    ) -> anyhow::Result<Option<Standing>> {
        // So short that a second try fits into the time-out.
        self.begin_waiting(self.timeout / 4).await?;
        let statement = format!(
            "WITH archive AS (
                UPDATE rgsd.archive SET term = term + 1, holder = $4, epoch_offset_s = $5, renewals = renewals + 1,
                    renewed = clock_timestamp()
                WHERE term = $1 AND renewals = $2 AND last_seq = $3 RETURNING *
            ), term AS (
                INSERT INTO rgsd.term (term, holder, after_seq, epoch_offset_s)
                SELECT term, holder, last_seq, epoch_offset_s FROM archive
            )
            SELECT {} FROM archive",
            columns()
        );
        let params = [
            (&bigint(watched.term.0) as _, Type::INT8),
            (&bigint(watched.renewals) as _, Type::INT8),
            (&bigint(watched.last_seq.0) as _, Type::INT8),
            (&&holder.0[..] as _, Type::BYTEA),
            (&offset(epoch_offset_s) as _, Type::INT4),
        ];
        let row = self.query_opt(&statement, &params).await?;
        self.commit().await?;
        row.as_ref().map(standing).transpose()
    }

    /// Ends the sessions of our role that hold a writer's lock on the archive in a transaction older than `age`.
    async fn end_stuck_writers(&self, age: Duration) -> anyhow::Result<()> {
        let statement = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity AS activity
            WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
                AND xact_start < clock_timestamp() - $1 * interval '1 second'
                AND EXISTS (SELECT FROM pg_locks
                    WHERE pg_locks.pid = activity.pid AND granted AND locktype = 'relation'
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                        AND mode <> 'AccessShareLock'
                        AND relation IN (SELECT 'rgsd.archive'::regclass UNION SELECT 'rgsd.entry'::regclass
                            UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = 'rgsd.entry'::regclass))";
        let rows = self.query(statement, &[(&age.as_secs_f64(), Type::FLOAT8)]).await?;
        let ended: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(explain)?;
        if ended == 0 {
            bail!("another session keeps the row of rgsd.archive locked: see pg_locks, and end it");
        }
        tracing::info!(ended, "ended a session that held the archive without getting on");
        Ok(())
    }
}

fn standing(row: &Row) -> anyhow::Result<Standing> {
    let id = |column| -> anyhow::Result<[u8; 16]> {
        let bytes: &[u8] = row.try_get(column).map_err(explain)?;
        bytes.try_into().map_err(|_| damaged("an id is not 16 bytes long"))
    };
    let last_epoch: Option<i64> = row.try_get(3).map_err(explain)?;
    let epoch_offset_s = unsigned(row, 7)?;
    if !is_epoch_offset_s(epoch_offset_s) {
        return Err(damaged(&format!("epoch_offset_s is {epoch_offset_s}")));
    }
    Ok(Standing {
        journal: JournalId(id(0)?),
        network: row.try_get(1).map_err(explain)?,
        last_seq: Seq(unsigned(row, 2)?),
        last_epoch: last_epoch.map(|_| unsigned(row, 3)).transpose()?,
        term: Term(unsigned(row, 4)?),
        holder: CollectorId(id(5)?),
        renewals: unsigned(row, 6)?,
        epoch_offset_s,
        now: Duration::from_micros(unsigned(row, 8)?),
        offered: row.try_get(9).map_err(explain)?,
    })
}

/// An epoch offset as PostgreSQL holds it, which checks that it is 1 to 59.
fn offset(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}
