//! The blocks of a synthetic chain: real 80-byte headers, transaction ids, and the outputs that fund channels.
//!
//! Kept compactly: a header, a hash and the channels for each block. Transaction ids and scripts follow from the seed
//! and are computed when asked for; no transaction has a body, and no header carries proof of work.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::ensure;
use bitcoin::block::{Header, Version};
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, CompactTarget, OutPoint, ScriptBuf, TxMerkleNode, TxOut, Txid, WPubkeyHash, merkle_tree,
};
use rayon::prelude::*;

use crate::gossip::ShortChannelId;
use crate::synth::keys::{self, Purpose};
use crate::synth::network::{Channel, Network, NetworkSpec};
use crate::synth::place::OUTPUTS;

/// Seconds between blocks.
const SPACING: u32 = 600;

pub(super) struct Blocks {
    spec: NetworkSpec,
    /// By height, as is `hashes`.
    headers: Vec<Header>,
    hashes: Vec<BlockHash>,
    heights: HashMap<BlockHash, u32>,
    /// Where each transaction is, by the first eight bytes of its id.
    places: HashMap<u64, (u32, u32)>,
    funding: BTreeMap<ShortChannelId, Funding>,
    spent: HashSet<ShortChannelId>,
}

/// What an output holds that funds a channel.
struct Funding {
    capacity_sat: u64,
    script: ScriptBuf,
}

impl Blocks {
    /// The chain of `network` up to `tip`: channels above it are not funded yet.
    pub(super) fn of(network: &Network, tip: u32) -> Self {
        let spec = network.spec().clone();
        let genesis = genesis_block(spec.chain).header;
        let mut blocks = Self {
            headers: Vec::new(),
            hashes: Vec::new(),
            heights: HashMap::new(),
            places: HashMap::new(),
            funding: BTreeMap::new(),
            spent: HashSet::new(),
            spec,
        };
        blocks.push(genesis, &[Txid::from_raw_hash(genesis.merkle_root.to_raw_hash())]);
        let funding: Vec<_> = network.channels().par_iter().map(funding).collect();
        blocks.funding = funding.into_iter().collect();
        blocks.mine(tip);
        blocks
    }

    pub(super) fn tip(&self) -> u32 {
        self.headers.len() as u32 - 1
    }

    pub(super) fn network(&self) -> bitcoin::Network {
        self.spec.chain
    }

    pub(super) fn mine(&mut self, count: u32) {
        let first = self.headers.len() as u32;
        let contents: Vec<_> = (first..first + count).into_par_iter().map(|height| self.content(height)).collect();
        for (merkle_root, txids) in contents {
            let header = Header {
                version: Version::from_consensus(0x2000_0000),
                prev_blockhash: self.hashes[self.hashes.len() - 1],
                merkle_root,
                time: self.headers[self.headers.len() - 1].time + SPACING,
                bits: CompactTarget::from_consensus(0x207f_ffff),
                nonce: 0,
            };
            self.push(header, &txids);
        }
    }

    /// Puts a channel's funding output in a block that is still to be mined.
    pub(super) fn fund(&mut self, channel: &Channel) -> anyhow::Result<()> {
        let (scid, tip) = (channel.scid, self.tip());
        ensure!(scid.height() > tip, "{scid} cannot be funded: the chain is at height {tip} already");
        let (scid, output) = funding(channel);
        self.funding.insert(scid, output);
        Ok(())
    }

    /// Spends a channel's funding output.
    pub(super) fn spend(&mut self, scid: ShortChannelId) -> anyhow::Result<()> {
        ensure!(self.funding.contains_key(&scid), "{scid} has no funding output");
        self.spent.insert(scid);
        Ok(())
    }

    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.hashes.get(height as usize).copied()
    }

    pub(super) fn height_of(&self, hash: &BlockHash) -> Option<u32> {
        self.heights.get(hash).copied()
    }

    /// At most `count` headers from `height` on.
    pub(super) fn headers(&self, height: u32, count: usize) -> &[Header] {
        let from = (height as usize).min(self.headers.len());
        &self.headers[from..(from + count).min(self.headers.len())]
    }

    /// The ids of a block's transactions, in order.
    pub(super) fn txids(&self, height: u32) -> Vec<Txid> {
        if height == 0 {
            // Of a single transaction, the id is the root.
            return vec![Txid::from_raw_hash(self.headers[0].merkle_root.to_raw_hash())];
        }
        (0..self.spec.transactions_per_block).map(|index| self.txid(height, index)).collect()
    }

    /// The block that made this output, and the output, if it exists in the chain up to `tip` and is unspent.
    pub(super) fn unspent(&self, outpoint: OutPoint, tip: u32) -> Option<(u32, TxOut)> {
        let &(height, index) = self.places.get(&prefix(&outpoint.txid))?;
        let output = u16::try_from(outpoint.vout).ok().filter(|&output| output < OUTPUTS)?;
        // The genesis block's output is in no UTXO set.
        let exists = height > 0 && height <= tip && self.txid(height, index) == outpoint.txid;
        let scid = ShortChannelId::new(height, index, output);
        (exists && !self.spent.contains(&scid)).then(|| (height, self.output(scid)))
    }

    fn output(&self, scid: ShortChannelId) -> TxOut {
        if let Some(funding) = self.funding.get(&scid) {
            let value = Amount::from_sat(funding.capacity_sat);
            return TxOut { value, script_pubkey: funding.script.clone() };
        }
        // Somebody's money, which funds no channel.
        let digest = keys::digest(self.spec.seed, Purpose::Script, scid.0);
        let owner = WPubkeyHash::hash(&digest);
        TxOut { value: Amount::from_sat(100_000 + scid.0 % 1000), script_pubkey: ScriptBuf::new_p2wpkh(&owner) }
    }

    fn content(&self, height: u32) -> (TxMerkleNode, Vec<Txid>) {
        let txids = self.txids(height);
        let root = merkle_tree::calculate_root(txids.iter().map(|txid| txid.to_raw_hash()));
        (TxMerkleNode::from_raw_hash(root.expect("every block has a coinbase")), txids)
    }

    fn txid(&self, height: u32, index: u32) -> Txid {
        let place = ShortChannelId::new(height, index, 0);
        Txid::from_byte_array(keys::digest(self.spec.seed, Purpose::Transaction, place.0))
    }

    fn push(&mut self, header: Header, txids: &[Txid]) {
        let (height, hash) = (self.headers.len() as u32, header.block_hash());
        self.headers.push(header);
        self.hashes.push(hash);
        self.heights.insert(hash, height);
        for (index, txid) in txids.iter().enumerate() {
            self.places.insert(prefix(txid), (height, index as u32));
        }
    }
}

fn funding(channel: &Channel) -> (ShortChannelId, Funding) {
    (channel.scid, Funding { capacity_sat: channel.capacity_sat, script: channel.funding_script() })
}

fn prefix(txid: &Txid) -> u64 {
    let bytes: &[u8; 32] = txid.as_ref();
    u64::from_be_bytes(*bytes.first_chunk().expect("32 bytes"))
}
