//! `rgsd diff`: what is different between two networks, as wallets are told of them.
//!
//! Owns the comparison. Whatever can be read as a [`Network`] can be compared: full snapshots, of any server and of either
//! version, and recordings at a time. Promises that a difference is one that a wallet could notice: what a version cannot tell is not compared.

mod compare;
mod network;
mod print;
mod recorded;

use anyhow::{Context, ensure};
use bitcoin::constants::ChainHash;
use serde::Serialize;

use crate::cli::{DiffOptions, print};
use crate::recording;
use crate::replay::Terms;
use crate::snapshot::decode;
use crate::source::{self, Found, LIMITS, Opened, Source};
use crate::text::rfc_3339;

pub use compare::{Change, ChannelChange, Compared, Differences, LoneChannel, NodeChange, PolicyChange, compare};
pub use network::{Channel, Details, Network, NotFull};

/// How many differences people see unless they ask for all.
const SHOWN: usize = 20;

/// Compares two sources, and prints the outcome; whether they are the same.
pub async fn run(options: DiffOptions) -> anyhow::Result<bool> {
    let stdin = Source::Local(recording::Source::Stdin);
    ensure!(
        options.a != stdin || options.b != stdin,
        "standard input can be read only once; name a file or a URL for one of the two"
    );
    let (a, b) = tokio::try_join!(source::find(&options.a, LIMITS), source::find(&options.b, LIMITS))?;
    let (at, terms) = (options.at, options.terms.terms());
    let loaded = tokio::task::spawn_blocking(move || load_both(a, b, at, terms)).await;
    let (a, b) = loaded.context("the comparison failed")??;
    ensure!(
        a.about.chain_hash == b.about.chain_hash,
        "{} is of the chain {}, and {} is of {}: there is nothing to compare",
        a.about.source,
        a.about.chain,
        b.about.source,
        b.about.chain
    );
    let differences = compare(&a.network, &b.network);
    let outcome = Outcome { identical: differences.is_empty(), a: a.about, b: b.about, differences };
    let most = if options.all { usize::MAX } else { SHOWN };
    print(&if options.json { serde_json::to_string_pretty(&outcome)? + "\n" } else { print::text(&outcome, most) })?;
    Ok(outcome.identical)
}

/// What came of it. Its names are those of `--json`, and stay.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    pub a: About,
    pub b: About,
    pub identical: bool,
    #[serde(flatten)]
    pub differences: Differences,
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    pub about: About,
    pub network: Network,
}

/// What there is to say of a side beside its network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct About {
    /// The file, or the URL at which it was found.
    pub source: String,
    /// `snapshot` or `recording`.
    pub format: &'static str,
    /// Of the snapshot's format; null for what has no versions.
    pub version: Option<u8>,
    /// The chain's name, or its hash.
    pub chain: String,
    #[serde(skip)]
    pub chain_hash: ChainHash,
    /// Unix seconds.
    pub timestamp: u32,
    /// The same in RFC 3339.
    pub time: String,
    /// The snapshot's size; null for what is none.
    pub bytes: Option<usize>,
    pub channels: usize,
    pub nodes: usize,
    /// How many directions of channels have one.
    pub policies: usize,
}

/// Reads both sides. What each is, its first bytes say. A recording is compared as it was at `at` or, with none, at the
/// time of the snapshot that it is compared with.
fn load_both(mut a: Found, mut b: Found, at: Option<u32>, terms: Terms) -> anyhow::Result<(Loaded, Loaded)> {
    let snapshots = (a.is_snapshot(), b.is_snapshot());
    ensure!(at.is_none() || snapshots != (true, true), "--at is about recordings, and both sides are snapshots");
    let snapshot = |found: Found| load_snapshot(&found.read(LIMITS.bytes)?);
    Ok(match snapshots {
        (true, true) => (snapshot(a)?, snapshot(b)?),
        (true, false) => {
            let a = snapshot(a)?;
            let b = recorded::load(b, at.or(Some(a.about.timestamp)), terms)?;
            (a, b)
        }
        (false, true) => {
            let b = snapshot(b)?;
            (recorded::load(a, at.or(Some(b.about.timestamp)), terms)?, b)
        }
        (false, false) => (recorded::load(a, at, terms)?, recorded::load(b, at, terms)?),
    })
}

fn load_snapshot(opened: &Opened) -> anyhow::Result<Loaded> {
    let decoded = decode(&opened.bytes).with_context(|| opened.place())?;
    let network = Network::of_snapshot(&decoded).with_context(|| opened.place())?;
    let chain = bitcoin::Network::try_from(decoded.chain).map(|network| network.to_string());
    let about = About {
        source: opened.name.clone(),
        format: "snapshot",
        version: Some(decoded.version as u8),
        chain: chain.unwrap_or_else(|_| decoded.chain.to_string()),
        chain_hash: decoded.chain,
        timestamp: decoded.timestamp,
        time: rfc_3339(decoded.timestamp),
        bytes: Some(opened.bytes.len()),
        channels: network.channels.len(),
        nodes: network.nodes.len(),
        policies: network.policies(),
    };
    Ok(Loaded { about, network })
}

#[cfg(test)]
mod tests;
