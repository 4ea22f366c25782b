//! Having the archive forget what the journal has forgotten: now and then, in the background, on a connection of its
//! own, so that shipping goes on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::gossip::{Clock, UnixMs};
use crate::journal::link::Connector;
use crate::journal::postgres::Retained;
use crate::journal::shelf::Shelf;
use crate::journal::{CollectorId, Reader, Term};

/// How often to look for days that are over, and how soon again after a failure.
const EVERY: Duration = Duration::from_secs(3600);
const AGAIN: Duration = Duration::from_secs(60);
/// How long copying what stays of them may take.
const PATIENCE: Duration = Duration::from_secs(1800);

/// See the module's words. Ends with its owner.
pub(super) struct Forgetter {
    connector: Connector,
    clock: Arc<dyn Clock>,
    retention: Duration,
    /// Lent to the task while it runs.
    shelf: Option<Shelf>,
    task: Option<JoinHandle<(Shelf, anyhow::Result<Option<Retained>>)>>,
    /// When the last try began, and how long after that the next one does.
    last: UnixMs,
    wait: Duration,
    /// How many tries failed, one after the other.
    failures: u32,
}

impl Forgetter {
    pub fn new(connector: &Connector, clock: Arc<dyn Clock>, retention: Duration, reader: Box<dyn Reader>) -> Self {
        let connector = Connector { timeout: PATIENCE, ..connector.clone() };
        Self {
            connector,
            clock,
            retention,
            shelf: Some(Shelf::new(reader)),
            task: None,
            last: UnixMs::default(),
            wait: EVERY,
            failures: 0,
        }
    }

    /// Starts forgetting if it is time and the last time is over. To be called while the archive works.
    pub async fn look(&mut self, term: Term, holder: CollectorId) {
        if self.task.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(task) = self.task.take()
            && let Ok((shelf, outcome)) = task.await
        // it would have panicked: nothing is forgotten until the next start
        {
            self.shelf = Some(shelf);
            self.ended(outcome);
        }
        let now = self.clock.now();
        self.last = self.last.min(now);
        if now.since(self.last) < self.wait {
            return;
        }
        let Some(mut shelf) = self.shelf.take() else { return };
        self.last = now;
        let connector = self.connector.clone();
        let before = UnixMs(now.0.saturating_sub(u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX)));
        self.task = Some(tokio::spawn(async move {
            let outcome = forget(&connector, &mut shelf, term, holder, before).await;
            (shelf, outcome)
        }));
    }

    /// A single failure is no news: when the archive goes away, the shipper says so.
    fn ended(&mut self, outcome: anyhow::Result<Option<Retained>>) {
        self.failures = if outcome.is_err() { self.failures.saturating_add(1) } else { 0 };
        self.wait = if self.failures == 1 { AGAIN } else { EVERY };
        match outcome {
            Ok(None | Some(Retained::Overtaken)) => {} // the shipper notices, too
            Ok(Some(Retained::Done { kept })) => {
                tracing::debug!(
                    kept,
                    "the archive has forgotten the days before the retention, but for what is current"
                );
            }
            Ok(Some(Retained::Busy)) => {
                tracing::debug!("long queries keep the archive from forgetting: tried again later");
            }
            Err(error) if self.failures == 1 => {
                tracing::debug!("the archive could not forget what is old: {error:#}")
            }
            Err(error) => {
                tracing::warn!("the archive cannot forget what is old, which is tried again later: {error:#}");
            }
        }
    }
}

impl Drop for Forgetter {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

/// The archive keeps of the days that are over what the journal still has. Nothing is done where no day is.
async fn forget(
    connector: &Connector,
    shelf: &mut Shelf,
    term: Term,
    holder: CollectorId,
    before: UnixMs,
) -> anyhow::Result<Option<Retained>> {
    let (mut archive, _wire) = connector.connect().await?;
    let Some(bound) = archive.retention_bound(before).await? else { return Ok(None) };
    let kept = shelf.numbers(bound).await?;
    archive.retain(term, holder, bound, before, &kept).await.map(Some)
}
