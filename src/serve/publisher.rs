//! The publisher: makes the snapshots of each epoch, has the official client check it, writes the files, and only then
//! hands it to wallets. If any of it fails, the last good snapshot stays.

use std::sync::{Arc, RwLock, Weak};
use std::time::{Duration, Instant};

use anyhow::Context;
use bitcoin::Network;
use tokio::sync::watch;

use super::curator::{Due, Next};
use super::state::State;
use crate::gossip::{Clock, SystemClock};
use crate::history::History;
use crate::http::metrics::Stage;
use crate::snapshot::{Cut, Folder, LeftOut, Served, cut};
use crate::tasks::{Tasks, timers};

/// When to try again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Starts the publisher. Ends when the history does.
pub(super) fn start(
    mut matters: watch::Receiver<Next>,
    history: Weak<RwLock<History>>,
    folder: Folder,
    network: Network,
    state: Arc<State>,
    tasks: &Tasks,
) {
    let publisher = Publisher { history, folder, network, state };
    tasks.spawn_blocking("the publisher", move || {
        let (timers, mut failed) = (timers()?, false);
        while timers.block_on(next(&mut matters, failed)) {
            let Some(due) = matters.borrow_and_update().clone() else { continue };
            let published = publisher.publish(&due);
            if let Err(error) = &published {
                publisher.state.metrics().epoch(false);
                let epoch = due.matter.view.epoch.timestamp;
                tracing::error!("no snapshot of epoch {epoch}, the last one stays: {error:#}");
            }
            failed = published.is_err();
            publisher.state.publication_was(published.err().map(|error| format!("{error:#}")));
        }
        Ok(())
    });
}

/// Waits for a newer epoch, or, after a failure, until the same one is worth another try (the disk may have had no
/// room). Returns whether there is something to do: no more once the history has ended.
async fn next(matters: &mut watch::Receiver<Next>, failed: bool) -> bool {
    if !failed {
        return matters.changed().await.is_ok();
    }
    // No newer one by then: the last one again.
    tokio::time::timeout(RETRY_AFTER, matters.changed()).await.map_or(true, |changed| changed.is_ok())
}

struct Publisher {
    /// What deltas are read from.
    history: Weak<RwLock<History>>,
    folder: Folder,
    network: Network,
    state: Arc<State>,
}

impl Publisher {
    fn publish(&self, due: &Due) -> anyhow::Result<()> {
        let Due { matter, viewed_in } = due;
        // The official client holds updates against the system's clock, whatever clock the service goes by.
        let now_s = SystemClock.now().secs();
        let desk = self.state.desk();
        let lacked = desk.latest().as_ref().map_or_else(LeftOut::default, |served| served.snapshot.left_out.clone());
        let Cut { snapshot, left_out, encoded_in, verified_in } =
            cut(matter.clone(), &lacked, self.network, now_s)
                .with_context(|| format!("the snapshot of epoch {}", matter.view.epoch.timestamp))?;
        if !left_out.is_empty() {
            let (channels, nodes) = (&left_out.channels, &left_out.nodes);
            tracing::warn!(?channels, ?nodes, "left out, because official clients read them otherwise than they are");
        }
        if matter.view.epoch.timestamp <= self.state.published() {
            return Ok(()); // This run was overtaken, and abandoned because it did not end in time: another one goes on.
        }
        self.state.left_out(left_out.channels.len() + left_out.nodes.len());
        let started = Instant::now();
        self.folder.publish(&snapshot)?;
        let written_in = started.elapsed();
        let counts = snapshot.counts;
        tracing::info!(
            epoch = snapshot.epoch.timestamp,
            seq = snapshot.epoch.seq.0,
            channels = counts.channels,
            nodes = counts.nodes,
            departed = matter.departed.len(),
            v1_bytes = snapshot.full.v1.len(),
            v2_bytes = snapshot.full.v2.len(),
            view_ms = ms(*viewed_in),
            encode_ms = ms(encoded_in),
            verify_ms = ms(verified_in),
            write_ms = ms(written_in),
            "published"
        );
        self.state.serves(&snapshot);
        let metrics = self.state.metrics();
        metrics.epoch(true);
        metrics.stage(Stage::View, *viewed_in);
        metrics.stage(Stage::Encode, encoded_in);
        metrics.stage(Stage::Verify, verified_in);
        metrics.stage(Stage::Write, written_in);
        let uploaded = snapshot.clone();
        desk.serve(Served::new(snapshot, matter.since.clone(), self.history.clone()));
        self.state.hand_out(&self.folder, &uploaded);
        Ok(())
    }
}

/// For people: rounded.
fn ms(took: Duration) -> u64 {
    took.as_secs_f64().mul_add(1_000.0, 0.5) as u64
}

#[cfg(test)]
mod tests;
