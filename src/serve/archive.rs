//! The archive's keeper: ships what the journal has, or follows the archive and takes over when its writer falls
//! silent. Nothing else waits for it.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::run::House;
use crate::config::Database;
use crate::gossip::collector::Collector;
use crate::gossip::{Fact, UnixMs};
use crate::journal::follow;
use crate::journal::lease::Misfit;
use crate::journal::link::{Connector, Link, Role};
use crate::journal::settle::{self, Plan};
use crate::journal::ship::{self, Offer};
use crate::journal::writer::{self, Notes};
use crate::journal::{Attachment, Entry, Event, Identity, Journal, Reader, Seq, SqliteJournal, Writer};
use crate::tasks::Tasks;

/// How often a long restoration is told of in the log, where no terminal shows a bar.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A journal that goes with its archive, and what this collector is to that.
pub(super) struct Settled {
    pub journal: SqliteJournal,
    pub role: Role,
    /// To the archive, where there is one.
    pub link: Option<Link>,
}

/// Opens the journal, and settles it with the archive where one is configured: after this entry, another collector has
/// taken over, if one has. `waits` is told when there is nothing
/// to start from before the archive answers.
pub(super) async fn settle(
    house: &House,
    overtaken_after: Option<Seq>,
    waits: &mut (dyn FnMut() + Send),
) -> anyhow::Result<Settled> {
    let House { config, clock, state, .. } = house;
    let (data_dir, network, now) = (config.data_dir.clone(), config.network, clock.now());
    let Some(database) = &config.database else {
        state.archive_is(None);
        let open = move || SqliteJournal::open(&data_dir, network, now, &mut rand::rng());
        let journal = tokio::task::spawn_blocking(open).await??;
        if journal.identity().attachment == Attachment::Following {
            return Err(Misfit::NoArchive.into());
        }
        return Ok(Settled { journal, role: Role::Writer, link: None });
    };
    let role = if config.replica { Role::Replica } else { Role::Writer };
    let mut link = Link::new(connector(database), database.lease, role);
    state.archive_is(Some(link.health()));
    let mut restoring = Restoring::default();
    let mut rng: rand::rngs::StdRng = rand::make_rng();
    let plan = Plan {
        data_dir,
        network,
        replica: config.replica,
        overtaken_after,
        now,
        rng: &mut rng,
        waits,
        progress: &mut |at, of| restoring.tell(at, of),
    };
    let settle::Settled { journal, role } = settle::settle(&mut link, plan).await?;
    restoring.end();
    let reached = link.health().borrow().last_seq.is_some();
    match reached {
        true => tracing::info!("the archive is connected; this is its {role}"),
        false => tracing::warn!("the archive was not reached; this goes on as its {role}"),
    }
    Ok(Settled { journal, role, link: Some(link) })
}

fn connector(database: &Database) -> Connector {
    Connector { settings: database.connection(), timeout: database.timeout }
}

/// How far a restoration is: a bar on a terminal, a line in the log now and then elsewhere.
#[derive(Default)]
struct Restoring {
    bar: Option<ProgressBar>,
    told: Option<Instant>,
}

impl Restoring {
    fn tell(&mut self, at: Seq, of: Seq) {
        if std::io::stderr().is_terminal() {
            self.bar.get_or_insert_with(bar).set_length(of.0);
            self.bar.iter().for_each(|bar| bar.set_position(at.0));
        } else if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::info!("restoring the journal from the archive: entry {} of {}", at.0, of.0);
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let template = "restoring the journal from the archive {wide_bar} {human_pos}/{human_len} entries, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// What the keeper works with.
pub(super) struct Keeper {
    pub role: Role,
    pub identity: Identity,
    /// The journal's last entry, and its last epoch's timestamp.
    pub last_seq: Seq,
    pub last_epoch: Option<u32>,
    /// Read the journal.
    pub readers: [Box<dyn Reader>; 3],
    pub writer: Handles,
    /// None at a replica.
    pub collector: Option<Arc<Collector>>,
    /// Starts cutting epochs, stamped with this offset.
    pub cut: Box<dyn FnOnce(u32) + Send>,
}

/// The keeper's ends of the journal's writer.
pub(super) struct Handles {
    copies: mpsc::Sender<Vec<Entry>>,
    status: watch::Receiver<writer::Status>,
    notes: Notes,
}

impl Handles {
    pub fn of(writer: &Writer) -> Self {
        Self { copies: writer.copies(), status: writer.status(), notes: writer.notes() }
    }
}

/// Starts the keeper. The receiver is told when the run must end: another collector has taken the archive over, after
/// this entry, or the journal has to catch up.
pub(super) fn keep(
    house: &Arc<House>,
    link: Link,
    keeper: Keeper,
    front: &Tasks,
    back: &Tasks,
) -> oneshot::Receiver<Option<Seq>> {
    let (offers, offered) = mpsc::channel(1);
    if let Some(collector) = &keeper.collector {
        let (collector, stop) = (Arc::clone(collector), front.stop().clone());
        front.spawn("what is offered", async move {
            stop.run_until_cancelled(check_offered(&collector, offered)).await;
            stop.cancelled().await;
            Ok(())
        });
    }
    let (tell, overtaken) = oneshot::channel();
    let (house, stop) = (Arc::clone(house), back.stop().clone());
    back.spawn("the archive's keeper", async move {
        match keeper.run(&house, link, offers, &stop).await {
            Ok(ship::End::Stopped) => {}
            // Where a stop came first, nobody listens.
            Ok(ship::End::Overtaken { after }) => drop(tell.send(Some(after))),
            Ok(ship::End::Behind) => drop(tell.send(None)),
            Err(error) if !stop.is_cancelled() => return Err(error),
            Err(_) => {} // the others have ended first
        }
        stop.cancelled().await;
        Ok(())
    });
    overtaken
}

/// Takes what an earlier writer accepted and could not ship through the checking stage.
async fn check_offered(collector: &Collector, mut offered: mpsc::Receiver<Offer>) {
    while let Some(Offer { messages, checked }) = offered.recv().await {
        if collector.offer(messages).await.is_err() {
            return; // the service is stopping
        }
        let _ = checked.send(()); // it may not have waited any longer
    }
}

impl Keeper {
    async fn run(
        self,
        house: &House,
        mut link: Link,
        offers: mpsc::Sender<Offer>,
        stop: &CancellationToken,
    ) -> anyhow::Result<ship::End> {
        let Self { role, mut identity, last_seq, last_epoch, readers, writer, collector, cut } = self;
        let Some(database) = &house.config.database else { return Ok(ship::End::Stopped) };
        let [reader, new, old] = readers;
        let mut taken_over = false;
        if role != Role::Writer {
            let setup = follow::Setup {
                network: house.config.network,
                identity,
                last_seq,
                last_epoch,
                reader,
                notes: writer.notes.clone(),
                lease: (role == Role::StandBy).then_some(database.lease),
                rng: Box::new(rand::make_rng::<rand::rngs::StdRng>()),
                receiver: Feed { copies: writer.copies, status: writer.status.clone(), collector: collector.clone() },
            };
            let followed = stop.run_until_cancelled(follow::follow(&mut link, setup)).await;
            let Some(now) = followed.transpose()? else { return Ok(ship::End::Stopped) };
            (identity, taken_over) = (now, true);
            let offset_s = Some(identity.epoch_offset_s);
            link.note(|health| (health.role, health.epoch_offset_s) = (Role::Writer, offset_s));
        }
        let setup = ship::Setup {
            link,
            network: house.config.network,
            identity,
            lease: database.lease,
            retention: house.config.retention,
            clock: Arc::clone(&house.clock),
            readers: [new, old],
            journal: writer.status,
            notes: writer.notes,
            offers,
        };
        // At the same time, because the lease must be renewed however long the journal takes for what was pending.
        let lead = async {
            if taken_over {
                if let Some(collector) = &collector {
                    collector.lead().await?;
                }
                cut(identity.epoch_offset_s);
            }
            anyhow::Ok(())
        };
        let mut shipping = std::pin::pin!(ship::ship(setup));
        tokio::select! {
            end = &mut shipping => return Ok(end),
            led = lead => led?,
        }
        Ok(shipping.await)
    }
}

/// Where copied entries go: the local journal, and the collector that stands by.
struct Feed {
    copies: mpsc::Sender<Vec<Entry>>,
    status: watch::Receiver<writer::Status>,
    collector: Option<Arc<Collector>>,
}

impl follow::Receiver for Feed {
    async fn receive(&mut self, entries: Vec<Entry>) -> anyhow::Result<()> {
        let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
        let told = self.collector.as_ref().map(|collector| (collector, facts(&entries)));
        let ended = || anyhow::anyhow!("the journal has ended");
        self.copies.send(entries).await.map_err(|_| ended())?;
        if let Some((collector, facts)) = told {
            collector.told(facts).await?;
        }
        self.status.wait_for(|status| status.last_seq >= last).await.map_err(|_| ended())?;
        Ok(())
    }
}

fn facts(entries: &[Entry]) -> Vec<(UnixMs, Fact)> {
    let fact = |entry: &Entry| match &entry.event {
        Event::Fact(fact) => Some((entry.seen, fact.clone())),
        Event::Epoch { .. } => None,
    };
    entries.iter().filter_map(fact).collect()
}
