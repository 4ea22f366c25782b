//! The archive's tables: made where they are missing, brought up to date where they are old.
//!
//! `sql/archive` has the migrations, `refinery` the bookkeeping. Several may start at once: one transaction takes a
//! lock, sees what is there, and does all that is missing, or nothing.

use anyhow::bail;
use refinery::{AsyncMigrate, Migration};
use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::Archive;
use super::errors::{explain, is_read_only};

mod embedded {
    refinery::embed_migrations!("sql/archive");
}

/// The oldest PostgreSQL that will do: it vacuums tables that are only inserted into.
const OLDEST_SERVER: i32 = 13;
/// refinery's own table.
const APPLIED: &str = "rgsd.migration";
/// What everybody who migrates an archive locks.
const LOCK: i64 = i64::from_be_bytes(*b"rgsd\0sql");

/// Checks the server, and migrates if there is anything to do.
pub(super) async fn prepare(archive: &Archive) -> anyhow::Result<()> {
    check_server(archive).await?;
    let known = embedded::migrations::runner().get_migrations().iter().map(Migration::version).max().unwrap_or(0);
    let applied = applied(archive).await?;
    if applied > known {
        bail!(
            "the archive was migrated by a newer rgsd (its tables are version {applied}, this rgsd knows {known}): \
             run that rgsd or a later one"
        );
    }
    if applied < known { migrate(archive).await } else { Ok(()) }
}

async fn check_server(archive: &Archive) -> anyhow::Result<()> {
    let statement = "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version')";
    let rows = archive.query(statement, &[]).await?;
    let Some(row) = rows.first() else { bail!("PostgreSQL did not tell its version") };
    let (major, version): (i32, &str) = (get(row, 0)?, get(row, 1)?);
    if major < OLDEST_SERVER {
        bail!("the database server is PostgreSQL {version}: rgsd needs version {OLDEST_SERVER} or later");
    }
    Ok(())
}

/// The version that the tables have; 0 before the first migration.
async fn applied(archive: &Archive) -> anyhow::Result<i32> {
    // Not by to_regclass, which refuses somebody who may not look into the schema only with an error.
    let exists = "SELECT FROM pg_class WHERE relname = 'migration' AND relnamespace = to_regnamespace('rgsd')";
    if archive.query_opt(exists, &[]).await?.is_none() {
        return Ok(0);
    }
    let row = archive.query_opt("SELECT coalesce(max(version), 0) FROM rgsd.migration", &[]).await?;
    row.map_or(Ok(0), |row| get(&row, 0))
}

async fn migrate(archive: &Archive) -> anyhow::Result<()> {
    migrate_at_once(archive).await.map_err(|error| {
        let remedy = match is_read_only(&error) {
            true => " (for a replica, start the collector that writes the archive first)",
            false => "",
        };
        error.context(format!("cannot bring the archive's tables up to date{remedy}"))
    })
}

/// In one transaction.
async fn migrate_at_once(archive: &Archive) -> anyhow::Result<()> {
    archive.begin().await?;
    archive.query("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    // IF NOT EXISTS would want the right to create schemas even where there is nothing to create.
    if archive.query_opt("SELECT FROM pg_namespace WHERE nspname = 'rgsd'", &[]).await?.is_none() {
        archive.execute("CREATE SCHEMA rgsd").await?;
    }
    let mut runner = embedded::migrations::runner().set_grouped(true);
    runner.set_migration_table_name(APPLIED);
    let mut migrating = Migrating { client: &archive.client, known: runner.get_migrations().clone() };
    let report = runner.run_async(&mut migrating).await;
    let report = report.map_err(explain)?;
    archive.commit().await?;
    if let Some(newest) = report.applied_migrations().last() {
        tracing::info!(version = newest.version(), "the archive's tables are up to date");
    }
    Ok(())
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> anyhow::Result<T> {
    row.try_get(column).map_err(explain)
}

/// refinery in a transaction that is open already. (Its own way opens several, and panics over a list of migrations
/// that makes no sense.)
struct Migrating<'a> {
    client: &'a Client,
    known: Vec<Migration>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("a statement failed")]
    Statement(#[from] tokio_postgres::Error),
    #[error(
        "its list of migrations (rgsd.migration) has version {0}, which this rgsd knows otherwise: \
             run the rgsd that wrote it, or restore the database from a back-up"
    )]
    Unknown(i32),
}

impl AsyncTransaction for Migrating<'_> {
    type Error = Failure;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        statements: T,
    ) -> Result<usize, Failure> {
        let mut count = 0;
        for statement in statements {
            self.client.batch_execute(statement).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Migrating<'_> {
    /// The migrations that were applied: each of them one of those that we know.
    async fn query<'a>(&'a mut self, statement: &'a str) -> Result<Vec<Migration>, Failure> {
        let rows = self.client.query_typed(statement, &[]).await?;
        rows.iter()
            .map(|row| {
                let (version, name, checksum): (i32, &str, &str) =
                    (row.try_get(0)?, row.try_get(1)?, row.try_get(3)?);
                let same = |known: &&Migration| {
                    known.version() == version && known.name() == name && known.checksum().to_string() == checksum
                };
                self.known.iter().find(same).cloned().ok_or(Failure::Unknown(version))
            })
            .collect()
    }
}

impl AsyncMigrate for Migrating<'_> {}
