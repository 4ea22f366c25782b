//! A journal as somebody reads it who is not its service: nothing is written or locked, so that the service, if it is
//! running, goes on undisturbed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::{SqliteJournal, open};
use crate::gossip::UnixMs;
use crate::journal::{Entry, Event, Reader, Seq, codec};

/// See the module's head.
pub struct Beside {
    connection: Connection,
    file: PathBuf,
    extent: Extent,
}

/// What was in the journal when it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extent {
    /// When its first entry and its last were accepted.
    pub span: (UnixMs, UnixMs),
    pub last_seq: Seq,
    /// The epochs that it still has: each one's number and timestamp (unix seconds), both ascending.
    pub epochs: Vec<(Seq, u32)>,
}

impl SqliteJournal {
    /// Opens the journal in `data_dir` for reading alone, without the directory's lock. Every error, that there is no
    /// journal or nothing in it among them, is a sentence that names the place.
    pub fn beside(data_dir: &Path) -> anyhow::Result<Beside> {
        let file = data_dir.join("journal.sqlite");
        ensure!(file.exists(), "there is no journal in {}: name the data_dir of a service", data_dir.display());
        let connection = open::connect_read_only(&file).map_err(|error| explain(error, &file))?;
        let id = connection.query_row("PRAGMA application_id", [], |row| row.get(0));
        let id: i32 = id.map_err(|error| explain(error, &file))?;
        ensure!(id == open::APPLICATION_ID, "{} is a database of another program", file.display());
        let migration = open::applied_migration(&connection, &file)?;
        open::refuse_newer(migration, &file)?;
        let extent = if migration == 0 { None } else { extent(&connection, &file)? };
        let Some(extent) = extent else { bail!("the journal {} is empty", file.display()) };
        Ok(Beside { connection, file, extent })
    }
}

impl Beside {
    /// What was in it when it was opened.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }
}

impl Reader for Beside {
    fn read(&self, after: Seq, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()> {
        super::read(&self.connection, &self.file, after, each)
    }

    fn numbers(&self, bound: Seq) -> anyhow::Result<Vec<Seq>> {
        super::numbers(&self.connection, bound).map_err(|error| explain(error, &self.file))
    }
}

/// `None`: there are no entries.
fn extent(connection: &Connection, file: &Path) -> anyhow::Result<Option<Extent>> {
    let end = |order: &str| {
        let statement = format!("SELECT seq, seen FROM entry ORDER BY seq {order} LIMIT 1");
        let row = connection.query_row(&statement, [], |row| {
            Ok((Seq(row.get::<_, i64>(0)?.unsigned_abs()), UnixMs(row.get::<_, i64>(1)?.unsigned_abs())))
        });
        row.optional().map_err(|error| explain(error, file))
    };
    // The last first: epochs that are cut meanwhile come after it, and do no harm.
    let (Some((last_seq, last)), Some((_, first))) = (end("DESC")?, end("ASC")?) else { return Ok(None) };
    Ok(Some(Extent { span: (first, last), last_seq, epochs: epochs(connection, file)? }))
}

/// The `7` is spelled out for the partial index, as everywhere.
fn epochs(connection: &Connection, file: &Path) -> anyhow::Result<Vec<(Seq, u32)>> {
    let read = || -> rusqlite::Result<Vec<(Seq, Vec<u8>)>> {
        let mut statement = connection.prepare("SELECT seq, body FROM entry WHERE kind = 7 ORDER BY seq")?;
        statement.query_map([], |row| Ok((Seq(row.get::<_, i64>(0)?.unsigned_abs()), row.get(1)?)))?.collect()
    };
    let rows = read().map_err(|error| explain(error, file))?;
    let decoded = rows.into_iter().map(|(seq, body)| match codec::decode(codec::EPOCH.into(), &body) {
        Ok(Event::Epoch { timestamp, .. }) => Ok((seq, timestamp)),
        other => Err(open::damaged(file, &format!("entry {}, an epoch, reads {other:?}", seq.0))),
    });
    decoded.collect()
}

fn explain(error: rusqlite::Error, file: &Path) -> anyhow::Error {
    match error.sqlite_error_code() {
        // Who reads shares two files with who writes, `-wal` and `-shm`, and makes them where they are not there.
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => anyhow!(
            "cannot read the journal {} ({error}): run this as a user who may read it and write its directory, or read \
             a copy",
            file.display()
        ),
        _ => open::explain(error, file),
    }
}
