//! The list of metrics: each is declared here, once. Its doc comment is its help text, its unit is in its name, and how
//! many labels it has is a part of its type. HELP and TYPE lines, `docs/metrics.md` and the tests of the dashboards are
//! made from it.
//!
//! The values of labels are texts of this program (`&'static str`), never texts from outside: nobody out there can make
//! new series.

use ::metrics::{Key, Label, Level, Metadata, Recorder};

/// The start of all names but those of the process, which have Prometheus' own.
pub const PREFIX: &str = "rgsd_";

/// What can be done with a metric, in Prometheus' words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric, as it is declared.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    help: &'static str,
    pub labels: &'static [&'static str],
    /// There is a series without the labels, too, which is not the others' sum.
    pub bare: bool,
    /// Upper bounds, of a histogram's.
    pub buckets: &'static [f64],
}

impl Metric {
    /// What it tells, in words.
    pub fn help(&self) -> String {
        self.help.trim().to_owned()
    }

    pub(super) fn key<const LABELS: usize>(&self, values: [&'static str; LABELS]) -> Key {
        let labels = self.labels.iter().zip(values).map(|(name, value)| Label::from_static_parts(name, value));
        Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }
}

/// A metric with so many labels that only ever grows.
#[derive(Debug)]
pub struct Counter<const LABELS: usize>(pub Metric);

/// A metric with so many labels that may take any value.
#[derive(Debug)]
pub struct Gauge<const LABELS: usize>(pub Metric);

/// A metric with so many labels that tells how values spread.
#[derive(Debug)]
pub struct Histogram<const LABELS: usize>(pub Metric);

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, None);

impl<const LABELS: usize> Counter<LABELS> {
    /// The handle on one series; the same one whenever it is asked for.
    pub(super) fn of(&self, recorder: &impl Recorder, values: [&'static str; LABELS]) -> ::metrics::Counter {
        recorder.register_counter(&self.0.key(values), &METADATA)
    }
}

impl<const LABELS: usize> Gauge<LABELS> {
    /// The handle on one series; the same one whenever it is asked for.
    pub(super) fn of(&self, recorder: &impl Recorder, values: [&'static str; LABELS]) -> ::metrics::Gauge {
        recorder.register_gauge(&self.0.key(values), &METADATA)
    }

    /// The handle on the series without labels, where one is declared.
    pub(super) fn bare(&self, recorder: &impl Recorder) -> ::metrics::Gauge {
        recorder.register_gauge(&Key::from_static_name(self.0.name), &METADATA)
    }
}

impl<const LABELS: usize> Histogram<LABELS> {
    /// The handle on one series; the same one whenever it is asked for.
    pub(super) fn of(&self, recorder: &impl Recorder, values: [&'static str; LABELS]) -> ::metrics::Histogram {
        recorder.register_histogram(&self.0.key(values), &METADATA)
    }
}

/// How many names these are.
const fn count(labels: &[&str]) -> usize {
    labels.len()
}

macro_rules! declare {
    ($(
        $(#[doc = $help:literal])+
        $name:ident: $kind:ident $([$($label:ident),+])? $(and $bare:ident)? $(in $buckets:expr)?;
    )+) => {
        /// All metrics.
        #[derive(Debug)]
        pub struct List {
            $( $(#[doc = $help])+ pub $name: $kind<{ count(&[$($(stringify!($label)),+)?]) }>, )+
        }

        /// All metrics, with what is said of them.
        pub static LIST: List = List {
            $( $name: $kind(Metric {
                name: stringify!($name),
                kind: Kind::$kind,
                help: concat!($($help),+),
                labels: &[$($(stringify!($label)),+)?],
                bare: declare!(@bare $($bare)?),
                buckets: declare!(@buckets $($buckets)?),
            }), )+
        };

        /// The same, one after the other.
        pub static ALL: &[&Metric] = &[$( &LIST.$name.0 ),+];
    };
    (@bare) => { false };
    (@bare bare) => { true };
    (@buckets) => { &[] };
    (@buckets $buckets:expr) => { $buckets };
}

/// Seconds: a request is answered from memory, or a delta is made for it within one.
const OF_REQUESTS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Seconds: a mainnet epoch takes a few of them on two slow cores, a small one milliseconds.
const OF_STAGES: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

declare! {
    /// What is running: its version, and the network that it is for; always 1.
    rgsd_build_info: Gauge[version, network];
    /// Whether wallets get a snapshot: 1, or 0 before the first.
    rgsd_ready: Gauge;
    /// Whether there is something that an operator should know: 1 or 0. /status.json has the sentence.
    rgsd_problem: Gauge;
    /// How far apart epochs are cut, as configured.
    rgsd_interval_seconds: Gauge;

    /// Gossip messages that came from peers since the start, by kind and by what became of them: accepted, dropped
    /// because a queue or the disk was full, or the reason why they were refused. Those that wait are not among them.
    rgsd_messages_total: Counter[kind, result];
    /// Gossip messages that wait for a channel's funding proof.
    rgsd_messages_waiting: Gauge;
    /// Updates that changed what a direction charges, in what the journal took since the start. Keep-alives change
    /// nothing.
    rgsd_fee_changes_total: Counter;
    /// Configured peers by how their connection fares: connecting, connected, syncing (telling everything they know),
    /// or waiting for the next try.
    rgsd_peers: Gauge[state];

    /// Whether channels are proven by a bitcoind: 1, or 0 where none is configured.
    rgsd_proofs_required: Gauge;
    /// Channel announcements that wait for their funding proof.
    rgsd_proofs_pending: Gauge;
    /// Up to which block the chain was looked through for channels that end. Absent before the first look.
    rgsd_chain_height: Gauge;
    /// Channels whose funding output was spent, perhaps by a splice, and that stay for now.
    rgsd_channels_closing: Gauge;

    /// The last entry of the journal that is durable.
    rgsd_journal_last_seq: Gauge;
    /// How many entries the journal holds.
    rgsd_journal_entries: Gauge;
    /// Whether the disk has no room for the journal: 1 while nothing new is accepted, else 0.
    rgsd_storage_full: Gauge;

    /// What this service is to the archive: 1 for its role, 0 for the others. Absent, as all of the archive's, where
    /// none is configured.
    rgsd_archive_role: Gauge[role];
    /// Whether the last thing asked of the archive worked: 1 or 0.
    rgsd_archive_connected: Gauge;
    /// The last entry of the archive, as far as known. NaN before it was reached.
    rgsd_archive_last_seq: Gauge;
    /// How many entries the writer has yet to ship, or a follower to copy. NaN before the archive was reached.
    rgsd_archive_lag_entries: Gauge;
    /// How old the oldest entry is that is yet to be shipped or copied; for a follower that is cut off, since when.
    /// NaN before the archive was reached.
    rgsd_archive_lag_seconds: Gauge;

    /// When the served epoch was cut, in unix time. Absent, as all of the epoch's, before the first.
    rgsd_epoch_timestamp_seconds: Gauge;
    /// How old the served epoch is.
    rgsd_epoch_age_seconds: Gauge;
    /// Channels in the served snapshot.
    rgsd_epoch_channels: Gauge;
    /// Nodes in the served snapshot.
    rgsd_epoch_nodes: Gauge;
    /// Directions of channels in the served snapshot.
    rgsd_epoch_directions: Gauge;
    /// How much of the network a wallet would pay too little for now: the share of directions, by their channels'
    /// capacity, whose fee as it was told is below the one in force, for a payment of 100,000 sat. Without a label: a
    /// wallet that synced with the served epoch. By age: one that synced 1h, 6h, 24h, or 3d ago. NaN where no epoch is
    /// known that such a wallet would have.
    rgsd_stale_fee_share: Gauge[age] and bare;
    /// Channels and nodes' details that the last snapshot lacks, because the official client read them otherwise than
    /// they are.
    rgsd_left_out: Gauge;
    /// Publications of epochs since the start, by result: published, or failed, which is tried again while the last
    /// good snapshot stays.
    rgsd_epochs_total: Counter[result];
    /// How long each stage of making an epoch's snapshots took: view (from the history), encode, verify (by the
    /// official client), write (the files).
    rgsd_epoch_stage_seconds: Histogram[stage] in OF_STAGES;
    /// The served snapshots' sizes: by version of the format, by form (full for new wallets, returning for those that
    /// name an unknown time), and by encoding.
    rgsd_snapshot_bytes: Gauge[version, form, encoding];

    /// Epochs that a delta to the served one can begin with.
    rgsd_delta_epochs: Gauge;
    /// Deltas to the served epoch that are kept.
    rgsd_deltas_cached: Gauge;
    /// What they take.
    rgsd_deltas_cached_bytes: Gauge;
    /// What all deltas take that somebody holds: those that are kept, and those that are still being sent.
    rgsd_deltas_held_bytes: Gauge;
    /// Deltas that were computed since the start.
    rgsd_deltas_computed_total: Counter;
    /// Requests since the start whose delta was not ready in time: they were answered with the whole snapshot.
    rgsd_deltas_late_total: Counter;

    /// Requests since the start: by what was asked for, by HTTP status, and by the answer's encoding.
    rgsd_http_requests_total: Counter[shape, status, encoding];
    /// How long it took until an answer was ready to be sent, by what was asked for.
    rgsd_http_request_seconds: Histogram[shape] in OF_REQUESTS;
    /// What the bodies of answers took, by what was asked for.
    rgsd_http_response_bytes_total: Counter[shape];
    /// Connections that are open.
    rgsd_http_connections: Gauge;

    /// When the process started, in unix time.
    process_start_time_seconds: Gauge;
    /// User and system CPU time that was spent, in whole seconds.
    process_cpu_seconds_total: Counter;
    /// Resident memory.
    process_resident_memory_bytes: Gauge;
    /// Virtual memory.
    process_virtual_memory_bytes: Gauge;
    /// How much virtual memory there may be; 0 where there is no limit.
    process_virtual_memory_max_bytes: Gauge;
    /// Open file descriptors.
    process_open_fds: Gauge;
    /// How many file descriptors may be open.
    process_max_fds: Gauge;
    /// Threads.
    process_threads: Gauge;
}

/// The list for people: the table of `docs/metrics.md`.
pub fn table() -> String {
    let row = |metric: &&Metric| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ") + if metric.bare { ", or none" } else { "" };
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("| `{}` | {kind} | {} | {} |\n", metric.name, labels, metric.help())
    };
    let rows: String = ALL.iter().map(row).collect();
    format!("| metric | kind | labels | what it tells |\n|---|---|---|---|\n{rows}")
}
