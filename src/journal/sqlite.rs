//! The journal in a local SQLite file, `data_dir/journal.sqlite`: appending, reading, forgetting.
//!
//! One connection writes (WAL, `synchronous=FULL`: an append is on disk when it returns); readers have their own.
//! [`open`] looks at what is there before anything is written to it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use rusqlite::{Connection, params};

use super::{AppendError, DataDirLock, Draft, Entry, Event, Journal, JournalId, Reader, Seq, codec};
use crate::gossip::UnixMs;

mod open;

/// How many rows one statement reads: short read transactions let SQLite take the write-ahead log back into the
/// file meanwhile, so that reading a long journal does not make the log grow.
const ROWS_PER_READ: i64 = 10_000;

/// The journal in a local file.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Connection,
    file: PathBuf,
    id: JournalId,
    epoch_offset_s: u32,
    last_seq: Seq,
    /// The last epoch's timestamp.
    last_epoch: Option<u32>,
    _lock: DataDirLock,
}

impl SqliteJournal {
    /// Opens the journal in `data_dir`, or creates it, drawing its id and epoch offset from `rng`. Takes the
    /// directory's lock. Every error is a sentence that names the file and the remedy.
    pub fn open(
        data_dir: &Path,
        network: Network,
        now: UnixMs,
        rng: &mut (impl rand::Rng + ?Sized),
    ) -> anyhow::Result<Self> {
        let lock = DataDirLock::take(data_dir)?;
        open::open(data_dir, lock, network, now, rng)
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Limits the file to so many pages of 4 KiB, beyond which it is as full as a full disk.
    pub fn limit_pages(&self, pages: u32) -> anyhow::Result<()> {
        Ok(self.connection.pragma_update(None, "max_page_count", pages)?)
    }

    /// Checks what only the journal can: epochs come one after the other.
    fn check_epochs(&self, drafts: &[Draft]) -> Result<Option<u32>, AppendError> {
        let mut last_epoch = self.last_epoch;
        for draft in drafts {
            let Event::Epoch { timestamp: given, .. } = draft.event else { continue };
            match last_epoch {
                Some(last) if given <= last => return Err(AppendError::EpochNotNewer { last, given }),
                _ => last_epoch = Some(given),
            }
        }
        Ok(last_epoch)
    }
}

impl Journal for SqliteJournal {
    fn id(&self) -> JournalId {
        self.id
    }

    fn epoch_offset_s(&self) -> u32 {
        self.epoch_offset_s
    }

    fn last_seq(&self) -> Seq {
        self.last_seq
    }

    fn append(&mut self, drafts: &[Draft]) -> Result<Seq, AppendError> {
        let last_epoch = self.check_epochs(drafts)?;
        let first = Seq(self.last_seq.0 + 1);
        insert(&mut self.connection, first, drafts).map_err(|error| append_error(error, &self.file))?;
        self.last_seq.0 += drafts.len() as u64;
        self.last_epoch = last_epoch;
        Ok(first)
    }

    fn forget(&mut self, seqs: &[Seq]) -> Result<usize, AppendError> {
        delete(&mut self.connection, self.last_seq, seqs).map_err(|error| append_error(error, &self.file))
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(SqliteReader { connection: open::read_only(&self.file)?, file: self.file.clone() }))
    }
}

impl Reader for SqliteJournal {
    fn read(&self, after: Seq, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()> {
        read(&self.connection, &self.file, after, each)
    }
}

/// A second connection, which can only read.
struct SqliteReader {
    connection: Connection,
    file: PathBuf,
}

impl Reader for SqliteReader {
    fn read(&self, after: Seq, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()> {
        read(&self.connection, &self.file, after, each)
    }
}

fn insert(connection: &mut Connection, first: Seq, drafts: &[Draft]) -> rusqlite::Result<()> {
    // Dropped without a commit, a transaction is rolled back.
    let transaction = connection.transaction()?;
    {
        let mut statement =
            transaction.prepare_cached("INSERT INTO entry (seq, seen, kind, body) VALUES (?1, ?2, ?3, ?4)")?;
        for (seq, draft) in (first.0..).zip(drafts) {
            let (kind, body) = codec::encode(&draft.event);
            statement.execute(params![seq as i64, draft.seen.0 as i64, kind, &*body])?;
        }
    }
    transaction.commit()
}

fn delete(connection: &mut Connection, last: Seq, seqs: &[Seq]) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let mut removed = 0;
    {
        let mut statement = transaction.prepare_cached("DELETE FROM entry WHERE seq = ?1")?;
        for seq in seqs.iter().filter(|seq| **seq < last) {
            removed += statement.execute([seq.0 as i64])?;
        }
    }
    transaction.commit()?;
    Ok(removed)
}

fn read(
    connection: &Connection,
    file: &Path,
    after: Seq,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    let mut statement = connection
        .prepare_cached("SELECT seq, seen, kind, body FROM entry WHERE seq > ?1 ORDER BY seq LIMIT ?2")
        .map_err(|error| open::explain(error, file))?;
    let mut after = after.0 as i64;
    loop {
        let mut rows = statement.query([after, ROWS_PER_READ]).map_err(|error| open::explain(error, file))?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(|error| open::explain(error, file))? {
            let entry = entry(row, file)?;
            after = entry.seq.0 as i64;
            count += 1;
            if each(entry).is_break() {
                return Ok(());
            }
        }
        if count < ROWS_PER_READ {
            return Ok(());
        }
    }
}

fn entry(row: &rusqlite::Row<'_>, file: &Path) -> anyhow::Result<Entry> {
    let seq: i64 = row.get(0).map_err(|error| open::explain(error, file))?;
    let fields = || -> anyhow::Result<Entry> {
        let seen: i64 = row.get(1)?;
        let event = codec::decode(row.get(2)?, row.get_ref(3)?.as_blob()?)?;
        Ok(Entry { seq: Seq(u64::try_from(seq)?), seen: UnixMs(u64::try_from(seen)?), event })
    };
    fields().map_err(|error| open::damaged(file, &format!("entry {seq}: {error}")))
}

/// Tells a full disk, which passes, from what does not.
fn append_error(error: rusqlite::Error, file: &Path) -> AppendError {
    if open::is_full(&error) {
        AppendError::Full(format!("{}: {error}", file.display()))
    } else {
        AppendError::Other(open::explain(error, file))
    }
}
