//! What the state of the service tells, read when somebody looks.

use std::collections::HashMap;

use ::metrics::Key;
use metrics_exporter_prometheus::PrometheusRecorder;

use super::super::{ArchiveStatus, BodySizes, EpochStatus, MessageCounts, PeerStatus, StaleFeeStatus, Status};
use super::list::{Counter, Gauge, LIST};
use super::requests::encoding_name;
use crate::gossip::{UnixMs, check};
use crate::journal::link::Role;
use crate::snapshot::{Coding, DeskStatus};
use crate::staleness::live::AGES;

/// One look.
pub(super) struct Scrape<'a> {
    pub recorder: &'a PrometheusRecorder,
    pub before: &'a mut HashMap<Key, u64>,
}

impl Scrape<'_> {
    /// Sets everything that `status` tells.
    pub fn take(&mut self, status: &Status) {
        self.set(&LIST.rgsd_build_info, [env!("CARGO_PKG_VERSION"), network(&status.network)], 1.0);
        self.set(&LIST.rgsd_ready, [], flag(status.ready));
        self.set(&LIST.rgsd_problem, [], flag(status.problem.is_some()));
        self.set(&LIST.rgsd_interval_seconds, [], number(status.metered.interval_s));
        self.set(&LIST.rgsd_left_out, [], number(status.left_out));
        self.messages(status);
        self.peers(&status.peers);
        self.set(&LIST.rgsd_proofs_required, [], flag(status.proofs.required));
        self.set(&LIST.rgsd_proofs_pending, [], number(status.proofs.pending));
        self.set(&LIST.rgsd_channels_closing, [], number(status.proofs.closing));
        if let Some(height) = status.proofs.chain_height {
            self.set(&LIST.rgsd_chain_height, [], height.into());
        }
        self.set(&LIST.rgsd_journal_last_seq, [], number(status.journal.last_seq.0));
        self.set(&LIST.rgsd_journal_entries, [], number(status.metered.journal_entries));
        self.set(&LIST.rgsd_storage_full, [], flag(status.metered.storage_full));
        if let Some(archive) = &status.archive {
            self.archive(archive);
        }
        if let Some(epoch) = &status.epoch {
            self.epoch(epoch);
        }
        self.stale_fees(&status.stale_fees);
        if let Some(sizes) = &status.snapshots {
            self.sizes("v1", &sizes.v1);
            self.sizes("v2", &sizes.v2);
        }
        self.deltas(&status.deltas);
    }

    fn messages(&mut self, status: &Status) {
        let MessageCounts { waiting, .. } = &status.messages;
        self.set(&LIST.rgsd_messages_waiting, [], number(*waiting));
        self.grow(&LIST.rgsd_fee_changes_total, [], status.metered.fee_changes);
        for kind in check::Kind::ALL {
            let ends = &status.metered.by_kind[kind as usize];
            let dropped = status.metered.dropped_by_kind[kind as usize];
            if kind == check::Kind::None && *ends == check::Ends::default() {
                continue; // hardly ever met
            }
            self.grow(&LIST.rgsd_messages_total, [kind.name(), "accepted"], ends.accepted);
            self.grow(&LIST.rgsd_messages_total, [kind.name(), "dropped"], dropped);
            for refusal in check::Refusal::ALL {
                let refused = ends.refused[refusal as usize];
                self.grow(&LIST.rgsd_messages_total, [kind.name(), refusal.name()], refused);
            }
        }
    }

    fn peers(&mut self, peers: &[PeerStatus]) {
        for state in ["connecting", "connected", "syncing", "waiting"] {
            // Why one waits is told by the status: it is whatever the network says.
            let count = peers.iter().filter(|peer| peer.state.split(':').next() == Some(state)).count();
            self.set(&LIST.rgsd_peers, [state], number(count as u64));
        }
    }

    fn archive(&mut self, archive: &ArchiveStatus) {
        for (role, name) in [(Role::Writer, "writer"), (Role::StandBy, "stand-by"), (Role::Replica, "replica")] {
            self.set(&LIST.rgsd_archive_role, [name], flag(role == archive.role));
        }
        self.set(&LIST.rgsd_archive_connected, [], flag(archive.connected));
        let known = |value: Option<u64>| value.map_or(f64::NAN, number);
        self.set(&LIST.rgsd_archive_last_seq, [], known(archive.last_seq.map(|seq| seq.0)));
        self.set(&LIST.rgsd_archive_lag_entries, [], known(archive.lag_entries));
        self.set(&LIST.rgsd_archive_lag_seconds, [], known(archive.lag_seconds));
    }

    fn epoch(&mut self, epoch: &EpochStatus) {
        self.set(&LIST.rgsd_epoch_timestamp_seconds, [], epoch.timestamp.into());
        self.set(&LIST.rgsd_epoch_age_seconds, [], number(epoch.age_seconds));
        self.set(&LIST.rgsd_epoch_channels, [], epoch.channels.into());
        self.set(&LIST.rgsd_epoch_nodes, [], epoch.nodes.into());
        self.set(&LIST.rgsd_epoch_directions, [], epoch.directions.into());
    }

    /// One that was known may be no more: each is set at every look.
    fn stale_fees(&self, stale_fees: &StaleFeeStatus) {
        let known = |share: Option<f64>| share.unwrap_or(f64::NAN);
        LIST.rgsd_stale_fee_share.bare(self.recorder).set(known(stale_fees.share));
        for age in AGES.map(|age| age.name) {
            self.set(&LIST.rgsd_stale_fee_share, [age], known(stale_fees.of_age(age)));
        }
    }

    /// Whatever is not compressed yet has the size that it had before, for some seconds.
    fn sizes(&mut self, version: &'static str, sizes: &BodySizes) {
        for (form, sizes) in [("full", &sizes.full), ("returning", &sizes.returning)] {
            let coded = [(Coding::Zstd, sizes.zstd), (Coding::Gzip, sizes.gzip), (Coding::Brotli, sizes.br)];
            let coded = coded.into_iter().filter_map(|(coding, bytes)| Some((Some(coding), bytes?)));
            for (encoding, bytes) in coded.chain([(None, sizes.identity)]) {
                self.set(&LIST.rgsd_snapshot_bytes, [version, form, encoding_name(encoding)], number(bytes as u64));
            }
        }
    }

    fn deltas(&mut self, deltas: &DeskStatus) {
        self.set(&LIST.rgsd_delta_epochs, [], number(deltas.known_epochs as u64));
        self.set(&LIST.rgsd_deltas_cached, [], number(deltas.cached));
        self.set(&LIST.rgsd_deltas_cached_bytes, [], number(deltas.cached_bytes));
        self.set(&LIST.rgsd_deltas_held_bytes, [], number(deltas.held_bytes as u64));
        self.grow(&LIST.rgsd_deltas_computed_total, [], deltas.computed);
        self.grow(&LIST.rgsd_deltas_late_total, [], deltas.late);
    }

    fn set<const LABELS: usize>(&self, gauge: &Gauge<LABELS>, values: [&'static str; LABELS], to: f64) {
        gauge.of(self.recorder, values).set(to);
    }

    /// Lets a counter grow by what the one behind it grew since the last look. That one may have begun anew.
    fn grow<const LABELS: usize>(&mut self, counter: &Counter<LABELS>, values: [&'static str; LABELS], now: u64) {
        let before = self.before.insert(counter.0.key(values), now).unwrap_or(0);
        counter.of(self.recorder, values).increment(now.checked_sub(before).unwrap_or(now));
    }
}

/// Sets what the system tells of this process: its own, so that there is nothing for which it would wait.
pub(super) fn process(recorder: &PrometheusRecorder, started: UnixMs) {
    let told = metrics_process::collector::collect();
    let set = |gauge: &Gauge<0>, value: Option<u64>| {
        if let Some(value) = value {
            gauge.of(recorder, []).set(number(value));
        }
    };
    set(&LIST.process_start_time_seconds, Some(started.secs().into()));
    set(&LIST.process_resident_memory_bytes, told.resident_memory_bytes);
    set(&LIST.process_virtual_memory_bytes, told.virtual_memory_bytes);
    set(&LIST.process_virtual_memory_max_bytes, told.virtual_memory_max_bytes);
    set(&LIST.process_open_fds, told.open_fds);
    set(&LIST.process_max_fds, told.max_fds);
    set(&LIST.process_threads, told.threads);
    if let Some(seconds) = told.cpu_seconds_total {
        LIST.process_cpu_seconds_total.of(recorder, []).absolute(seconds as u64);
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// As exact as Prometheus has it: it knows no other numbers.
fn number(value: u64) -> f64 {
    value as f64
}

/// The network's name, of those that there are.
fn network(name: &str) -> &'static str {
    ["bitcoin", "testnet", "testnet4", "signet", "regtest"]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("other")
}
