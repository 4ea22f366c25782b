//! Reads Core Lightning's "GOSSMAP_COMPRESSv1": a whole network's shape in half a megabyte.
//!
//! The layout: gzip around the 19 bytes `GOSSMAP_COMPRESSv1\0` and then nothing but BigSize integers (BOLT 1):
//! the number of channels `n`; `n` first and `n` second node indexes; the disabled directions, each
//! `2 × channel + direction`, ended by any number from `2n` up; then six tables (capacities in sat, one a channel;
//! then, one a direction, `htlc_minimum_msat`, `htlc_maximum_msat`, `fee_base_msat`, `fee_proportional_millionths`,
//! `cltv_expiry_delta`). A table is the number of its distinct values, these values, and the index of one of them for
//! each item. In the table of maxima, the first two values stand for the capacity and for 99 % of it.
//!
//! The file is untrusted: it is read as a stream, every count is checked before anything is kept for it, and memory
//! grows only with what was really read.

use std::io::{BufRead, BufReader, ErrorKind, Read};

use anyhow::{Context, bail, ensure};
use flate2::bufread::GzDecoder;

use super::topology::{Topology, TopologyChannel};
use crate::gossip::Policy;

/// How much a file may unpack to. The map of mainnet is 1.2 MB.
pub const MAX_DECOMPRESSED: u64 = 64 << 20;

/// Far above any network that wallets could take in (their limit is 300,000 channels).
const MAX_CHANNELS: u64 = 1_000_000;
const MAX_NODES: u64 = 1_000_000;
/// No more than there are satoshis.
const MAX_SAT: u64 = 21_000_000 * 100_000_000;

/// How an unpacked map begins.
pub const MAGIC: &[u8; 19] = b"GOSSMAP_COMPRESSv1\0";

pub(super) fn read(source: impl Read) -> anyhow::Result<Topology> {
    let mut source = BufReader::new(source);
    ensure!(starts_like_gzip(&mut source)?, "this is not a gzip file, so not a GOSSMAP_COMPRESSv1 map");
    read_unpacked(BufReader::new(GzDecoder::new(source)))
}

pub(super) fn read_unpacked(source: impl BufRead) -> anyhow::Result<Topology> {
    let mut map = Numbers { source: source.take(MAX_DECOMPRESSED) };
    map.magic()?;
    let channels = map.channels()?;
    let topology = tables(&mut map, channels)?;
    map.end()?;
    Ok(topology)
}

fn starts_like_gzip(source: &mut impl BufRead) -> anyhow::Result<bool> {
    let head = source.fill_buf()?;
    Ok(head.starts_with(&[0x1f, 0x8b]))
}

/// The two ends of every channel, and whether each direction is disabled.
struct Ends {
    nodes: Vec<[u32; 2]>,
    disabled: Vec<bool>,
}

fn tables(map: &mut Numbers<impl BufRead>, ends: Ends) -> anyhow::Result<Topology> {
    let channels = ends.nodes.len();
    let directions = 2 * channels;
    let capacity = map.table("capacity", channels, MAX_SAT)?;
    let minimum = map.table("htlc_minimum_msat", directions, u64::MAX)?;
    let maximum = map.maxima(&capacity)?;
    let base = map.table("fee_base_msat", directions, u32::MAX.into())?;
    let proportional = map.table("fee_proportional_millionths", directions, u32::MAX.into())?;
    let cltv = map.table("cltv_expiry_delta", directions, u16::MAX.into())?;
    let policy = |i: usize| Policy {
        htlc_minimum_msat: minimum[i],
        htlc_maximum_msat: maximum[i],
        // The tables' limits above are those of the fields' types.
        fee_base_msat: base[i] as u32,
        fee_proportional_millionths: proportional[i] as u32,
        cltv_expiry_delta: cltv[i] as u16,
        enabled: !ends.disabled[i],
    };
    let nodes = ends.nodes.iter().flatten().max().map_or(0, |&last| last + 1);
    let channels = ends.nodes.iter().enumerate().map(|(i, &nodes)| TopologyChannel {
        nodes,
        capacity_sat: capacity[i],
        policies: [policy(2 * i), policy(2 * i + 1)],
    });
    Ok(Topology { nodes, channels: channels.collect() })
}

/// A stream of BigSize integers.
struct Numbers<R> {
    source: R,
}

impl<R: BufRead> Numbers<R> {
    fn magic(&mut self) -> anyhow::Result<()> {
        let mut magic = [0; MAGIC.len()];
        self.fill(&mut magic)?;
        ensure!(&magic == MAGIC, "this is not a GOSSMAP_COMPRESSv1 map");
        Ok(())
    }

    fn channels(&mut self) -> anyhow::Result<Ends> {
        let count = self.next()?;
        ensure!(
            count <= MAX_CHANNELS,
            "the map claims {count} channels, more than the {MAX_CHANNELS} that are believable"
        );
        // No node is without a channel, so there are at most two a channel.
        let last_node = (2 * count).min(MAX_NODES).saturating_sub(1);
        let first = self.items("first node", count, last_node)?;
        let second = self.items("second node", count, last_node)?;
        let mut nodes = Vec::with_capacity(first.len());
        for (channel, (&a, &b)) in first.iter().zip(&second).enumerate() {
            ensure!(a != b, "channel {channel} of the map has node {a} at both ends");
            // Below MAX_NODES, which fits.
            nodes.push([a as u32, b as u32]);
        }
        let mut disabled = vec![false; 2 * nodes.len()];
        let mut named = 0;
        while let Some(direction) = usize::try_from(self.next()?).ok().and_then(|i| disabled.get_mut(i)) {
            *direction = true;
            named += 1;
            ensure!(named <= 2 * count, "the map's list of disabled directions does not end");
        }
        Ok(Ends { nodes, disabled })
    }

    /// One number for each of `count` items.
    fn items(&mut self, what: &str, count: u64, limit: u64) -> anyhow::Result<Vec<u64>> {
        let mut items = Vec::new();
        for i in 0..count {
            let value = self.next()?;
            ensure!(value <= limit, "the map's {what} {i} is {value}, above the {limit} that is possible");
            items.push(value);
        }
        Ok(items)
    }

    fn templates(&mut self, what: &str, items: usize, limit: u64) -> anyhow::Result<Vec<u64>> {
        let count = self.next()?;
        // The table of maxima begins with two values that may be unused.
        let most = items as u64 + 2;
        ensure!(count <= most, "the map's table of {what} claims {count} values for {items} items");
        self.items(what, count, limit)
    }

    /// One index into `templates` for each item, resolved by `value`.
    fn resolve(&mut self, what: &str, templates: &[u64], items: usize) -> anyhow::Result<Vec<usize>> {
        let mut indexes = Vec::new();
        for item in 0..items {
            let index = self.next()?;
            match usize::try_from(index).ok().filter(|&i| i < templates.len()) {
                Some(index) => indexes.push(index),
                None => bail!(
                    "item {item} of the map's table of {what} names value {index}, but there are {}",
                    templates.len()
                ),
            }
        }
        Ok(indexes)
    }

    fn table(&mut self, what: &str, items: usize, limit: u64) -> anyhow::Result<Vec<u64>> {
        let templates = self.templates(what, items, limit)?;
        let indexes = self.resolve(what, &templates, items)?;
        Ok(indexes.into_iter().map(|i| templates[i]).collect())
    }

    fn maxima(&mut self, capacity_sat: &[u64]) -> anyhow::Result<Vec<u64>> {
        let directions = 2 * capacity_sat.len();
        let templates = self.templates("htlc_maximum_msat", directions, u64::MAX)?;
        let indexes = self.resolve("htlc_maximum_msat", &templates, directions)?;
        let maximum = |(direction, index): (usize, usize)| {
            let capacity_sat = capacity_sat[direction / 2];
            match index {
                0 => capacity_sat * 1000,
                1 => capacity_sat * 990,
                _ => templates[index],
            }
        };
        Ok(indexes.into_iter().enumerate().map(maximum).collect())
    }

    /// Nothing may follow; reading up to the end also lets the packing check its checksum.
    fn end(&mut self) -> anyhow::Result<()> {
        let rest = self.source.fill_buf().context("the map's packing is damaged")?;
        ensure!(rest.is_empty(), "the map goes on after its last table");
        Ok(())
    }

    /// The next integer, which must take no more bytes than it needs (BOLT 1).
    fn next(&mut self) -> anyhow::Result<u64> {
        let (value, least) = match self.bytes::<1>()? {
            [0xff] => (u64::from_be_bytes(self.bytes()?), 1 << 32),
            [0xfe] => (u64::from(u32::from_be_bytes(self.bytes()?)), 1 << 16),
            [0xfd] => (u64::from(u16::from_be_bytes(self.bytes()?)), 0xfd),
            [small] => (u64::from(small), 0),
        };
        ensure!(value >= least, "the map holds a number that is not in its shortest form");
        Ok(value)
    }

    fn bytes<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> anyhow::Result<()> {
        match self.source.read_exact(bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => bail!("the map is cut short"),
            Err(error) => Err(error).context("the map's packing is damaged"),
        }
    }
}

#[cfg(test)]
mod tests;
