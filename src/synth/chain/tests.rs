//! The REST answers over a real socket, read back with nothing of what wrote them.

use std::time::Instant;

use bitcoin::block::Header;
use bitcoin::consensus::deserialize;
use reqwest::StatusCode;
use serde_json::Value;

use super::*;
use crate::gossip::UnixMs;
use crate::synth::{NetworkSpec, Topology};

struct Served {
    network: Network,
    chain: Chain,
    server: ChainServer,
    client: reqwest::Client,
}

impl Served {
    async fn start() -> Self {
        let network = Network::new(&Topology::generate(20, 1), NetworkSpec::default(), UnixMs(1_790_000_000_000));
        let network = network.unwrap();
        let chain = Chain::of(&network, network.last_height() + 5);
        let server = chain.serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        Self { network, chain, server, client: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let answer = self.client.get(format!("{}/rest/{path}", self.server.url())).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap().to_vec())
    }

    async fn bytes(&self, path: &str) -> Vec<u8> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.bytes(path).await).unwrap()
    }

    async fn refusal(&self, path: &str) -> (u16, String) {
        let (status, body) = self.get(path).await;
        (status.as_u16(), String::from_utf8(body).unwrap())
    }

    async fn block(&self, height: u32) -> bitcoin::Block {
        deserialize(&self.bytes(&format!("block/{}.bin", self.hash(height).await)).await).unwrap()
    }

    /// Hash, in bitcoind's reversed hex.
    async fn hash(&self, height: u32) -> String {
        let hash = self.json(&format!("blockhashbyheight/{height}.json")).await;
        hash["blockhash"].as_str().unwrap().to_owned()
    }

    /// The outpoint that funds a channel, found as a client finds it.
    async fn outpoint(&self, scid: ShortChannelId) -> String {
        let hash = self.hash(scid.height()).await;
        let block = self.json(&format!("block/notxdetails/{hash}.json")).await;
        format!("{}-{}", block["tx"][scid.tx_index() as usize].as_str().unwrap(), scid.output())
    }
}

#[tokio::test]
async fn headers_chain_up_from_the_real_genesis_block() {
    let served = Served::start().await;
    let tip = served.chain.tip_height();
    let info = served.json("chaininfo.json").await;
    assert_eq!((&info["chain"], &info["blocks"]), (&Value::from("regtest"), &Value::from(tip)));
    assert_eq!((&info["pruned"], &info["initialblockdownload"]), (&Value::from(false), &Value::from(false)));
    let genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
    assert_eq!(served.hash(0).await, genesis);

    let bytes = served.bytes(&format!("headers/{genesis}.bin?count=2000")).await;
    assert_eq!(bytes, served.bytes(&format!("headers/2000/{genesis}.bin")).await);
    let headers: Vec<Header> = bytes.chunks(80).map(|header| deserialize(header).unwrap()).collect();
    assert_eq!(headers.len() as u32, tip + 1);
    for pair in headers.windows(2) {
        assert_eq!(pair[1].prev_blockhash, pair[0].block_hash());
    }
    let last = headers.last().unwrap().block_hash();
    assert_eq!(info["bestblockhash"], last.to_string());
    assert_eq!(served.bytes(&format!("blockhashbyheight/{tip}.bin")).await, bitcoin::consensus::serialize(&last));
    assert_eq!(served.bytes(&format!("blockhashbyheight/{tip}.hex")).await, format!("{last}\n").into_bytes());
    assert_eq!(served.bytes(&format!("headers/{genesis}.bin")).await.len(), 5 * 80);
    assert_eq!(served.bytes(&format!("headers/{last}.bin?count=9")).await.len(), 80);
}

#[tokio::test]
async fn funding_outputs_are_where_the_channels_say() {
    let served = Served::start().await;
    let channels = &served.network.channels()[..15];
    let mut outpoints = Vec::new();
    for channel in channels {
        outpoints.push(served.outpoint(channel.scid).await);
    }
    served.chain.spend(channels[2].scid, Spending::MutualClose).unwrap();
    let answer = served.bytes(&format!("getutxos/{}.bin", outpoints.join("/"))).await;
    let tip = served.chain.tip_height();
    assert_eq!(answer[..4], (tip as i32).to_le_bytes());
    let hash: bitcoin::BlockHash = deserialize(&answer[4..36]).unwrap();
    assert_eq!(hash.to_string(), served.hash(tip).await);
    assert_eq!(answer[36..40], [2, 0b1111_1011, 0b0111_1111, 14]);
    let mut rest = &answer[40..];
    for channel in channels.iter().filter(|channel| channel.scid != channels[2].scid) {
        assert_eq!(rest[..4], [0; 4]);
        assert_eq!(rest[4..8], channel.scid.height().to_le_bytes());
        assert_eq!(rest[8..16], channel.capacity_sat.to_le_bytes());
        assert_eq!(rest[16], 34);
        assert_eq!(rest[17..51], channel.funding_script().to_bytes());
        rest = &rest[51..];
    }
    assert!(rest.is_empty());

    let nobody = format!("{}-0", "ab".repeat(32));
    let other = outpoints[0].replace(&outpoints[0][64..], "-9");
    let json = served.json(&format!("getutxos/checkmempool/{}/{nobody}/{other}.json", outpoints[1])).await;
    assert_eq!(json["bitmap"], "100");
    assert_eq!(json["utxos"][0]["value"], channels[1].capacity_sat as f64 / 1e8);
}

#[tokio::test]
async fn a_block_lists_its_transactions_under_its_merkle_root() {
    let served = Served::start().await;
    let scid = served.network.channels()[0].scid;
    let hash = served.hash(scid.height()).await;
    let block = served.json(&format!("block/notxdetails/{hash}.json")).await;
    let txids: Vec<bitcoin::Txid> =
        block["tx"].as_array().unwrap().iter().map(|txid| txid.as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(txids.len(), 12);
    let root = bitcoin::merkle_tree::calculate_root(txids.into_iter()).unwrap().to_string();
    assert_eq!(block["merkleroot"], root);
    assert_eq!(block["height"], scid.height());
    assert_eq!(block["confirmations"], served.chain.tip_height() - scid.height() + 1);
    assert_eq!(block["previousblockhash"], served.hash(scid.height() - 1).await);
    // Beside the channels, there are outputs of other people, which have other scripts.
    let stranger = served.json(&format!("getutxos/{}-0.json", block["tx"][0].as_str().unwrap())).await;
    assert_eq!(stranger["utxos"][0]["scriptPubKey"]["type"], "witness_v0_keyhash");
}

#[tokio::test]
async fn nonsense_gets_bitcoinds_statuses() {
    let served = Served::start().await;
    let zeros = "00".repeat(32);
    let one = format!("{zeros}-0");
    let cases = [
        ("blockhashbyheight/99999.bin".to_owned(), 404, "Block height out of range"),
        ("blockhashbyheight/-1.bin".to_owned(), 400, "Invalid height"),
        ("blockhashbyheight/1.xml".to_owned(), 404, "output format not found"),
        (format!("headers/{zeros}.bin?count=0"), 400, "out of acceptable range"),
        (format!("headers/2001/{zeros}.bin"), 400, "out of acceptable range"),
        ("headers/zz.bin".to_owned(), 400, "Invalid hash"),
        (format!("block/notxdetails/{zeros}.json"), 404, "not found"),
        (format!("getutxos/{}.bin", vec![one.as_str(); 16].join("/")), 400, "max: 15, tried: 16"),
        ("getutxos/abc.bin".to_owned(), 400, "Parse error"),
        ("getutxos/checkmempool.bin".to_owned(), 400, "empty request"),
        (format!("block/{zeros}.bin"), 404, "not found"),
        ("tx.json".to_owned(), 404, "Not found"),
    ];
    for (path, status, why) in cases {
        let refusal = served.refusal(&path).await;
        assert_eq!(refusal.0, status, "{path}");
        assert!(refusal.1.contains(why), "{path}: {}", refusal.1);
    }
    assert!(served.bytes(&format!("headers/{zeros}.bin")).await.is_empty());
    let requests = served.chain.requests();
    assert_eq!((requests.blockhashbyheight, requests.headers, requests.block), (3, 4, 1));
    assert_eq!((requests.getutxos, requests.other, requests.total()), (3, 1, 13));
}

#[tokio::test]
async fn the_chain_grows_and_funds_new_channels() {
    let mut served = Served::start().await;
    let tip = served.chain.tip_height();
    let channel = served.network.add_channel(tip + 2, UnixMs(1_790_000_000_000)).unwrap().clone();
    served.chain.add_funding(&channel).unwrap();
    assert_eq!(served.refusal(&format!("blockhashbyheight/{}.bin", tip + 1)).await.0, 404);
    served.chain.mine(7);
    let outpoint = served.outpoint(channel.scid).await;
    let found = served.json(&format!("getutxos/{outpoint}.json")).await;
    assert_eq!(found["utxos"][0]["height"], tip + 2);
    assert_eq!(found["utxos"][0]["scriptPubKey"]["hex"], channel.funding_script().to_hex_string());
    assert!(served.chain.add_funding(&channel).unwrap_err().to_string().contains("already"));
    assert!(served.chain.spend(ShortChannelId::new(1, 1, 1), Spending::Splice).is_err());
}

#[tokio::test]
async fn spends_are_in_whole_blocks_until_they_are_reorganised_away() {
    let served = Served::start().await;
    let channels = &served.network.channels()[..3];
    let outpoint = served.outpoint(channels[0].scid).await;
    for (channel, how) in channels.iter().zip([Spending::MutualClose, Spending::ForceClose, Spending::Splice]) {
        served.chain.spend(channel.scid, how).unwrap();
    }
    assert!(served.chain.spend(channels[0].scid, Spending::Splice).is_err());
    served.chain.mine(2);
    let height = served.chain.tip_height() - 1;
    let block = served.block(height).await;
    assert!(block.check_merkle_root());
    assert_eq!(block.block_hash().to_string(), served.hash(height).await);
    let json = served.json(&format!("block/notxdetails/{}.json", block.block_hash())).await;
    let txids: Vec<String> = block.txdata.iter().map(|transaction| transaction.compute_txid().to_string()).collect();
    assert_eq!(json["tx"], Value::from(txids));
    for (transaction, channel) in block.txdata[12..].iter().zip(channels) {
        let input = &transaction.input[0];
        let revealed = bitcoin::ScriptBuf::from_bytes(input.witness.last().unwrap().to_vec());
        assert_eq!(revealed.to_p2wsh(), channel.funding_script());
        assert_eq!(served.outpoint(channel.scid).await, input.previous_output.to_string().replace(':', "-"));
    }
    let p2wsh = |nth: usize| block.txdata[nth].output.iter().any(|output| output.script_pubkey.is_p2wsh());
    assert_eq!([p2wsh(12), p2wsh(13), p2wsh(14)], [false, true, true]);
    assert_eq!(block.txdata[13].lock_time.to_consensus_u32() >> 24, 0x20);

    served.chain.reorganise(2, &[channels[0].scid]).unwrap();
    assert_eq!(served.chain.tip_height(), height + 2);
    let other = served.block(height).await;
    assert_eq!((other.header.prev_blockhash, other.txdata.len()), (block.header.prev_blockhash, 14));
    assert_ne!(other.block_hash(), block.block_hash());
    assert_eq!(served.refusal(&format!("block/{}.bin", block.block_hash())).await.0, 404);
    assert_eq!(served.json(&format!("getutxos/{outpoint}.json")).await["bitmap"], "1");
    assert_eq!(served.chain.requests().whole_block, 3);
    assert!(served.chain.reorganise(served.chain.tip_height(), &[]).is_err());
}

#[tokio::test]
async fn it_can_be_busy_down_syncing_pruned_and_slow() {
    let served = Served::start().await;
    let scid = served.network.channels()[0].scid;
    let hash = served.hash(scid.height()).await;
    let block = format!("block/notxdetails/{hash}.json");

    served.chain.set_mode(Mode::Busy);
    assert_eq!(served.refusal("chaininfo.json").await.0, 503);

    served.chain.set_mode(Mode::Down);
    let url = format!("{}/rest/chaininfo.json", served.server.url());
    assert!(served.client.get(&url).send().await.is_err());
    assert!(served.client.get(&url).send().await.is_err());

    served.chain.set_mode(Mode::InitialDownload(scid.height() - 1));
    let info = served.json("chaininfo.json").await;
    assert_eq!((&info["blocks"], &info["initialblockdownload"]), (&(scid.height() - 1).into(), &true.into()));
    assert_eq!(info["headers"], served.chain.tip_height());
    assert_eq!(served.refusal(&block).await.0, 404);
    assert_eq!(served.refusal(&format!("blockhashbyheight/{}.bin", scid.height())).await.0, 404);

    served.chain.set_mode(Mode::Pruned(scid.height() + 1));
    let info = served.json("chaininfo.json").await;
    assert_eq!((&info["pruned"], &info["pruneheight"]), (&true.into(), &(scid.height() + 1).into()));
    assert!(served.refusal(&block).await.1.contains("pruned data"));

    served.chain.set_mode(Mode::Normal);
    served.chain.set_latency(Duration::from_millis(30));
    let begun = Instant::now();
    served.bytes(&block).await;
    assert!(begun.elapsed() >= Duration::from_millis(30));

    let addr = served.server.addr;
    served.server.stop().await;
    let listener = TcpListener::bind(addr).await.unwrap();
    let again = served.chain.serve(listener).unwrap();
    assert_eq!(served.client.get(&url).send().await.unwrap().status(), 200);
    drop(again);
}
