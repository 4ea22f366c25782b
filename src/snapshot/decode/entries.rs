//! The three lists of a snapshot, entry by entry: nodes, channels, updates.

use lightning::ln::msgs::SocketAddress;
use lightning::util::ser::Readable;

use super::input::{Input, Result, Undecodable};
use super::{Additional, Addresses, Changes, Channel, NODE_ID, Node, Told, Update};
use crate::gossip::{Direction, NodeId, Policy, ShortChannelId};
use crate::snapshot::Version;
use crate::snapshot::encode::{
    BASE, CLTV, DISABLED, INCREMENTAL, MAXIMUM, MINIMUM, NODE_ADDRESSES, NODE_FEATURES_FOLLOW, NODE_FEATURES_SHIFT,
    NODES_AT_MOST, PROPORTIONAL, UPDATES_AT_MOST,
};

/// The lowest bits of that byte: the key's own.
const NODE_PARITY: u8 = 0b11;
const NODE_REMINDER: u8 = 1 << 6;
const NODE_ADDITIONAL: u8 = 1 << 7;
/// Of the second node's index in an announcement of v2.
const CHANNEL_ADDITIONAL: u64 = 1 << 63;

/// The fewest bytes that a channel takes: its features' length, a delta and two indexes.
const CHANNEL_AT_LEAST: usize = 5;
/// The fewest bytes that an update takes: a delta and the flags.
const UPDATE_AT_LEAST: usize = 2;

/// Reads a count that official clients limit.
fn count(input: &mut Input<'_>, what: &str, most: usize) -> Result<usize> {
    let at = input.at();
    let count = input.u32(what)? as usize;
    if count > most {
        let expected = format!("{what}, of which official clients accept {most}");
        return Err(Undecodable::new(at, expected, format!("found {count}")));
    }
    Ok(count)
}

pub(super) fn nodes<'a>(
    input: &mut Input<'a>,
    version: Version,
    defaults: &[&'a [u8]],
    additional: &mut Additional,
) -> Result<Vec<Node<'a>>> {
    let count = count(input, "the number of nodes", NODES_AT_MOST)?;
    let mut nodes = Vec::with_capacity(count.min(input.left() / NODE_ID));
    for _ in 0..count {
        nodes.push(node(input, version, defaults, additional)?);
    }
    Ok(nodes)
}

fn node<'a>(
    input: &mut Input<'a>,
    version: Version,
    defaults: &[&'a [u8]],
    additional: &mut Additional,
) -> Result<Node<'a>> {
    let at = input.at();
    let mut id = [0; NODE_ID];
    id.copy_from_slice(input.take(NODE_ID, "a node's id")?);
    let flags = if version == Version::V2 { id[0] & !NODE_PARITY } else { 0 };
    id[0] &= !flags;
    let addresses = (flags & NODE_ADDRESSES != 0).then(|| addresses(input)).transpose()?;
    let features = node_features(input, at, flags >> NODE_FEATURES_SHIFT & NODE_FEATURES_FOLLOW, defaults)?;
    if flags & NODE_ADDITIONAL != 0 {
        additional.count(input.with_collection_length("a node's additional data")?);
    }
    let id = NodeId::from_slice(&id).map_err(|_| Undecodable::new(at, "a node's id", "found something else"))?;
    Ok(Node { id, reminder: flags & NODE_REMINDER != 0, addresses, features, at, len: input.at() - at })
}

fn node_features<'a>(
    input: &mut Input<'a>,
    at: usize,
    marker: u8,
    defaults: &[&'a [u8]],
) -> Result<Option<&'a [u8]>> {
    match marker {
        0 => Ok(None),
        NODE_FEATURES_FOLLOW => input.with_u16_length("a node's features").map(Some),
        marker => match defaults.get(usize::from(marker) - 1) {
            Some(features) => Ok(Some(features)),
            None => {
                let expected = format!("a node with one of {} default features", defaults.len());
                Err(Undecodable::new(at, expected, format!("it names number {marker}")))
            }
        },
    }
}

fn addresses<'a>(input: &mut Input<'a>) -> Result<Addresses<'a>> {
    let count = input.u8("the number of a node's addresses")?;
    let start = input.at();
    for _ in 0..count {
        let at = input.at();
        let len = input.u8("an address's length")?;
        let mut rest = input.take(usize::from(len), "a node's address")?;
        // The client passes over what it cannot read, but refuses an address that ends before its length does.
        if SocketAddress::read(&mut rest).is_ok() && !rest.is_empty() {
            let found = format!("{len} bytes, the last {} of which do not belong to it", rest.len());
            return Err(Undecodable::new(at, "an address and its length", format!("found {found}")));
        }
    }
    Ok(Addresses { list: input.since(start) })
}

pub(super) fn channels<'a>(
    input: &mut Input<'a>,
    version: Version,
    nodes: usize,
    additional: &mut Additional,
) -> Result<Vec<Channel<'a>>> {
    let count = count(input, "the number of channels", u32::MAX as usize)?;
    let mut channels = Vec::with_capacity(count.min(input.left() / CHANNEL_AT_LEAST));
    let mut scid = 0;
    for _ in 0..count {
        let features = input.with_u16_length("a channel's features")?;
        scid = next_scid(input, scid, "a channel's scid, after the last one's")?;
        let (one, _) = node_index(input, nodes, 0)?;
        let (two, more) = node_index(input, nodes, CHANNEL_ADDITIONAL)?;
        let has_capacity = more && version == Version::V2;
        let capacity_sat = has_capacity.then(|| capacity_sat(input, additional)).transpose()?;
        channels.push(Channel { scid: ShortChannelId(scid), features, nodes: [one, two], capacity_sat });
    }
    Ok(channels)
}

fn next_scid(input: &mut Input<'_>, last: u64, what: &str) -> Result<u64> {
    let at = input.at();
    let delta = input.big_size(what)?;
    let beyond = || Undecodable::new(at, what, format!("{last} and {delta} are beyond all scids"));
    last.checked_add(delta).ok_or_else(beyond)
}

/// Reads a node's index, and whether the bit of `mark` was set, which is not a part of it.
fn node_index(input: &mut Input<'_>, nodes: usize, mark: u64) -> Result<(u32, bool)> {
    let at = input.at();
    let read = input.big_size("the index of a channel's node")?;
    let index = u32::try_from(read & !mark).ok().filter(|index| (*index as usize) < nodes);
    let unknown = || {
        let expected = format!("the index of one of {nodes} nodes");
        Undecodable::new(at, expected, format!("found {}", read & !mark))
    };
    Ok((index.ok_or_else(unknown)?, read & mark != 0))
}

/// A channel's additional data begin with its capacity.
fn capacity_sat(input: &mut Input<'_>, additional: &mut Additional) -> Result<u64> {
    let data = input.with_collection_length("a channel's additional data")?;
    let at = input.at() - data.len();
    let mut within = Input::new(data);
    let capacity_sat = within.big_size("a channel's capacity").map_err(|error| {
        let found = if within.left() == 0 { "the additional data end first".to_owned() } else { error.found };
        Undecodable::new(at, "a channel's capacity", found)
    })?;
    if within.left() > 0 {
        additional.count(&data[within.at()..]);
    }
    Ok(capacity_sat)
}

pub(super) fn updates(
    input: &mut Input<'_>,
    version: Version,
    additional: &mut Additional,
) -> Result<(Option<Policy>, Vec<Update>)> {
    let count = count(input, "the number of updates", UPDATES_AT_MOST)?;
    if count == 0 {
        return Ok((None, Vec::new()));
    }
    let defaults = defaults(input)?;
    let mut updates = Vec::with_capacity(count.min(input.left() / UPDATE_AT_LEAST));
    let mut last = (0, None);
    for _ in 0..count {
        let scid = next_scid(input, last.0, "an update's scid, after the last one's")?;
        let flags = input.u8("an update's flags")?;
        let now = (scid, Some(Direction::from_flags(flags)));
        // A direction that is named twice in a row: the second time, what follows is additional data.
        if version == Version::V2 && now == last {
            additional.count(input.with_collection_length("an update's additional data")?);
        } else {
            updates.push(update(input, scid, flags, &defaults)?);
        }
        last = now;
    }
    Ok((Some(defaults), updates))
}

fn defaults(input: &mut Input<'_>) -> Result<Policy> {
    Ok(Policy {
        cltv_expiry_delta: input.u16("the updates' default cltv_expiry_delta")?,
        htlc_minimum_msat: input.u64("the updates' default htlc_minimum_msat")?,
        fee_base_msat: input.u32("the updates' default fee_base_msat")?,
        fee_proportional_millionths: input.u32("the updates' default fee_proportional_millionths")?,
        htlc_maximum_msat: input.u64("the updates' default htlc_maximum_msat")?,
        enabled: true,
    })
}

fn update(input: &mut Input<'_>, scid: u64, flags: u8, defaults: &Policy) -> Result<Update> {
    let said = |flag: u8| flags & flag != 0;
    let changes = Changes {
        cltv_expiry_delta: said(CLTV).then(|| input.u16("an update's cltv_expiry_delta")).transpose()?,
        htlc_minimum_msat: said(MINIMUM).then(|| input.u64("an update's htlc_minimum_msat")).transpose()?,
        fee_base_msat: said(BASE).then(|| input.u32("an update's fee_base_msat")).transpose()?,
        fee_proportional_millionths: said(PROPORTIONAL)
            .then(|| input.u32("an update's fee_proportional_millionths"))
            .transpose()?,
        htlc_maximum_msat: said(MAXIMUM).then(|| input.u64("an update's htlc_maximum_msat")).transpose()?,
    };
    let enabled = !said(DISABLED);
    let told = match () {
        () if !said(INCREMENTAL) => Told::Full(changes.applied_to(Policy { enabled, ..*defaults })),
        () if changes == Changes::default() => Told::Reminder,
        () => Told::Incremental(changes),
    };
    Ok(Update { scid: ShortChannelId(scid), direction: Direction::from_flags(flags), enabled, told })
}

impl Additional {
    fn count(&mut self, data: &[u8]) {
        self.pieces += 1;
        self.bytes += data.len();
    }
}
