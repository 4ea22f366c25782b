//! Owning every task: each is tracked and awaited with a deadline, and one that ends early ends the service.
//!
//! Stop travels one path: whoever wants the service to end cancels [`Tasks::stop`]; every task watches it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks that live and stop together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    reason: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Tasks {
    /// A group that ends at `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stop, reason: Arc::default() }
    }

    /// A group that shares this one's stop and its reason, but is awaited on its own.
    pub fn sibling(&self) -> Self {
        Self { tracker: TaskTracker::new(), ..self.clone() }
    }

    /// What every task watches.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a task. If it fails, panics, or ends before the stop, the service stops for that reason.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.watch(name, tokio::spawn(task));
    }

    /// Runs a task on a thread that may block, otherwise like [`spawn`](Self::spawn).
    pub fn spawn_blocking(&self, name: &'static str, task: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        self.watch(name, tokio::task::spawn_blocking(task));
    }

    /// Watches a task that somebody else has started.
    pub fn watch(&self, name: &'static str, task: JoinHandle<anyhow::Result<()>>) {
        let (stop, reason) = (self.stop.clone(), Arc::clone(&self.reason));
        self.tracker.spawn(async move {
            let early = match task.await {
                Ok(Ok(())) if stop.is_cancelled() => return,
                Ok(Ok(())) => anyhow!("{name} ended by itself"),
                Ok(Err(error)) => error.context(format!("{name} failed")),
                Err(_) => anyhow!("{name} panicked; this is a bug, please report it with the log"),
            };
            let mut reason = reason.lock().unwrap_or_else(PoisonError::into_inner);
            reason.get_or_insert(early);
            stop.cancel();
        });
    }

    /// Waits until all tasks have ended after a stop, for `patience` at most.
    pub async fn finish(&self, patience: Duration) {
        self.tracker.close();
        if tokio::time::timeout(patience, self.tracker.wait()).await.is_err() {
            tracing::warn!("{} tasks did not end within {patience:?}: abandoned", self.tracker.len());
        }
    }

    /// Why the service stopped by itself; `None` where it was asked to.
    pub fn take_reason(&self) -> Option<anyhow::Error> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
