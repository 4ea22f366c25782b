//! The watcher against a synthetic chain, the test in the place of the checking stage.

use std::time::Duration;

use bitcoin::Network as Bitcoin;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{PATIENCE, claim, fast};
use crate::gossip::funding::{
    BlockSpends, Finding, FundingScript, FundingTag, Prover, Question, Settings, Spend, Timing, Verdict, Watched,
};
use crate::gossip::{BlockId, NodeId, ShortChannelId, Trail, UnixMs};
use crate::synth::{BadBlock, Chain, ChainServer, Channel, Mode, Network, NetworkSpec, Spending, Topology};

struct Rig {
    network: Network,
    chain: Chain,
    _server: ChainServer,
    prover: Prover,
    findings: mpsc::UnboundedReceiver<Finding>,
    _stop: DropGuard,
}

impl Rig {
    async fn new(watched: Watched) -> Self {
        Self::with(watched, fast()).await
    }

    async fn with(watched: Watched, timing: Timing) -> Self {
        let topology = Topology::generate(30, 1);
        let network = Network::new(&topology, NetworkSpec::default(), UnixMs(1_790_000_000_000)).unwrap();
        let chain = Chain::of(&network, network.last_height() + 6);
        let server = chain.serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let settings = Settings { rest_url: server.url(), network: Bitcoin::Regtest, timing };
        let (send, findings) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (prover, _) = Prover::start(settings, watched, send, stop.clone()).unwrap();
        Self { network, chain, _server: server, prover, findings, _stop: stop.drop_guard() }
    }

    async fn next(&mut self) -> Finding {
        tokio::time::timeout(PATIENCE, self.findings.recv()).await.expect("something").expect("it runs")
    }

    async fn begin(&mut self, trail: Trail) {
        let Finding::Question(Question::Trail(reply)) = self.next().await else { panic!("it does not begin") };
        reply.send(trail).unwrap();
    }

    /// Waits until so many whole blocks have been asked for.
    async fn asked(&self, blocks: u64) {
        let asked = async {
            while self.chain.requests().whole_block < blocks {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("it is asked for");
    }

    /// Takes the next block.
    async fn block(&mut self) -> BlockSpends {
        let Finding::Question(Question::Block(spends, reply)) = self.next().await else { panic!("no block") };
        reply.send(()).unwrap();
        spends
    }

    /// Is asked which channels have scripts, and says of each that it may be any of these.
    async fn matches(&mut self, scids: &[ShortChannelId]) -> Vec<FundingTag> {
        let Finding::Question(Question::Matches { tags, reply }) = self.next().await else { panic!("no question") };
        let all = (0..tags.len()).flat_map(|at| scids.iter().map(move |scid| (at, *scid)));
        reply.send(all.collect()).unwrap();
        tags
    }
}

fn tag(channel: &Channel) -> FundingTag {
    FundingTag::of_keys(&channel.funding_keys.map(|key| NodeId::from_pubkey(&key)))
}

#[tokio::test]
async fn nothing_is_proven_before_the_watch_has_begun() {
    let mut rig = Rig::new(Watched::Nothing).await;
    let channel = rig.network.channels()[0].clone();
    let script: FundingScript = channel.funding_script().as_bytes().try_into().unwrap();
    rig.prover.prove(claim(7, channel.scid, script));
    rig.begin(Trail::default()).await;
    let begun = rig.block().await;
    assert_eq!((begun.block.height, begun.spends), (rig.chain.tip_height(), Vec::new()));
    let Finding::Settled(settled) = rig.next().await else { panic!("no proof") };
    assert_eq!((settled.id, settled.verdict), (7, Verdict::Proven { capacity_sat: channel.capacity_sat }));
}

#[tokio::test]
async fn of_channels_with_the_same_keys_the_one_ends_whose_output_was_spent() {
    let mut rig = Rig::new(Watched::Nothing).await;
    rig.begin(Trail::default()).await;
    rig.block().await;
    let channels = rig.network.channels().to_vec();
    let spent = &channels[0];
    let same_output = |channel: &&Channel| channel.scid.output() == spent.scid.output();
    let others = [
        channels[1..].iter().find(same_output).expect("one of thirty"),
        channels.iter().find(|channel| !same_output(channel)).expect("one of thirty"),
    ];
    let scids = [others[0].scid, spent.scid, others[1].scid];
    rig.chain.spend(spent.scid, Spending::ForceClose).unwrap();
    rig.chain.mine(1);
    assert_eq!(rig.matches(&scids).await, [tag(spent)]);
    assert_eq!(rig.block().await.spends, [Spend { scid: spent.scid, closes: true }]);
    rig.chain.mine(2);
    let (one, two) = (rig.block().await, rig.block().await);
    assert_eq!((one.spends, two.spends), (Vec::new(), Vec::new()));
    assert_eq!([one.block.height, two.block.height], [rig.chain.tip_height() - 1, rig.chain.tip_height()]);
    assert_eq!(rig.chain.requests().whole_block, 3);
}

#[tokio::test]
async fn only_a_block_that_is_missing_time_and_again_is_passed_over() {
    let pauses = Timing { retry: Duration::from_millis(50), retry_at_most: Duration::from_secs(5), ..fast() };
    let mut rig = Rig::with(Watched::Nothing, pauses).await;
    rig.begin(Trail::default()).await;
    rig.block().await;
    let spent = rig.network.channels()[0].scid;
    rig.chain.spend(spent, Spending::MutualClose).unwrap();
    rig.chain.set_mode(Mode::BadBlocks(BadBlock::Garbage));
    rig.chain.mine(1);
    rig.asked(5).await;
    rig.chain.set_mode(Mode::BadBlocks(BadBlock::Missing));
    rig.asked(6).await;
    rig.chain.set_mode(Mode::Normal);
    rig.matches(&[spent]).await;
    assert_eq!(rig.block().await.spends, [Spend { scid: spent, closes: true }]);
}

#[tokio::test]
async fn a_chain_that_knows_none_of_the_last_blocks_is_read_again_from_a_little_below() {
    let rig = Rig::new(Watched::Nothing).await;
    let tip = rig.chain.tip_height();
    let mut trail = Trail::default();
    let hash = bitcoin::constants::genesis_block(Bitcoin::Bitcoin).block_hash();
    [tip - 2, tip - 1].into_iter().for_each(|height| trail.push(BlockId { height, hash }));
    let mut rig = rig;
    rig.begin(trail).await;
    for height in tip - 8..=tip {
        assert_eq!(rig.block().await.block.height, height);
    }
}

#[tokio::test]
async fn a_bitcoind_that_has_yet_to_reach_the_last_block_is_waited_for() {
    let mut rig = Rig::new(Watched::Nothing).await;
    let tip = rig.chain.tip_height();
    let mut trail = Trail::default();
    let hash = bitcoin::constants::genesis_block(Bitcoin::Bitcoin).block_hash();
    trail.push(BlockId { height: tip + 1, hash });
    rig.begin(trail).await;
    let mut status = rig.prover.status();
    status.wait_for(|status| status.tip_height == Some(tip)).await.unwrap();
    assert!(rig.findings.try_recv().is_err());
    rig.chain.mine(1);
    assert_eq!(rig.block().await.block.height, tip + 1 - 6);
}
