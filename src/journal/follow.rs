//! The other side of the archive: copies its entries, in order, into a journal that follows it.
//!
//! A replica follows for good; a stand-by collector watches the writer's row as well, and takes over when that has
//! stood still for the lease. Promises that entries are handed on in order and each once, and that nobody takes over
//! before every entry of the archive is in the local journal.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use bitcoin::Network;
use rand::RngExt;
use tokio::time::timeout;

use super::lease::{Verdict, Watch, judge};
use super::link::{Link, offer_some};
use super::postgres::{Archive, Standing, Wire};
use super::shelf::Shelf;
use super::writer::Notes;
use super::{Attachment, CollectorId, Entry, Event, Identity, Reader, Seq, Term, draw_epoch_offset_s};

/// How many entries are fetched at once.
const PAGE: usize = 5_000;
/// How often the archive is looked at when it does not tell by itself that something is new, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many looks there are in a lease, at least.
const LOOKS: u32 = 10;

/// Where a follower's entries go.
pub trait Receiver: Send {
    /// Returns when they are in the local journal, and known to whoever else must know them.
    fn receive(&mut self, entries: Vec<Entry>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What the follower is set up with.
pub struct Setup<R> {
    pub network: Network,
    pub identity: Identity,
    /// The local journal's last entry, and the last epoch's timestamp.
    pub last_seq: Seq,
    pub last_epoch: Option<u32>,
    /// Reads the journal.
    pub reader: Box<dyn Reader>,
    pub notes: Notes,
    /// After how long without a sign of life to take over; `None` for a replica, which never does.
    pub lease: Option<Duration>,
    /// Draws the epoch offset of a new term.
    pub rng: Box<dyn rand::Rng + Send>,
    pub receiver: R,
}

/// Follows until it takes over; returns who the journal is from then on, which is noted in it. An error says that the
/// local journal has ended: whatever may pass is tried again.
pub async fn follow<R: Receiver>(link: &mut Link, setup: Setup<R>) -> anyhow::Result<Identity> {
    let Setup { network, identity, last_seq, last_epoch, reader, notes, lease, rng, receiver } = setup;
    let mut follower = Follower {
        network,
        identity,
        last_seq,
        last_epoch,
        shelf: Shelf::new(reader),
        notes,
        renewed: None,
        watch: lease.map(Watch::new),
        look_every: lease.map_or(LOOK_EVERY, |lease| LOOK_EVERY.min(lease / LOOKS)),
        rng,
        receiver,
    };
    loop {
        let (mut archive, wire) = link.connect().await;
        match follower.session(&mut archive, &wire, link).await {
            Ok(identity) => return Ok(identity),
            Err(Broken::Here(error)) => return Err(error),
            Err(Broken::There(error)) => link.lost(&error).await,
        }
    }
}

/// On which side something failed.
enum Broken {
    Here(anyhow::Error),
    There(anyhow::Error),
}

impl From<anyhow::Error> for Broken {
    fn from(error: anyhow::Error) -> Self {
        Broken::There(error)
    }
}

struct Follower<R> {
    network: Network,
    identity: Identity,
    last_seq: Seq,
    last_epoch: Option<u32>,
    shelf: Shelf,
    notes: Notes,
    /// The term and the renewals that were seen last.
    renewed: Option<(Term, u64)>,
    watch: Option<Watch>,
    look_every: Duration,
    rng: Box<dyn rand::Rng + Send>,
    receiver: R,
}

impl<R: Receiver> Follower<R> {
    /// Follows on one connection, until that fails.
    async fn session(&mut self, archive: &mut Archive, wire: &Wire, link: &mut Link) -> Result<Identity, Broken> {
        self.watch.iter_mut().for_each(Watch::reset);
        archive.listen().await?;
        while offer_some(archive, &self.notes).await? {}
        // It may be another one than before: brought back from a back-up, say, and written on since.
        self.shelf.check_common(archive, self.last_seq).await?;
        loop {
            let asked = Instant::now();
            let row = archive
                .look()
                .await?
                .context("the archive is empty, and is filled by the collector that wrote it")?;
            let answered = Instant::now();
            let verdict = judge(&self.identity, self.last_seq, self.network, &row).map_err(anyhow::Error::from)?;
            self.note(link, &row);
            let overdue = self.watch.as_mut().is_some_and(|watch| watch.is_overdue(&row, asked, answered));
            match verdict {
                _ if row.last_seq > self.last_seq => self.copy(archive, &row).await?,
                // The take-over worked, but the connection was lost before that was known.
                Verdict::Write(_) if self.watch.is_some() => return Ok(self.took_over(&row).await?),
                _ if overdue => {
                    if let Some(row) = self.take_over(archive, &row).await? {
                        return Ok(self.took_over(&row).await?);
                    }
                }
                _ => {
                    link.note(|health| health.up_to_date = Some(answered));
                    // Either there is news, or it is time to look all the same.
                    let _ = timeout(self.look_every, wire.notified()).await;
                }
            }
        }
    }

    fn note(&mut self, link: &mut Link, row: &Standing) {
        link.works(row.last_seq.0.saturating_sub(self.last_seq.0));
        let renewed = self.renewed.replace((row.term, row.renewals)) != self.renewed;
        link.note(|health| {
            health.term = Some(row.term);
            health.epoch_offset_s = Some(row.epoch_offset_s);
            health.last_seq = Some(row.last_seq);
            if renewed {
                health.writer_seen = Some(Instant::now());
            }
        });
    }

    /// Copies a page of what is new.
    async fn copy(&mut self, archive: &mut Archive, row: &Standing) -> Result<(), Broken> {
        let page = archive.page(self.last_seq, PAGE).await?;
        let Some(last) = page.last().map(|entry| entry.seq) else {
            let (has, from) = (row.last_seq.0, self.last_seq.0);
            return Err(anyhow!("the archive says that its last entry is {has}, but has none after {from}").into());
        };
        let last_epoch = self.check_epochs(&page)?;
        self.receiver.receive(page).await.map_err(Broken::Here)?;
        (self.last_seq, self.last_epoch) = (last, last_epoch);
        Ok(())
    }

    /// The local journal would end over epochs that go back.
    fn check_epochs(&self, page: &[Entry]) -> anyhow::Result<Option<u32>> {
        let mut last = self.last_epoch;
        for entry in page {
            let Event::Epoch { timestamp, .. } = entry.event else { continue };
            if last.is_some_and(|last| timestamp <= last) {
                bail!("the archive is damaged: the epoch of entry {} does not come after the last one", entry.seq.0);
            }
            last = Some(timestamp);
        }
        Ok(last)
    }

    async fn take_over(&mut self, archive: &mut Archive, row: &Standing) -> anyhow::Result<Option<Standing>> {
        tracing::warn!(term = row.term.0, "the archive's writer has given no sign of life: taking over");
        let Some(lease) = self.watch.as_ref().map(Watch::lease) else { bail!("a replica never takes over") };
        // Noted before it is tried, so that whoever finds it in the archive knows that it has worked, and nobody else
        // takes it for theirs.
        self.identity.collector = CollectorId(self.rng.random());
        self.notes.identify(self.identity).await?;
        let epoch_offset_s = draw_epoch_offset_s(Some(row.epoch_offset_s), &mut *self.rng);
        let taken = archive.take_over(row, self.identity.collector, epoch_offset_s, lease).await?;
        if taken.is_none() {
            tracing::info!("another collector was quicker, or the writer is back");
        }
        Ok(taken)
    }

    async fn took_over(&mut self, row: &Standing) -> anyhow::Result<Identity> {
        let attachment = Attachment::Writing(row.term);
        let identity = Identity { attachment, epoch_offset_s: row.epoch_offset_s, ..self.identity };
        self.notes.identify(identity).await?;
        tracing::info!(term = row.term.0, "this collector writes the archive from now on");
        Ok(identity)
    }
}
