use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;

const TAG: &str = "\"1700000000-v2-full-id-0badcafe\"";
/// Tue, 14 Nov 2023 22:13:20 GMT
const MODIFIED: u32 = 1_700_000_000;
const THEN: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

fn get(headers: &[(&'static str, &str)]) -> Verdict {
    judge(&map(headers), true, TAG, MODIFIED, 100)
}

fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

#[test]
fn conditions_in_their_order() {
    let weak = &format!("W/{TAG}");
    let several = &format!("\"x\", {TAG}");
    for (headers, verdict) in [
        (&[][..], Verdict::Whole),
        (&[("if-none-match", TAG)], Verdict::Unchanged),
        (&[("if-none-match", weak)], Verdict::Unchanged),
        (&[("if-none-match", several)], Verdict::Unchanged),
        (&[("if-none-match", "*")], Verdict::Unchanged),
        (&[("if-none-match", "\"x\"")], Verdict::Whole),
        (&[("if-none-match", "gibberish")], Verdict::Whole),
        (&[("if-modified-since", THEN)], Verdict::Unchanged),
        (&[("if-modified-since", BEFORE)], Verdict::Whole),
        (&[("if-modified-since", "yesterday")], Verdict::Whole),
        (&[("if-none-match", "\"x\""), ("if-modified-since", THEN)], Verdict::Whole),
        (&[("if-match", TAG)], Verdict::Whole),
        (&[("if-match", "*")], Verdict::Whole),
        (&[("if-match", weak)], Verdict::Refused),
        (&[("if-match", "\"x\"")], Verdict::Refused),
        (&[("if-match", "\"x\""), ("if-none-match", TAG)], Verdict::Refused),
        (&[("if-unmodified-since", THEN)], Verdict::Whole),
        (&[("if-unmodified-since", BEFORE)], Verdict::Refused),
        (&[("range", "bytes=0-9"), ("if-none-match", TAG)], Verdict::Unchanged),
    ] {
        assert_eq!(get(headers), verdict, "{headers:?}");
    }
}

#[test]
fn parts() {
    let part = Verdict::Part;
    for (range, verdict) in [
        ("bytes=0-9", part(0..10)),
        ("Bytes=0-9", part(0..10)),
        ("bytes=90-", part(90..100)),
        ("bytes=90-1000", part(90..100)),
        ("bytes=99-99", part(99..100)),
        ("bytes=-10", part(90..100)),
        ("bytes=-1000", part(0..100)),
        ("bytes=0-99999999999999999999999", part(0..100)),
        ("bytes=100-", Verdict::Beyond),
        ("bytes=100-200", Verdict::Beyond),
        ("bytes=99999999999999999999999-", Verdict::Beyond),
        ("bytes=-0", Verdict::Beyond),
        ("bytes=9-0", Verdict::Whole),
        ("bytes=0-1,5-6", Verdict::Whole),
        ("bytes=-", Verdict::Whole),
        ("bytes=a-b", Verdict::Whole),
        ("bytes=+1-2", Verdict::Whole),
        ("bytes", Verdict::Whole),
        ("items=0-9", Verdict::Whole),
    ] {
        assert_eq!(get(&[("range", range)]), verdict, "{range}");
    }
    assert_eq!(judge(&map(&[("range", "bytes=0-9")]), false, TAG, MODIFIED, 100), Verdict::Whole, "of HEAD");
    assert_eq!(judge(&map(&[("range", "bytes=0-")]), true, TAG, MODIFIED, 0), Verdict::Beyond, "of nothing");
}

#[test]
fn a_part_is_of_the_bytes_that_the_client_knows() {
    let range = |of: &str| get(&[("range", "bytes=0-9"), ("if-range", of)]);
    assert_eq!(range(TAG), Verdict::Part(0..10));
    assert_eq!(range("\"x\""), Verdict::Whole);
    assert_eq!(range(&format!("W/{TAG}")), Verdict::Whole);
    assert_eq!(range(THEN), Verdict::Whole, "a date does not name a coding");
    assert_eq!(range("gibberish"), Verdict::Whole, "nobody knows of what");
}

proptest! {
    #[test]
    fn a_part_is_never_empty_nor_beyond_the_end(range in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0_usize..2_000) {
        if let Verdict::Part(part) = judge(&map(&[("range", &range)]), true, TAG, MODIFIED, length) {
            prop_assert!(part.start < part.end && part.end <= length);
        }
    }
}
