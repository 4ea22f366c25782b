//! The blocks of a synthetic chain: real headers and transactions, among them those that fund channels and those that
//! spend what funded them.
//!
//! Kept compactly: a header, a hash and the channels for each block. Transactions follow from the seed and are computed
//! when asked for; no signature is real, and no header carries proof of work.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::ensure;
use bitcoin::block::{Header, Version};
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::transaction;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, WPubkeyHash, Witness, absolute, merkle_tree,
};
use rayon::prelude::*;

use crate::gossip::ShortChannelId;
use crate::synth::keys::{self, Purpose};
use crate::synth::network::{Channel, Network, NetworkSpec};
use crate::synth::place::OUTPUTS;

/// Seconds between blocks.
const SPACING: u32 = 600;

/// How a channel's funding output is spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spending {
    /// By both ends together: nothing of a channel is left.
    MutualClose,
    /// By a commitment transaction (BOLT 3).
    ForceClose,
    /// By a transaction with another output of the kind that funds channels.
    Splice,
}

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
    /// By height: what the transactions spend that come after a block's ordinary ones.
    spends: BTreeMap<u32, Vec<(ShortChannelId, Spending)>>,
    /// So far; blocks of the same height differ by it.
    reorganisations: u32,
}

/// What an output holds that funds a channel.
struct Funding {
    capacity_sat: u64,
    /// What a spend reveals; the output has its hash.
    witness_script: ScriptBuf,
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
            spends: BTreeMap::new(),
            reorganisations: 0,
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
                nonce: self.reorganisations,
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

    /// Spends a channel's funding output: it is gone at once, and the transaction is in the next block.
    pub(super) fn spend(&mut self, scid: ShortChannelId, how: Spending) -> anyhow::Result<()> {
        ensure!(self.funding.contains_key(&scid), "{scid} has no funding output");
        ensure!(self.spent.insert(scid), "{scid} is spent already");
        self.spends.entry(self.tip() + 1).or_default().push((scid, how));
        Ok(())
    }

    /// Puts other blocks in the place of the last `depth`, and one more: the same transactions, but for the spends of
    /// the outputs in `without`, which are unspent again.
    pub(super) fn reorganise(&mut self, depth: u32, without: &[ShortChannelId]) -> anyhow::Result<()> {
        ensure!(depth < self.tip(), "there are no {depth} blocks to replace");
        let fork = self.tip() - depth;
        for height in fork + 1..=self.tip() {
            for txid in self.txids(height) {
                self.places.remove(&prefix(&txid));
            }
        }
        self.headers.truncate(fork as usize + 1);
        for hash in self.hashes.split_off(fork as usize + 1) {
            self.heights.remove(&hash);
        }
        for (_, spends) in self.spends.range_mut(fork + 1..) {
            for (scid, _) in spends.extract_if(.., |(scid, _)| without.contains(scid)) {
                self.spent.remove(&scid);
            }
        }
        self.reorganisations += 1;
        self.mine(depth + 1);
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
        self.transactions(height).iter().map(Transaction::compute_txid).collect()
    }

    /// A whole block.
    pub(super) fn block(&self, height: u32) -> Option<Block> {
        let header = *self.headers.get(height as usize)?;
        Some(Block { header, txdata: self.transactions(height) })
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
            return TxOut { value, script_pubkey: funding.witness_script.to_p2wsh() };
        }
        // Somebody's money, which funds no channel.
        let mut owner = [0; 20];
        owner[..8].copy_from_slice(&scid.0.to_be_bytes());
        let owner = WPubkeyHash::from_byte_array(owner);
        TxOut { value: Amount::from_sat(100_000 + scid.0 % 1000), script_pubkey: ScriptBuf::new_p2wpkh(&owner) }
    }

    fn content(&self, height: u32) -> (TxMerkleNode, Vec<Txid>) {
        let txids = self.txids(height);
        let root = merkle_tree::calculate_root(txids.iter().map(|txid| txid.to_raw_hash()));
        (TxMerkleNode::from_raw_hash(root.expect("every block has a coinbase")), txids)
    }

    fn txid(&self, height: u32, index: u32) -> Txid {
        self.ordinary(height, index).compute_txid()
    }

    fn transactions(&self, height: u32) -> Vec<Transaction> {
        if height == 0 {
            return genesis_block(self.spec.chain).txdata;
        }
        let ordinary = (0..self.spec.transactions_per_block).map(|index| self.ordinary(height, index));
        let spends = self.spends.get(&height).into_iter().flatten();
        ordinary.chain(spends.map(|(scid, how)| self.spending(*scid, *how))).collect()
    }

    /// Somebody's payment, or the coinbase; its outputs may fund channels.
    fn ordinary(&self, height: u32, index: u32) -> Transaction {
        let place = ShortChannelId::new(height, index, 0);
        let digest = keys::digest(self.spec.seed, Purpose::Transaction, place.0);
        let input = if index == 0 {
            // BIP 34 has the height in it, so that no two are the same.
            TxIn { script_sig: ScriptBuf::builder().push_int(height.into()).into_script(), ..TxIn::default() }
        } else {
            TxIn { previous_output: OutPoint::new(Txid::from_byte_array(digest), 0), ..TxIn::default() }
        };
        let output = (0..OUTPUTS).map(|output| self.output(ShortChannelId(place.0 + u64::from(output)))).collect();
        let (version, lock_time) = (transaction::Version::TWO, absolute::LockTime::ZERO);
        Transaction { version, lock_time, input: vec![input], output }
    }

    fn spending(&self, scid: ShortChannelId, how: Spending) -> Transaction {
        let funding = &self.funding[&scid]; // only what funds a channel is spent
        let (lock_time, sequence) = match how {
            Spending::ForceClose => (0x2012_3456, 0x8065_4321),
            Spending::MutualClose | Spending::Splice => (0, 0xffff_fffd),
        };
        let signature = [0x30; 71];
        let witness = [&[], &signature[..], &signature[..], funding.witness_script.as_bytes()];
        let input = TxIn {
            previous_output: OutPoint::new(self.txid(scid.height(), scid.tx_index()), scid.output().into()),
            script_sig: ScriptBuf::new(),
            sequence: Sequence(sequence),
            witness: Witness::from_slice(&witness),
        };
        let owner = WPubkeyHash::hash(&scid.0.to_be_bytes());
        let mut output = vec![TxOut {
            value: Amount::from_sat(funding.capacity_sat / 2),
            script_pubkey: ScriptBuf::new_p2wpkh(&owner),
        }];
        if how != Spending::MutualClose {
            output.push(TxOut { script_pubkey: funding.witness_script.to_p2wsh(), ..output[0].clone() });
        }
        let lock_time = absolute::LockTime::from_consensus(lock_time);
        Transaction { version: transaction::Version::TWO, lock_time, input: vec![input], output }
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
    (channel.scid, Funding { capacity_sat: channel.capacity_sat, witness_script: channel.witness_script() })
}

fn prefix(txid: &Txid) -> u64 {
    let bytes: &[u8; 32] = txid.as_ref();
    u64::from_be_bytes(*bytes.first_chunk().expect("32 bytes"))
}
