use bytes::Bytes;
use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;

fn accepted(lines: &[&str]) -> Accepted {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).expect("text"));
    }
    Accepted::of(&headers)
}

/// Brotli is the shortest, gzip the longest; those of `ready` are there.
fn body(ready: &[Coding]) -> Body {
    let body = Body::new("b".to_owned(), vec![0; 100].into());
    for coding in ready {
        let length = match coding {
            Coding::Brotli => 10,
            Coding::Zstd => 20,
            Coding::Gzip => 30,
        };
        body.keep(*coding, Bytes::from(vec![1; length]));
    }
    body
}

fn chosen(line: &str, ready: &[Coding]) -> &'static str {
    accepted(&[line]).choose(&body(ready)).0.map_or("identity", Coding::name)
}

#[test]
fn who_says_nothing_gets_the_bytes_as_they_are() {
    assert_eq!(accepted(&[]).choose(&body(&Coding::ALL)).0, None);
    assert_eq!(accepted(&[]).favourite(), None);
}

#[test]
fn the_best_that_is_accepted_and_ready() {
    let all = &Coding::ALL[..];
    for (line, ready, coding) in [
        ("gzip, deflate, br, zstd", all, "br"),
        ("gzip, deflate, br, zstd", &[Coding::Gzip, Coding::Zstd][..], "zstd"),
        ("gzip, deflate, br, zstd", &[][..], "identity"),
        ("gzip", all, "gzip"),
        ("x-gzip", all, "gzip"),
        ("GZip;Q=0.5 , ZSTD ; q=0.4", all, "gzip"),
        ("br;q=0.1, gzip;q=0.9, zstd;q=0.899", all, "gzip"),
        ("br;q=0, *", all, "zstd"),
        ("*", all, "br"),
        ("*;q=0", all, "identity"),
        ("identity;q=0, gzip", all, "gzip"),
        ("identity;q=0", all, "identity"),
        ("identity, gzip;q=0.5", all, "identity"),
        ("identity;q=0.5, gzip;q=0.5", all, "gzip"),
        ("deflate, compress", all, "identity"),
        ("", all, "identity"),
        ("gzip;q=2, zstd;q=0.1234, br;q=-1, br;quality=1", all, "identity"),
        ("gzip;q=1.000", all, "gzip"),
        ("gzip;q=0.000", all, "identity"),
    ] {
        assert_eq!(chosen(line, ready), coding, "{line}");
    }
    assert_eq!(accepted(&["gzip;q=0.5", "zstd"]).choose(&body(all)).0, Some(Coding::Zstd), "several lines are one");
}

#[test]
fn what_is_liked_best_is_known_before_it_is_there() {
    assert_eq!(accepted(&["gzip, br;q=0.5"]).favourite(), Some(Coding::Gzip));
    assert_eq!(accepted(&["gzip, deflate, br, zstd"]).favourite(), Some(Coding::Zstd));
    assert_eq!(accepted(&["identity, gzip;q=0.5"]).favourite(), None);
}

proptest! {
    /// Whatever a client says, it gets a coding that it named, or the bytes as they are.
    #[test]
    fn nothing_is_chosen_that_was_not_named(line in "[a-z*;=,.0-9 -]{0,60}") {
        let body = body(&Coding::ALL);
        let (coding, variant) = accepted(&[&line]).choose(&body);
        match coding {
            Some(coding) => prop_assert!(line.contains(coding.name()) || line.contains('*') || line.contains("gzip")),
            None => prop_assert_eq!(variant.bytes.len(), 100),
        }
    }

    #[test]
    fn weights_are_in_order(a in 0_u16..=1_000, b in 0_u16..=1_000) {
        prop_assume!(a != b);
        let text = |weight: u16| format!("{}.{:03}", weight / 1_000, weight % 1_000);
        let line = format!("gzip;q={}, zstd;q={}, identity;q=0", text(a), text(b));
        prop_assert_eq!(chosen(&line, &Coding::ALL), if a > b { "gzip" } else { "zstd" });
    }
}
