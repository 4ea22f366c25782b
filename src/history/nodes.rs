//! The nodes, by index, and what they told of themselves through time.

use std::collections::HashMap;
use std::sync::Arc;

use super::timeline::{Ordinal, Past, Timeline, Version};
use crate::gossip::{NodeAnnouncement, NodeDetails, NodeId, addresses_in};

/// How many older details of a node are searched for the ones it announces: some nodes go back and forth.
const RECALL: usize = 4;

/// All nodes that were ever named.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    indexes: HashMap<NodeId, u32>,
    past: Past<Arc<NodeDetails>>,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    /// Of its newest announcement.
    timestamp: u32,
    details: Timeline<Arc<NodeDetails>>,
}

impl Nodes {
    /// The node's index, which never changes.
    pub fn index(&mut self, id: NodeId) -> u32 {
        *self.indexes.entry(id).or_insert_with(|| {
            self.nodes.push(Node { id, timestamp: 0, details: Timeline::default() });
            self.nodes.len() as u32 - 1
        })
    }

    /// Takes an announcement, unless it is no newer than the last one.
    pub fn announce(&mut self, next: Ordinal, announcement: &NodeAnnouncement) {
        let index = self.index(announcement.node_id());
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        let timestamp = announcement.timestamp();
        if node.details.newest().is_some() && timestamp <= node.timestamp {
            return;
        }
        node.timestamp = timestamp;
        let addresses = known_addresses(announcement);
        let is_same =
            |details: &NodeDetails| *details.features == *announcement.features() && *details.addresses == *addresses;
        if node.details.newest().is_some_and(|newest| is_same(&newest.value)) {
            return;
        }
        let recalled = node.details.versions(&self.past).take(RECALL).find(|version| is_same(&version.value));
        let details = match recalled {
            Some(version) => version.value.clone(),
            None => Arc::new(NodeDetails { features: announcement.features().into(), addresses: addresses.into() }),
        };
        node.details.set(&mut self.past, next, details);
    }

    pub fn id(&self, index: u32) -> NodeId {
        self.nodes[index as usize].id // Indexes come from here, and none is ever taken back.
    }

    /// What was known of a node at an epoch.
    pub fn details(&self, index: u32, epoch: Ordinal) -> Option<&Arc<NodeDetails>> {
        self.nodes.get(index as usize)?.details.at(&self.past, epoch)
    }

    /// What was known of a node from one epoch to another, newest first.
    pub fn between(
        &self,
        index: u32,
        from: Ordinal,
        to: Ordinal,
    ) -> impl Iterator<Item = &Version<Arc<NodeDetails>>> {
        let node = self.nodes.get(index as usize);
        node.into_iter().flat_map(move |node| node.details.between(&self.past, from, to))
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many superseded details are kept.
    pub fn versions(&self) -> usize {
        self.past.len()
    }

    /// Drops what was superseded at the epoch `oldest`.
    pub fn sweep(&mut self, oldest: Ordinal) {
        let mut kept = self.past.successor();
        for node in &mut self.nodes {
            node.details.move_on(&self.past, &mut kept, oldest);
        }
        self.past = kept;
    }
}

/// The addresses that [`NodeAnnouncement::details`] would hold, without copying them.
fn known_addresses(announcement: &NodeAnnouncement) -> &[u8] {
    let all = announcement.address_bytes();
    let known: usize = addresses_in(all).map(<[u8]>::len).sum();
    all.get(..known).unwrap_or(all)
}
