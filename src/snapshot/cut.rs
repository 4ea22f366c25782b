//! From a view to snapshots that official clients accept.

use std::time::{Duration, Instant};

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bytes::Bytes;

use super::contents::Contents;
use super::encode::{TooLarge, encode_apart};
use super::verify::{Differences, Rejected, differences, differences_of_both};
use super::{Bodies, Counts, LeftOut, Snapshot, Version};
use crate::gossip::ShortChannelId;
use crate::history::{History, View};
use crate::journal::Epoch;

/// Of the channels, at most one in this many (rounded up) may be left out of a snapshot.
const LEAVE_OUT_ONE_IN: usize = 100;
/// A client that refuses a snapshot whole names one bad channel at a time, so look again, but not for ever.
const ROUNDS: usize = 4;

/// How long a wallet may keep what no view shows any more: the client forgets it seven days after it was last told of it,
/// which is a day after a delta's epoch at most.
const LATELY_S: u32 = 8 * 24 * 3600;

/// What snapshots are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matter {
    pub view: View,
    /// The channels that wallets may hold though the view does not show them, in ascending order.
    pub departed: Vec<ShortChannelId>,
    /// The times of the epochs with which a delta can begin, in ascending order.
    pub since: Vec<u32>,
}

impl Matter {
    /// Of a known epoch.
    pub fn of(history: &History, epoch: &Epoch) -> Option<Self> {
        let (view, departed) = (history.view(epoch)?, history.departed(epoch, LATELY_S)?);
        Some(Self { view, departed, since: super::reachable(epoch, history.epochs()) })
    }
}

/// A snapshot, and what it lacks because the official client would not take it.
#[derive(Clone, Debug)]
pub struct Cut {
    pub snapshot: Snapshot,
    pub left_out: Differences,
    /// How long encoding took, and how long the official client's look at it.
    pub encoded_in: Duration,
    pub verified_in: Duration,
}

/// Why there is no snapshot of a view.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error(
        "the official client reads {channels} of {of} channels and {nodes} nodes otherwise than they are, \
         which is too much to leave out"
    )]
    TooDifferent { channels: usize, of: usize, nodes: usize },
}

/// Encodes a view, with what has departed from it and without, in both versions, and lets the official client check
/// them; channels that it reads otherwise are left out, and so are the details of such nodes. `before` is what the last
/// snapshot lacks, `now_s` the system's time in unix seconds (see [`differences`]).
pub fn cut(matter: Matter, before: &LeftOut, network: Network, now_s: u32) -> Result<Cut, CutError> {
    let Matter { mut view, mut departed, .. } = matter;
    let of = view.channels.len();
    let mut left_out = Differences::default();
    let mut rejected = None;
    let (mut encoded_in, mut verified_in) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let full = Contents::full(&view);
        let returning = || bodies(&full.clone().with_departed(&departed), network);
        let (full, returning) = rayon::join(|| bodies(&full, network), returning);
        let ((full, updates_at), (returning, _)) = (full?, returning?);
        encoded_in += started.elapsed();
        let started = Instant::now();
        // One after the other: the client's copy of the network takes about as much memory as all the rest of the
        // service. Version 1 of `returning` is made of parts that are read: what comes before the updates is that of
        // `full`, and the updates are the same in both versions. Where nothing has departed, the two are one.
        let mut wrong = what_is_wrong(differences(&view, &full.v1, Version::V1, network, now_s), &mut rejected)?;
        let checked = if departed.is_empty() {
            differences(&view, &full.v2, Version::V2, network, now_s)
        } else {
            differences_of_both(&view, [&full.v2, &returning.v2], updates_at, network, now_s)
        };
        wrong.merge(what_is_wrong(checked, &mut rejected)?);
        verified_in += started.elapsed();
        if wrong.is_empty() {
            let timestamp = view.epoch.timestamp;
            let lately = before.next(&left_out, timestamp, timestamp.saturating_sub(LATELY_S));
            let (epoch, counts) = (view.epoch, count(&view));
            let snapshot = Snapshot { epoch, counts, full, returning, left_out: lately };
            return Ok(Cut { snapshot, left_out, encoded_in, verified_in });
        }
        leave_out(&mut view, &wrong);
        departed.extend(&wrong.channels);
        departed.sort_unstable();
        left_out.merge(wrong);
        if left_out.channels.len() > of.div_ceil(LEAVE_OUT_ONE_IN) || view.channels.is_empty() {
            break;
        }
    }
    let (channels, nodes) = (left_out.channels.len(), left_out.nodes.len());
    Err(rejected.map_or(CutError::TooDifferent { channels, of, nodes }, CutError::Rejected))
}

/// What to leave out. One channel that the client will not have makes it refuse the whole snapshot, so a refusal
/// that names a channel is a difference; it is kept in `rejected` for the case that leaving the channel out does not
/// help.
fn what_is_wrong(
    checked: Result<Differences, Rejected>,
    rejected: &mut Option<Rejected>,
) -> Result<Differences, CutError> {
    match checked {
        Err(Rejected::ByClient { reason, at: Some(at) }) => {
            *rejected = Some(Rejected::ByClient { reason, at: Some(at) });
            Ok(Differences { channels: [at].into(), ..Differences::default() })
        }
        checked => Ok(checked?),
    }
}

/// Both versions, and where the updates of the second begin.
fn bodies(contents: &Contents, network: Network) -> Result<(Bodies, usize), TooLarge> {
    let encode = |version| {
        let chain = ChainHash::using_genesis_block_const(network);
        let (mut bytes, updates_at) = encode_apart(contents, chain, version)?;
        bytes.shrink_to_fit();
        Ok((Bytes::from(bytes), updates_at))
    };
    let (v1, v2) = rayon::join(|| encode(Version::V1), || encode(Version::V2));
    let ((v1, _), (v2, updates_at)) = (v1?, v2?);
    Ok((Bodies { v1, v2 }, updates_at))
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
    let place = |next: &mut u32, named: &bool| Some(std::mem::replace(next, *next + u32::from(*named)));
    let places: Vec<u32> = named.iter().scan(0, place).collect();
    let mut named = named.into_iter();
    view.nodes.retain(|_| named.next().unwrap_or(false));
    for node in view.channels.iter_mut().flat_map(|channel| &mut channel.nodes) {
        *node = places[*node as usize];
    }
}

#[cfg(test)]
mod tests;
