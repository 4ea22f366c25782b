//! One run of the service, on a journal that is settled: from reading it until the stop, or until another collector
//! has taken the archive over.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::FRONT_STOPS_WITHIN;
use super::archive::{self, Keeper, Settled};
use super::load::{Remembered, remember};
use super::state::State;
use super::{collecting, curator, publisher, scheduler};
use crate::config::Config;
use crate::gossip::check::Checker;
use crate::gossip::collector::{Collector, Mode, Sink, SinkClosed};
use crate::gossip::sync::Syncs;
use crate::gossip::{Clock, Fact, UnixMs};
use crate::journal::link::Role;
use crate::journal::{Draft, Event, Journal, Seq, Writer};
use crate::snapshot::{self, Folder, Schedule};
use crate::tasks::Tasks;

/// How long everything may take to stop, the journal, the history and the publisher included.
const STOPS_WITHIN: Duration = Duration::from_millis(4_300);

/// What all runs of a service share.
pub(super) struct House {
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub state: Arc<State>,
    pub folder: Folder,
    pub stop: CancellationToken,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Stopped,
    /// The journal is to be settled with the archive anew: after this entry another collector took over, if one did.
    Unsettled {
        overtaken_after: Option<Seq>,
    },
}

/// See the module's words.
pub(super) struct Run {
    state: Arc<State>,
    /// Peers and the schedule.
    front: Tasks,
    /// The history, the publisher and the archive's keeper: they end when the journal has.
    back: Tasks,
    writer: Writer,
    /// Kept, because the journal ends when nobody can send it anything any more.
    _drafts: mpsc::Sender<Draft>,
    unsettled: Option<oneshot::Receiver<Option<Seq>>>,
}

impl Run {
    /// Starts everything; returns when the journal is read and peers are being connected to.
    pub async fn start(house: &Arc<House>, settled: Settled) -> anyhow::Result<Self> {
        let House { config, clock, state, folder, stop } = &**house;
        let front = Tasks::new(stop.child_token());
        let back = front.sibling();
        let Settled { journal, role, link } = settled;
        let rules = collecting::rules(config);
        let (journal, remembered) = tokio::task::spawn_blocking(move || {
            let remembered = remember(&journal, rules);
            remembered.map(|remembered| (journal, remembered))
        })
        .await??;
        let (identity, last_seq, last_epoch) = (journal.identity(), journal.last_seq(), journal.last_epoch());
        let readers = [journal.reader()?, journal.reader()?, journal.reader()?];
        let (writer, drafts, commits) = Writer::spawn(Box::new(journal), Default::default())?;

        let Remembered { history, checker, last_sync, last_message, entries } = remembered;
        state.journal_is(writer.status(), entries, last_seq);
        let history = Arc::new(RwLock::new(history));
        let (next, matters) = watch::channel(None);
        let for_deltas = Arc::downgrade(&history);
        publisher::start(matters, for_deltas, folder.clone(), config.network, Arc::clone(state), &back);
        state.desk().cut_at(identity.epoch_offset_s);
        state.follow_the_writer();
        let cut_by = (role == Role::Writer).then(|| snapshot::rules(config.graph));
        curator::start(history, commits, next, cut_by, state, &back);
        scheduler::start_retention(writer.retainer(), config.retention, state, &front);

        let collector = match role {
            Role::Replica => None,
            Role::Writer => {
                let syncs = Syncs::new(last_sync, last_message, collecting::peers(config), clock.now());
                Some(collect(house, role, checker, syncs, &drafts, &front)?)
            }
            Role::StandBy => {
                // What this collector had heard and the archive lacks is gone: everything is asked for again.
                let syncs = Syncs::new(None, None, collecting::peers(config), clock.now());
                Some(collect(house, role, checker, syncs, &drafts, &front)?)
            }
        };
        state.collector_is(collector.clone());

        if role == Role::Writer {
            start_cutting(house, drafts.clone(), identity.epoch_offset_s, &front);
        }
        let unsettled = link.map(|link| {
            let (house_too, drafts, tasks) = (Arc::clone(house), drafts.clone(), front.clone());
            let keeper = Keeper {
                role,
                identity,
                last_seq,
                last_epoch,
                readers,
                writer: archive::Handles::of(&writer),
                collector,
                cut: Box::new(move |epoch_offset_s| start_cutting(&house_too, drafts, epoch_offset_s, &tasks)),
            };
            archive::keep(house, link, keeper, &front, &back)
        });
        Ok(Self { state: Arc::clone(state), front, back, writer, _drafts: drafts, unsettled })
    }

    /// Waits for the stop, or until the journal must be settled anew, and then for everything to end in order. An error is
    /// the reason why the run ended by itself.
    pub async fn finish(self) -> anyhow::Result<End> {
        let Self { state, front, back, mut writer, _drafts: drafts, unsettled } = self;
        let (failed, end) = tokio::select! {
            () = front.stop().cancelled() => (None, End::Stopped),
            ended = writer.ended() => (Some(ended), End::Stopped),
            overtaken_after = until(unsettled) => (None, End::Unsettled { overtaken_after }),
        };
        let deadline = Instant::now() + STOPS_WITHIN;
        front.stop().cancel();
        front.finish(FRONT_STOPS_WITHIN).await;
        drop(drafts);
        let flushed = match failed {
            Some(ended) => Ok(ended),
            None => tokio::time::timeout_at(deadline.into(), writer.stop()).await,
        };
        back.finish(deadline.saturating_duration_since(Instant::now())).await;
        match flushed {
            // It may have ended others with it, whose reasons would hide its own.
            Ok(Err(error)) if !state.has_no_room() => return Err(error.context("the journal failed")),
            Ok(Err(_)) => tracing::warn!("the disk is full: the last messages were not journaled"),
            Err(_) => tracing::warn!("the disk is slow: the last messages may not have been journaled"),
            Ok(Ok(())) => {}
        }
        front.take_reason().map_or(Ok(end), Err)
    }
}

/// Never, without an archive.
async fn until(unsettled: Option<oneshot::Receiver<Option<Seq>>>) -> Option<Seq> {
    if let Some(unsettled) = unsettled
        && let Ok(overtaken_after) = unsettled.await
    {
        return overtaken_after;
    }
    std::future::pending().await // where the keeper has ended for another reason, the stop tells
}

/// Starts cutting epochs, when this collector is the writer or becomes it.
fn start_cutting(house: &House, drafts: mpsc::Sender<Draft>, epoch_offset_s: u32, tasks: &Tasks) {
    let House { config, clock, state, .. } = house;
    let schedule = Schedule::new(config.interval, epoch_offset_s);
    state.desk().cut_at(epoch_offset_s);
    scheduler::start(schedule, drafts, snapshot::rules(config.graph), state, Arc::clone(clock), tasks);
}

fn collect(
    house: &House,
    role: Role,
    checker: Checker,
    syncs: Syncs,
    drafts: &mpsc::Sender<Draft>,
    front: &Tasks,
) -> anyhow::Result<Arc<Collector>> {
    let House { config, clock, state, .. } = house;
    let mode = if role == Role::StandBy { Mode::StandingBy } else { Mode::Leading };
    let setup = collecting::setup(config, mode, state.storage_full(), Arc::clone(clock))?;
    let sink = sink(drafts.clone(), front.stop().clone());
    Ok(Arc::new(Collector::start(setup, checker, syncs, sink, front)?))
}

/// Facts become drafts for the journal. Waits when the journal is slow, until the stop: the collector has a thread for
/// it.
fn sink(drafts: mpsc::Sender<Draft>, stop: CancellationToken) -> Sink {
    let runtime = Handle::current();
    Box::new(move |seen: UnixMs, facts: Vec<Fact>| {
        for fact in facts {
            let sent = match drafts.try_send(Draft { seen, event: Event::Fact(fact) }) {
                Err(TrySendError::Full(draft)) => {
                    runtime.block_on(stop.run_until_cancelled(drafts.send(draft))).is_some_and(|sent| sent.is_ok())
                }
                sent => sent.is_ok(),
            };
            if !sent {
                return Err(SinkClosed);
            }
        }
        Ok(())
    })
}
