//! The history's keeper: applies what the journal has committed, and hands on what is to be told of every epoch.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::pulse::Part;
use super::state::State;
use crate::gossip::UnixMs;
use crate::history::History;
use crate::journal::{Entry, Epoch, Event, Rules};
use crate::snapshot::{Matter, RULES_VERSION, USELESS_AFTER_S, reachable};
use crate::tasks::{Tasks, timers};

/// How often figures are made anew while the same epoch is served.
const FIGURES_EVERY: Duration = Duration::from_secs(10);
/// Right after a cut, wallets come who want deltas: for so long, in seconds, they have the cores.
const RUSH_S: u32 = 3;
/// How often it is looked whether they are due, where nothing is committed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The newest epoch that waits to be published. One that is not taken in time is overtaken by the next.
pub(super) type Next = Option<Arc<Due>>;

/// What is to be published.
pub(super) struct Due {
    pub matter: Matter,
    /// How long taking the view took.
    pub viewed_in: Duration,
}

impl Due {
    /// Of a known epoch.
    fn of(history: &History, epoch: &Epoch) -> Option<Self> {
        let started = Instant::now();
        let matter = Matter::of(history, epoch)?;
        Some(Self { matter, viewed_in: started.elapsed() })
    }
}

/// The history, which its keeper writes and deltas are read from. What its keeper does between two looks of theirs takes
/// moments, as they do.
pub(super) type SharedHistory = Arc<RwLock<History>>;

/// Starts the keeper, with the newest epoch if its snapshot is not the published one (the service was
/// killed between the two). Ends when the journal does.
///
/// Where epochs are cut `by` this collector, one that was cut by other rules is not published again: its own comes
/// soon. Whoever follows publishes every epoch that this version knows how to cut, under the epoch's own rules.
pub(super) fn start(
    history: SharedHistory,
    mut commits: mpsc::Receiver<Vec<Entry>>,
    next: watch::Sender<Next>,
    by: Option<Rules>,
    state: &Arc<State>,
    tasks: &Tasks,
) {
    // The published snapshot may be of a journal that was moved away: its timestamp must not come again either.
    let published = state.published();
    state.epoch_was(published);
    // It may not be the last epoch's: that one waits to be published, or cannot be, or is of other rules.
    let is_known = |served: &Epoch| read(&history).epoch_at(served.timestamp) == Some(*served);
    if let Some(served) = state.served().filter(is_known) {
        state.desk().resume(reachable(&served, read(&history).epochs()), Arc::downgrade(&history));
    }
    let last = read(&history).last_epoch().copied();
    if let Some(last) = last {
        state.epoch_was(last.timestamp);
        let ours = by.is_none_or(|by| by == last.rules);
        if last.timestamp > published && ours && is_of_use(&last, state) {
            next.send_replace(Due::of(&read(&history), &last).map(Arc::new));
        }
    }
    state.history_begins(&read(&history));
    let (state, stop) = (Arc::clone(state), tasks.stop().clone());
    tasks.spawn_blocking("the history", move || {
        let (timers, mut figures) = (timers()?, Figures::default());
        loop {
            // Afterwards, another run may tell its own.
            if !stop.is_cancelled() {
                figures.keep(&history, &state);
            }
            match timers.block_on(async { timeout(LOOK_EVERY, commits.recv()).await }) {
                Ok(Some(entries)) => take(&entries, &history, &next, &state),
                Ok(None) => return Ok(()),
                Err(_) => {} // quiet
            }
        }
    });
}

/// Takes what was committed.
fn take(entries: &[Entry], history: &RwLock<History>, next: &watch::Sender<Next>, state: &State) {
    let _work = state.pulse().work(Part::History);
    for until_epoch in entries.chunk_by(|before, _| !matches!(before.event, Event::Epoch { .. })) {
        apply(history, until_epoch, state);
        if let Some(Entry { event: Event::Epoch { timestamp, .. }, .. }) = until_epoch.last() {
            state.epoch_was(*timestamp);
            state.follow_the_writer();
            let history = read(history);
            // A copied one may be older than what is served, where another collector's clock is behind.
            let newer = *timestamp > state.published();
            let useful = history.last_epoch().filter(|epoch| is_of_use(epoch, state) && newer);
            if let Some(due) = useful.and_then(|epoch| Due::of(&history, epoch)) {
                next.send_replace(Some(Arc::new(due)));
            }
        }
    }
}

fn apply(history: &RwLock<History>, entries: &[Entry], state: &State) {
    let mut history = history.write().unwrap_or_else(PoisonError::into_inner);
    entries.iter().for_each(|entry| history.apply(entry));
    state.history_is(&history);
}

/// The figures of stale fees: of when they are, and of which served epoch.
#[derive(Default)]
struct Figures(Option<(UnixMs, Option<Epoch>)>);

impl Figures {
    /// Makes them anew, if it is time: ages drift, whether anything is heard or not. No wallet waits: this only reads the
    /// history, and whoever writes it, before whom other readers would have to wait, is the same thread.
    fn keep(&mut self, history: &RwLock<History>, state: &State) {
        let (now, served) = (state.clock().now(), state.served());
        let recent = |at: UnixMs| u128::from(now.0.abs_diff(at.0)) < FIGURES_EVERY.as_millis();
        let rushed = served.is_some_and(|epoch| now.secs() < epoch.timestamp.saturating_add(RUSH_S));
        if self.0.is_none_or(|(at, of)| of != served && !rushed || !recent(at)) {
            let _work = state.pulse().work(Part::History);
            state.figures_stale_fees(&read(history));
            self.0 = Some((now, served));
        }
    }
}

fn read(history: &RwLock<History>) -> std::sync::RwLockReadGuard<'_, History> {
    history.read().unwrap_or_else(PoisonError::into_inner)
}

/// Whether wallets still apply this epoch's snapshot, and this version knows how to cut it.
fn is_of_use(epoch: &Epoch, state: &State) -> bool {
    let known = epoch.rules.version == RULES_VERSION;
    state.rules_are_known(known);
    known && state.clock().now().secs().saturating_sub(epoch.timestamp) <= USELESS_AFTER_S
}
