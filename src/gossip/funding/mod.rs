//! Funding proofs: is an announced channel's funding output really on the chain? And when is it spent?
//!
//! Puts few and small questions to bitcoind's REST interface: block hashes in ranges, each touched block's
//! transaction ids once, unspent outputs fifteen at a time. Whole blocks are read once each, as they come, for what
//! they spend of known channels. Owns the questions, their order and their retries, and every task that asks them; the
//! checking stage owns the messages that wait, and decides what a spend means.
//!
//! Promises that a claim is answered exactly once, unless it is withdrawn or the service stops, and is refused only
//! for what bitcoind says of the chain: while bitcoind is unreachable, busy, still syncing, on another chain,
//! pruned, or talks nonsense, claims wait. A proof needs the right script, six confirmations, and an output that
//! is unspent at that moment, which is no earlier than the last block that was looked through: so no spend falls between
//! a proof and the watch.

mod actor;
mod board;
mod cache;
mod jobs;
mod link;
mod lookups;
mod plan;
mod rest;
mod scan;
#[cfg(test)]
mod tests;
mod watcher;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::actor::Actor;
use self::link::Link;
use self::plan::Plan;
use self::rest::Rest;
pub use self::watcher::Question;
use self::watcher::Watcher;
use super::{BlockId, NodeId, ShortChannelId, Trail};

const OP_2: u8 = 0x52;
const PUSH_33: u8 = 0x21;
const OP_CHECKMULTISIG: u8 = 0xae;

/// A P2WSH `scriptPubKey`: version 0, a push of 32 bytes, the hash.
pub type FundingScript = [u8; 34];

/// A channel whose funding output is to be proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The caller's name for it, given back in [`Settled`].
    pub id: u64,
    pub scid: ShortChannelId,
    /// The script that the output must have: [`funding_script`] of the announcement's keys.
    pub script: FundingScript,
}

/// The script of the funding output of a channel with these keys: BOLT 3, "Funding Transaction Output", a 2-of-2
/// with its keys in ascending order. Nobody has checked that the keys are points; with others no output exists.
pub fn funding_script(bitcoin_keys: &[NodeId; 2]) -> FundingScript {
    let [a, b] = bitcoin_keys.each_ref().map(NodeId::as_slice);
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    let witness_script = [&[OP_2, PUSH_33], first, &[PUSH_33], second, &[OP_2, OP_CHECKMULTISIG]].concat();
    let mut script = [0; 34];
    script[1] = 32;
    script[2..].copy_from_slice(sha256::Hash::hash(&witness_script).as_byte_array());
    script
}

/// Half of the hash in a [`FundingScript`]: enough to tell scripts apart, at half the size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FundingTag([u8; 16]);

impl FundingTag {
    /// Of a channel with these keys.
    pub fn of_keys(bitcoin_keys: &[NodeId; 2]) -> Self {
        Self::of_hash(&funding_script(bitcoin_keys)[2..])
    }

    /// Of the script that a spend reveals; none if it has not the form of a channel's.
    pub fn of_witness_script(script: &[u8]) -> Option<Self> {
        let form = [(0, OP_2), (1, PUSH_33), (35, PUSH_33), (69, OP_2), (70, OP_CHECKMULTISIG)];
        let fits = script.len() == 71 && form.iter().all(|(at, byte)| script.get(*at) == Some(byte));
        fits.then(|| Self::of_hash(sha256::Hash::hash(script).as_byte_array()))
    }

    fn of_hash(hash: &[u8]) -> Self {
        Self(*hash.first_chunk().expect("32 bytes"))
    }
}

/// A spend of a known channel's funding output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spend {
    pub scid: ShortChannelId,
    /// Whether it ends the channel for certain; it may be a splice otherwise.
    pub closes: bool,
}

/// A block of the best chain, and its spends of known channels' funding outputs: one of each channel at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockSpends {
    pub block: BlockId,
    pub spends: Vec<Spend>,
}

/// What the chain says of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The output is there, confirmed, unspent, and the channel's.
    Proven {
        capacity_sat: u64,
    },
    Refused(Refusal),
}

/// Why a claim is false.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The block holds fewer transactions than the short channel id says.
    NoSuchTransaction,
    /// The transaction has no such output, or it has been spent.
    SpentOrMissing,
    /// The output belongs to other keys.
    WrongScript,
    /// The unspent output of that transaction id is of another block.
    WrongHeight,
}

/// A claim's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    pub id: u64,
    pub verdict: Verdict,
}

/// What the prover and the watcher tell, in its order.
#[derive(Debug)]
pub enum Finding {
    Settled(Settled),
    Question(Question),
}

/// How far the chain is watched. A proof that is older than this says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// Another collector does it.
    Elsewhere,
    /// Nothing yet: proofs wait until it has begun.
    Nothing,
    /// Every block up to this one.
    UpTo(BlockId),
}

impl Watched {
    /// By this collector, so far.
    pub fn here(trail: &Trail) -> Self {
        trail.last().map_or(Self::Nothing, Self::UpTo)
    }
}

/// Which bitcoind to ask, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://host:port`, with or without `/rest` at its end.
    pub rest_url: String,
    /// bitcoind must be on the same chain.
    pub network: Network,
    pub timing: Timing,
}

/// How long the prover waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// New claims are gathered until none has come for this long, so that one question serves several …
    pub gather: Duration,
    /// … but not for longer than this.
    pub gather_at_most: Duration,
    /// How often to ask where the chain stands, while something waits.
    pub poll: Duration,
    /// A request without an answer by then has failed.
    pub request: Duration,
    /// The first wait after a failure; doubles with each further one …
    pub retry: Duration,
    /// … up to this.
    pub retry_at_most: Duration,
    /// When to ask again for a block that bitcoind has pruned or not yet downloaded.
    pub unavailable: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(100),
            gather_at_most: Duration::from_secs(1),
            poll: Duration::from_secs(10),
            request: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            retry_at_most: Duration::from_secs(60),
            unavailable: Duration::from_secs(600),
        }
    }
}

/// How the prover is doing, as of bitcoind's last answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProverStatus {
    /// Whether bitcoind answers, on the right chain. False, too, before its first answer.
    pub reachable: bool,
    /// What keeps it from proving anything, in one sentence.
    pub problem: Option<String>,
    pub tip_height: Option<u32>,
    /// bitcoind is still catching up with the chain for the first time, or after a long absence.
    pub initial_block_download: bool,
    /// On a pruned bitcoind: the lowest block that it still has.
    pub prune_height: Option<u32>,
    /// Claims that have no answer yet, for whatever reason.
    pub pending: u64,
    /// Those of `pending` that wait for blocks to be mined; bitcoind itself is up to date.
    pub waiting_for_blocks: u64,
    /// Those of `pending` whose blocks this bitcoind has pruned or not downloaded: they may wait for good.
    pub unavailable: u64,
    /// Claims answered since the start.
    pub answered: u64,
    /// Claims taken back since the start.
    pub withdrawn: u64,
    /// Requests sent to bitcoind since the start.
    pub requests: u64,
}

impl ProverStatus {
    /// What keeps claims waiting, other than the chain itself, in one sentence.
    pub fn trouble(&self) -> Option<String> {
        let pruned = || self.pruned().filter(|_| self.unavailable > 0);
        let downloading = || self.downloading().filter(|_| self.pending > self.unavailable);
        self.problem.clone().or_else(downloading).or_else(pruned)
    }

    fn downloading(&self) -> Option<String> {
        let height = self.tip_height.filter(|_| self.initial_block_download)?;
        Some(format!(
            "bitcoind is still downloading the chain and has come to block {height}: newer channels wait until it is done"
        ))
    }

    /// What it means that bitcoind is pruned, in one sentence.
    pub fn pruned(&self) -> Option<String> {
        let height = self.prune_height.filter(|height| *height > 0)?;
        Some(format!(
            "bitcoind is pruned: it has no blocks below {height}, so that older channels cannot be proven and wait; \
             let bitcoind.rest_url lead to one that runs without -prune"
        ))
    }
}

/// A handle on the prover: takes claims, tells how it is doing. The prover stops when the last one is dropped.
#[derive(Clone)]
pub struct Prover {
    orders: mpsc::UnboundedSender<Order>,
    asked: Arc<AtomicU64>,
    status: watch::Receiver<ProverStatus>,
}

/// What a handle tells the actor.
enum Order {
    Prove(Claim),
    Withdraw {
        id: u64,
        scid: ShortChannelId,
    },
    /// The chain was watched up to there, and is from now on.
    Watch(Watched),
    /// What is proven from now on must be so at this block, or later.
    Reach(BlockId),
    /// A question of the watcher's had no answer.
    Doubt(rest::RestError),
    /// To be handed on, after all that was found out before.
    Ask(Question),
}

impl Prover {
    /// Starts the prover and the watcher; what they find goes to `findings`. They end at `stop`, or when nobody takes
    /// that any more.
    pub fn start(
        settings: Settings,
        watched: Watched,
        findings: mpsc::UnboundedSender<Finding>,
        stop: CancellationToken,
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (publish, status) = watch::channel(ProverStatus::default());
        let (publish_tip, tip) = watch::channel(None);
        let Settings { network, timing, .. } = settings;
        let rest = Arc::new(Rest::new(&settings.rest_url, timing.request, actor::IN_FLIGHT)?);
        let link = Link::new(network, rest.place(), timing);
        let plan = Plan::new(link, timing, watched, ChaCha8Rng::from_rng(&mut rand::rng()));
        let rng = ChaCha8Rng::from_rng(&mut rand::rng());
        let watcher = Watcher { rest: Arc::clone(&rest), timing, rng, tip, orders: orders.downgrade() };
        let actor = Actor::new(rest, plan, inbox, findings, publish, publish_tip);
        let task = tokio::spawn(async move {
            let watch = async {
                watcher.run().await;
                std::future::pending().await // the prover may go on for a moment
            };
            let both = async {
                tokio::select! { () = actor.run() => {}, () = watch => {} }
            };
            stop.run_until_cancelled(both).await;
        });
        Ok((Self { orders, asked: Arc::default(), status }, task))
    }

    /// Hands in a claim; never blocks. The caller bounds how many are unanswered.
    pub fn prove(&self, claim: Claim) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // An actor that has ended answers nothing: whoever owns its task notices.
        let _ = self.orders.send(Order::Prove(claim));
    }

    /// Takes an unanswered claim back. Its answer may be on the way already.
    pub fn withdraw(&self, id: u64, scid: ShortChannelId) {
        let _ = self.orders.send(Order::Withdraw { id, scid });
    }

    /// This collector watches the chain from now on, where it did not, and it was watched so far.
    pub fn watch(&self, watched: Watched) {
        let _ = self.orders.send(Order::Watch(watched));
    }

    /// How it is doing; changes are announced.
    pub fn status(&self) -> watch::Receiver<ProverStatus> {
        self.status.clone()
    }

    /// How many claims wait for bitcoind rather than for the chain: handed in, and not answered, withdrawn, waiting
    /// for blocks to be mined, or of blocks that bitcoind does not have. A claim counts from the moment of
    /// [`Self::prove`], so that 0 can be trusted.
    pub fn unsettled(&self) -> u64 {
        // The status first: what is handed in meanwhile makes the number too large, never too small.
        let settled = {
            let status = self.status.borrow();
            status.answered + status.withdrawn + status.waiting_for_blocks + status.unavailable
        };
        self.asked.load(Ordering::SeqCst).saturating_sub(settled)
    }
}
