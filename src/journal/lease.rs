//! Who may write the archive: judged from the archive's one row and from who the local journal is.
//!
//! The row names a term and its holder. A collector that finds another one there writes no more; one that has watched
//! the row stand still for the lease may take it over. Pure: the row and the times are passed in.

use std::time::{Duration, Instant};

use bitcoin::Network;

use super::postgres::Standing;
use super::{Attachment, Identity, JournalId, Seq, Term};

/// What a local journal is to the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Its collector writes the archive, in this term.
    Write(Term),
    /// Another collector does, or did last.
    Follow,
    /// It wrote in this term, which has ended: what came after its end is to be cut off.
    CutBack(Term),
}

/// Why a journal and an archive do not go together. Each is a sentence for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misfit {
    #[error(
        "the archive holds the journal {archive}, but data_dir holds the journal {local}: set database.url to this \
         journal's archive, or data_dir to an empty directory, into which the archive's journal is restored"
    )]
    OtherJournal { archive: JournalId, local: JournalId },
    #[error(
        "the archive holds the network {archive}, but the configuration says {local}: set network = \"{archive}\", or \
         database.url to another database"
    )]
    OtherNetwork { archive: String, local: Network },
    #[error(
        "the archive ends before entry {local}, which data_dir has had in common with it: it may have been restored from \
         a back-up, or be filling up again; bring back the newer one, or drop its schema rgsd to have it filled anew by \
         the collector that wrote it"
    )]
    ArchiveIsOlder { local: u64 },
    #[error(
        "the archive's entry {0} is not the one that data_dir has: one of them was changed, or data_dir is a copy that \
         went its own way; set data_dir to an empty directory, into which the archive's journal is restored"
    )]
    Differs(u64),
    #[error(
        "data_dir holds a collector's own journal, which may have what the archive lacks: start it without replica, or set \
         data_dir to an empty directory"
    )]
    NoReplica,
    #[error(
        "data_dir holds a copy of an archive's journal, in which only the archive's writer may write: set database.url, or \
         set data_dir to an empty directory for a journal of its own"
    )]
    NoArchive,
}

/// Judges a journal whose last entry is `last_seq` by the archive's row.
pub fn judge(identity: &Identity, last_seq: Seq, network: Network, row: &Standing) -> Result<Verdict, Misfit> {
    if row.network != network.to_string() {
        return Err(Misfit::OtherNetwork { archive: row.network.clone(), local: network });
    }
    if row.journal != identity.journal {
        return Err(Misfit::OtherJournal { archive: row.journal, local: identity.journal });
    }
    let holds = row.holder == identity.collector;
    match identity.attachment {
        // It founded the archive, and was killed before it could note that.
        Attachment::Alone if holds => Ok(Verdict::Write(row.term)),
        Attachment::Alone => Ok(Verdict::CutBack(Term(1))),
        Attachment::Writing(term) if term < row.term => Ok(Verdict::CutBack(term)),
        Attachment::Writing(term) if term == row.term && holds => Ok(Verdict::Write(term)),
        Attachment::Writing(_) => Err(Misfit::ArchiveIsOlder { local: last_seq.0 }),
        Attachment::Following if last_seq > row.last_seq => Err(Misfit::ArchiveIsOlder { local: last_seq.0 }),
        // It took over, and was killed before it could note that.
        Attachment::Following if holds => Ok(Verdict::Write(row.term)),
        Attachment::Following => Ok(Verdict::Follow),
    }
}

/// A stand-by collector's look-out: has the writer's row stood still for the whole lease, seen from a connection
/// that held throughout?
#[derive(Clone, Debug)]
pub struct Watch {
    lease: Duration,
    sight: Option<Sight>,
}

/// The row as it was first seen in its present state.
#[derive(Clone, Copy, Debug)]
struct Sight {
    term: Term,
    renewals: u64,
    /// By the database's clock.
    database: Duration,
    /// By this machine's clock: when it was first, and last, seen so.
    first: Instant,
    last: Instant,
}

impl Watch {
    pub fn new(lease: Duration) -> Self {
        Self { lease, sight: None }
    }

    /// How long a row must stand still.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Forgets what was seen: the connection was lost.
    pub fn reset(&mut self) {
        self.sight = None;
    }

    /// Takes a look at the row, `asked` for and `answered` by this machine's clock. Returns whether the row has not
    /// changed for the lease, by the database's clock and by this machine's.
    ///
    /// Whoever did not look for a third of the lease, or waited that long for the answer, has not watched: the
    /// database may have stood still, and the writer with it.
    pub fn is_overdue(&mut self, row: &Standing, asked: Instant, answered: Instant) -> bool {
        let blind = self.lease / 3;
        let fresh =
            Sight { term: row.term, renewals: row.renewals, database: row.now, first: answered, last: answered };
        let same = |sight: &&mut Sight| sight.term == row.term && sight.renewals == row.renewals;
        let watched = |sight: &&mut Sight| answered.duration_since(sight.last) <= blind;
        let slow = answered.duration_since(asked) > blind;
        let Some(sight) = self.sight.as_mut().filter(same).filter(watched).filter(|_| !slow) else {
            self.sight = Some(fresh);
            return false;
        };
        sight.last = answered;
        sight.database = sight.database.min(row.now); // where it was put back, the time counts from there
        row.now.saturating_sub(sight.database) >= self.lease && answered.duration_since(sight.first) >= self.lease
    }
}

#[cfg(test)]
mod tests;
