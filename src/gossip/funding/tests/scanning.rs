//! Whole blocks: what of them spends a channel's output, and that nothing else passes for the block asked for.

use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::serialize;
use bitcoin::constants::genesis_block;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, WPubkeyHash, Witness, absolute, transaction,
};
use lightning::ln::chan_utils::make_funding_redeemscript;
use proptest::prelude::*;

use crate::gossip::NodeId;
use crate::gossip::funding::FundingTag;
use crate::gossip::funding::scan::{Candidate, candidates};

fn keys(n: u8) -> [PublicKey; 2] {
    let secp = Secp256k1::new();
    [2 * n + 1, 2 * n + 2].map(|n| PublicKey::from_secret_key(&secp, &SecretKey::from_slice(&[n; 32]).unwrap()))
}

fn tag(n: u8) -> FundingTag {
    FundingTag::of_keys(&keys(n).map(|key| NodeId::from_pubkey(&key)))
}

fn output(n: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([n; 32]), n.into())
}

/// A spend of channel `n`'s output.
fn input(n: u8, sequence: u32) -> TxIn {
    let script = make_funding_redeemscript(&keys(n)[0], &keys(n)[1]);
    let witness = Witness::from_slice(&[&[], &[0x30; 71][..], &[0x30; 71], script.as_bytes()]);
    TxIn { previous_output: output(n), sequence: Sequence(sequence), witness, ..TxIn::default() }
}

fn pay(script_pubkey: ScriptBuf) -> TxOut {
    TxOut { value: Amount::from_sat(1_000), script_pubkey }
}

fn to_somebody() -> TxOut {
    pay(ScriptBuf::new_p2wpkh(&WPubkeyHash::all_zeros()))
}

fn to_a_script() -> TxOut {
    pay(ScriptBuf::new().to_p2wsh())
}

fn transaction(lock_time: u32, input: Vec<TxIn>, output: Vec<TxOut>) -> Transaction {
    let lock_time = absolute::LockTime::from_consensus(lock_time);
    Transaction { version: transaction::Version::TWO, lock_time, input, output }
}

fn block(txdata: Vec<Transaction>) -> Block {
    let header = Header {
        version: Version::TWO,
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: 1,
        bits: CompactTarget::from_consensus(0),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}

/// What a block with these transactions, after another one, spends.
fn scan(transactions: Vec<Transaction>) -> Vec<Candidate> {
    let block = block([vec![transaction(0, vec![TxIn::default()], vec![to_somebody()])], transactions].concat());
    candidates(&serialize(&block), block.block_hash()).unwrap()
}

#[test]
fn a_tag_is_the_same_for_keys_and_for_what_a_spend_reveals() {
    let script = make_funding_redeemscript(&keys(1)[0], &keys(1)[1]);
    assert_eq!(FundingTag::of_witness_script(script.as_bytes()), Some(tag(1)));
    let reversed = [keys(1)[1], keys(1)[0]].map(|key| NodeId::from_pubkey(&key));
    assert_eq!(FundingTag::of_keys(&reversed), tag(1));
    for odd in [0, 1, 35, 69, 70] {
        let mut script = script.to_bytes();
        script[odd] ^= 1;
        assert_eq!(FundingTag::of_witness_script(&script), None);
    }
    assert_eq!(FundingTag::of_witness_script(&script.as_bytes()[..70]), None);
    assert_eq!(FundingTag::of_witness_script(&[script.as_bytes(), &[0]].concat()), None);
}

#[test]
fn what_ends_a_channel_is_told_from_what_may_be_a_splice() {
    const COMMITS: (u32, u32) = (0x20ab_cdef, 0x80ab_cdef);
    let cases = [
        ((0, 0xffff_fffd), vec![to_somebody()], true),
        ((0, 0xffff_fffd), vec![to_somebody(), to_a_script()], false),
        (COMMITS, vec![to_somebody(), to_a_script()], true),
        (COMMITS, vec![to_a_script()], true),
        (COMMITS, vec![], true),
        ((0x20ab_cdef, 0xffff_fffd), vec![to_a_script()], false),
        ((0x1fff_ffff, 0x80ab_cdef), vec![to_a_script()], false),
        ((0x2100_0000, 0x80ab_cdef), vec![to_a_script()], false),
        ((0x20ab_cdef, 0x7fff_ffff), vec![to_a_script()], false),
    ];
    for ((lock_time, sequence), outputs, closes) in cases {
        let spends = scan(vec![transaction(lock_time, vec![input(1, sequence)], outputs.clone())]);
        let expected = Candidate { tag: tag(1), output: output(1), closes };
        assert_eq!(spends, [expected], "{lock_time:x} {sequence:x} {outputs:?}");
    }
}

#[test]
fn every_input_counts_and_others_do_not() {
    let plain = TxIn { previous_output: output(9), ..TxIn::default() };
    let key_spend = TxIn { witness: Witness::from_slice(&[&[0x30; 71][..], &[2; 33]]), ..plain.clone() };
    let spends = scan(vec![
        transaction(0, vec![plain.clone(), input(1, 0), key_spend, input(2, 0)], vec![to_a_script()]),
        transaction(0, vec![plain], vec![to_somebody()]),
        transaction(0, vec![input(3, 0)], vec![to_somebody()]),
    ]);
    let found: Vec<_> = spends.iter().map(|spend| (spend.tag, spend.output, spend.closes)).collect();
    assert_eq!(found, [(tag(1), output(1), false), (tag(2), output(2), false), (tag(3), output(3), true)]);
}

#[test]
fn a_real_block_is_read() {
    let genesis = genesis_block(bitcoin::Network::Bitcoin);
    assert_eq!(candidates(&serialize(&genesis), genesis.block_hash()), Ok(Vec::new()));
    let refused = |body: &[u8]| candidates(body, genesis.block_hash()).unwrap_err().into_owned();
    let mut none = serialize(&genesis.header);
    none.push(0);
    assert!(refused(&none).contains("other transactions"));
    let other = genesis_block(bitcoin::Network::Regtest);
    assert!(refused(&serialize(&other)).contains("another block"));
}

#[test]
fn a_block_without_its_witnesses_is_refused() {
    let commitment = ScriptBuf::from_bytes([&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &[7; 32]].concat());
    let coinbase = transaction(0, vec![TxIn::default()], vec![to_somebody(), pay(commitment)]);
    let stripped = block(vec![coinbase.clone()]);
    let refused = candidates(&serialize(&stripped), stripped.block_hash()).unwrap_err();
    assert!(refused.contains("no witnesses"), "{refused}");
    let mut whole = block(vec![coinbase]);
    whole.txdata[0].input[0].witness = Witness::from_slice(&[[0; 32]]);
    assert_eq!(candidates(&serialize(&whole), whole.block_hash()), Ok(Vec::new()));
}

fn sample() -> Block {
    let spend = |n: u8| transaction(0, vec![input(n, 0)], vec![to_somebody(), to_a_script()]);
    block(vec![transaction(0, vec![TxIn::default()], vec![to_somebody()]), spend(1), spend(2)])
}

proptest! {
    #[test]
    fn any_bytes_are_refused_in_words(bytes in proptest::collection::vec(any::<u8>(), 0..400), headed: bool) {
        let block = sample();
        let body = if headed { [serialize(&block.header), bytes].concat() } else { bytes };
        prop_assert!(candidates(&body, block.block_hash()).is_err());
    }

    #[test]
    fn a_block_that_is_damaged_is_refused_or_has_the_same_transactions(at: prop::sample::Index, bit in 0..8u8) {
        let block = sample();
        let mut body = serialize(&block);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        // No hash that the block's header speaks for covers the witnesses.
        if let Ok(spends) = candidates(&body, block.block_hash()) {
            let damaged: Block = bitcoin::consensus::deserialize(&body).expect("it was read");
            let ids = |block: &Block| block.txdata.iter().map(Transaction::compute_txid).collect::<Vec<_>>();
            prop_assert_eq!(ids(&damaged), ids(&block));
            prop_assert!(spends.iter().all(|spend| [output(1), output(2)].contains(&spend.output)));
        }
    }

    #[test]
    fn a_block_that_is_cut_or_goes_on_is_refused(at: prop::sample::Index, more in 1..9usize) {
        let block = sample();
        let body = serialize(&block);
        prop_assert!(candidates(&body[..at.index(body.len())], block.block_hash()).is_err());
        prop_assert!(candidates(&[&body[..], &vec![0; more]].concat(), block.block_hash()).is_err());
    }
}
