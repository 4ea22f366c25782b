//! A whole block, looked through for what may spend a channel's funding output.
//!
//! A spend of a P2WSH output reveals the script as the last item of its witness, and a channel's is a 2-of-2 of known
//! form (BOLT 3). Transactions are read one by one, so that a block takes little more memory than its bytes. Pure, and
//! over bytes that come from outside: a block that is another one, or whose transactions are not those that its header
//! speaks for, is a fault.

use bitcoin::consensus::Decodable;
use bitcoin::{BlockHash, OutPoint, Transaction, TxIn, TxMerkleNode, TxOut, Txid, VarInt, block, merkle_tree};

use super::FundingTag;
use super::wire::Fault;

/// Any transaction takes at least so many bytes.
const SMALLEST_TRANSACTION: usize = 60;

/// How the output begins by which a coinbase speaks for its block's witnesses (BIP 141).
const WITNESS_COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// A spend of an output that has the script of a channel's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub tag: FundingTag,
    pub output: OutPoint,
    /// Whether a channel would end by it for certain: it may be a splice otherwise.
    pub closes: bool,
}

/// The candidates of a serialised block, which must be the one with this hash.
pub(super) fn candidates(body: &[u8], hash: BlockHash) -> Result<Vec<Candidate>, Fault> {
    let mut rest = body;
    let header: block::Header = decode(&mut rest)?;
    if header.block_hash() != hash {
        return Err("is another block".into());
    }
    let VarInt(count) = decode(&mut rest)?;
    let mut txids: Vec<Txid> = Vec::with_capacity(rest.len() / SMALLEST_TRANSACTION);
    let mut candidates = Vec::new();
    for _ in 0..count {
        let transaction: Transaction = decode(&mut rest)?;
        if txids.is_empty() && lacks_witnesses(&transaction) {
            return Err("has no witnesses: start bitcoind without -rpcserialversion=0".into());
        }
        candidates.extend(spends(&transaction));
        txids.push(transaction.compute_txid());
    }
    if !rest.is_empty() {
        return Err(format!("goes on for {} bytes after its end", rest.len()).into());
    }
    let root = merkle_tree::calculate_root(txids.into_iter().map(Txid::to_raw_hash));
    if root.map(TxMerkleNode::from_raw_hash) != Some(header.merkle_root) {
        return Err("has other transactions than its header says".into());
    }
    Ok(candidates)
}

fn spends(transaction: &Transaction) -> impl Iterator<Item = Candidate> + '_ {
    // A splice goes on with a channel, and so with an output of that kind.
    let ends = !transaction.output.iter().any(|output| output.script_pubkey.is_p2wsh());
    transaction.input.iter().filter_map(move |input| {
        let tag = FundingTag::of_witness_script(input.witness.last()?)?;
        Some(Candidate { tag, output: input.previous_output, closes: ends || is_commitment(transaction, input) })
    })
}

/// BOLT 3, "Commitment Transaction": the upper 8 bits of the locktime are 0x20, those of the sequence 0x80.
fn is_commitment(transaction: &Transaction, input: &TxIn) -> bool {
    transaction.lock_time.to_consensus_u32() >> 24 == 0x20 && input.sequence.0 >> 24 == 0x80
}

/// Whether a coinbase speaks for witnesses, and has not the one that it must have itself then.
fn lacks_witnesses(coinbase: &Transaction) -> bool {
    let speaks_for = |output: &TxOut| output.script_pubkey.as_bytes().starts_with(&WITNESS_COMMITMENT);
    coinbase.output.iter().any(speaks_for) && coinbase.input.iter().all(|input| input.witness.is_empty())
}

fn decode<T: Decodable>(rest: &mut &[u8]) -> Result<T, Fault> {
    T::consensus_decode(rest).map_err(|error| format!("is no well-formed block ({error})").into())
}
