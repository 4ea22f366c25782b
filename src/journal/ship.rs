//! The writer's side of the archive: copies what the journal has into it, in order, and holds the lease.
//!
//! Reads what it ships from the journal, so nothing waits for it and nothing is lost while the archive is away: when
//! that returns, shipping goes on at the archive's own last entry, whatever became of the last batch. Promises that
//! the archive is at most half a second or a batch behind while it works; that a term which has ended is noticed at
//! the next word with the archive, and nothing is shipped under it; and that what an earlier writer could not ship is
//! passed on to be checked.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::lease::{Misfit, Verdict, judge};
use super::link::{Link, offer_some};
use super::postgres::{Archive, Founding, Shipped, Standing};
use super::shelf::Shelf;
use super::writer::{self, Notes};
use super::{Attachment, Identity, Reader, Seq, Term};
use crate::gossip::Clock;

mod forget;

use self::forget::Forgetter;

/// The most entries in one batch, and the fewest when batches fail.
const BATCH: usize = 5_000;
const BATCH_LEAST: usize = 50;
/// After how many good batches there may be twice as many entries again.
const CALM: u32 = 32;
/// How long entries wait for company.
const HOLD: Duration = Duration::from_millis(200);
/// How many signs of life there are in a lease.
const SIGNS: u32 = 5;
/// How many offered messages are taken at once.
const OFFERED: usize = 5_000;
/// How long the last entries may take to ship when the service stops.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// What the shipper is set up with.
pub struct Setup {
    pub link: Link,
    pub network: Network,
    pub identity: Identity,
    pub lease: Duration,
    /// How long superseded entries are kept.
    pub retention: Duration,
    pub clock: Arc<dyn Clock>,
    /// Read the journal: one what is to be shipped, the other what is old.
    pub readers: [Box<dyn Reader>; 2],
    /// How far the journal is; closed when it has ended.
    pub journal: watch::Receiver<writer::Status>,
    pub notes: Notes,
    pub offers: mpsc::Sender<Offer>,
}

/// Messages that an earlier writer accepted and could not ship, as on the wire.
#[derive(Debug)]
pub struct Offer {
    pub messages: Vec<Vec<u8>>,
    /// To be told when they have been checked.
    pub checked: oneshot::Sender<()>,
}

/// How shipping ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The journal has ended, and the service with it.
    Stopped,
    /// The term has ended after this entry: another collector writes.
    Overtaken { after: Seq },
    /// The journal is behind the archive: it was restored from a back-up, and has written nothing since.
    Behind,
}

/// How a session begins.
enum Begun {
    /// This collector is the writer.
    Mine(Term),
    Ended(End),
}

/// Ships until the journal ends, or the term does.
pub async fn ship(setup: Setup) -> End {
    let Setup { mut link, network, identity, lease, retention, clock, readers, journal, notes, offers } = setup;
    let [new, old] = readers;
    let mut shipper = Shipper {
        network,
        identity,
        lease,
        forgetter: Forgetter::new(link.connector(), clock, retention, old),
        shelf: Shelf::new(new),
        journal,
        notes,
        offers,
        shipped: None,
        batch: Batch::default(),
        passed_on: None,
    };
    let over = over(shipper.journal.clone());
    let kept = async {
        loop {
            match shipper.connect_and_ship(&mut link).await {
                Ok(end) => return end,
                Err(error) => {
                    shipper.note_waiting(&link).await;
                    link.lost(&error).await;
                }
            }
        }
    };
    tokio::select! {
        end = kept => end,
        () = over => End::Stopped,
    }
}

/// Waits until the journal has ended, and then for as long as last words may take.
async fn over(mut journal: watch::Receiver<writer::Status>) {
    // Never so: only its end ends the wait.
    let _ = journal.wait_for(|_| false).await;
    sleep(LAST_WORDS).await;
}

/// Messages that were passed on, by their ids in the archive.
struct PassedOn {
    ids: Vec<i64>,
    /// Once they are in the journal: its last entry then, up to which it must be shipped before they are taken out.
    journaled: Option<Seq>,
}

struct Shipper {
    network: Network,
    identity: Identity,
    lease: Duration,
    forgetter: Forgetter,
    shelf: Shelf,
    journal: watch::Receiver<writer::Status>,
    notes: Notes,
    offers: mpsc::Sender<Offer>,
    /// The archive's last entry, once known.
    shipped: Option<Seq>,
    batch: Batch,
    /// Offered messages that were checked.
    passed_on: Option<PassedOn>,
}

impl Shipper {
    /// Ships on one connection, until that fails.
    async fn connect_and_ship(&mut self, link: &mut Link) -> anyhow::Result<End> {
        let (mut archive, _wire) = link.try_connect().await?;
        let archive = &mut archive;
        let term = match self.begin(archive, link).await? {
            Begun::Mine(term) => term,
            Begun::Ended(end) => return Ok(end),
        };
        // First of all, and also where no entry can be shipped: another collector could do no better.
        let mut sign_due = Instant::now();
        loop {
            let (mut is_mine, mut sign) = (true, None);
            if Instant::now() >= sign_due {
                sign_due = Instant::now() + self.lease / SIGNS;
                sign = archive.renew(term, self.identity.collector).await?;
                is_mine = sign.is_some();
            }
            if is_mine && self.waiting() > 0 {
                is_mine = self.ship_batch(archive, link, term).await? == Shipped::Done;
            }
            if is_mine && let Some(row) = sign {
                self.do_chores(archive, link, &row).await?;
            }
            // A batch of unknown fate may have come through since: that is no other collector.
            if !is_mine && let Begun::Ended(end) = self.begin(archive, link).await? {
                return Ok(end);
            }
            if !self.wait(sign_due).await && self.waiting() == 0 {
                return Ok(End::Stopped);
            }
        }
    }

    /// What is to be done with each sign of life, after what cannot wait.
    async fn do_chores(&mut self, archive: &mut Archive, link: &mut Link, row: &Standing) -> anyhow::Result<()> {
        if self.waiting() == 0 {
            link.works(0);
        }
        offer_some(archive, &self.notes).await?; // the rest with the next sign: the lease must not run out
        self.pass_on(archive, row).await?;
        self.forgetter.look(row.term, self.identity.collector).await;
        Ok(())
    }

    /// Finds out where the archive stands, or founds it.
    async fn begin(&mut self, archive: &mut Archive, link: &mut Link) -> anyhow::Result<Begun> {
        let row = match archive.look().await? {
            Some(row) => row,
            None => self.found(archive).await?,
        };
        let last_seq = self.journal.borrow().last_seq;
        let term = match judge(&self.identity, last_seq, self.network, &row)? {
            Verdict::Write(term) => term,
            Verdict::CutBack(term) => {
                let after = archive.end_of_term(term).await?;
                let after = after.ok_or(Misfit::ArchiveIsOlder { local: last_seq.0 })?;
                self.shelf.check_common(archive, after.min(last_seq)).await?;
                return Ok(Begun::Ended(End::Overtaken { after }));
            }
            Verdict::Follow => return Ok(Begun::Ended(End::Behind)), // a copy never ships
        };
        self.shelf.check_common(archive, row.last_seq.min(last_seq)).await?;
        if row.last_seq > last_seq {
            return Ok(Begun::Ended(End::Behind));
        }
        if self.identity.attachment != Attachment::Writing(term) {
            self.identity.attachment = Attachment::Writing(term);
            self.notes.identify(self.identity).await?;
        }
        self.shipped = Some(row.last_seq);
        let waits = self.waiting() > 0;
        link.note(|health| {
            health.term = Some(term);
            health.last_seq = Some(row.last_seq);
            // What waited may have come through with a batch of unknown fate.
            health.waiting_since = health.waiting_since.filter(|_| waits);
        });
        Ok(Begun::Mine(term))
    }

    /// A journal that has written an archive founds it again in its own term, when that was dropped.
    async fn found(&mut self, archive: &mut Archive) -> anyhow::Result<Standing> {
        let Identity { journal, collector, attachment, epoch_offset_s } = self.identity;
        let term = match attachment {
            Attachment::Writing(term) => term,
            Attachment::Alone | Attachment::Following => Term(1),
        };
        archive.found(&Founding { journal, network: self.network, holder: collector, term, epoch_offset_s }).await
    }

    async fn ship_batch(&mut self, archive: &mut Archive, link: &mut Link, term: Term) -> anyhow::Result<Shipped> {
        let Some(after) = self.shipped else { return Ok(Shipped::Overtaken) };
        let entries = self.shelf.after(after, self.batch.most()).await?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Shipped::Done) };
        let (seen, last) = (first.seen, last.seq);
        let shipped = archive.ship(term, self.identity.collector, after, &entries).await;
        self.batch.was(shipped.is_ok());
        if shipped? == Shipped::Overtaken {
            return Ok(Shipped::Overtaken);
        }
        self.shipped = Some(last);
        let waiting = self.waiting();
        link.works(waiting);
        link.note(|health| {
            health.last_seq = Some(last);
            health.waiting_since = (waiting > 0).then_some(seen);
        });
        Ok(Shipped::Done)
    }

    /// How many entries the archive lacks, by their numbers; 0 while that is not known.
    fn waiting(&self) -> u64 {
        self.shipped.map_or(0, |shipped| self.journal.borrow().last_seq.0.saturating_sub(shipped.0))
    }

    /// Waits until there is something to do. Returns `false` once the journal has ended.
    async fn wait(&mut self, sign_due: Instant) -> bool {
        let shipped = self.shipped.unwrap_or_default();
        let arrived = timeout_at(sign_due, self.journal.wait_for(|status| status.last_seq > shipped)).await;
        match arrived.map(|arrived| arrived.is_ok()) {
            Err(_) => return true,
            Ok(false) => return false,
            Ok(true) => {}
        }
        let enough = shipped.0 + self.batch.most() as u64;
        // Either there are enough, or they have waited for company long enough.
        let filled = timeout(HOLD, self.journal.wait_for(|status| status.last_seq.0 >= enough)).await;
        !matches!(filled, Ok(Err(_)))
    }

    /// Hands on what an earlier writer has offered. It is taken out of the archive when what came of it is there: it is
    /// journaled by the next sign of life, and shipped by a later one. A kill in between has it offered once more.
    async fn pass_on(&mut self, archive: &mut Archive, row: &Standing) -> anyhow::Result<()> {
        if let Some(passed_on) = &mut self.passed_on {
            let status = *self.journal.borrow();
            match passed_on.journaled {
                Some(last) if Some(last) <= self.shipped => {
                    archive.taken(&passed_on.ids).await?;
                    self.passed_on = None;
                }
                None if status.storage_full.is_none() => passed_on.journaled = Some(status.last_seq),
                Some(_) | None => {}
            }
            return Ok(());
        }
        if !row.offered {
            return Ok(());
        }
        let offered = archive.offered(OFFERED).await?;
        let (ids, messages): (Vec<i64>, Vec<Vec<u8>>) = offered.into_iter().unzip();
        tracing::info!(messages = messages.len(), "checking what an earlier writer could not ship");
        let (checked, done) = oneshot::channel();
        let passed_on = async { self.offers.send(Offer { messages, checked }).await.is_ok() && done.await.is_ok() };
        // The lease must not run out meanwhile; what is not checked in time is offered again.
        if timeout(self.lease / SIGNS, passed_on).await.unwrap_or(false) {
            self.passed_on = Some(PassedOn { ids, journaled: None });
        }
        Ok(())
    }

    /// Notes since when something waits, while the archive is away.
    async fn note_waiting(&mut self, link: &Link) {
        let Some(shipped) = self.shipped else { return };
        let first = self.shelf.after(shipped, 1).await;
        let since = first.ok().and_then(|entries| entries.first().map(|entry| entry.seen));
        link.note(|health| health.waiting_since = since);
    }
}

/// How many entries a batch may have: fewer after a failure, because a line may be too slow for many; more again when
/// all has gone well for long.
struct Batch {
    most: usize,
    calm: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self { most: BATCH, calm: 0 }
    }
}

impl Batch {
    fn most(&self) -> usize {
        self.most
    }

    fn was(&mut self, good: bool) {
        self.calm = if good { self.calm + 1 } else { 0 };
        if !good {
            self.most = (self.most / 2).max(BATCH_LEAST);
        } else if self.calm == CALM {
            *self = Self { most: (self.most * 2).min(BATCH), calm: 0 };
        }
    }
}
