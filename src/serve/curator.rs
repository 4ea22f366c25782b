//! The history's keeper: applies what the journal has committed, and hands on a view at every epoch.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::state::State;
use crate::history::{History, View};
use crate::journal::{Entry, Epoch, Event, Rules};
use crate::snapshot::{RULES_VERSION, USELESS_AFTER_S};
use crate::tasks::Tasks;

/// The newest view that waits to be published. One that is not taken in time is overtaken by the next.
pub(super) type NextView = Option<Arc<View>>;

/// Starts the keeper, with the view of the newest epoch if its snapshot is not the published one (the service was
/// killed between the two). Ends when the journal does.
///
/// Where epochs are cut `by` this collector, one that was cut by other rules is not published again: its own comes
/// soon. Whoever follows publishes every epoch that this version knows how to cut, under the epoch's own rules.
pub(super) fn start(
    history: History,
    commits: mpsc::Receiver<Vec<Entry>>,
    views: watch::Sender<NextView>,
    by: Option<Rules>,
    state: &Arc<State>,
    tasks: &Tasks,
) {
    // The published snapshot may be of a journal that was moved away: its timestamp must not come again either.
    let published = state.latest().load().as_ref().map_or(0, |snapshot| snapshot.epoch.timestamp);
    state.epoch_was(published);
    if let Some(last) = history.last_epoch().copied() {
        state.epoch_was(last.timestamp);
        let ours = by.is_none_or(|by| by == last.rules);
        if last.timestamp > published && ours && is_of_use(&last, state) {
            views.send_replace(history.view(&last).map(Arc::new));
        }
    }
    let state = Arc::clone(state);
    tasks.spawn_blocking("the history", move || {
        curate(history, commits, &views, &state);
        Ok(())
    });
}

fn curate(
    mut history: History,
    mut commits: mpsc::Receiver<Vec<Entry>>,
    views: &watch::Sender<NextView>,
    state: &State,
) {
    while let Some(entries) = commits.blocking_recv() {
        for entry in entries {
            history.apply(&entry);
            if let Event::Epoch { timestamp, .. } = entry.event {
                state.epoch_was(timestamp);
                // A copied one may be older than what is served, where another collector's clock is behind.
                let published = state.latest().load().as_ref().map_or(0, |snapshot| snapshot.epoch.timestamp);
                let useful = history.last_epoch().filter(|epoch| is_of_use(epoch, state) && timestamp > published);
                if let Some(view) = useful.and_then(|epoch| history.view(epoch)) {
                    views.send_replace(Some(Arc::new(view)));
                }
            }
        }
    }
}

/// Whether wallets still apply this epoch's snapshot, and this version knows how to cut it.
fn is_of_use(epoch: &Epoch, state: &State) -> bool {
    let known = epoch.rules.version == RULES_VERSION;
    state.rules_are_known(known);
    known && state.clock().now().secs().saturating_sub(epoch.timestamp) <= USELESS_AFTER_S
}
