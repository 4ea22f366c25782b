//! What the page says, before it is markup: the state in a word, and every number in people's form.

use super::chart::{Bars, Line, StaleFees};
use super::words::{Moment, Size, Span, capitalised, every, share, shortened};
use crate::gossip::UnixMs;
use crate::http::{BodySizes, EpochStatus, PeerStatus, Status};
use crate::journal::link::Role;
use crate::snapshot::{Made, Mode};
use crate::text::grouped;

/// So many peers are seen at once; the others unfold.
const PEERS_AT_ONCE: usize = 8;

/// What is said of a status.
pub(super) struct View {
    pub now_ms: u64,
    /// `well`, `problem`, or `syncing` before the first snapshot: what colours and the icon go by.
    pub tone: &'static str,
    /// The verdict …
    pub verdict: &'static str,
    /// … and why, in one sentence.
    pub why: String,
    pub every: String,
    pub fresh: Option<Fresh>,
    /// Before the first snapshot.
    pub sync: Vec<(&'static str, String)>,
    pub known_channels: String,
    pub fees: Bars,
    pub stale: Option<StaleFees>,
    pub sizes: Vec<SizeRow>,
    pub line: Option<Line>,
    pub deltas: Deltas,
    pub peers: Peers,
    pub journal: Vec<(&'static str, String)>,
    pub proofs: Vec<(&'static str, String)>,
    pub fates: Vec<Fate>,
    pub received: String,
}

/// The snapshot that is served.
pub(super) struct Fresh {
    pub cut: Moment,
    pub due: Option<Moment>,
    /// How much of the time until the next one is over, in per cent.
    pub over: u64,
    pub channels: String,
    pub nodes: String,
    pub directions: String,
    pub left_out: Option<String>,
}

/// A version of the format.
pub(super) struct SizeRow {
    pub version: u8,
    pub path: &'static str,
    pub full: Size,
    /// Of that, the shortest coding that is ready, and its name.
    pub packed: Option<(Size, &'static str)>,
    pub returning: Size,
}

/// What wallets get that come back.
pub(super) struct Deltas {
    pub whole: bool,
    pub rows: Vec<(&'static str, String)>,
    pub last: Option<LastDelta>,
}

/// The delta that was made last.
pub(super) struct LastDelta {
    pub since: Moment,
    pub until: Moment,
    pub span: Span,
    pub version: u8,
    pub size: Size,
    pub share: Option<String>,
    pub parts: Vec<String>,
}

/// The peers, and how many of them are connected.
pub(super) struct Peers {
    pub connected: usize,
    pub count: usize,
    pub first: Vec<Peer>,
    pub others: Vec<Peer>,
}

pub(super) struct Peer {
    pub host: String,
    /// With its colon.
    pub port: String,
    pub node_id: String,
    pub short_id: String,
    /// One word, which the mark beside it goes by.
    pub state: String,
    pub why: Option<String>,
}

/// What became of how many messages.
pub(super) struct Fate {
    pub name: String,
    /// One of several kinds of refusals.
    pub reason: bool,
    pub count: String,
    pub share: String,
    /// In per cent.
    pub width: String,
}

impl View {
    pub fn of(status: &Status, now: UnixMs) -> Self {
        let (tone, verdict) = match (&status.epoch, &status.problem) {
            (None, _) => ("syncing", "No snapshot yet"),
            (Some(_), Some(_)) => ("problem", "Something needs a look"),
            (Some(_), None) => ("well", "All is well"),
        };
        let why = match &status.problem {
            Some(problem) => capitalised(problem),
            None if tone == "syncing" => "The first one comes when the network is known and proven.".to_owned(),
            None => String::new(),
        };
        Self {
            now_ms: now.0,
            tone,
            verdict,
            why,
            every: every(status.interval_seconds),
            fresh: status.epoch.map(|epoch| Fresh::of(status, &epoch, now)),
            sync: sync(status),
            known_channels: grouped(status.history.channels),
            fees: Bars::of(&status.fee_changes.hours),
            stale: StaleFees::of(&status.stale_fees),
            sizes: sizes(status),
            line: Line::of(&status.recent),
            deltas: Deltas::of(status, now),
            peers: Peers::of(&status.peers),
            journal: journal(status),
            proofs: proofs(status),
            fates: fates(status),
            received: count(status.messages.received),
        }
    }
}

impl Fresh {
    fn of(status: &Status, epoch: &EpochStatus, now: UnixMs) -> Self {
        let now_s = now.secs();
        let due = status.next_cut.map(|at| Moment { at, now: now_s });
        let over = due.map_or(0, |due| {
            let whole = u64::from(due.at.saturating_sub(epoch.timestamp)).max(1);
            (100 * u64::from(now_s.saturating_sub(epoch.timestamp)) / whole).min(100)
        });
        Self {
            cut: Moment { at: epoch.timestamp, now: now_s },
            due,
            over,
            channels: count(epoch.channels),
            nodes: count(epoch.nodes),
            directions: count(epoch.directions),
            left_out: (status.left_out > 0).then(|| count(status.left_out)),
        }
    }
}

impl Deltas {
    fn of(status: &Status, now: UnixMs) -> Self {
        let deltas = &status.deltas;
        let oldest = deltas.oldest_epoch.map(|at| Moment { at, now: now.secs() }.age().to_string());
        let known = grouped(deltas.known_epochs);
        let known = oldest.map_or(known.clone(), |oldest| format!("{known} in {oldest}"));
        let kept = format!("{}, {}", count(deltas.cached), Size(deltas.cached_bytes as usize));
        let rows = vec![
            ("Epochs known", known),
            ("Kept ready", kept),
            ("Made since the start", count(deltas.computed)),
            ("Too late, sent whole", count(deltas.late)),
        ];
        let last = deltas.last.map(|made| LastDelta::of(made, status, now));
        Self { whole: deltas.snapshots == Mode::Full, rows, last }
    }
}

impl LastDelta {
    fn of(made: Made, status: &Status, now: UnixMs) -> Self {
        let moment = |at| Moment { at, now: now.secs() };
        let whole = status.snapshots.map(|sizes| if made.version == 1 { sizes.v1 } else { sizes.v2 });
        let contents = made.contents;
        let parts = [
            (contents.changed, "changed direction"),
            (contents.whole, "whole direction"),
            (contents.reminders, "reminder"),
            (contents.announcements, "announcement"),
            (contents.node_details, "node’s detail"),
            (contents.gone, "direction gone"),
        ];
        let part = |(number, name): (u32, &str)| match (number, name) {
            (1, name) => format!("1 {name}"),
            (_, "node’s detail") => format!("{} nodes’ details", count(number)),
            (_, "direction gone") => format!("{} directions gone", count(number)),
            (_, name) => format!("{} {name}s", count(number)),
        };
        Self {
            since: moment(made.since),
            until: moment(made.until),
            span: Span(made.until.saturating_sub(made.since).into()),
            version: made.version,
            size: Size(made.bytes),
            share: whole.map(|whole| share(made.bytes as u64, whole.full.identity as u64)),
            parts: parts.into_iter().filter(|(number, _)| *number > 0).map(part).collect(),
        }
    }
}

impl Peers {
    fn of(peers: &[PeerStatus]) -> Self {
        let mut first: Vec<Peer> = peers.iter().map(Peer::of).collect();
        let others = first.split_off(first.len().min(PEERS_AT_ONCE));
        let connected = peers.iter().filter(|peer| matches!(&*peer.state, "connected" | "syncing")).count();
        Self { connected, count: peers.len(), first, others }
    }
}

impl Peer {
    fn of(peer: &PeerStatus) -> Self {
        let (state, why) =
            peer.state.split_once(": ").map_or((&*peer.state, None), |(state, why)| (state, Some(why)));
        let (host, port) = peer.address.split_at(peer.address.rfind(':').unwrap_or(peer.address.len()));
        Self {
            host: host.to_owned(),
            port: port.to_owned(),
            node_id: peer.node_id.clone(),
            short_id: shortened(&peer.node_id),
            state: state.to_owned(),
            why: why.map(capitalised),
        }
    }
}

fn sizes(status: &Status) -> Vec<SizeRow> {
    let row = |version, path, sizes: BodySizes| SizeRow {
        version,
        path,
        full: Size(sizes.full.identity),
        packed: [(sizes.full.zstd, "zstd"), (sizes.full.gzip, "gzip"), (sizes.full.br, "br")]
            .into_iter()
            .filter_map(|(bytes, coding)| Some((Size(bytes?), coding)))
            .min_by_key(|(size, _)| size.0),
        returning: Size(sizes.returning.identity),
    };
    let rows =
        |sizes: super::super::SnapshotSizes| vec![row(2, "snapshot/v2/0", sizes.v2), row(1, "snapshot/0", sizes.v1)];
    status.snapshots.map(rows).unwrap_or_default()
}

fn sync(status: &Status) -> Vec<(&'static str, String)> {
    let telling = status.peers.iter().filter(|peer| peer.state == "syncing").count();
    vec![
        ("Peers telling all they know", format!("{telling} of {}", status.peers.len())),
        ("Messages accepted", count(status.messages.accepted)),
        ("Announcements waiting for a proof", count(status.proofs.pending)),
        ("Nodes so far", grouped(status.history.nodes)),
    ]
}

fn journal(status: &Status) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Last entry", count(status.journal.last_seq.0))];
    let Some(archive) = &status.archive else {
        rows.push(("Archive", "none configured".to_owned()));
        return rows;
    };
    let role = match archive.role {
        Role::Writer => "writes the archive",
        Role::StandBy => "stands by",
        Role::Replica => "replica",
    };
    rows.push(("Role", role.to_owned()));
    rows.push(("Archive", if archive.connected { "connected" } else { "not connected" }.to_owned()));
    rows.push(("Its last entry", archive.last_seq.map_or("not known yet".to_owned(), |seq| count(seq.0))));
    let lag = archive.lag_entries.zip(archive.lag_seconds).map(|(entries, seconds)| match (entries, seconds) {
        (0, 0) => "up to date".to_owned(),
        (entries, seconds) => format!("{} entries, {}", count(entries), Span(seconds)),
    });
    rows.push(("Behind", lag.unwrap_or_else(|| "not known yet".to_owned())));
    rows
}

fn proofs(status: &Status) -> Vec<(&'static str, String)> {
    let proofs = &status.proofs;
    let replica = status.archive.as_ref().is_some_and(|archive| archive.role == Role::Replica);
    let who = match proofs.required {
        _ if replica => "the archive’s writer",
        true => "bitcoind",
        false => "nobody: without a bitcoind, channels are accepted unproven",
    };
    let mut rows = vec![("Proven by", who.to_owned())];
    if proofs.required && !replica {
        rows.push(("Waiting for a proof", count(proofs.pending)));
        rows.push(("Chain looked through to", proofs.chain_height.map_or("not yet".to_owned(), count)));
        rows.push(("Perhaps splicing", count(proofs.closing)));
    }
    rows
}

/// Refusals are told by reason, the most frequent first.
fn fates(status: &Status) -> Vec<Fate> {
    let messages = &status.messages;
    let refused: u64 = messages.refused.values().sum();
    let all = messages.received.max(messages.accepted + refused + messages.waiting) + messages.dropped;
    let fate = |name: &str, number: u64, reason: bool| Fate {
        name: name.replace('_', " "),
        reason,
        count: count(number),
        share: share(number, all),
        width: format!("{:.1}", 100.0 * number as f64 / all.max(1) as f64),
    };
    let mut reasons: Vec<(&String, &u64)> = messages.refused.iter().collect();
    reasons.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    let mut fates = vec![fate("accepted", messages.accepted, false), fate("refused", refused, false)];
    fates.extend(reasons.into_iter().map(|(name, number)| fate(name, *number, true)));
    fates.push(fate("waiting for a proof", messages.waiting, false));
    fates.push(fate("dropped", messages.dropped, false));
    fates
}

fn count(number: impl Into<u64>) -> String {
    grouped(number.into() as usize)
}
