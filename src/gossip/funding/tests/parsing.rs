//! Answers of bitcoind, and bytes that are none.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::bitcoind::utxos_answer;
use crate::gossip::funding::wire::{BlockContents, ChainInfo, Coin, Utxos, block_hash, header_hashes};

/// The first two headers of the main chain.
const GENESIS: [u8; 80] = [
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3b,
    0xa3, 0xed, 0xfd, 0x7a, 0x7b, 0x12, 0xb2, 0x7a, 0xc7, 0x2c, 0x3e, 0x67, 0x76, 0x8f, 0x61, 0x7f, 0xc8, 0x1b, 0xc3,
    0x88, 0x8a, 0x51, 0x32, 0x3a, 0x9f, 0xb8, 0xaa, 0x4b, 0x1e, 0x5e, 0x4a, 0x29, 0xab, 0x5f, 0x49, 0xff, 0xff, 0,
    0x1d, 0x1d, 0xac, 0x2b, 0x7c,
];

fn genesis() -> BlockHash {
    "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f".parse().unwrap()
}

#[test]
fn headers_must_be_the_chain_asked_for() {
    assert_eq!(header_hashes(&GENESIS, genesis()).unwrap(), [genesis()]);
    assert_eq!(header_hashes(&[], genesis()).unwrap(), []);
    assert!(header_hashes(&GENESIS, BlockHash::all_zeros()).is_err());
    assert!(header_hashes(&GENESIS.repeat(2), genesis()).is_err());
    assert!(header_hashes(&GENESIS[1..], genesis()).is_err());
}

#[test]
fn chain_info_is_read_as_bitcoind_gives_it() {
    let body = format!(
        r#"{{"chain":"main","blocks":880000,"headers":880001,"bestblockhash":"{}","bits":"17028c61","difficulty":1.1e14,
        "initialblockdownload":true,"size_on_disk":7,"pruned":true,"pruneheight":870000,"automatic_pruning":true,
        "softforks":{{"taproot":{{"type":"buried"}}}},"warnings":[]}}"#,
        genesis()
    );
    let info = ChainInfo::parse(body.as_bytes()).unwrap();
    assert_eq!((info.chain.as_str(), info.blocks, info.headers, info.tip), ("main", 880_000, 880_001, genesis()));
    assert_eq!((info.initial_block_download, info.pruned, info.prune_height), (true, true, Some(870_000)));
    assert!(ChainInfo::parse(br#"{"chain":"main","blocks":-1,"bestblockhash":"00"}"#).is_err());
}

#[test]
fn a_height_below_zero_and_a_wrong_count_are_refused() {
    let coin = (7, 5, vec![1; 34]);
    let good = utxos_answer(9, genesis(), &[None, Some(coin)]);
    assert!(Utxos::parse(&good, 2).is_ok());
    assert!(Utxos::parse(&good, 9).is_err(), "bitmap of another length");
    assert!(Utxos::parse(&[&good[..], &[0]].concat(), 2).is_err(), "trailing byte");
    let negative = utxos_answer(u32::MAX, genesis(), &[None]);
    assert!(Utxos::parse(&negative, 1).is_err());
}

fn coins() -> impl Strategy<Value = Vec<Option<(u32, u64, Vec<u8>)>>> {
    let script = prop_oneof![prop::collection::vec(any::<u8>(), 34), prop::collection::vec(any::<u8>(), 0..300)];
    prop::collection::vec(prop::option::of((any::<u32>(), any::<u64>(), script)), 1..=15)
}

proptest! {
    #[test]
    fn utxos_are_read_as_written(height in 0..i32::MAX as u32, tip: [u8; 32], coins in coins()) {
        let tip = BlockHash::from_byte_array(tip);
        let parsed = Utxos::parse(&utxos_answer(height, tip, &coins), coins.len()).unwrap();
        let expected = coins.iter().map(|coin| coin.as_ref().map(|(height, value, script)| Coin {
            height: *height,
            value_sat: *value,
            script: script.as_slice().try_into().ok(),
        }));
        prop_assert_eq!((parsed.height, parsed.tip), (height, tip));
        prop_assert_eq!(parsed.coins, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_answer_is_an_error(coins in coins(), cut: prop::sample::Index) {
        let whole = utxos_answer(1, genesis(), &coins);
        prop_assert!(Utxos::parse(&whole[..cut.index(whole.len())], coins.len()).is_err());
    }

    #[test]
    fn a_flipped_answer_never_panics(coins in coins(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut bytes = utxos_answer(1, genesis(), &coins);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let _ = Utxos::parse(&bytes, coins.len());
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), asked in 0_usize..16) {
        let _ = Utxos::parse(&bytes, asked);
        let _ = header_hashes(&bytes, genesis());
        let _ = header_hashes(&bytes[..bytes.len() / 80 * 80], genesis());
        let _ = block_hash(&bytes);
        let _ = ChainInfo::parse(&bytes);
        let _ = BlockContents::parse(&bytes);
    }
}
