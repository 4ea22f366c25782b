//! The prover against a bitcoind of its own, over real sockets, and its parts alone.

mod bitcoind;
mod counting;
mod parsing;
mod planning;
mod scanning;
mod stories;
mod watching;

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::Network;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::bitcoind::Bitcoind;
use super::{
    Claim, Finding, FundingScript, Prover, ProverStatus, Question, Settings, Settled, Timing, Verdict, Watched,
    funding_script,
};
use crate::gossip::{NodeId, ShortChannelId};

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn fast() -> Timing {
    Timing {
        gather: Duration::from_millis(5),
        gather_at_most: Duration::from_millis(50),
        poll: Duration::from_millis(20),
        request: Duration::from_secs(5),
        retry: Duration::from_millis(4),
        retry_at_most: Duration::from_millis(40),
        unavailable: Duration::from_millis(80),
    }
}

/// The script of a channel whose keys are made of `n`.
fn script(n: u64) -> FundingScript {
    let key = |side: u8| {
        let mut bytes = [side; 33];
        bytes[0] = 2;
        bytes[1..9].copy_from_slice(&n.to_be_bytes());
        NodeId::from_slice(&bytes).unwrap()
    };
    funding_script(&[key(1), key(2)])
}

fn scid(height: u32, tx_index: u32, output: u16) -> ShortChannelId {
    ShortChannelId::new(height, tx_index, output)
}

fn claim(id: u64, scid: ShortChannelId, script: FundingScript) -> Claim {
    Claim { id, scid, script }
}

/// A prover and the bitcoind it asks.
struct Rig {
    bitcoind: Bitcoind,
    prover: Prover,
    findings: mpsc::UnboundedReceiver<Finding>,
    /// Nobody watches the chain: these wait for ever.
    unanswered: Vec<Question>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    async fn new(tip: u32, timing: Timing) -> Self {
        Self::with(Bitcoind::start(tip, 8).await, timing)
    }

    fn with(bitcoind: Bitcoind, timing: Timing) -> Self {
        let rest_url = format!("http://{}/rest/", bitcoind.address);
        let (answers, findings) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let settings = Settings { rest_url, network: Network::Regtest, timing };
        let (prover, task) = Prover::start(settings, Watched::Elsewhere, answers, stop.clone()).unwrap();
        Self { bitcoind, prover, findings, unanswered: Vec::new(), stop, task }
    }

    /// Funds and claims a channel; its id, and its value, is `id`.
    fn fund_and_claim(&self, id: u64, height: u32, tx_index: u32, output: u16) {
        self.bitcoind.chain().fund(height, tx_index, output.into(), &script(id), id);
        self.prover.prove(claim(id, scid(height, tx_index, output), script(id)));
    }

    async fn settled(&mut self) -> Option<Settled> {
        loop {
            match self.findings.recv().await? {
                Finding::Settled(settled) => return Some(settled),
                Finding::Question(question) => self.unanswered.push(question),
            }
        }
    }

    /// The next `count` answers, by id.
    async fn verdicts(&mut self, count: usize) -> BTreeMap<u64, Verdict> {
        let mut verdicts = BTreeMap::new();
        for _ in 0..count {
            let settled = tokio::time::timeout(PATIENCE, self.settled()).await.expect("an answer").unwrap();
            assert!(verdicts.insert(settled.id, settled.verdict).is_none(), "{} answered twice", settled.id);
        }
        verdicts
    }

    async fn all_proven(&mut self, count: usize) {
        for (id, verdict) in self.verdicts(count).await {
            assert_eq!(verdict, Verdict::Proven { capacity_sat: id });
        }
    }

    async fn wait_for(&mut self, what: impl FnMut(&ProverStatus) -> bool) -> ProverStatus {
        let mut status = self.prover.status();
        let found = tokio::time::timeout(PATIENCE, status.wait_for(what)).await;
        found.unwrap_or_else(|_| panic!("in vain; it is {:?}", self.prover.status().borrow())).unwrap().clone()
    }

    fn no_answer_yet(&mut self) {
        while let Ok(finding) = self.findings.try_recv() {
            assert!(matches!(finding, Finding::Question(_)), "{finding:?}");
        }
    }
}
