//! What bitcoind's REST interface answers (its `doc/REST-interface.md` and `src/rest.cpp`): paths, formats, statuses.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bitcoin::consensus::encode::{Encodable, VarInt};
use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use bitcoin::{BlockHash, OutPoint, TxOut, Txid};
use serde_json::{Value, json};

use super::blocks::Blocks;
use super::{BadBlock, Counts, Mode, Shared};

/// Headers in one answer.
const MAX_HEADERS: usize = 2000;
/// Outputs in one question.
const MAX_OUTPOINTS: usize = 15;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    kind(&path, &shared.counts).fetch_add(1, Ordering::Relaxed);
    let latency = Duration::from_millis(shared.latency_ms.load(Ordering::Relaxed));
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let mode = *shared.mode.borrow();
    let node = Node { blocks: &shared.read(), mode };
    let answered = match mode {
        Mode::Busy => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "Work queue depth exceeded")),
        _ => node.answer(&path, uri.query().unwrap_or("")),
    };
    answered.into_response()
}

fn kind<'a>(path: &[&str], counts: &'a Counts) -> &'a AtomicU64 {
    match path {
        ["rest", "chaininfo.json"] => &counts.chaininfo,
        ["rest", "blockhashbyheight", _] => &counts.blockhashbyheight,
        ["rest", "headers", ..] => &counts.headers,
        ["rest", "block", "notxdetails", _] => &counts.block,
        ["rest", "block", _] => &counts.whole_block,
        ["rest", "getutxos", ..] => &counts.getutxos,
        _ => &counts.other,
    }
}

type Answer = Result<Response, Refusal>;

/// An error status and its reason, in bitcoind's words.
struct Refusal {
    status: StatusCode,
    why: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "text/plain")], format!("{}\r\n", self.why)).into_response()
    }
}

/// The chain as the node sees it now.
struct Node<'a> {
    blocks: &'a Blocks,
    mode: Mode,
}

impl Node<'_> {
    fn answer(&self, path: &[&str], query: &str) -> Answer {
        match path {
            ["rest", "chaininfo.json"] => Ok(json_answer(&self.chaininfo())),
            ["rest", "blockhashbyheight", file] => self.blockhash(file),
            ["rest", "headers", file] => {
                let count = query.split('&').find_map(|pair| pair.strip_prefix("count=")).unwrap_or("5");
                self.headers(file, count)
            }
            ["rest", "headers", count, file] => self.headers(file, count),
            ["rest", "block", "notxdetails", file] => self.block(file),
            ["rest", "block", file] => self.whole_block(file),
            ["rest", "getutxos", outpoints @ ..] => self.getutxos(outpoints),
            _ => Err(refusal(StatusCode::NOT_FOUND, "Not found")),
        }
    }

    /// The last block that is checked.
    fn tip(&self) -> u32 {
        match self.mode {
            Mode::InitialDownload(height) => height.min(self.blocks.tip()),
            _ => self.blocks.tip(),
        }
    }

    fn tip_hash(&self) -> BlockHash {
        self.blocks.hash_at(self.tip()).expect("the tip is in the chain")
    }

    fn chaininfo(&self) -> Value {
        let (tip, headers) = (self.tip(), self.blocks.tip());
        let time = self.blocks.headers(tip, 1).first().map_or(0, |header| header.time);
        let mut info = json!({
            "chain": self.blocks.network().to_core_arg(),
            "blocks": tip,
            "headers": headers,
            "bestblockhash": self.tip_hash().to_string(),
            "difficulty": 4.656542373906925e-10,
            "time": time,
            "mediantime": time.saturating_sub(3000),
            "verificationprogress": f64::from(tip + 1) / f64::from(headers + 1),
            "initialblockdownload": matches!(self.mode, Mode::InitialDownload(_)),
            "chainwork": format!("{:064x}", 2 * (u64::from(tip) + 1)),
            "size_on_disk": 300 * u64::from(tip),
            "pruned": matches!(self.mode, Mode::Pruned(_)),
            "warnings": [],
        });
        if let Mode::Pruned(height) = self.mode {
            info["pruneheight"] = json!(height);
            info["automatic_pruning"] = json!(true);
            info["prune_target_size"] = json!(550 << 20);
        }
        info
    }

    fn blockhash(&self, file: &str) -> Answer {
        let (height, format) = parse_file(file)?;
        let invalid = || refusal(StatusCode::BAD_REQUEST, &format!("Invalid height: {height}"));
        let height = height.parse::<i32>().ok().and_then(|height| u32::try_from(height).ok()).ok_or_else(invalid)?;
        let hash = Some(height).filter(|&height| height <= self.tip()).and_then(|height| self.blocks.hash_at(height));
        let hash = hash.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "Block height out of range"))?;
        Ok(match format {
            Format::Bin => binary(hash.to_byte_array().to_vec()),
            Format::Hex => text(format!("{hash}\n")),
            Format::Json => json_answer(&json!({ "blockhash": hash.to_string() })),
        })
    }

    fn headers(&self, file: &str, count: &str) -> Answer {
        let (hash, format) = parse_file(file)?;
        let out_of_range = || {
            let range = format!("Header count is invalid or out of acceptable range (1-{MAX_HEADERS}): {count}");
            refusal(StatusCode::BAD_REQUEST, &range)
        };
        let parsed: Option<usize> = count.parse().ok().filter(|count| (1..=MAX_HEADERS).contains(count));
        let count = parsed.ok_or_else(out_of_range)?;
        let hash = parse_hash(hash)?;
        // An unknown block has no followers: bitcoind answers with nothing, not with an error.
        let height = self.blocks.height_of(&hash).filter(|&height| height <= self.tip());
        let height = height.unwrap_or(u32::MAX);
        let count = count.min((u64::from(self.tip()) + 1).saturating_sub(height.into()) as usize);
        let mut bytes = Vec::with_capacity(80 * count);
        for header in self.blocks.headers(height, count) {
            write(header, &mut bytes);
        }
        match format {
            Format::Bin => Ok(binary(bytes)),
            Format::Hex => Ok(text(format!("{}\n", bytes.as_hex()))),
            Format::Json => Err(no_such_format(".bin, .hex")),
        }
    }

    fn block(&self, file: &str) -> Answer {
        let (name, format) = parse_file(file)?;
        let hash = parse_hash(name)?;
        if format != Format::Json {
            return Err(no_such_format(".json"));
        }
        let height = self.height_on_disk(hash)?;
        Ok(json_answer(&self.block_json(height, hash)))
    }

    fn whole_block(&self, file: &str) -> Answer {
        let (name, format) = parse_file(file)?;
        let hash = parse_hash(name)?;
        let height = self.height_on_disk(hash)?;
        let block = match self.mode {
            Mode::BadBlocks(bad) => self.bad_block(bad, height, hash)?,
            _ => self.block_bytes(height),
        };
        match format {
            Format::Bin => Ok(binary(block)),
            Format::Hex => Ok(text(format!("{}\n", block.as_hex()))),
            Format::Json => Err(no_such_format(".bin, .hex")),
        }
    }

    fn block_bytes(&self, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&self.blocks.block(height).expect("it is in the chain"), &mut bytes);
        bytes
    }

    /// Something else in the place of a block.
    fn bad_block(&self, bad: BadBlock, height: u32, hash: BlockHash) -> Result<Vec<u8>, Refusal> {
        let another = self.block_bytes(height.saturating_sub(1));
        match bad {
            BadBlock::Garbage => Ok(vec![0xab; 1_000]),
            BadBlock::Another => Ok(another),
            BadBlock::OtherTransactions => {
                let mut block = self.block_bytes(height);
                block.splice(80.., another.into_iter().skip(80)); // after the header
                Ok(block)
            }
            BadBlock::Huge => Ok(vec![0; 5 << 20]),
            BadBlock::Missing => Err(refusal(StatusCode::NOT_FOUND, &format!("{hash} not available (data missing)"))),
        }
    }

    /// A block's height, if its contents can be had.
    fn height_on_disk(&self, hash: BlockHash) -> Result<u32, Refusal> {
        let not_found = |why: &str| refusal(StatusCode::NOT_FOUND, &format!("{hash} {why}"));
        let height = self.blocks.height_of(&hash).ok_or_else(|| not_found("not found"))?;
        if height > self.tip() {
            return Err(not_found("not available (not fully downloaded)"));
        }
        if let Mode::Pruned(first) = self.mode
            && height < first
        {
            return Err(not_found("not available (pruned data)"));
        }
        Ok(height)
    }

    fn block_json(&self, height: u32, hash: BlockHash) -> Value {
        let txids: Vec<String> = self.blocks.txids(height).iter().map(Txid::to_string).collect();
        let header = self.blocks.headers(height, 1).first().copied();
        let mut block = json!({
            "hash": hash.to_string(),
            "confirmations": self.tip() - height + 1,
            "height": height,
            "difficulty": 4.656542373906925e-10,
            "chainwork": format!("{:064x}", 2 * (u64::from(height) + 1)),
            "nTx": txids.len(),
            "strippedsize": 250 * txids.len(),
            "size": 300 * txids.len(),
            "weight": 1050 * txids.len(),
            "tx": txids,
        });
        if let Some(header) = header {
            block["version"] = json!(header.version.to_consensus());
            block["versionHex"] = json!(format!("{:08x}", header.version.to_consensus()));
            block["merkleroot"] = json!(header.merkle_root.to_string());
            block["time"] = json!(header.time);
            block["mediantime"] = json!(header.time.saturating_sub(3000));
            block["nonce"] = json!(header.nonce);
            block["bits"] = json!(format!("{:08x}", header.bits.to_consensus()));
        }
        if let Some(previous) = height.checked_sub(1).and_then(|height| self.blocks.hash_at(height)) {
            block["previousblockhash"] = json!(previous.to_string());
        }
        if let Some(next) = self.blocks.hash_at(height + 1).filter(|_| height < self.tip()) {
            block["nextblockhash"] = json!(next.to_string());
        }
        block
    }

    fn getutxos(&self, parts: &[&str]) -> Answer {
        let (last, rest) = parts.split_last().ok_or_else(|| bad("Error: empty request"))?;
        let (last, format) = parse_file(last)?;
        let mut parts: Vec<&str> = rest.iter().copied().chain([last]).collect();
        if parts.first() == Some(&"checkmempool") {
            parts.remove(0);
        }
        if parts.is_empty() {
            return Err(bad("Error: empty request"));
        }
        let outpoints: Option<Vec<OutPoint>> = parts.iter().map(|part| parse_outpoint(part)).collect();
        let outpoints = outpoints.ok_or_else(|| bad("Parse error"))?;
        if outpoints.len() > MAX_OUTPOINTS {
            let tried = outpoints.len();
            return Err(bad(&format!("Error: max outpoints exceeded (max: {MAX_OUTPOINTS}, tried: {tried})")));
        }
        let tip = self.tip();
        let found: Vec<_> = outpoints.iter().map(|&outpoint| self.blocks.unspent(outpoint, tip)).collect();
        Ok(match format {
            Format::Bin => binary(self.utxos_binary(&found)),
            Format::Hex => text(format!("{}\n", self.utxos_binary(&found).as_hex())),
            Format::Json => json_answer(&self.utxos_json(&found)),
        })
    }

    /// bitcoind's own serialisation: height and hash of the tip, the bitmap of hits as a vector of bytes (first
    /// output in the lowest bit), and the hits as a vector of: a version (always 0), the block's height, the output.
    fn utxos_binary(&self, found: &[Option<(u32, TxOut)>]) -> Vec<u8> {
        let mut bitmap = vec![0u8; found.len().div_ceil(8)];
        for (i, _) in found.iter().enumerate().filter(|(_, hit)| hit.is_some()) {
            bitmap[i / 8] |= 1 << (i % 8);
        }
        let hits = || found.iter().flatten();
        let mut bytes = Vec::new();
        write(&(self.tip() as i32), &mut bytes);
        write(&self.tip_hash(), &mut bytes);
        write(&bitmap, &mut bytes);
        write(&VarInt::from(hits().count()), &mut bytes);
        for (height, output) in hits() {
            write(&0u32, &mut bytes);
            write(height, &mut bytes);
            write(output, &mut bytes);
        }
        bytes
    }

    fn utxos_json(&self, found: &[Option<(u32, TxOut)>]) -> Value {
        let bitmap: String = found.iter().map(|hit| if hit.is_some() { '1' } else { '0' }).collect();
        let utxos: Vec<Value> = found
            .iter()
            .flatten()
            .map(|(height, output)| {
                let script = &output.script_pubkey;
                let kind = if script.is_p2wsh() { "witness_v0_scripthash" } else { "witness_v0_keyhash" };
                json!({
                    "height": height,
                    "value": output.value.to_btc(),
                    "scriptPubKey": { "asm": script.to_asm_string(), "hex": script.to_hex_string(), "type": kind },
                })
            })
            .collect();
        json!({ "chainHeight": self.tip(), "chaintipHash": self.tip_hash().to_string(), "bitmap": bitmap, "utxos": utxos })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Bin,
    Hex,
    Json,
}

fn parse_file(file: &str) -> Result<(&str, Format), Refusal> {
    let (name, format) = file.rsplit_once('.').unwrap_or((file, ""));
    match format {
        "bin" => Ok((name, Format::Bin)),
        "hex" => Ok((name, Format::Hex)),
        "json" => Ok((name, Format::Json)),
        _ => Err(no_such_format(".bin, .hex, .json")),
    }
}

fn parse_hash(hash: &str) -> Result<BlockHash, Refusal> {
    BlockHash::from_str(hash).map_err(|_| bad(&format!("Invalid hash: {hash}")))
}

fn parse_outpoint(part: &str) -> Option<OutPoint> {
    let (txid, vout) = part.split_once('-')?;
    Some(OutPoint { txid: Txid::from_str(txid).ok()?, vout: vout.parse().ok()? })
}

fn no_such_format(available: &str) -> Refusal {
    refusal(StatusCode::NOT_FOUND, &format!("output format not found (available: {available})"))
}

fn bad(why: &str) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, why)
}

fn refusal(status: StatusCode, why: &str) -> Refusal {
    Refusal { status, why: why.to_owned() }
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

fn binary(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

fn json_answer(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn write(value: &impl Encodable, out: &mut Vec<u8>) {
    value.consensus_encode(out).expect("writing to a Vec cannot fail");
}
