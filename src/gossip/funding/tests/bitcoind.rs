//! A double of bitcoind's REST interface for the prover's own tests: a small chain behind real TCP, in bitcoind's
//! formats, that can be told to fail in every way a server can.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bitcoin::consensus::encode::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, OutPoint, TxMerkleNode, Txid, VarInt, block};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a request goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Status(u16),
    /// The connection ends in the middle of the body.
    Torn,
    /// A well-formed HTTP answer whose body stops half-way.
    Half,
    /// A body of some megabytes.
    Huge,
    Garbage,
    /// No answer at all.
    Silent,
}

#[derive(Clone)]
struct TestBlock {
    height: u32,
    hash: BlockHash,
    header: block::Header,
    txids: Vec<Txid>,
}

/// Does something to the chain just before a request is answered.
type Ambush = Box<dyn FnOnce(&mut Chain) + Send>;

pub struct Chain {
    /// The best chain.
    blocks: Vec<TestBlock>,
    /// Every block there ever was.
    known: HashMap<BlockHash, TestBlock>,
    coins: HashMap<OutPoint, (u32, u64, Vec<u8>)>,
    pub name: &'static str,
    pub initial_block_download: bool,
    pub prune_height: Option<u32>,
    /// Blocks below this are not on disk, whatever `prune_height` says.
    pub missing_below: u32,
    /// Headers known beyond the last block.
    pub headers_ahead: u32,
    /// By the path's first part.
    pub faults: HashMap<&'static str, Fault>,
    pub ambush: Option<(&'static str, Ambush)>,
    pub requests: BTreeMap<String, u64>,
    pub connections: u64,
    transactions: u32,
}

impl Chain {
    pub fn new(tip: u32, transactions: u32) -> Self {
        let mut chain = Self {
            blocks: Vec::new(),
            known: HashMap::new(),
            coins: HashMap::new(),
            name: "regtest",
            initial_block_download: false,
            prune_height: None,
            missing_below: 0,
            headers_ahead: 0,
            faults: HashMap::new(),
            ambush: None,
            requests: BTreeMap::new(),
            connections: 0,
            transactions,
        };
        chain.mine(tip + 1, 0);
        chain
    }

    pub fn tip(&self) -> u32 {
        self.blocks.len() as u32 - 1
    }

    /// Appends blocks; another `salt` makes other ones.
    pub fn mine(&mut self, count: u32, salt: u32) {
        for _ in 0..count {
            let height = self.blocks.len() as u32;
            let prev_blockhash = self.blocks.last().map_or(BlockHash::all_zeros(), |block| block.hash);
            let merkle_root = TxMerkleNode::hash(&[height.to_le_bytes(), salt.to_le_bytes()].concat());
            let header = block::Header {
                version: block::Version::TWO,
                prev_blockhash,
                merkle_root,
                time: height,
                bits: CompactTarget::from_consensus(0),
                nonce: salt,
            };
            let txid =
                |index: u32| Txid::hash(&[height.to_le_bytes(), index.to_le_bytes(), salt.to_le_bytes()].concat());
            let txids = (0..self.transactions).map(txid).collect();
            let block = TestBlock { height, hash: header.block_hash(), header, txids };
            self.known.insert(block.hash, block.clone());
            self.blocks.push(block);
        }
    }

    /// Replaces the last blocks by as many others and one more.
    pub fn reorganise(&mut self, depth: u32, salt: u32) {
        self.blocks.truncate(self.blocks.len() - depth as usize);
        let kept = self.blocks.len() as u32;
        self.coins.retain(|_, (height, ..)| *height < kept);
        self.mine(depth + 1, salt);
    }

    pub fn fund(&mut self, height: u32, index: u32, vout: u32, script: &[u8], value_sat: u64) {
        let txid = self.blocks[height as usize].txids[index as usize];
        self.coins.insert(OutPoint::new(txid, vout), (height, value_sat, script.to_vec()));
    }

    pub fn spend(&mut self, height: u32, index: u32, vout: u32) {
        let txid = self.blocks[height as usize].txids[index as usize];
        self.coins.remove(&OutPoint::new(txid, vout));
    }

    pub fn hash(&self, height: u32) -> Option<BlockHash> {
        self.blocks.get(height as usize).map(|block| block.hash)
    }

    pub fn txids(&self, height: u32) -> &[Txid] {
        &self.blocks[height as usize].txids
    }

    /// Height and value of an unspent output, and its script.
    pub fn coin(&self, output: &OutPoint) -> Option<(u32, u64, Vec<u8>)> {
        self.coins.get(output).cloned()
    }

    pub fn asked(&self, what: &str) -> u64 {
        self.requests.get(what).copied().unwrap_or(0)
    }

    fn answer(&mut self, target: &str) -> (u16, Vec<u8>) {
        let path = target.strip_prefix("/rest/").unwrap_or("");
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let found = match parts.as_slice() {
            ["chaininfo.json"] => Some(self.chain_info()),
            ["blockhashbyheight", file] => self.hash_at(file),
            ["headers", file] => self.headers(file, query),
            ["block", "notxdetails", file] => self.contents(file),
            ["getutxos", outputs @ ..] => return self.utxos(outputs),
            _ => None,
        };
        found.map_or((404, b"not found\r\n".to_vec()), |body| (200, body))
    }

    fn chain_info(&self) -> Vec<u8> {
        let mut info = serde_json::json!({
            "chain": self.name,
            "blocks": self.tip(),
            "headers": self.tip() + self.headers_ahead,
            "bestblockhash": self.blocks[self.tip() as usize].hash.to_string(),
            "difficulty": 1.5,
            "verificationprogress": 0.99,
            "initialblockdownload": self.initial_block_download,
            "pruned": self.prune_height.is_some(),
            "warnings": ["one \u{e9}"],
        });
        if let Some(height) = self.prune_height {
            info["pruneheight"] = height.into();
        }
        info.to_string().into_bytes()
    }

    fn hash_at(&self, file: &str) -> Option<Vec<u8>> {
        let height: usize = file.strip_suffix(".bin")?.parse().ok()?;
        Some(self.blocks.get(height)?.hash.to_byte_array().to_vec())
    }

    fn is_best(&self, block: &TestBlock) -> bool {
        self.blocks.get(block.height as usize).is_some_and(|best| best.hash == block.hash)
    }

    fn headers(&self, file: &str, query: &str) -> Option<Vec<u8>> {
        let hash: BlockHash = file.strip_suffix(".bin")?.parse().ok()?;
        let count: usize = query.strip_prefix("count=")?.parse().ok()?;
        assert!((1..=2000).contains(&count), "count {count}");
        let first = self.known.get(&hash).filter(|block| self.is_best(block));
        let from = first.map_or(self.blocks.len(), |block| block.height as usize);
        Some(self.blocks.iter().skip(from).take(count).flat_map(|block| serialize(&block.header)).collect())
    }

    fn contents(&self, file: &str) -> Option<Vec<u8>> {
        let hash: BlockHash = file.strip_suffix(".json")?.parse().ok()?;
        let block = self.known.get(&hash).filter(|block| block.height >= self.missing_below)?;
        let confirmations = if self.is_best(block) { i64::from(self.tip() - block.height) + 1 } else { -1 };
        let body = serde_json::json!({
            "hash": hash.to_string(),
            "confirmations": confirmations,
            "height": block.height,
            "tx": block.txids.iter().map(Txid::to_string).collect::<Vec<_>>(),
            "nTx": block.txids.len(),
        });
        Some(body.to_string().into_bytes())
    }

    fn utxos(&self, outputs: &[&str]) -> (u16, Vec<u8>) {
        let parse = |part: &&str| part.strip_suffix(".bin").unwrap_or(part).replace('-', ":").parse();
        let outputs: Vec<OutPoint> = outputs.iter().map(parse).collect::<Result<_, _>>().unwrap();
        if outputs.is_empty() || outputs.len() > 15 {
            return (400, b"Error: max outpoints exceeded\r\n".to_vec());
        }
        let coins: Vec<_> = outputs.iter().map(|output| self.coins.get(output).cloned()).collect();
        (200, utxos_answer(self.tip(), self.blocks[self.tip() as usize].hash, &coins))
    }
}

/// bitcoind's serialisation of what `getutxos` found.
pub fn utxos_answer(height: u32, tip: BlockHash, coins: &[Option<(u32, u64, Vec<u8>)>]) -> Vec<u8> {
    let mut bits = vec![0_u8; coins.len().div_ceil(8)];
    for (i, _) in coins.iter().enumerate().filter(|(_, coin)| coin.is_some()) {
        bits[i / 8] |= 1 << (i % 8);
    }
    let mut body = [&height.to_le_bytes()[..], &tip.to_byte_array(), &serialize(&bits)].concat();
    body.extend(serialize(&VarInt::from(coins.iter().flatten().count())));
    for (height, value, script) in coins.iter().flatten() {
        body.extend([0; 4]);
        body.extend(height.to_le_bytes());
        body.extend(value.to_le_bytes());
        body.extend(serialize(script));
    }
    body
}

/// The running server.
pub struct Bitcoind {
    pub chain: Arc<Mutex<Chain>>,
    pub address: SocketAddr,
    up: Option<CancellationToken>,
}

impl Bitcoind {
    pub async fn start(tip: u32, transactions: u32) -> Self {
        let chain = Arc::new(Mutex::new(Chain::new(tip, transactions)));
        let mut bitcoind = Self { chain, address: ([127, 0, 0, 1], 0).into(), up: None };
        bitcoind.come_up().await;
        bitcoind
    }

    pub fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap()
    }

    pub async fn come_up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let up = CancellationToken::new();
        tokio::spawn(up.clone().run_until_cancelled_owned(serve(listener, Arc::clone(&self.chain))));
        self.up = Some(up);
    }

    /// Closes the port and every connection.
    pub async fn go_down(&mut self) {
        if let Some(up) = self.up.take() {
            up.cancel();
        }
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        if let Some(up) = self.up.take() {
            up.cancel();
        }
    }
}

async fn serve(listener: TcpListener, chain: Arc<Mutex<Chain>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        chain.lock().unwrap().connections += 1;
        connections.spawn(converse(stream, Arc::clone(&chain)));
    }
}

async fn converse(mut stream: TcpStream, chain: Arc<Mutex<Chain>>) -> Option<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8(std::mem::take(&mut head)).ok()?;
        let target = text.split(' ').nth(1)?;
        let (fault, (status, body)) = {
            let mut chain = chain.lock().unwrap();
            let kind = target.trim_start_matches("/rest/").split(['/', '.']).next()?;
            *chain.requests.entry(kind.to_owned()).or_default() += 1;
            if chain.ambush.as_ref().is_some_and(|(at, _)| *at == kind)
                && let Some((_, ambush)) = chain.ambush.take()
            {
                ambush(&mut chain);
            }
            (chain.faults.get(kind).copied(), chain.answer(target))
        };
        let answer = match fault {
            None => http(status, body),
            Some(Fault::Status(status)) => http(status, b"Service temporarily unavailable: Loading...\r\n".to_vec()),
            Some(Fault::Half) => http(200, body[..body.len() / 2].to_vec()),
            Some(Fault::Huge) => http(200, vec![b' '; 3 << 20]),
            Some(Fault::Garbage) => http(200, b"<html>proxy</html>".to_vec()),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::Torn) => {
                let whole = http(200, body);
                stream.write_all(&whole[..whole.len() - 5]).await.ok()?;
                return None;
            }
        };
        stream.write_all(&answer).await.ok()?;
    }
}

fn http(status: u16, body: Vec<u8>) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}
