//! What wallets are not told although the view shows it, because the official client reads it otherwise than it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::verify::Differences;
use crate::gossip::{NodeId, ShortChannelId};

/// What was left out of the snapshots of late, and when it last was: deltas begin with snapshots that lack it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// By short channel id: the time of the last epoch whose snapshot lacks it.
    channels: BTreeMap<u64, u32>,
    /// The same of nodes' details, by node id in hexadecimal digits.
    nodes: BTreeMap<String, u32>,
}

impl LeftOut {
    /// As of the epoch at `timestamp`, whose snapshot lacks `now`; what was left out longest before `oldest` is forgotten.
    pub fn next(&self, now: &Differences, timestamp: u32, oldest: u32) -> Self {
        let mut next = self.clone();
        next.channels.retain(|_, last| *last >= oldest);
        next.nodes.retain(|_, last| *last >= oldest);
        next.channels.extend(now.channels.iter().map(|scid| (scid.0, timestamp)));
        next.nodes.extend(now.nodes.iter().map(|node| (node.to_string(), timestamp)));
        next
    }

    /// When a channel was last left out.
    pub fn channel(&self, scid: ShortChannelId) -> Option<u32> {
        self.channels.get(&scid.0).copied()
    }

    /// When a node's details were last left out.
    pub fn node(&self, id: &NodeId) -> Option<u32> {
        if self.nodes.is_empty() { None } else { self.nodes.get(&id.to_string()).copied() }
    }
}
