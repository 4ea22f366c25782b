//! What bitcoind's REST interface answers, parsed: chain info and block contents (JSON), block headers and
//! unspent outputs (binary).
//!
//! Pure functions over bytes that come from outside: each returns what it read or one phrase that says what is
//! wrong, never panics, and takes no more memory than the bytes themselves warrant.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid, VarInt, block};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::FundingScript;

/// What was wrong with an answer, as a phrase that follows "bitcoind's answer to …".
pub(super) type Fault = Cow<'static, str>;

/// Length of a serialised block header.
const HEADER: usize = 80;

/// Where bitcoind's chain stands (`chaininfo.json`, which is the RPC `getblockchaininfo`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct ChainInfo {
    /// `main`, `test`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    /// Height of the best block that is fully checked.
    pub blocks: u32,
    /// Height of the best header: above `blocks` while bitcoind catches up.
    #[serde(default)]
    pub headers: u32,
    #[serde(rename = "bestblockhash", deserialize_with = "from_hex")]
    pub tip: BlockHash,
    #[serde(default, rename = "initialblockdownload")]
    pub initial_block_download: bool,
    #[serde(default)]
    pub pruned: bool,
    /// Lowest height whose block is still on disk, on a pruned bitcoind.
    #[serde(default, rename = "pruneheight")]
    pub prune_height: Option<u32>,
}

impl ChainInfo {
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(body).map_err(|e| format!("is not the expected JSON ({e})").into())
    }
}

/// A block's contents, as far as a funding proof needs them (`block/notxdetails`).
#[derive(PartialEq, Eq, Debug, Deserialize)]
pub(super) struct BlockContents {
    #[serde(deserialize_with = "from_hex")]
    pub hash: BlockHash,
    pub height: u32,
    /// -1 for a block that a reorganisation has put aside.
    pub confirmations: i64,
    /// Transaction ids in the block's order.
    #[serde(rename = "tx", deserialize_with = "txids")]
    pub txids: Vec<Txid>,
}

impl BlockContents {
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(body).map_err(|e| format!("is not the expected JSON ({e})").into())
    }
}

/// Reads the 32 bytes of `blockhashbyheight.bin`.
pub(super) fn block_hash(body: &[u8]) -> Result<BlockHash, Fault> {
    BlockHash::from_slice(body).map_err(|_| format!("has {} bytes instead of a hash's 32", body.len()).into())
}

/// Reads `headers.bin` into the hashes of a stretch of chain that begins with `first`: each header must name the
/// one before it. An empty answer is well-formed: `first` is not in bitcoind's best chain (any more).
pub(super) fn header_hashes(body: &[u8], first: BlockHash) -> Result<Vec<BlockHash>, Fault> {
    if !body.len().is_multiple_of(HEADER) {
        return Err(format!("has {} bytes, which are no whole headers", body.len()).into());
    }
    let mut hashes: Vec<BlockHash> = Vec::with_capacity(body.len() / HEADER);
    for bytes in body.chunks_exact(HEADER) {
        let header: block::Header = deserialize(bytes).map_err(|e| Fault::from(format!("holds no header ({e})")))?;
        let hash = header.block_hash();
        let fits = hashes.last().map_or(hash == first, |previous| header.prev_blockhash == *previous);
        if !fits {
            return Err("holds headers that are not the chain asked for".into());
        }
        hashes.push(hash);
    }
    Ok(hashes)
}

/// An output that nobody has spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Coin {
    /// Height of the block that created it.
    pub height: u32,
    pub value_sat: u64,
    /// The output's script where it has the length of a P2WSH; any other script is no channel's (BOLT 3).
    pub script: Option<FundingScript>,
}

/// The answer to `getutxos.bin`.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Utxos {
    /// The chain whose unspent outputs were looked at.
    pub height: u32,
    pub tip: BlockHash,
    /// One for each output asked for, in that order; `None` where it is spent or never was.
    pub coins: Vec<Option<Coin>>,
}

impl Utxos {
    /// Reads the answer to a question about `asked` outputs.
    pub fn parse(body: &[u8], asked: usize) -> Result<Self, Fault> {
        let mut rest = Reader(body);
        let height = u32::try_from(i32::from_le_bytes(rest.array()?)).map_err(|_| "names a negative height")?;
        let tip = BlockHash::from_byte_array(rest.array()?);
        let bits_len = rest.var_int()?;
        let bits = rest.take(bits_len)?;
        if bits.len() != asked.div_ceil(8) {
            return Err(format!("has a bitmap of {} bytes for {asked} outputs", bits.len()).into());
        }
        let hit = |i: usize| bits.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        let hits = (0..asked).filter(|i| hit(*i)).count();
        if rest.var_int()? != hits as u64 {
            return Err("has another number of outputs than its bitmap says".into());
        }
        let coins = (0..asked).map(|i| if hit(i) { rest.coin().map(Some) } else { Ok(None) });
        let coins = coins.collect::<Result<_, Fault>>()?;
        if !rest.0.is_empty() {
            return Err(format!("goes on for {} bytes after its end", rest.0.len()).into());
        }
        Ok(Self { height, tip, coins })
    }
}

/// Takes bytes off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let split = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
        let (head, tail) = split.ok_or("ends too early")?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (head, tail) = self.0.split_first_chunk().ok_or("ends too early")?;
        self.0 = tail;
        Ok(*head)
    }

    /// Bitcoin's variable-length integer (`CompactSize`).
    fn var_int(&mut self) -> Result<u64, Fault> {
        let (VarInt(value), used) = bitcoin::consensus::encode::deserialize_partial(self.0)
            .map_err(|_| Fault::from("ends too early, or has a length of an odd form"))?;
        self.take(used as u64)?;
        Ok(value)
    }

    /// bitcoind's `CCoin`: a version that is always 0, a height, and the output.
    fn coin(&mut self) -> Result<Coin, Fault> {
        let _version: [u8; 4] = self.array()?;
        let height = u32::from_le_bytes(self.array()?);
        let value_sat = u64::from_le_bytes(self.array()?);
        let script_len = self.var_int()?;
        let script = FundingScript::try_from(self.take(script_len)?).ok();
        Ok(Coin { height, value_sat, script })
    }
}

fn from_hex<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(deserializer: D) -> Result<T, D::Error> {
    let hex: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
    hex.parse().map_err(de::Error::custom)
}

/// Reads the list without a string for each of its ids.
fn txids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Txid>, D::Error> {
    struct Ids;
    impl<'de> Visitor<'de> for Ids {
        type Value = Vec<Txid>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of transaction ids")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut ids = Vec::new();
            while let Some(id) = list.next_element::<&str>()? {
                ids.push(id.parse().map_err(de::Error::custom)?);
            }
            Ok(ids)
        }
    }
    deserializer.deserialize_seq(Ids)
}
