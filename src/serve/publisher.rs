//! The publisher: makes a snapshot of each view, has the official client check it, writes the files, and only then
//! hands it to wallets. If any of it fails, the last good snapshot stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bitcoin::Network;
use tokio::sync::watch;

use super::curator::NextView;
use super::state::State;
use crate::gossip::{Clock, SystemClock};
use crate::history::View;
use crate::snapshot::{Cut, Folder, cut};
use crate::tasks::Tasks;

/// When to try again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Starts the publisher. Ends when the history does.
pub(super) fn start(
    mut views: watch::Receiver<NextView>,
    folder: Folder,
    network: Network,
    state: Arc<State>,
    tasks: &Tasks,
) {
    let handle = tokio::runtime::Handle::current();
    tasks.spawn_blocking("the publisher", move || {
        let mut failed = false;
        while handle.block_on(next(&mut views, failed)) {
            let Some(view) = views.borrow_and_update().clone() else { continue };
            let published = publish(&view, &folder, network, &state);
            if let Err(error) = &published {
                tracing::error!("no snapshot of epoch {}, the last one stays: {error:#}", view.epoch.timestamp);
            }
            failed = published.is_err();
            state.publication_was(published.err().map(|error| format!("{error:#}")));
        }
        Ok(())
    });
}

/// Waits for a newer view, or, after a failure, until the same one is worth another try (the disk may have had no
/// room). Returns whether there is something to do: no more once the history has ended.
async fn next(views: &mut watch::Receiver<NextView>, failed: bool) -> bool {
    if !failed {
        return views.changed().await.is_ok();
    }
    // No newer view by then: the last one again.
    tokio::time::timeout(RETRY_AFTER, views.changed()).await.map_or(true, |changed| changed.is_ok())
}

fn publish(view: &View, folder: &Folder, network: Network, state: &State) -> anyhow::Result<()> {
    let started = Instant::now();
    // The official client holds updates against the system's clock, whatever clock the service goes by.
    let Cut { snapshot, left_out } = cut(view.clone(), network, SystemClock.now().secs())
        .with_context(|| format!("the snapshot of epoch {}", view.epoch.timestamp))?;
    let checked = started.elapsed();
    if !left_out.is_empty() {
        let (channels, nodes) = (&left_out.channels, &left_out.nodes);
        tracing::warn!(?channels, ?nodes, "left out, because official clients read them otherwise than they are");
    }
    state.left_out(left_out.channels.len() + left_out.nodes.len());
    folder.publish(&snapshot)?;
    let counts = snapshot.counts;
    tracing::info!(
        epoch = snapshot.epoch.timestamp,
        seq = snapshot.epoch.seq.0,
        channels = counts.channels,
        nodes = counts.nodes,
        v1_bytes = snapshot.v1.len(),
        v2_bytes = snapshot.v2.len(),
        "published: made and checked in {checked:.0?}, written in {:.0?}",
        started.elapsed() - checked
    );
    state.latest().store(Some(Arc::new(snapshot)));
    Ok(())
}
