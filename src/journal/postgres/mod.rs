//! The archive: a copy of the journal in a remote PostgreSQL, under the journal's own numbers.
//!
//! Owns how the database is named ([`dsn`]) and connected to ([`connect()`]), and everything that is then said to it:
//! the tables and their migrations ([`Archive::open`]), the row that is the journal's identity and the writer's lease
//! ([`Standing`]), the entries, and what an overtaken writer offers. Promises that every operation ends within
//! [`Archive`]'s time-out, that each change is one transaction, which a writer whose term is over cannot commit, and
//! that nothing outlives a transaction on the server's side, so that it works through pgbouncer in transaction mode.
//! Does not know when to do what.
//!
//! After an error the connection is in no known state: drop the [`Archive`], connect again, and [`Archive::look`].

use std::time::Duration;

use anyhow::anyhow;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

mod columns;
mod connect;
mod days;
pub mod dsn;
mod entries;
mod errors;
mod explain;
mod lease;
mod offered;
mod retention;
mod schema;
mod uri;
mod wire;

pub use connect::{ConnectError, Settings, connect};
pub use dsn::DatabaseUrl;
pub use entries::Shipped;
pub use lease::{Founding, Standing};
pub use retention::Retained;
pub use wire::Wire;

/// One connection's view of the archive.
pub struct Archive {
    client: Client,
    /// How long one operation may take.
    timeout: Duration,
    /// What this connection knows of the current day's partition.
    days: days::Days,
}

/// For how long a transaction outlives a client that TCP cannot reach, at most.
const MOST_UNHEARD: Duration = Duration::from_secs(30);

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
    /// through pgbouncer it never comes, and a server that refuses (a hot standby must) is one that never tells.
    pub async fn listen(&mut self) -> anyhow::Result<()> {
        match self.bounded(self.execute("LISTEN rgsd")).await {
            Err(error) if errors::is_refusal(&error) => {
                tracing::debug!("the archive does not tell of new entries, and is looked at instead: {error:#}");
                Ok(())
            }
            outcome => outcome,
        }
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

    /// Begins a transaction that waits `lock_timeout` for a lock. Its keepalives let the server notice a client that is
    /// gone while it waits for it, or for copied rows, and not only when TCP gives up, in hours.
    async fn begin_waiting(&self, lock_timeout: Duration) -> anyhow::Result<()> {
        let (lock_ms, idle_ms) = (lock_timeout.as_millis().max(1), self.timeout.as_millis().max(1));
        let unheard_ms = self.timeout.min(MOST_UNHEARD).as_millis().max(1);
        let statements = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
             SET LOCAL lock_timeout = {lock_ms};
             SET LOCAL idle_in_transaction_session_timeout = {idle_ms};
             SET LOCAL tcp_keepalives_idle = 5;
             SET LOCAL tcp_keepalives_interval = 2;
             SET LOCAL tcp_keepalives_count = 3;
             SET LOCAL tcp_user_timeout = {unheard_ms}"
        );
        self.client.batch_execute(&statements).await.map_err(errors::explain_begin)
    }

    async fn commit(&self) -> anyhow::Result<()> {
        self.execute("COMMIT").await
    }

    async fn rollback(&self) -> anyhow::Result<()> {
        self.execute("ROLLBACK").await
    }

    /// One or more statements without parameters.
    async fn execute(&self, statements: &str) -> anyhow::Result<()> {
        self.client.batch_execute(statements).await.map_err(errors::explain)
    }

    async fn query(&self, statement: &str, params: &[Param<'_>]) -> anyhow::Result<Vec<Row>> {
        self.client.query_typed(statement, params).await.map_err(errors::explain)
    }

    async fn query_opt(&self, statement: &str, params: &[Param<'_>]) -> anyhow::Result<Option<Row>> {
        self.client.query_typed_opt(statement, params).await.map_err(errors::explain)
    }
}

/// A number as PostgreSQL holds it; beyond its range, which no journal reaches, the largest there is.
fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that is never negative.
fn unsigned<T: TryFrom<i64>>(row: &Row, column: usize) -> anyhow::Result<T> {
    let value: i64 = row.try_get(column).map_err(errors::explain)?;
    let name = || row.columns().get(column).map_or("?", |column| column.name());
    T::try_from(value).map_err(|_| errors::damaged(&format!("{} is {value}", name())))
}
