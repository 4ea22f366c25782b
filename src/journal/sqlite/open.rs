//! Opening a journal file, or creating it. Looks at what is there before anything is written to it, and turns
//! whatever is wrong into one sentence that names the file and the remedy.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use bitcoin::Network;
use rand::RngExt;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ffi, params};

use super::SqliteJournal;
use crate::gossip::UnixMs;
use crate::journal::{
    Attachment, CollectorId, DataDirLock, Event, Identity, JournalId, Seq, Term, codec, draw_epoch_offset_s,
    is_epoch_offset_s,
};

mod embedded {
    refinery::embed_migrations!("sql/journal");
}

/// "rgsd": how `file(1)`, and we, tell a journal from any other SQLite database.
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"rgsd");
/// How long to wait for somebody who looks at the file with a tool of their own.
const BUSY: Duration = Duration::from_secs(5);
/// How many of the last entries are decoded at start: where damage after a crash would be.
const LAST_ENTRIES: i64 = 100;

/// What is in a data directory.
#[derive(Debug)]
pub enum Opened {
    Journal(Box<SqliteJournal>),
    Vacant(Vacancy),
}

/// A locked data directory without a journal.
#[derive(Debug)]
pub struct Vacancy {
    connection: Connection,
    file: PathBuf,
    network: Network,
    lock: DataDirLock,
}

impl Vacancy {
    /// Creates the journal.
    pub fn create(self, identity: Identity, now: UnixMs) -> anyhow::Result<SqliteJournal> {
        let Self { mut connection, file, network, lock } = self;
        introduce(&mut connection, network, &identity, now).map_err(|error| explain(error, &file))?;
        Ok(SqliteJournal { connection, file, identity, last_seq: Seq(0), last_epoch: None, _lock: lock })
    }
}

/// Notes whose journal it is. Its tables are then as old as the journal: the clock that made them was the system's, and
/// `now` is what was passed in.
fn introduce(
    connection: &mut Connection,
    network: Network,
    identity: &Identity,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let (word, term) = stored(identity.attachment);
    let transaction = connection.transaction()?;
    transaction.execute(
        "INSERT INTO meta (id, network, offset_s, created_ms, collector, attachment, term)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            identity.journal.0,
            network.to_string(),
            identity.epoch_offset_s,
            now.0 as i64,
            identity.collector.0,
            word,
            term
        ],
    )?;
    let created = humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_millis(now.0)).to_string();
    transaction.execute("UPDATE refinery_schema_history SET applied_on = ?1", [created])?;
    transaction.commit()?;
    // Nothing is left of the other time, not even between the rows: the same entries make the same file.
    connection.execute_batch("VACUUM")
}

pub(super) fn look(data_dir: &Path, lock: DataDirLock, network: Network) -> anyhow::Result<Opened> {
    let file = data_dir.join("journal.sqlite");
    let mut connection = connect(&file)?;
    check_identity(&connection, &file)?;
    migrate(&mut connection, &file)?;
    // The file's name must outlive a power cut, like what is in it.
    File::open(data_dir)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot sync {}", data_dir.display()))?;
    let meta = meta(&connection, &file)?;
    let (last_seq, last_epoch) = last_of(&connection, &file)?;
    let Some(Meta { identity, network: held }) = meta else {
        if last_seq != Seq(0) {
            return Err(damaged(&file, "entries, but no id"));
        }
        return Ok(Opened::Vacant(Vacancy { connection, file, network, lock }));
    };
    if held != network.to_string() {
        bail!(
            "the journal {} holds the network {held}, but the configuration says {network}: \
             set network = \"{held}\", or set data_dir to another directory",
            file.display(),
        );
    }
    Ok(Opened::Journal(Box::new(SqliteJournal { connection, file, identity, last_seq, last_epoch, _lock: lock })))
}

/// Somebody new.
pub(super) fn draw_identity(rng: &mut (impl rand::Rng + ?Sized)) -> Identity {
    Identity {
        epoch_offset_s: draw_epoch_offset_s(None, rng),
        journal: JournalId(rng.random()),
        collector: CollectorId(rng.random()),
        attachment: Attachment::Alone,
    }
}

/// An attachment as the table has it: a word, and the term.
pub(super) fn stored(attachment: Attachment) -> (&'static str, i64) {
    match attachment {
        Attachment::Alone => ("alone", 0),
        Attachment::Writing(Term(term)) => ("writing", term as i64),
        Attachment::Following => ("following", 0),
    }
}

/// The last entry's number and the last epoch's timestamp.
pub(super) fn last_of(connection: &Connection, file: &Path) -> anyhow::Result<(Seq, Option<u32>)> {
    Ok((last_seq(connection, file)?, last_epoch(connection, file)?))
}

/// A connection that can only read the journal in `file`.
pub(super) fn read_only(file: &Path) -> anyhow::Result<Connection> {
    connect_read_only(file).map_err(|error| explain(error, file))
}

/// The same, with SQLite's own errors.
pub(super) fn connect_read_only(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Whether there was no room left on the disk.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    // What writer and readers share (`-shm`) is a file, too, and grows now and then: it has a code of its own.
    error
        .sqlite_error()
        .is_some_and(|cause| cause.code == ErrorCode::DiskFull || cause.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// What an error of SQLite's means for whoever runs the service.
pub(super) fn explain(error: rusqlite::Error, file: &Path) -> anyhow::Error {
    let name = file.display();
    if is_full(&error) {
        return anyhow!("the disk has no room left for the journal {name}: make room there");
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(file, &error.to_string()),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            anyhow!(
                "cannot write the journal {name} ({error}): let the user that runs rgsd write it and its directory"
            )
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            anyhow!("another program has locked the journal {name}: end it and start again")
        }
        _ => anyhow!("the journal {name} cannot be used: {error}"),
    }
}

/// The error for a file whose content cannot be relied upon.
pub(super) fn damaged(file: &Path, detail: &str) -> anyhow::Error {
    anyhow!(
        "the journal {0} is damaged or not a journal ({detail}): put a back-up in its place, \
         or move it away together with {0}-wal and {0}-shm to start a new one with a full sync",
        file.display()
    )
}

/// The one row of the table `meta`.
struct Meta {
    identity: Identity,
    network: String,
}

fn connect(file: &Path) -> anyhow::Result<Connection> {
    let setup = || -> rusqlite::Result<(Connection, String)> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY)?;
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok((connection, mode))
    };
    let (connection, mode) = setup().map_err(|error| explain(error, file))?;
    if mode != "wal" {
        bail!("the file system of {} cannot hold a write-ahead log: set data_dir to a local disk", file.display());
    }
    Ok(connection)
}

/// Refuses what is a database but no journal; marks a new file as ours.
fn check_identity(connection: &Connection, file: &Path) -> anyhow::Result<()> {
    let look = || -> rusqlite::Result<(i32, i64)> {
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let id = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        if id == 0 && tables == 0 {
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            return Ok((APPLICATION_ID, 0));
        }
        Ok((id, tables))
    };
    match look().map_err(|error| explain(error, file))? {
        (APPLICATION_ID, _) => Ok(()),
        _ => bail!(
            "{} is a database of another program: move it away, or set data_dir to another directory",
            file.display()
        ),
    }
}

/// Brings the tables up to date. A journal that is up to date is not touched.
fn migrate(connection: &mut Connection, file: &Path) -> anyhow::Result<()> {
    // Grouped, so that the tables and the note that they are there come in one transaction: a kill in between
    // would leave tables that the next start tried to create again.
    let runner = embedded::migrations::runner().set_grouped(true);
    let applied = applied_migration(connection, file)?;
    if refuse_newer(applied, file)? == applied {
        return Ok(());
    }
    let migrated = runner.run(connection).map(|_| ());
    migrated.with_context(|| format!("cannot bring the journal {} up to date", file.display()))
}

/// Refuses tables of a version that is not known yet; returns the newest that is.
pub(super) fn refuse_newer(applied: i32, file: &Path) -> anyhow::Result<i32> {
    let migrations = embedded::migrations::runner();
    let known = migrations.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0);
    if applied > known {
        bail!(
            "the journal {} was written by a newer rgsd (its tables are version {applied}, this rgsd knows {known}): \
             run that rgsd or a later one",
            file.display()
        );
    }
    Ok(known)
}

/// The version that the tables have; 0 before the first migration. Checks what refinery would panic over.
pub(super) fn applied_migration(connection: &Connection, file: &Path) -> anyhow::Result<i32> {
    let look = || -> rusqlite::Result<Option<(i32, bool)>> {
        let exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'refinery_schema_history'";
        if connection.query_row(exists, [], |_| Ok(())).optional()?.is_none() {
            return Ok(None);
        }
        let sound = "SELECT coalesce(max(version), 0),
                coalesce(min(applied_on GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*Z'
                    AND checksum GLOB '[0-9]*' AND checksum NOT GLOB '*[^0-9]*' AND length(checksum) < 21), 1)
            FROM refinery_schema_history";
        connection.query_row(sound, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    };
    match look().map_err(|error| explain(error, file))? {
        None => Ok(0),
        Some((version, true)) => Ok(version),
        Some((_, false)) => Err(damaged(file, "its list of migrations makes no sense")),
    }
}

fn meta(connection: &Connection, file: &Path) -> anyhow::Result<Option<Meta>> {
    let row = connection
        .query_row("SELECT id, network, offset_s, collector, attachment, term FROM meta", [], |row| {
            let word: String = row.get(4)?;
            let attachment = match word.as_str() {
                "writing" => Attachment::Writing(Term(row.get::<_, i64>(5)?.unsigned_abs())),
                "following" => Attachment::Following,
                _ => Attachment::Alone, // the table allows no other word
            };
            let identity = Identity {
                journal: JournalId(row.get(0)?),
                collector: CollectorId(row.get(3)?),
                attachment,
                epoch_offset_s: row.get(2)?,
            };
            Ok(Meta { identity, network: row.get(1)? })
        })
        .optional()
        .map_err(|error| explain(error, file))?;
    match row {
        Some(meta) if !is_epoch_offset_s(meta.identity.epoch_offset_s) => {
            Err(damaged(file, "its epoch offset is out of range"))
        }
        row => Ok(row),
    }
}

/// Decodes the last entries, and returns the last one's number.
fn last_seq(connection: &Connection, file: &Path) -> anyhow::Result<Seq> {
    let decode = || -> anyhow::Result<Seq> {
        let mut statement =
            connection.prepare("SELECT seq, seen, kind, body FROM entry ORDER BY seq DESC LIMIT ?1")?;
        let mut rows = statement.query([LAST_ENTRIES])?;
        let mut last = Seq(0);
        while let Some(row) = rows.next()? {
            last = last.max(super::entry(row, file)?.seq);
        }
        Ok(last)
    };
    decode().map_err(|error| match error.downcast() {
        Ok(error) => explain(error, file),
        Err(error) => error,
    })
}

/// The `7` is spelled out, because SQLite uses the partial index only where it can read the condition.
fn last_epoch(connection: &Connection, file: &Path) -> anyhow::Result<Option<u32>> {
    let body: Option<Vec<u8>> = connection
        .query_row("SELECT body FROM entry WHERE kind = 7 ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(|error| explain(error, file))?;
    let Some(body) = body else { return Ok(None) };
    match codec::decode(codec::EPOCH.into(), &body) {
        Ok(Event::Epoch { timestamp, .. }) => Ok(Some(timestamp)),
        other => Err(damaged(file, &format!("its last epoch reads {other:?}"))),
    }
}
