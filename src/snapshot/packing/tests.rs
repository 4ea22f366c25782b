use std::sync::Weak;

use super::*;
use crate::journal::{Epoch, Graph, Seq};
use crate::snapshot::{Bodies, Counts, LeftOut, Snapshot, Version, rules};

const MB: usize = 1 << 20;

#[test]
fn the_effort_is_what_fits() {
    let within = |s: u64, bytes| Effort::within(Duration::from_secs(s), bytes, 1.0);
    assert_eq!(within(200, 10 * MB), Effort::Utmost);
    assert_eq!(within(20, 10 * MB), Effort::Thorough);
    assert_eq!(within(2, 10 * MB), Effort::Fair);
    assert_eq!(within(1, 10 * MB), Effort::Quick);
    assert_eq!(within(0, 10 * MB), Effort::Quick, "the least that there is");
    assert_eq!(Effort::within(Duration::from_secs(20), 10 * MB, 5.0), Effort::Fair, "on a slow machine");
}

#[test]
fn an_hour_pays_for_brotlis_best_and_ten_seconds_do_not() {
    let bytes = 2 * (2_200_000 + 2_930_000); // of mainnet in February 2026
    let effort = |interval: u64| {
        let time = Duration::from_secs(interval) * SNAPSHOTS_PERCENT / 100 * PLANNED_PERCENT / 100;
        Effort::within(time, bytes, UNMEASURED)
    };
    assert_eq!(effort(3_600).level(Coding::Brotli), 11);
    assert_eq!(effort(10).level(Coding::Brotli), 3);
}

#[test]
fn a_body_keeps_what_is_shorter_and_what_came_first() {
    let long = Body::new("a".to_owned(), vec![7; 10_000].into());
    pack(&long, Coding::Gzip, Effort::Quick, Bytes::from);
    let first = long.coded(Coding::Gzip).expect("shorter").clone();
    assert!(first.bytes.len() < 100);
    long.keep(Coding::Gzip, Bytes::from_static(b"other"));
    assert_eq!(long.coded(Coding::Gzip).expect("kept").bytes, first.bytes);

    let noise: Vec<u8> = (0..4_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let incompressible = Body::new("b".to_owned(), zstd::bulk::compress(&noise, 19).expect("zstd").into());
    pack(&incompressible, Coding::Zstd, Effort::Quick, Bytes::from);
    assert!(incompressible.has_tried(Coding::Zstd) && incompressible.coded(Coding::Zstd).is_none());

    let short = Body::new("c".to_owned(), vec![7; WORTHWHILE_BYTES - 1].into());
    pack(&short, Coding::Zstd, Effort::Quick, Bytes::from);
    assert!(!short.has_tried(Coding::Zstd));
}

#[test]
fn each_coding_has_a_tag_of_its_own() {
    let body = Body::new("1795269617-v2-full".to_owned(), vec![7; 10_000].into());
    for coding in Coding::ALL {
        assert!(pack(&body, coding, Effort::Quick, Bytes::from));
    }
    let mut tags: Vec<_> =
        Coding::ALL.iter().map(|coding| body.coded(*coding).expect("shorter").tag.clone()).collect();
    tags.push(body.identity().tag.clone());
    assert!(tags.iter().all(|tag| tag.starts_with(b"\"1795269617-v2-full-") && tag.ends_with(b"\"")));
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
    let other = Body::new("1795269617-v2-full".to_owned(), vec![8; 10_000].into());
    assert_ne!(other.identity().tag, body.identity().tag, "the bytes are in the tag");
}

fn served() -> Served {
    let full = Bodies { v1: vec![7; 10_000].into(), v2: vec![8; 10_000].into() };
    let epoch = Epoch { timestamp: 1_795_269_617, seq: Seq(1), rules: rules(Graph::Routable) };
    let (returning, left_out) = (full.clone(), LeftOut::default());
    Served::new(Snapshot { epoch, counts: Counts::default(), full, returning, left_out }, Vec::new(), Weak::new())
}

#[test]
fn a_machine_is_measured_by_what_it_did() {
    let (served, mut packer) = (served(), Packer::new(Interval::default()));
    packer.pack(&served, || false);
    let slowness = packer.slowness;
    packer.pack(&served, || false);
    assert_eq!(packer.slowness, slowness, "all was there");
}

#[test]
fn what_there_is_no_time_for_is_given_up() {
    let (served, mut packer) = (served(), Packer { time: Duration::ZERO, slowness: 1.0 });
    packer.pack(&served, || true);
    assert!(!served.full(Version::V2).has_tried(Coding::Zstd), "others are served by now");
    packer.pack(&served, || false);
    let body = served.full(Version::V2);
    assert!(Coding::ALL.iter().all(|coding| body.has_tried(*coding) && body.coded(*coding).is_none()));
}
