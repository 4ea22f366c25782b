//! `/metrics`: the service in numbers, in Prometheus' text format.
//!
//! Every service has a recorder of its own. What the state of the service tells is read when somebody asks; what
//! happens between two looks (requests, epochs) is recorded where it happens, by handles that are there already. The
//! histograms' samples are gathered here until [`Metrics::upkeep`] sorts them into their buckets, so it must be called
//! every few seconds.

mod list;
mod requests;
mod scrape;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{Key, KeyName, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::Status;
use crate::gossip::{Clock, SystemClock, UnixMs};

use self::list::LIST;
pub use self::list::{ALL, Kind, Metric, PREFIX, table};
use self::requests::Requests;
pub use self::requests::{Answered, Shape};

/// How often [`Metrics::upkeep`] is due.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(2);

/// The stages in which an epoch's snapshots are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    View,
    Encode,
    Verify,
    Write,
}

impl Stage {
    /// Every stage, in the order of their declaration.
    pub const ALL: [Stage; 4] = [Stage::View, Stage::Encode, Stage::Verify, Stage::Write];

    pub fn name(self) -> &'static str {
        match self {
            Stage::View => "view",
            Stage::Encode => "encode",
            Stage::Verify => "verify",
            Stage::Write => "write",
        }
    }
}

/// See the module's words.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    requests: Requests,
    connections: ::metrics::Gauge,
    stages: [::metrics::Histogram; Stage::ALL.len()],
    published: ::metrics::Counter,
    failed: ::metrics::Counter,
    /// When the process started, give or take a moment. The system's own word is in files that a hardened service does
    /// not see (`ProcSubset=pid`).
    started: UnixMs,
    /// What counters of others' were at the last look: theirs begin anew when a run of the service does, ours never.
    before: Mutex<HashMap<Key, u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let recorder = recorder();
        let handle = recorder.handle();
        Self {
            requests: Requests::new(&recorder),
            connections: LIST.rgsd_http_connections.of(&recorder, []),
            stages: Stage::ALL.map(|stage| LIST.rgsd_epoch_stage_seconds.of(&recorder, [stage.name()])),
            published: LIST.rgsd_epochs_total.of(&recorder, ["published"]),
            failed: LIST.rgsd_epochs_total.of(&recorder, ["failed"]),
            started: SystemClock.now(),
            before: Mutex::default(),
            recorder,
            handle,
        }
    }
}

/// A recorder that knows the list.
fn recorder() -> PrometheusRecorder {
    let buckets = |builder: PrometheusBuilder, metric: &&Metric| {
        let matcher = Matcher::Full(metric.name.to_owned());
        builder.set_buckets_for_metric(matcher, metric.buckets).expect("the list's histograms have buckets")
    };
    let histograms = ALL.iter().filter(|metric| metric.kind == Kind::Histogram);
    let recorder = histograms.fold(PrometheusBuilder::new(), buckets).build_recorder();
    for metric in ALL {
        let (name, help) = (KeyName::from_const_str(metric.name), metric.help().into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        }
    }
    recorder
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, answered: &Answered) {
        self.requests.answered(&self.recorder, answered);
    }

    /// A client has connected; it is there until the value is dropped.
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections.increment(1.0);
        Connected(Arc::clone(self))
    }

    /// A stage of making an epoch's snapshots took so long.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].record(took.as_secs_f64());
    }

    /// An epoch's snapshots were published, or could not be this time.
    pub fn epoch(&self, published: bool) {
        if published { &self.published } else { &self.failed }.increment(1);
    }

    /// Sorts what was recorded into its buckets.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// All of it as text: what the service's status is now, and what has happened.
    pub fn render(&self, status: &Status) -> String {
        // One look at a time: two must not count the same growth twice.
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        scrape::Scrape { recorder: &self.recorder, before: &mut before }.take(status);
        drop(before);
        scrape::process(&self.recorder, self.started);
        self.handle.render()
    }
}

/// See [`Metrics::connected`].
pub struct Connected(Arc<Metrics>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.decrement(1.0);
    }
}
