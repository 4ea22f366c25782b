//! `rgsd inspect`: what is in a snapshot, and where its bytes go.
//!
//! Owns the report and its two forms. Judges nothing: whether a snapshot is any good is for clients to say; what they
//! would pass over is noted.

mod print;
mod sizes;

use anyhow::Context;
use bitcoin::Network;
use serde::Serialize;

use crate::cli::{InspectOptions, print};
use crate::gossip::{Clock, SystemClock};
use crate::snapshot::decode::{Additional, Told};
use crate::snapshot::{Decoded, decode};
use crate::source::{self, LIMITS, Opened};
use crate::text::rfc_3339;

use self::sizes::Budget;

/// Reads a snapshot, and prints what is in it.
pub async fn run(options: InspectOptions) -> anyhow::Result<()> {
    let opened = source::find(&options.snapshot, LIMITS).await?.read(LIMITS.bytes)?;
    let now_s = SystemClock.now().secs();
    let report =
        tokio::task::spawn_blocking(move || report(&opened, now_s)).await.context("the inspection failed")??;
    let text = if options.json { serde_json::to_string_pretty(&report)? + "\n" } else { print::text(&report) };
    print(&text)
}

/// What there is to say of a snapshot. Its names are those of `--json`, and stay.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The file, or the URL at which it was found.
    pub source: String,
    /// `gzip` or `zstd` if the source was packed; what follows is about the unpacked bytes.
    pub unpacked_from: Option<String>,
    /// 1 or 2.
    pub version: u8,
    /// `bitcoin`, `testnet`, `testnet4`, `signet` or `regtest`; null for a chain without a name.
    pub chain: Option<String>,
    /// 64 hexadecimal digits, in the order of the bytes.
    pub chain_hash: String,
    /// Unix seconds.
    pub timestamp: u32,
    /// The same in RFC 3339.
    pub time: String,
    /// How long that is ago by this machine's clock; below zero if it is yet to come.
    pub age_s: i64,
    pub channels: usize,
    pub channels_with_capacity: usize,
    pub nodes: usize,
    /// Nodes of which addresses or features are told.
    pub nodes_with_details: usize,
    pub nodes_without_details: usize,
    /// Nodes that are said to be there still.
    pub node_reminders: usize,
    pub updates: usize,
    pub updates_full: usize,
    /// Updates that tell some fields of a policy.
    pub updates_incremental: usize,
    /// Updates that tell no field of a policy.
    pub updates_reminder: usize,
    /// Updates that say that their direction is disabled.
    pub disabled_directions: usize,
    /// Channels both of whose directions are told to be disabled: closed, silent, or switched off.
    pub disabled_channels: usize,
    /// What the format keeps room for, and official clients pass over.
    pub additional_data_bytes: usize,
    /// What comes after the end, and official clients pass over.
    pub trailing_bytes: usize,
    /// Where the bytes go: raw, and compressed.
    pub bytes: Budget,
}

/// Decodes and measures. The error names the source and the byte.
pub fn report(opened: &Opened, now_s: u32) -> anyhow::Result<Report> {
    let decoded = decode(&opened.bytes).with_context(|| opened.place())?;
    let Additional { bytes: additional_data_bytes, .. } = decoded.additional;
    let with_details = decoded.nodes.iter().filter(|node| node.has_details()).count();
    let updates = |matches: fn(&Told) -> bool| decoded.updates.iter().filter(|update| matches(&update.told)).count();
    Ok(Report {
        source: opened.name.clone(),
        unpacked_from: opened.packed.map(|packing| packing.to_string()),
        version: decoded.version as u8,
        chain: chain(&decoded),
        chain_hash: decoded.chain.to_string(),
        timestamp: decoded.timestamp,
        time: rfc_3339(decoded.timestamp),
        age_s: i64::from(now_s) - i64::from(decoded.timestamp),
        channels: decoded.channels.len(),
        channels_with_capacity: decoded.channels.iter().filter(|channel| channel.capacity_sat.is_some()).count(),
        nodes: decoded.nodes.len(),
        nodes_with_details: with_details,
        nodes_without_details: decoded.nodes.len() - with_details,
        node_reminders: decoded.nodes.iter().filter(|node| node.reminder).count(),
        updates: decoded.updates.len(),
        updates_full: updates(|told| matches!(told, Told::Full(_))),
        updates_incremental: updates(|told| matches!(told, Told::Incremental(_))),
        updates_reminder: updates(|told| matches!(told, Told::Reminder)),
        disabled_directions: decoded.updates.iter().filter(|update| !update.enabled).count(),
        disabled_channels: disabled_channels(&decoded),
        additional_data_bytes,
        trailing_bytes: decoded.trailing().len(),
        bytes: sizes::measure(&decoded, &opened.bytes)?,
    })
}

/// The two directions of a channel come one after the other.
fn disabled_channels(decoded: &Decoded<'_>) -> usize {
    let channels = decoded.updates.chunk_by(|one, two| one.scid == two.scid);
    channels.filter(|updates| updates.len() == 2 && updates.iter().all(|update| !update.enabled)).count()
}

/// The name of a snapshot's chain, as in the configuration.
fn chain(decoded: &Decoded<'_>) -> Option<String> {
    Network::try_from(decoded.chain).ok().map(|network| network.to_string())
}

#[cfg(test)]
mod tests;
