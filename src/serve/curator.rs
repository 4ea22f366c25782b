//! The history's keeper: applies what the journal has committed, and hands on a view at every epoch.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::state::State;
use crate::history::{History, View};
use crate::journal::{Entry, Event, Rules};
use crate::snapshot::USELESS_AFTER_S;
use crate::tasks::Tasks;

/// The newest view that waits to be published. One that is not taken in time is overtaken by the next.
pub(super) type NextView = Option<Arc<View>>;

/// Starts the keeper, with the view of the newest epoch if its snapshot is not the published one (the service was
/// killed between the two). Ends when the journal does.
pub(super) fn start(
    history: History,
    commits: mpsc::Receiver<Vec<Entry>>,
    views: watch::Sender<NextView>,
    rules: Rules,
    state: &Arc<State>,
    tasks: &Tasks,
) {
    // The published snapshot may be of a journal that was moved away: its timestamp must not come again either.
    let published = state.latest().load().as_ref().map_or(0, |snapshot| snapshot.epoch.timestamp);
    state.epoch_was(published);
    if let Some(last) = history.last_epoch().copied() {
        state.epoch_was(last.timestamp);
        let age_s = state.clock().now().secs().saturating_sub(last.timestamp);
        if last.timestamp > published && last.rules == rules && age_s <= USELESS_AFTER_S {
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
                let view = history.last_epoch().and_then(|epoch| history.view(epoch));
                views.send_replace(view.map(Arc::new));
            }
        }
    }
}
