//! Owning every task: each is tracked and awaited with a deadline, and one that ends early ends the service.
//!
//! Stop travels one path: whoever wants the service to end cancels [`Tasks::stop`]; every task watches it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::runtime::{Builder, Runtime};
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

/// What a thread that may block waits with, for a time at most: `block_on` this, and make the timer inside. The service's
/// own runtime will not do, because its timers panic once it is shut down, which a thread that was abandoned lives to see.
pub fn timers() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_time().build().context("cannot make a timer")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_outlives_the_service_waits_without_a_panic() {
        let service = Runtime::new().expect("a runtime");
        let (begins, begun) = mpsc::channel();
        let (is_shut_down, shut_down) = mpsc::channel();
        let (waited, outcome) = mpsc::channel();
        service.spawn_blocking(move || {
            let timers = timers().expect("a timer");
            begins.send(()).expect("the test waits");
            shut_down.recv().expect("the test goes on");
            let wait = async { tokio::time::timeout(Duration::from_millis(1), pending::<()>()).await };
            let timed_out = timers.block_on(wait);
            waited.send(timed_out.is_err()).expect("the test waits");
        });
        begun.recv().expect("it runs");
        service.shutdown_background();
        is_shut_down.send(()).expect("it waits");
        assert_eq!(outcome.recv(), Ok(true));
    }
}
