//! The archive: a copy of the journal in a remote PostgreSQL, under the journal's own numbers.
//!
//! Owns everything that is said to the database, given a connection: the tables and their migrations ([`Archive::open`]),
//! the row that is the journal's identity and the writer's lease ([`Standing`]), the entries, and what an overtaken
//! writer offers. Promises that every operation ends within [`Archive`]'s time-out, that each change is one
//! transaction, which a writer whose term is over cannot commit, and that nothing outlives a transaction on the
//! server's side, so that it works through pgbouncer in transaction mode. Knows neither how one connects nor when to
//! do what.
//!
//! After an error the connection is in no known state: drop the [`Archive`], connect again, and [`Archive::look`].

use std::time::Duration;

use anyhow::anyhow;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

mod columns;
mod days;
mod entries;
mod errors;
mod lease;
mod offered;
mod retention;
mod schema;

pub use entries::Shipped;
pub use lease::{Founding, Standing, Term};
pub use retention::Retained;

use errors::explain;

/// One connection's view of the archive.
pub struct Archive {
    client: Client,
    /// How long one operation may take.
    timeout: Duration,
    /// What this connection knows of the current day's partition.
    days: days::Days,
}

type Param<'a> = (&'a (dyn ToSql + Sync), Type);

impl Archive {
    /// Takes a connection into use: checks the server, and brings the tables up to date, or makes them. Where they are
    /// up to date nothing is written, so that a role that may only read will do. `timeout` bounds this and every later
    /// operation. Every error is a sentence that names the remedy.
    pub async fn open(client: Client, timeout: Duration) -> anyhow::Result<Archive> {
        let archive = Archive { client, timeout, days: days::Days::default() };
        archive.bounded(schema::prepare(&archive)).await?;
        Ok(archive)
    }

    /// Asks the server to tell of new entries on the channel `rgsd`, with the last one's number. A hint, no promise:
    /// through pgbouncer it never comes.
    pub async fn listen(&mut self) -> anyhow::Result<()> {
        self.bounded(self.execute("LISTEN rgsd")).await
    }

    /// Gives the work as long as one operation may take.
    async fn bounded<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let late = |_| {
            anyhow!("PostgreSQL did not answer within {}: its network or disk stands still, or a lock is held", {
                humantime::format_duration(self.timeout)
            })
        };
        tokio::time::timeout(self.timeout, work).await.map_err(late)?
    }

    /// Begins a transaction that the server gives up, too, when it waits for a lock or for us for too long. While the
    /// server waits for copied rows it does not count; see [`lease`].
    async fn begin(&self) -> anyhow::Result<()> {
        self.begin_waiting(self.timeout).await
    }

    /// Begins a transaction that waits `lock_timeout` for a lock.
    async fn begin_waiting(&self, lock_timeout: Duration) -> anyhow::Result<()> {
        let (lock_ms, idle_ms) = (lock_timeout.as_millis().max(1), self.timeout.as_millis().max(1));
        self.execute(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
             SET LOCAL lock_timeout = {lock_ms};
             SET LOCAL idle_in_transaction_session_timeout = {idle_ms}"
        ))
        .await
    }

    async fn commit(&self) -> anyhow::Result<()> {
        self.execute("COMMIT").await
    }

    async fn rollback(&self) -> anyhow::Result<()> {
        self.execute("ROLLBACK").await
    }

    /// One or more statements without parameters.
    async fn execute(&self, statements: &str) -> anyhow::Result<()> {
        self.client.batch_execute(statements).await.map_err(explain)
    }

    async fn query(&self, statement: &str, params: &[Param<'_>]) -> anyhow::Result<Vec<Row>> {
        self.client.query_typed(statement, params).await.map_err(explain)
    }

    async fn query_opt(&self, statement: &str, params: &[Param<'_>]) -> anyhow::Result<Option<Row>> {
        self.client.query_typed_opt(statement, params).await.map_err(explain)
    }
}

/// A number as PostgreSQL holds it; beyond its range, which no journal reaches, the largest there is.
fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that is never negative.
fn unsigned<T: TryFrom<i64>>(row: &Row, column: usize) -> anyhow::Result<T> {
    let value: i64 = row.try_get(column).map_err(explain)?;
    let name = || row.columns().get(column).map_or("?", |column| column.name());
    T::try_from(value).map_err(|_| errors::damaged(&format!("{} is {value}", name())))
}
