//! A collector of a pair, small enough to see through: it hears numbered messages, journals what it hears while it is
//! the archive's writer, and keeps what the archive lacks while it stands by. Settling, following, shipping and taking
//! over are the service's own.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::Network;
use rgsd::gossip::{ChannelUpdate, Clock, Direction, Fact, SystemClock};
use rgsd::journal::follow;
use rgsd::journal::link::{Link, Role};
use rgsd::journal::ship::{self, End, Offer};
use rgsd::journal::writer::Status;
use rgsd::journal::{Draft, Entry, Event, Identity, Journal, Pace, Reader, Seq, Writer};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::sleep;

use super::props::{clock, connector, settle_after, stamps};
use crate::entries;
use crate::unsigned::{epoch, policy, scid, update};

/// How many messages there are a second.
pub const RATE: u64 = 400;
/// How often an epoch is cut.
const EPOCHS: Duration = Duration::from_millis(200);

/// A collector that lives until it is killed.
pub struct Collector {
    pub data_dir: PathBuf,
    pub url: String,
    pub lease: Duration,
    pub timeout: Duration,
    /// When the first message was sent, in unix milliseconds.
    pub first_ms: u64,
    /// A file that appears when no more messages are sent: it says how many there were.
    pub end: PathBuf,
}

impl Collector {
    pub async fn live(&self) -> ! {
        let mut overtaken_after = None;
        loop {
            overtaken_after = self.live_once(overtaken_after).await;
        }
    }

    /// From settling to being overtaken; returns after which entry.
    async fn live_once(&self, overtaken_after: Option<Seq>) -> Option<Seq> {
        let mut link = Link::new(connector(&self.url, self.timeout), self.lease, Role::Writer);
        let settled = settle_after(&self.data_dir, &mut link, overtaken_after).await.expect("never refused");
        let (role, journal) = (settled.role, settled.journal);
        let (mut identity, last) = (journal.identity(), (journal.last_seq(), journal.last_epoch()));
        let readers = [journal.reader().expect("a reader"), journal.reader().expect("a reader")];
        let reader = journal.reader().expect("a reader");
        let heard = entries(&journal, 0);
        let (writer, drafts, _) = Writer::spawn(Box::new(journal), Pace::default()).expect("a thread");
        let ear = Arc::new(Mutex::new(Ear::new(drafts, &heard)));
        let hearing = tokio::spawn(hear(Arc::clone(&ear), self.first_ms, self.end.clone()));
        if role != Role::Writer {
            identity = self.follow(&mut link, &writer, &ear, identity, last, reader).await;
        }
        ear.lock().await.lead(identity.epoch_offset_s).await;
        let (offers, offered) = mpsc::channel(1);
        let checking = tokio::spawn(check(Arc::clone(&ear), offered));
        let setup = ship::Setup {
            link,
            network: Network::Regtest,
            identity,
            lease: self.lease,
            retention: Duration::from_secs(30 * 86_400),
            clock: clock(),
            readers,
            journal: writer.status(),
            notes: writer.notes(),
            offers,
        };
        let end = ship::ship(setup).await;
        hearing.abort();
        checking.abort();
        writer.stop().await.expect("an orderly end");
        match end {
            End::Overtaken { after } => Some(after),
            End::Behind => None,
            End::Stopped => panic!("nobody stopped it"),
        }
    }

    async fn follow(
        &self,
        link: &mut Link,
        writer: &Writer,
        ear: &Arc<Mutex<Ear>>,
        identity: Identity,
        (last_seq, last_epoch): (Seq, Option<u32>),
        reader: Box<dyn Reader>,
    ) -> Identity {
        let setup = follow::Setup {
            network: Network::Regtest,
            identity,
            last_seq,
            last_epoch,
            reader,
            notes: writer.notes(),
            lease: Some(self.lease),
            rng: Box::new(rand::make_rng::<rand::rngs::StdRng>()),
            receiver: Feed { copies: writer.copies(), status: writer.status(), ear: Arc::clone(ear) },
        };
        follow::follow(link, setup).await.expect("the journal goes with the archive")
    }
}

/// The draft of a message, heard now.
fn message(number: u64) -> Draft {
    let update = update(scid(number), Direction::OneToTwo, 1, &policy(number as u32));
    Draft { seen: SystemClock.now(), event: Event::Fact(Fact::Update(update)) }
}

/// Which message an entry holds.
pub fn number(entry: &Entry) -> Option<u64> {
    match &entry.event {
        Event::Fact(Fact::Update(update)) => Some(update.scid().0),
        _ => None,
    }
}

/// What the checking stage is in the service.
struct Ear {
    /// What the journal has.
    known: HashSet<u64>,
    /// What it lacks.
    pending: BTreeSet<u64>,
    /// Whether what is heard is journaled, and how its epochs are stamped.
    leading: Option<u32>,
    last_epoch: u32,
    drafts: mpsc::Sender<Draft>,
}

impl Ear {
    fn new(drafts: mpsc::Sender<Draft>, entries: &[Entry]) -> Self {
        let mut ear = Self { known: HashSet::new(), pending: BTreeSet::new(), leading: None, last_epoch: 0, drafts };
        ear.told(entries);
        ear
    }

    async fn hear(&mut self, number: u64) {
        if self.leading.is_none() && !self.known.contains(&number) {
            self.pending.insert(number);
        } else if self.leading.is_some() && self.known.insert(number) {
            // Where the journal has ended, this life has, too.
            let _ = self.drafts.send(message(number)).await;
        }
    }

    fn told(&mut self, entries: &[Entry]) {
        for number in entries.iter().filter_map(number) {
            self.known.insert(number);
            self.pending.remove(&number);
        }
        self.last_epoch = stamps(entries).last().map_or(self.last_epoch, |(_, stamp)| *stamp);
    }

    async fn lead(&mut self, epoch_offset_s: u32) {
        self.leading = Some(epoch_offset_s);
        for number in std::mem::take(&mut self.pending) {
            self.hear(number).await;
        }
    }

    async fn cut(&mut self) {
        let Some(offset_s) = self.leading else { return };
        self.last_epoch = self.last_epoch - self.last_epoch % 10 + 10 + offset_s % 10;
        let _ = self.drafts.send(epoch(self.last_epoch)).await;
    }
}

/// Hears everything from the first message on, as a sync after each start would tell it.
async fn hear(ear: Arc<Mutex<Ear>>, first_ms: u64, end: PathBuf) {
    let (mut heard, mut last_cut) = (0, Instant::now());
    loop {
        let end: Option<u64> = std::fs::read_to_string(&end).ok().and_then(|count| count.parse().ok());
        let sent = sent(first_ms).min(end.unwrap_or(u64::MAX));
        for number in heard..sent {
            ear.lock().await.hear(number).await;
        }
        heard = sent;
        if end.is_none() && last_cut.elapsed() >= EPOCHS {
            last_cut = Instant::now();
            ear.lock().await.cut().await;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// How many messages were sent up to now.
pub fn sent(first_ms: u64) -> u64 {
    SystemClock.now().0.saturating_sub(first_ms) * RATE / 1_000
}

/// Takes what an overtaken writer has offered.
async fn check(ear: Arc<Mutex<Ear>>, mut offered: mpsc::Receiver<Offer>) {
    while let Some(Offer { messages, checked }) = offered.recv().await {
        for message in messages {
            let update = ChannelUpdate::from_wire(message).expect("an update");
            ear.lock().await.hear(update.scid().0).await;
        }
        let _ = checked.send(());
    }
}

struct Feed {
    copies: mpsc::Sender<Vec<Entry>>,
    status: watch::Receiver<Status>,
    ear: Arc<Mutex<Ear>>,
}

impl follow::Receiver for Feed {
    async fn receive(&mut self, entries: Vec<Entry>) -> anyhow::Result<()> {
        let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
        self.ear.lock().await.told(&entries);
        self.copies.send(entries).await?;
        self.status.wait_for(|status| status.last_seq >= last).await?;
        Ok(())
    }
}
