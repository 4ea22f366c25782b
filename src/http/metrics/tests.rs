//! What the list promises, and that what is answered keeps it.

use std::collections::BTreeSet;

use super::*;
use crate::gossip::check::{self, Refusal};
use crate::http::{
    ArchiveStatus, BodySizes, EncodedSizes, EpochStatus, PeerStatus, ProofStatus, SnapshotSizes, StaleFeeStatus,
    StaleFeesByAge,
};
use crate::journal::link::Role;
use crate::snapshot::Coding;

mod dashboards;
#[path = "../../../tests/support/exposition.rs"]
mod exposition;
use exposition::Exposition;

/// A service that has seen everything once.
fn status() -> Status {
    let peer = |state: &str| PeerStatus { state: state.into(), ..PeerStatus::default() };
    let mut status = Status {
        network: "signet".into(),
        problem: Some("one\nof \"them\"".into()),
        epoch: Some(EpochStatus { timestamp: 1_700_000_000, ..EpochStatus::default() }),
        archive: Some(ArchiveStatus {
            role: Role::StandBy,
            term: None,
            connected: false,
            last_seq: None,
            lag_entries: None,
            lag_seconds: Some(7),
        }),
        peers: vec![peer("connected"), peer("waiting: \"x\"\n{}"), peer("waiting: other"), peer("a new one")],
        snapshots: Some(SnapshotSizes { v1: sizes(1), v2: sizes(22) }),
        proofs: ProofStatus { chain_height: Some(800_000), ..ProofStatus::default() },
        ..Status::default()
    };
    status.metered.by_kind[check::Kind::Update as usize].accepted = 5;
    status.metered.by_kind[check::Kind::None as usize].refused[Refusal::Malformed as usize] = 1;
    status.metered.dropped_by_kind[check::Kind::Node as usize] = 2;
    status
}

/// Compressed to half, in one coding.
fn sizes(bytes: usize) -> BodySizes {
    let sizes = |bytes| EncodedSizes { identity: bytes, zstd: Some(bytes / 2), ..EncodedSizes::default() };
    BodySizes { full: sizes(bytes), returning: sizes(bytes * 3) }
}

fn look(metrics: &Metrics, status: &Status) -> Exposition {
    Exposition::read(&metrics.render(status))
}

#[test]
fn names_obey_prometheus_rules() {
    let mut seen = BTreeSet::new();
    for Metric { name, kind, labels, buckets, .. } in ALL {
        assert!(seen.insert(*name), "{name} is declared twice");
        assert!(name.starts_with(PREFIX) || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        let words: Vec<_> = name.trim_end_matches("_total").split('_').collect();
        let unit = ["seconds", "bytes"];
        let (last, before) = words.split_last().expect("a word");
        assert!(before.iter().all(|word| !unit.contains(word)), "{name}: the unit is at the end");
        for other in ["ms", "millis", "milliseconds", "minutes", "hours", "kb", "mb", "kilobytes", "percent", "count"]
        {
            assert!(!words.contains(&other), "{name}: {other} is no base unit, or the format's");
        }
        assert_eq!(*kind == Kind::Histogram, !buckets.is_empty(), "{name}");
        assert!(*kind != Kind::Histogram || unit.contains(last), "{name}");
        assert!(buckets.is_sorted(), "{name}");
        assert!(labels.iter().all(|label| !["le", "quantile", "job", "instance"].contains(label)), "{name}");
    }
}

#[test]
fn every_metric_says_what_it_tells() {
    for metric in ALL {
        let help = metric.help();
        assert!(help.ends_with('.') && !help.contains(['\n', '|', '\\']), "{}: {help}", metric.name);
    }
}

/// What is declared is answered, as it is declared, and nothing else is.
#[test]
fn what_is_declared_is_answered() {
    let metrics = Arc::new(Metrics::default());
    let told = look(&metrics, &status());
    let declared: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
    let missing: Vec<_> = declared.iter().filter(|name| !told.0.contains_key(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(told.0.len(), declared.len(), "none is undeclared: {:?}", told.0.keys());
    for metric in ALL {
        let family = &told.0[metric.name];
        assert_eq!(family.kind, format!("{:?}", metric.kind).to_lowercase(), "{}", metric.name);
        assert_eq!(family.help, metric.help(), "{}", metric.name);
        let labels: BTreeSet<_> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        for (_, said) in family.samples.keys() {
            let said: BTreeSet<_> = said.keys().filter(|label| *label != "le").cloned().collect();
            assert!(said == labels || metric.bare && said.is_empty(), "{}: {said:?}", metric.name);
        }
        let bare = family.samples.keys().any(|(_, said)| said.is_empty());
        assert!(!metric.bare || bare && metric.kind == Kind::Gauge && !labels.is_empty(), "{}", metric.name);
    }
}

#[test]
fn the_state_is_told() {
    let told = look(&Metrics::default(), &status());
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(told.get("rgsd_build_info", &[("version", version), ("network", "signet")]), Some(1.0));
    assert_eq!(told.get("rgsd_ready", &[]), Some(0.0));
    assert_eq!(told.get("rgsd_problem", &[]), Some(1.0));
    let messages = |kind, result| told.get("rgsd_messages_total", &[("kind", kind), ("result", result)]);
    assert_eq!(messages("channel_update", "accepted"), Some(5.0));
    assert_eq!(messages("channel_update", "already_known"), Some(0.0));
    assert_eq!(told.sum("rgsd_messages_total", &[("kind", "channel_update")]), 5.0);
    assert_eq!(messages("node_announcement", "dropped"), Some(2.0));
    assert_eq!(messages("unreadable", "malformed"), Some(1.0));
    assert_eq!(told.get("rgsd_archive_role", &[("role", "stand-by")]), Some(1.0));
    assert_eq!(told.get("rgsd_archive_role", &[("role", "writer")]), Some(0.0));
    assert!(told.get("rgsd_archive_last_seq", &[]).is_some_and(f64::is_nan));
    assert_eq!(told.get("rgsd_archive_lag_seconds", &[]), Some(7.0));
    let size = |version, form, encoding| {
        told.get("rgsd_snapshot_bytes", &[("version", version), ("form", form), ("encoding", encoding)])
    };
    assert_eq!(size("v1", "full", "identity"), Some(1.0));
    assert_eq!((size("v2", "returning", "identity"), size("v2", "returning", "zstd")), (Some(66.0), Some(33.0)));
    assert_eq!(size("v2", "full", "br"), None, "not compressed so yet");
    assert!(told.get("process_resident_memory_bytes", &[]).is_some_and(|bytes| bytes > 1e6));
    assert!(told.get("process_start_time_seconds", &[]).is_some_and(|time| time > 1.6e9));
}

#[test]
fn what_is_not_there_yet_is_not_told() {
    let metrics = Metrics::default();
    let told = Exposition::read(&metrics.render(&Status::default()));
    for absent in ["rgsd_epoch_age_seconds", "rgsd_snapshot_bytes", "rgsd_archive_connected", "rgsd_chain_height"] {
        assert!(!told.0.contains_key(absent), "{absent}");
    }
}

#[test]
fn stale_fees_are_numbers_only_while_they_are_known() {
    let metrics = Metrics::default();
    let share = |told: &Exposition, labels: &[_]| told.get("rgsd_stale_fee_share", labels).expect("always told");
    let ages = vec![StaleFeesByAge { age: "24h", epoch: 1, share: 0.11 }];
    let stale_fees = StaleFeeStatus { epoch: Some(2), share: Some(0.0), ages, reference_sat: 100_000 };
    let told = look(&metrics, &Status { stale_fees, ..Status::default() });
    assert_eq!((share(&told, &[]), share(&told, &[("age", "24h")])), (0.0, 0.11));
    assert!(["1h", "6h", "3d"].iter().all(|age| share(&told, &[("age", age)]).is_nan()));
    let told = look(&metrics, &Status::default());
    assert!(share(&told, &[]).is_nan() && share(&told, &[("age", "24h")]).is_nan(), "known no more");
}

#[test]
fn texts_from_outside_make_no_series() {
    let metrics = Metrics::default();
    let mut status = status();
    let series = |told: &Exposition| told.0.values().map(|family| family.samples.len()).sum::<usize>();
    let before = series(&look(&metrics, &status));
    for n in 0..100 {
        let state = format!("waiting: {n}");
        status.peers.push(PeerStatus { state, address: n.to_string(), ..PeerStatus::default() });
        status.messages.refused.insert(n.to_string(), n);
        status.network = format!("network {n}");
        look(&metrics, &status);
    }
    let told = look(&metrics, &status);
    assert_eq!(series(&told), before + 1, "the networks that there are not are one");
    assert_eq!(told.get("rgsd_peers", &[("state", "waiting")]), Some(102.0));
}

#[test]
fn counters_go_on_when_those_behind_them_begin_anew() {
    let metrics = Metrics::default();
    let mut status = Status::default();
    let mut at = |computed| {
        status.deltas.computed = computed;
        let told = look(&metrics, &status);
        told.get("rgsd_deltas_computed_total", &[]).expect("told")
    };
    assert_eq!([at(3), at(5), at(5), at(2), at(4)], [3.0, 5.0, 5.0, 7.0, 9.0]);
}

#[test]
fn requests_are_counted() {
    let metrics = Arc::new(Metrics::default());
    let open = metrics.connected();
    let answer = |shape, status, encoding, took_ms| {
        let took = Duration::from_millis(took_ms);
        metrics.answered(&Answered { shape, status, encoding, bytes: 100, took });
    };
    for took_ms in [0, 2, 70] {
        answer(Shape::SnapshotV2, 200, None, took_ms);
    }
    answer(Shape::SnapshotV2, 200, Some(Coding::Brotli), 9_000);
    answer(Shape::Unknown, 418, None, 0);
    let told = look(&metrics, &Status::default());
    let requests = |shape, status, encoding| {
        told.get("rgsd_http_requests_total", &[("shape", shape), ("status", status), ("encoding", encoding)])
    };
    assert_eq!(requests("snapshot_v2", "200", "identity"), Some(3.0));
    assert_eq!(requests("snapshot_v2", "200", "br"), Some(1.0));
    assert_eq!(requests("unknown", "other", "identity"), Some(1.0));
    assert_eq!(requests("snapshot_v1", "503", "identity"), Some(0.0), "a rate begins at zero");
    assert_eq!(requests("snapshot_v1", "404", "identity"), None);
    let seconds = |le| told.get("rgsd_http_request_seconds_bucket", &[("shape", "snapshot_v2"), ("le", le)]);
    let buckets = ["0.0005", "0.0025", "0.05", "0.1", "5", "+Inf"].map(|le| seconds(le).expect(le));
    assert_eq!(buckets, [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
    assert_eq!(told.get("rgsd_http_response_bytes_total", &[("shape", "snapshot_v2")]), Some(400.0));
    assert_eq!(told.get("rgsd_http_connections", &[]), Some(1.0));
    drop(open);
    assert_eq!(look(&metrics, &Status::default()).get("rgsd_http_connections", &[]), Some(0.0));
}

#[test]
fn epochs_are_counted_by_their_stages() {
    let metrics = Metrics::default();
    metrics.epoch(true);
    Stage::ALL.into_iter().for_each(|stage| metrics.stage(stage, Duration::from_millis(20)));
    metrics.upkeep();
    let told = look(&metrics, &Status::default());
    assert_eq!(told.get("rgsd_epochs_total", &[("result", "published")]), Some(1.0));
    assert_eq!(told.get("rgsd_epochs_total", &[("result", "failed")]), Some(0.0));
    for stage in Stage::ALL {
        assert_eq!(told.get("rgsd_epoch_stage_seconds_count", &[("stage", stage.name())]), Some(1.0));
    }
}

/// The page that people read says what the list says.
#[test]
fn the_page_has_the_list() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(file).unwrap_or_default();
    let start = page.find("| metric |").unwrap_or(page.len());
    let end = page[start..].find("\n\n").map_or(page.len(), |end| start + end + 1);
    let (before, after) = (&page[..start], &page[end..]);
    if std::env::var_os("REMAKE_DOCS").is_some() {
        std::fs::write(file, format!("{before}{}{after}", table())).expect("written");
    } else {
        assert_eq!(page[start..end], table(), "REMAKE_DOCS=1 makes the table in docs/metrics.md anew");
    }
}
