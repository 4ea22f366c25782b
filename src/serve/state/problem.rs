//! What an operator should know, in one sentence: the most urgent first.

use std::time::Duration;

use super::State;
use crate::gossip::funding::ProverStatus;
use crate::gossip::{PeerState, UnixMs, collector};
use crate::journal::link::{Health, Role};
use crate::snapshot::Blocked;

/// A snapshot is late when the next one is overdue by this much.
const LATE_AFTER: Duration = Duration::from_secs(30);
/// A writer gives several signs of life a lease; by so much more than two, somebody should have taken over.
const SILENT_AFTER: Duration = Duration::from_secs(60);

impl State {
    /// See the module's words.
    pub(super) fn problem(
        &self,
        collector: &collector::Status,
        prover: Option<&ProverStatus>,
        archive: Option<&Health>,
        now: UnixMs,
    ) -> Option<String> {
        if self.has_no_room() {
            return Some("the disk is full: nothing new is accepted until there is room in data_dir".into());
        }
        let told = self.told();
        if let Some(error) = &told.publication {
            return Some(format!("the last good snapshot stays up: {error}"));
        }
        let (blocked, strange_rules) = (told.blocked, told.strange_rules);
        drop(told);
        if let Some(trouble) = prover.and_then(ProverStatus::trouble) {
            return Some(trouble);
        }
        if strange_rules {
            return Some(
                "the archive's writer makes snapshots by rules that this rgsd does not know: update it".into(),
            );
        }
        match archive.map(|health| health.role) {
            None | Some(Role::Writer) => self.problem_of_the_writer(collector, blocked, now),
            Some(Role::StandBy) => self.problem_of_the_collector(collector),
            Some(Role::Replica) => None,
        }
        .or_else(|| archive.and_then(|health| self.problem_of_the_archive(health)))
        .or_else(|| self.problem_of_the_uploads())
    }

    fn problem_of_the_writer(
        &self,
        collector: &collector::Status,
        blocked: Option<Blocked>,
        now: UnixMs,
    ) -> Option<String> {
        if let Some(blocked @ (Blocked::Deaf | Blocked::ClockBehind { .. })) = blocked {
            return Some(blocked.to_string());
        }
        if let Some(problem) = self.problem_of_the_collector(collector) {
            return Some(problem);
        }
        if let Some(blocked) = blocked {
            return Some(blocked.to_string());
        }
        let overdue = self.interval.as_duration() + LATE_AFTER;
        let age = |epoch: u32| now.since(UnixMs(u64::from(epoch) * 1000));
        let late = self.desk.latest().as_ref().is_some_and(|served| age(served.snapshot.epoch.timestamp) > overdue);
        late.then(|| "the snapshot is older than the interval: the machine may be too slow for it".into())
    }

    fn problem_of_the_collector(&self, collector: &collector::Status) -> Option<String> {
        if collector.connected_peers > 0 || self.collector.load().is_none() {
            return None;
        }
        let rows = self.peer_rows();
        let connecting = rows.iter().all(|(_, state)| *state == PeerState::Connecting);
        let why = if connecting {
            "connecting to the peers"
        } else {
            "no peer is connected: check the peers and the network"
        };
        Some(why.into())
    }

    /// Wallets here do not notice.
    fn problem_of_the_uploads(&self) -> Option<String> {
        let mut uploads = self.uploads.get()?.iter();
        let (to, trouble) = uploads.find_map(|upload| Some((&upload.to, upload.progress().trouble?)))?;
        Some(format!("uploads to {to} fail: {trouble}"))
    }

    fn problem_of_the_archive(&self, health: &Health) -> Option<String> {
        let Some(trouble) = &health.trouble else {
            let empty = health.role != Role::Writer && !self.desk.is_ready();
            let empty = empty.then(|| "waiting for an epoch in the archive that is of use to wallets".to_owned());
            return self.problem_of_the_writer_elsewhere(health).or(empty);
        };
        Some(match health.role {
            _ if self.journal.load().is_none() => {
                format!("waiting for the archive, because the journal may be there: {trouble}")
            }
            _ if health.misfit => format!("the archive is not used: {trouble}"),
            Role::Writer => {
                format!("the archive lacks what was journaled since it failed, and gets it later: {trouble}")
            }
            Role::StandBy | Role::Replica => format!("cut off from the archive, this copy may be old: {trouble}"),
        })
    }

    /// A follower has seen no writer for long.
    fn problem_of_the_writer_elsewhere(&self, health: &Health) -> Option<String> {
        let follows = health.role != Role::Writer;
        let silent = health.writer_seen.filter(|_| follows)?.elapsed();
        (silent > self.lease * 2 + SILENT_AFTER).then(|| {
            format!("the archive's writer has given no sign of life for {} s: start a collector", silent.as_secs())
        })
    }
}
