//! From a view to a snapshot that official clients accept.

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bytes::Bytes;

use super::encode::{TooLarge, encode_full};
use super::verify::{Differences, Rejected, differences};
use super::{Counts, Snapshot, Version};
use crate::history::View;

/// Of the network, at most one part in this many may be left out of a snapshot.
const LEAVE_OUT_ONE_IN: usize = 10;
/// Leaving something out changes what else there is to tell, so look again; three times is plenty.
const ROUNDS: usize = 3;

/// A snapshot, and what it lacks because the official client would not take it.
#[derive(Clone, Debug)]
pub struct Cut {
    pub snapshot: Snapshot,
    pub left_out: Differences,
}

/// Why there is no snapshot of a view.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("the official client reads {channels} channels and {nodes} nodes otherwise than they are")]
    TooDifferent { channels: usize, nodes: usize },
}

/// Encodes a view in both versions and lets the official client check both; channels and nodes that it reads
/// otherwise are left out. `now_s` is the system's time in unix seconds (see [`differences`]).
pub fn cut(mut view: View, network: Network, now_s: u32) -> Result<Cut, CutError> {
    let mut left_out = Differences::default();
    for _ in 0..ROUNDS {
        let (v1, v2) = rayon::join(
            || encode_and_check(&view, Version::V1, network, now_s),
            || encode_and_check(&view, Version::V2, network, now_s),
        );
        let ((v1, mut wrong), (v2, wrong_too)) = (v1?, v2?);
        wrong.merge(wrong_too);
        if wrong.is_empty() {
            let snapshot = Snapshot { epoch: view.epoch, counts: count(&view), v1, v2 };
            return Ok(Cut { snapshot, left_out });
        }
        let all = view.channels.len() + view.nodes.len();
        leave_out(&mut view, &wrong);
        left_out.merge(wrong);
        if (left_out.channels.len() + left_out.nodes.len()) * LEAVE_OUT_ONE_IN > all {
            break;
        }
    }
    Err(CutError::TooDifferent { channels: left_out.channels.len(), nodes: left_out.nodes.len() })
}

fn encode_and_check(
    view: &View,
    version: Version,
    network: Network,
    now_s: u32,
) -> Result<(Bytes, Differences), CutError> {
    let mut bytes = encode_full(view, ChainHash::using_genesis_block_const(network), version)?;
    bytes.shrink_to_fit();
    let wrong = differences(view, &bytes, version, network, now_s)?;
    Ok((bytes.into(), wrong))
}

fn count(view: &View) -> Counts {
    let (channels, nodes) = (view.channels.len() as u32, view.nodes.len() as u32); // checked when encoded
    Counts { channels, nodes, directions: 2 * channels }
}

/// Takes channels out, and nodes' details; nodes that have no channel left go, too.
fn leave_out(view: &mut View, wrong: &Differences) {
    view.channels.retain(|channel| !wrong.channels.contains(&channel.scid));
    for node in view.nodes.iter_mut().filter(|node| wrong.nodes.contains(&node.id)) {
        node.details = None;
    }
    let mut named = vec![false; view.nodes.len()];
    view.channels.iter().flat_map(|channel| channel.nodes).for_each(|node| named[node as usize] = true);
    let mut next = 0;
    let places: Vec<u32> = named
        .iter()
        .map(|named| {
            let place = next;
            next += u32::from(*named);
            place
        })
        .collect();
    let mut named = named.into_iter();
    view.nodes.retain(|_| named.next().unwrap_or(false));
    for node in view.channels.iter_mut().flat_map(|channel| &mut channel.nodes) {
        *node = places[*node as usize];
    }
}
