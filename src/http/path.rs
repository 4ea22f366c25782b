//! Which path asks for what: one pure function over every URL shape that existing wallets are configured with.

use std::borrow::Cow;

use bitcoin::Network;
use percent_encoding::percent_decode_str;

use crate::snapshot::Version;

/// What a path asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    Index,
    Alive,
    Ready,
    Status,
    Metrics,
    Snapshot(Ask),
    /// A snapshot's path, with something else where the timestamp goes.
    NotANumber,
    Unknown,
}

/// What a wallet asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    pub version: Version,
    /// The timestamp of its last sync in unix seconds, 0 for never; a number beyond `u64` is its maximum.
    pub last_sync: u64,
}

/// Reads the path of a server for `network`. Percent-encoding is undone in each part (RFC 3986, 2.4), so an encoded slash
/// divides nothing.
pub fn route(path: &str, network: Network) -> Route {
    if path.contains('%') {
        let parts: Vec<Cow<'_, str>> = segments(path).into_iter().map(decoded).collect();
        return read(&parts.iter().map(Cow::as_ref).collect::<Vec<_>>(), network);
    }
    read(&segments(path), network)
}

/// What cannot be decoded stays as it is: no number, and no name.
fn decoded(part: &str) -> Cow<'_, str> {
    percent_decode_str(part).decode_utf8().unwrap_or(Cow::Borrowed(part))
}

fn read(segments: &[&str], network: Network) -> Route {
    let own = |prefix: &str| network.to_string() == prefix;
    match *segments {
        [] | [""] => Route::Index,
        ["healthz"] => Route::Alive,
        ["readyz"] => Route::Ready,
        ["status.json"] => Route::Status,
        ["metrics"] => Route::Metrics,
        ["snapshot", since] | ["snapshot", "0", since] => ask(Version::V1, since),
        ["snapshot", "v2", since] | ["v2", "snapshot", since] => ask(Version::V2, since),
        ["v1", "rgs", "snapshot", since] => ask(Version::V1, since),
        [prefix, "snapshot", since] if own(prefix) => ask(Version::V1, since),
        [prefix, "v2", "snapshot", since] | [prefix, "snapshot", "v2", since] if own(prefix) => {
            ask(Version::V2, since)
        }
        [file] => ask_for_file(Version::V1, file),
        ["v2", file] => ask_for_file(Version::V2, file),
        _ => Route::Unknown,
    }
}

/// No shape has more parts than this.
const MAX_SEGMENTS: usize = 4;

/// The parts between slashes, of which several in a row count as one; `[…, ""]` if a slash ends the path. At most
/// one more than any shape has.
fn segments(path: &str) -> Vec<&str> {
    let ends_in_slash = path.ends_with('/').then_some("");
    path.split('/').filter(|part| !part.is_empty()).chain(ends_in_slash).take(MAX_SEGMENTS + 1).collect()
}

fn ask_for_file(version: Version, file: &str) -> Route {
    file.strip_suffix(".bin").map_or(Route::Unknown, |since| ask(version, since))
}

fn ask(version: Version, since: &str) -> Route {
    if since.is_empty() || !since.bytes().all(|byte| byte.is_ascii_digit()) {
        return Route::NotANumber;
    }
    Route::Snapshot(Ask { version, last_sync: since.parse().unwrap_or(u64::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v1(last_sync: u64) -> Route {
        Route::Snapshot(Ask { version: Version::V1, last_sync })
    }

    fn v2(last_sync: u64) -> Route {
        Route::Snapshot(Ask { version: Version::V2, last_sync })
    }

    /// Every shape of the contract, with `{}` for the timestamp, and the version that it asks for.
    const SHAPES: [(&str, Version); 10] = [
        ("/snapshot/{}", Version::V1),
        ("/snapshot/v2/{}", Version::V2),
        ("/v2/snapshot/{}", Version::V2),
        ("/{}.bin", Version::V1),
        ("/v2/{}.bin", Version::V2),
        ("/signet/snapshot/{}", Version::V1),
        ("/signet/v2/snapshot/{}", Version::V2),
        ("/signet/snapshot/v2/{}", Version::V2),
        ("/snapshot/0/{}", Version::V1),
        ("/v1/rgs/snapshot/{}", Version::V1),
    ];

    #[test]
    fn another_networks_prefix_is_unknown() {
        for path in ["/bitcoin/snapshot/0", "/testnet/v2/snapshot/0", "/mainnet/snapshot/v2/0", "/regtest/snapshot/x"]
        {
            assert_eq!(route(path, Network::Signet), Route::Unknown, "{path}");
        }
        assert_eq!(route("/bitcoin/snapshot/0", Network::Bitcoin), v1(0));
        assert_eq!(route("/testnet/snapshot/v2/0", Network::Testnet), v2(0));
    }

    #[test]
    fn doubled_slashes_are_one() {
        assert_eq!(route("/snapshot/v2//0", Network::Bitcoin), v2(0));
        assert_eq!(route("//snapshot///17", Network::Bitcoin), v1(17));
        assert_eq!(route("//healthz", Network::Bitcoin), Route::Alive);
        assert_eq!(route("//", Network::Bitcoin), Route::Index);
    }

    #[test]
    fn what_is_not_a_number() {
        for path in ["/snapshot/", "/snapshot/x", "/snapshot/-1", "/snapshot/+1", "/snapshot/1.0", "/snapshot/v2"] {
            assert_eq!(route(path, Network::Bitcoin), Route::NotANumber, "{path}");
        }
        for path in ["/x.bin", "/.bin", "/v2/x.bin", "/v2/snapshot/0x10", "/snapshot/0/", "/snapshot/٣"] {
            assert_eq!(route(path, Network::Bitcoin), Route::NotANumber, "{path}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        let long = "/a".repeat(10_000);
        for path in ["*", "/snapshot", "/snapshot/1/2", "/v3/snapshot/1", "/favicon.ico", "/1", "/snapshot/1/", &long]
        {
            assert_eq!(route(path, Network::Bitcoin), Route::Unknown, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_answered(digits in "[0-9]{1,40}", shape in 0..SHAPES.len()) {
            let (shape, version) = SHAPES[shape];
            let last_sync = digits.parse().unwrap_or(u64::MAX);
            let path = shape.replace("{}", &digits);
            prop_assert_eq!(route(&path, Network::Signet), Route::Snapshot(Ask { version, last_sync }));
        }

        #[test]
        fn anything_else_there_is_not_a_number(text in "[^/0-9]{1,8}[0-9]{0,3}", shape in 0..SHAPES.len()) {
            prop_assume!(text != "v2");
            let path = SHAPES[shape].0.replace("{}", &text);
            prop_assert_eq!(route(&path, Network::Signet), Route::NotANumber);
        }

        #[test]
        fn no_path_panics(path in "\\PC{0,60}", parts in prop::collection::vec("(snapshot|v1|v2|rgs|signet|0|\\.bin||x)", 0..8)) {
            route(&path, Network::Signet);
            route(&format!("/{}", parts.join("/")), Network::Signet);
        }
    }
}
