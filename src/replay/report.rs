//! What a replay says: a bar while it runs, and at the end what was read, refused and made.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::run::Outcome;
use crate::cli;
use crate::gossip::check::Signatures;
use crate::recording::Survey;
use crate::snapshot::Cut;
use crate::text::rfc_3339;

/// What a signal leaves to say.
pub(crate) const INTERRUPTED: &str = "interrupted, nothing is left of it";

/// A bar on a terminal, nothing elsewhere; and the way for a signal to end what is under way.
pub struct Progress {
    stop: CancellationToken,
    bar: Mutex<Option<ProgressBar>>,
    consumed: Mutex<Option<Arc<AtomicU64>>>,
    since: AtomicU64,
}

/// After so many records the bar moves.
const RECORDS_A_MOVE: u64 = 1024;

impl Progress {
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, bar: Mutex::default(), consumed: Mutex::default(), since: AtomicU64::default() }
    }

    /// A file is read: so many bytes, where that is known, of which `consumed` are done.
    pub fn reading(&self, name: &str, size: Option<u64>, consumed: Arc<AtomicU64>) {
        let style = match size {
            Some(_) => "reading {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
            None => "reading {msg} {spinner} {bytes} {bytes_per_sec}",
        };
        let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        self.set(bar.with_message(name.to_owned()), style);
        *lock(&self.consumed) = Some(consumed);
    }

    /// What a signal cancels.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether there was a signal.
    pub fn is_interrupted(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Another record is read; an error once there was a signal.
    pub fn read<T>(&self, record: io::Result<T>) -> io::Result<T> {
        if self.is_interrupted() {
            return Err(io::Error::other(INTERRUPTED));
        }
        if self.since.fetch_add(1, Ordering::Relaxed).is_multiple_of(RECORDS_A_MOVE)
            && let (Some(bar), Some(consumed)) = (&*lock(&self.bar), &*lock(&self.consumed))
        {
            bar.set_position(consumed.load(Ordering::Relaxed));
        }
        record
    }

    /// So many messages are replayed.
    pub fn replaying(&self, messages: usize) {
        self.working("replaying", messages);
    }

    /// So many steps of something begin.
    pub fn working(&self, what: &'static str, steps: usize) {
        self.set(
            ProgressBar::new(steps as u64).with_message(what),
            "{msg} {wide_bar} {pos}/{len} {per_sec}, {eta} left",
        );
    }

    /// So many more are done.
    pub fn told(&self, messages: u64) {
        if let Some(bar) = &*lock(&self.bar) {
            bar.inc(messages);
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = lock(&self.bar).take() {
            bar.finish_and_clear();
        }
    }

    fn set(&self, bar: ProgressBar, style: &str) {
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.end();
        *lock(&self.bar) = Some(bar.with_style(style));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a replay came to.
#[derive(Serialize)]
pub struct Report {
    pub recordings: Vec<Recording>,
    pub messages: Messages,
    /// Whether signatures were `checked`, or the recorder `trusted`.
    pub signatures: &'static str,
    pub snapshots: Vec<Made>,
    /// The directory.
    pub out: String,
    pub seconds: f64,
}

/// One recording.
#[derive(Serialize)]
pub struct Recording {
    #[serde(flatten)]
    pub survey: Survey,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// What became of the messages.
#[derive(Serialize)]
pub struct Messages {
    pub received: u64,
    pub accepted: u64,
    /// By reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Records of later than the last snapshot, which were left alone.
    pub later: u64,
}

/// One snapshot.
#[derive(Serialize)]
pub struct Made {
    pub timestamp: u32,
    pub time: String,
    pub channels: u32,
    pub nodes: u32,
    pub v1_bytes: usize,
    pub v2_bytes: usize,
    /// Channels, and nodes' details, that the official client reads otherwise than they are.
    pub left_out: usize,
}

impl Made {
    pub fn of(Cut { snapshot, left_out, .. }: &Cut) -> Self {
        Self {
            timestamp: snapshot.epoch.timestamp,
            time: rfc_3339(snapshot.epoch.timestamp),
            channels: snapshot.counts.channels,
            nodes: snapshot.counts.nodes,
            v1_bytes: snapshot.full.v1.len(),
            v2_bytes: snapshot.full.v2.len(),
            left_out: left_out.channels.len() + left_out.nodes.len(),
        }
    }
}

impl Report {
    pub fn new(
        surveys: Vec<Survey>,
        outcome: &Outcome,
        signatures: Signatures,
        snapshots: Vec<Made>,
        out: String,
        took: Duration,
    ) -> Self {
        let Outcome { tally, later } = outcome;
        let recording = |survey: Survey| Recording {
            from: survey.span.map(|span| rfc_3339(span.0.secs())),
            to: survey.span.map(|span| rfc_3339(span.1.secs())),
            survey,
        };
        let refused = tally.refused.iter().map(|(reason, count)| (reason.name(), *count)).collect();
        Self {
            recordings: surveys.into_iter().map(recording).collect(),
            messages: Messages { received: tally.received, accepted: tally.accepted, refused, later: *later },
            signatures: match signatures {
                Signatures::Checked => "checked",
                Signatures::Trusted => "trusted",
            },
            snapshots,
            out,
            seconds: took.as_secs_f64(),
        }
    }

    /// Prints to standard output.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        cli::print(&if json { serde_json::to_string_pretty(self)? + "\n" } else { self.text() })
    }

    fn text(&self) -> String {
        let mut text: String = self.recordings.iter().map(Recording::text).collect();
        let Messages { received, accepted, refused, later } = &self.messages;
        text += &format!("{received} messages, {accepted} accepted");
        if !refused.is_empty() {
            text += &format!("; refused: {}", counts(refused));
        }
        text += match self.signatures {
            "trusted" => "; their signatures were not checked (--trust)\n",
            _ => "; every signature was checked\n",
        };
        if *later > 0 {
            text += &format!("{later} more are of later than the last snapshot\n");
        }
        for made in &self.snapshots {
            let Made { timestamp, time, channels, nodes, v1_bytes, v2_bytes, left_out } = made;
            text += &format!(
                "{timestamp} ({time}): {channels} channels, {nodes} nodes; v1 {v1_bytes} bytes, v2 {v2_bytes} bytes"
            );
            if *left_out > 0 {
                text += &format!("; {left_out} left out, because official clients read them otherwise than they are");
            }
            text += "\n";
        }
        text + &format!("{}: journal.sqlite and snapshots/, after {:.1} s\n", self.out, self.seconds)
    }
}

impl Recording {
    fn text(&self) -> String {
        let survey = &self.survey;
        let mut text = format!("{}: {}", survey.name, counts(&survey.records));
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            text += &format!("; from {from} to {to}");
        }
        if survey.deleted > 0 {
            text += &format!("; {} of the records are marked as deleted", survey.deleted);
        }
        text += "\n";
        for (reason, damaged) in &survey.damage {
            text += &format!("  damaged: {} {reason}, the first at byte {}\n", damaged.count, damaged.first_offset);
        }
        if let Some(offset) = survey.torn_at {
            text += &format!("  it ends within a record, at byte {offset}: it may still be written\n");
        }
        text
    }
}

fn counts(counts: &BTreeMap<&'static str, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}
