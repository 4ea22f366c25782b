//! The journal in a local SQLite file, `data_dir/journal.sqlite`: appending, reading, forgetting.
//!
//! One connection writes (WAL, `synchronous=FULL`: an append is on disk when it returns); readers have their own.
//! [`open`] looks at what is there before anything is written to it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use rusqlite::{Connection, params};

use super::{AppendError, Attachment, DataDirLock, Draft, Entry, Event, Identity, Journal, Reader, Seq, codec};
use crate::gossip::UnixMs;

mod beside;
mod open;

pub use beside::{Beside, Extent};
pub use open::{Opened, Vacancy};

/// How many rows one statement reads: short read transactions let SQLite take the write-ahead log back into the
/// file meanwhile, so that reading a long journal does not make the log grow.
const ROWS_PER_READ: i64 = 10_000;

/// The journal in a local file.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Connection,
    file: PathBuf,
    identity: Identity,
    last_seq: Seq,
    /// The last epoch's timestamp.
    last_epoch: Option<u32>,
    _lock: DataDirLock,
}

impl SqliteJournal {
    /// Opens the journal in `data_dir`, or creates one, drawing who it is from `rng`. Takes the directory's lock.
    /// Every error is a sentence that names the file and the remedy.
    pub fn open(
        data_dir: &Path,
        network: Network,
        now: UnixMs,
        rng: &mut (impl rand::Rng + ?Sized),
    ) -> anyhow::Result<Self> {
        match Self::look(data_dir, network)? {
            Opened::Journal(journal) => Ok(*journal),
            Opened::Vacant(vacancy) => vacancy.create(open::draw_identity(rng), now),
        }
    }

    /// Opens the journal in `data_dir` if there is one. Takes the directory's lock.
    pub fn look(data_dir: &Path, network: Network) -> anyhow::Result<Opened> {
        open::look(data_dir, DataDirLock::take(data_dir)?, network)
    }

    /// Removes every entry after `last`, and follows the archive from now on: what is removed was written in a term
    /// that had ended. The messages among it are kept to be offered. Returns how many entries there were.
    pub fn cut(&mut self, last: Seq) -> anyhow::Result<usize> {
        let removed = cut(&mut self.connection, last).map_err(|error| open::explain(error, &self.file))?;
        self.identity.attachment = Attachment::Following;
        (self.last_seq, self.last_epoch) = open::last_of(&self.connection, &self.file)?;
        Ok(removed)
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
    fn check_epochs<'a>(&self, events: impl Iterator<Item = &'a Event>) -> Result<Option<u32>, AppendError> {
        let mut last_epoch = self.last_epoch;
        for event in events {
            let Event::Epoch { timestamp: given, .. } = *event else { continue };
            match last_epoch {
                Some(last) if given <= last => return Err(AppendError::EpochNotNewer { last, given }),
                _ => last_epoch = Some(given),
            }
        }
        Ok(last_epoch)
    }
}

impl Journal for SqliteJournal {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn last_seq(&self) -> Seq {
        self.last_seq
    }

    fn last_epoch(&self) -> Option<u32> {
        self.last_epoch
    }

    fn append(&mut self, drafts: &[Draft]) -> Result<Seq, AppendError> {
        let last_epoch = self.check_epochs(drafts.iter().map(|draft| &draft.event))?;
        let first = Seq(self.last_seq.0 + 1);
        let numbered = (first.0..).map(Seq).zip(drafts).map(|(seq, draft)| (seq, draft.seen, &draft.event));
        insert(&mut self.connection, numbered).map_err(|error| append_error(error, &self.file))?;
        self.last_seq.0 += drafts.len() as u64;
        self.last_epoch = last_epoch;
        Ok(first)
    }

    fn adopt(&mut self, entries: &[Entry]) -> Result<(), AppendError> {
        let mut last = self.last_seq;
        for Entry { seq: given, .. } in entries {
            if *given <= last {
                return Err(AppendError::SeqNotNewer { last, given: *given });
            }
            last = *given;
        }
        let last_epoch = self.check_epochs(entries.iter().map(|entry| &entry.event))?;
        let numbered = entries.iter().map(|entry| (entry.seq, entry.seen, &entry.event));
        insert(&mut self.connection, numbered).map_err(|error| append_error(error, &self.file))?;
        (self.last_seq, self.last_epoch) = (last, last_epoch);
        Ok(())
    }

    fn identify(&mut self, identity: Identity) -> Result<(), AppendError> {
        let (word, term) = open::stored(identity.attachment);
        let statement = "UPDATE meta SET collector = ?1, attachment = ?2, term = ?3, offset_s = ?4";
        self.connection
            .execute(statement, params![identity.collector.0, word, term, identity.epoch_offset_s])
            .map_err(|error| append_error(error, &self.file))?;
        self.identity = Identity { journal: self.identity.journal, ..identity };
        Ok(())
    }

    fn unoffered(&self, at_most: usize) -> anyhow::Result<Vec<(i64, Vec<u8>)>> {
        let read = || -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
            let mut statement =
                self.connection.prepare_cached("SELECT id, message FROM unoffered ORDER BY id LIMIT ?1")?;
            statement.query_map([at_most as i64], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        read().map_err(|error| open::explain(error, &self.file))
    }

    fn offered(&mut self, ids: &[i64]) -> Result<(), AppendError> {
        let ids = ids.iter().copied();
        remove(&mut self.connection, "DELETE FROM unoffered WHERE id = ?1", ids)
            .map(|_| ())
            .map_err(|error| append_error(error, &self.file))
    }

    fn forget(&mut self, seqs: &[Seq]) -> Result<usize, AppendError> {
        let last = self.last_seq;
        let seqs = seqs.iter().filter(|seq| **seq < last).map(|seq| seq.0 as i64);
        remove(&mut self.connection, "DELETE FROM entry WHERE seq = ?1", seqs)
            .map_err(|error| append_error(error, &self.file))
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(SqliteReader { connection: open::read_only(&self.file)?, file: self.file.clone() }))
    }
}

impl Reader for SqliteJournal {
    fn read(&self, after: Seq, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()> {
        read(&self.connection, &self.file, after, each)
    }

    fn numbers(&self, bound: Seq) -> anyhow::Result<Vec<Seq>> {
        numbers(&self.connection, bound).map_err(|error| open::explain(error, &self.file))
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

    fn numbers(&self, bound: Seq) -> anyhow::Result<Vec<Seq>> {
        numbers(&self.connection, bound).map_err(|error| open::explain(error, &self.file))
    }
}

fn insert<'a>(
    connection: &mut Connection,
    entries: impl Iterator<Item = (Seq, UnixMs, &'a Event)>,
) -> rusqlite::Result<()> {
    // Dropped without a commit, a transaction is rolled back.
    let transaction = connection.transaction()?;
    {
        let mut statement =
            transaction.prepare_cached("INSERT INTO entry (seq, seen, kind, body) VALUES (?1, ?2, ?3, ?4)")?;
        for (seq, seen, event) in entries {
            let (kind, body) = codec::encode(event);
            statement.execute(params![seq.0 as i64, seen.0 as i64, kind, &*body])?;
        }
    }
    transaction.commit()
}

/// Carries out a statement for each number, or for none. Returns how many rows that removed.
fn remove(
    connection: &mut Connection,
    statement: &str,
    numbers: impl Iterator<Item = i64>,
) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let mut removed = 0;
    {
        let mut statement = transaction.prepare_cached(statement)?;
        for number in numbers {
            removed += statement.execute([number])?;
        }
    }
    transaction.commit()?;
    Ok(removed)
}

fn cut(connection: &mut Connection, last: Seq) -> rusqlite::Result<usize> {
    let (word, term) = open::stored(Attachment::Following);
    let transaction = connection.transaction()?;
    let last = last.0 as i64;
    // The kinds of messages; a proven channel's has its capacity before it (see `codec`).
    let keep = "INSERT INTO unoffered (message)
        SELECT CASE kind WHEN 3 THEN substr(body, 9) ELSE body END FROM entry WHERE seq > ?1 AND kind <= 3 ORDER BY seq";
    transaction.execute(keep, [last])?;
    let removed = transaction.execute("DELETE FROM entry WHERE seq > ?1", [last])?;
    transaction.execute("UPDATE meta SET attachment = ?1, term = ?2", params![word, term])?;
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

/// In one statement, so that what is forgotten meanwhile is all there or not at all.
fn numbers(connection: &Connection, bound: Seq) -> rusqlite::Result<Vec<Seq>> {
    let mut statement = connection.prepare_cached("SELECT seq FROM entry WHERE seq < ?1 ORDER BY seq")?;
    let number = |row: &rusqlite::Row<'_>| Ok(Seq(row.get::<_, i64>(0)?.unsigned_abs()));
    statement.query_map([bound.0 as i64], number)?.collect()
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
