//! The types of values, and how each is read from a text. A parser's error says what it expected, in words that
//! follow "key = value: ".

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::Network;
use reqwest::Url;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::gossip::PeerAddress;
use crate::journal::Graph;
use crate::snapshot::Interval;
use crate::snapshot::Mode;
use crate::text::{self, Secret, choose, near};

const DAY: u64 = 24 * 60 * 60;

/// Public nodes of bitcoin that have kept their keys and addresses for years.
const BITCOIN_PEERS: [&str; 4] = [
    "03864ef025fde8fb587d989186ce6a4a186895ee44a926bfc370e2c366597a3f8f@3.33.236.230:9735",
    "035e4ff418fc8b5554c5d9eea66396c227bd429a3251c8cbc711002ba215bfc226@170.75.163.209:9735",
    "033d8656219478701227199cbd6f670335c8d408a92ae88b962c49d4dc0e83e025@34.65.85.39:9735",
    "02df5ffe895c778e10f7742a6c5b8a0cefbe9465df58b92fadeb883752c8107c8f@35.232.170.67:9735",
];

/// The peers of a network that has some by default.
pub(super) fn default_peers(network: Network) -> Vec<PeerAddress> {
    match network {
        Network::Bitcoin => BITCOIN_PEERS.iter().filter_map(|text| text.parse().ok()).collect(),
        _ => Vec::new(),
    }
}

/// Reads all, or tells what is wrong with each.
pub(super) fn parse_peers(texts: &[String]) -> Result<Vec<PeerAddress>, Vec<(String, String)>> {
    let (mut peers, mut wrong, mut known) = (Vec::<PeerAddress>::new(), Vec::new(), BTreeSet::new());
    for text in texts {
        match text.parse::<PeerAddress>() {
            Ok(peer) if known.insert(peer.node_id) => peers.push(peer),
            Ok(_) => wrong.push((text.clone(), "this node is named twice; one connection a node is kept".to_owned())),
            Err(why) => wrong.push((text.clone(), why)),
        }
    }
    if texts.is_empty() {
        wrong.push((String::new(), "expected at least one pubkey@host:port".to_owned()));
    }
    if wrong.is_empty() { Ok(peers) } else { Err(wrong) }
}

/// bitcoind's REST endpoint: a plain HTTP URL, perhaps with a user and password for a proxy before it.
#[derive(Clone, PartialEq, Eq)]
pub struct RestUrl {
    /// Without user and password, and without a slash at the end.
    base: String,
    /// `user:password`.
    userinfo: Option<Secret>,
}

impl RestUrl {
    /// The whole URL with user and password, without a slash at its end: not for printing.
    pub fn expose(&self) -> String {
        self.with_userinfo(self.userinfo.as_ref().map(Secret::expose))
    }

    fn with_userinfo(&self, userinfo: Option<&str>) -> String {
        match (userinfo, self.base.strip_prefix("http://")) {
            (Some(userinfo), Some(rest)) => format!("http://{userinfo}@{rest}"),
            _ => self.base.clone(),
        }
    }
}

/// With user and password blanked.
impl fmt::Display for RestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_userinfo(self.userinfo.as_ref().map(|_| "***")))
    }
}

impl fmt::Debug for RestUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads bitcoind's REST endpoint.
pub fn parse_rest_url(text: &str) -> Result<RestUrl, String> {
    let expected = "expected a URL such as http://127.0.0.1:8332";
    let mut url = Url::parse(text).map_err(|error| format!("{expected} ({error})"))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err("bitcoind's REST interface speaks plain HTTP only; for a bitcoind elsewhere, put a tunnel \
                        before it (ssh -L, WireGuard, stunnel) and name the tunnel's http:// address"
                .to_owned());
        }
        _ => return Err(expected.to_owned()),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{expected}, without ? or #"));
    }
    if url.path().trim_end_matches('/').ends_with("/rest") {
        return Err(format!("{expected}, without /rest: that part is added"));
    }
    let userinfo = match (url.username(), url.password()) {
        ("", None) => None,
        (user, None) => Some(Secret::new(user)),
        (user, Some(password)) => Some(Secret::new(format!("{user}:{password}"))),
    };
    // Both only fail on a URL without a host, which an http URL has.
    let _ = (url.set_username(""), url.set_password(None));
    Ok(RestUrl { base: url.as_str().trim_end_matches('/').to_owned(), userinfo })
}

/// Blanks everything in a would-be URL that may be a password, however broken the URL is.
pub(super) fn mask_url(text: &str) -> String {
    let schemes = ["http://", "https://", "postgres://", "postgresql://"];
    let scheme = schemes.into_iter().find(|scheme| text.starts_with(scheme)).unwrap_or("");
    let (before, host) = text.rsplit_once('@').map_or((None, text), |(before, host)| (Some(before), host));
    let (host, query) = host.find(['?', '#']).map_or((host, ""), |at| (&host[..at], "?***"));
    match before {
        Some(_) => format!("{scheme}***@{host}{query}"),
        // No URL at all, but libpq's key=value words, perhaps.
        None if scheme.is_empty() && host.contains('=') => "***".to_owned(),
        None => format!("{host}{query}"),
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Text,
    Json,
}

/// The name of a network.
pub fn parse_network(text: &str) -> Result<Network, String> {
    choose(
        text,
        &[
            ("bitcoin", Network::Bitcoin),
            ("testnet", Network::Testnet),
            ("signet", Network::Signet),
            ("regtest", Network::Regtest),
        ],
    )
}

/// Which channels a snapshot holds.
pub fn parse_graph(text: &str) -> Result<Graph, String> {
    choose(text, &[("routable", Graph::Routable), ("complete", Graph::Complete)])
}

pub(super) fn parse_snapshots(text: &str) -> Result<Mode, String> {
    choose(text, &[("delta", Mode::Delta), ("full", Mode::Full)])
}

pub(super) fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    choose(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

pub(super) fn parse_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a directory".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn parse_file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a file".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    choose(text, &[("true", true), ("false", false)])
}

/// How long the archive's writer may be silent.
pub(super) fn parse_lease(text: &str) -> Result<Duration, String> {
    parse_time(text, "expected a time from 1s to 1h, such as 15s", 1_000..=3_600_000)
}

/// How long the database may take to answer; that it fits the lease is checked when both are known.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_time(text, "expected a time from 100ms to 40m, such as 10s", 100..=2_400_000)
}

fn parse_time(text: &str, expected: &str, range_ms: RangeInclusive<u128>) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{expected} ({error})"))?;
    if range_ms.contains(&time.as_millis()) { Ok(time) } else { Err(expected.to_owned()) }
}

pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:3000 or [::1]:3000".to_owned())
}

/// Reads an interval between epochs: a multiple of 10 s that divides 24 h.
pub fn parse_interval(text: &str) -> Result<Interval, String> {
    let expected = "expected a multiple of 10 s that divides 24 h, such as 10s, 10m or 1h";
    let time = humantime::parse_duration(text).map_err(|error| format!("{expected} ({error})"))?;
    Interval::new(time).ok_or_else(|| {
        let fits = |seconds: &u64| Interval::new(Duration::from_secs(*seconds)).is_some();
        let shorter = (10..=time.as_secs().min(DAY)).rev().find(fits);
        let longer = (10..=DAY).find(|seconds| *seconds > time.as_secs() && fits(seconds));
        let near = shorter.into_iter().chain(longer).map(|seconds| text::time(Duration::from_secs(seconds)));
        format!("{expected}; near it: {}", near.collect::<Vec<_>>().join(" and "))
    })
}

pub(super) fn parse_retention(text: &str) -> Result<Duration, String> {
    let expected = "expected a time of at least 8d, such as 30d";
    let time = humantime::parse_duration(text).map_err(|error| format!("{expected} ({error})"))?;
    if time < Duration::from_secs(8 * DAY) { Err(expected.to_owned()) } else { Ok(time) }
}

/// Checks a filter. A bare word that is no level is refused, though tracing takes it for a module's name: it is
/// far more often a misspelt level, and would silence everything else.
pub fn parse_log(text: &str) -> Result<String, String> {
    let expected = "expected off, error, warn, info, debug or trace, or a filter such as info,rgsd::gossip=debug";
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    // A filter on a span's fields, `[span{a,b}]`, has commas of its own, and is no misspelt level.
    let plain = |part: &&str| !text.contains('[') && !part.contains('=') && LevelFilter::from_str(part).is_err();
    if let Some(word) = text.split(',').map(str::trim).find(|part| part.is_empty() || plain(part)) {
        return Err(match near(word, levels.into_iter()) {
            Some(level) => format!("{expected}; did you mean {level}?"),
            None => expected.to_owned(),
        });
    }
    EnvFilter::builder().parse(text).map_err(|error| format!("{expected} ({error})"))?;
    Ok(text.to_owned())
}
