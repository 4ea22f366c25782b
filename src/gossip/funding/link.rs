//! Whether bitcoind can be asked, and where its chain stands: when to look, and what to make of what is seen.
//!
//! A question that fails makes bitcoind suspect; a look at the chain's state then decides whether bitcoind is gone
//! or only that one question failed. While it is gone nothing but that look is tried, with growing pauses.

use bitcoin::{BlockHash, Network};
use rand::{Rng, RngExt};
use std::time::Duration;
use tokio::time::Instant;

use super::Timing;
use super::rest::RestError;
use super::wire::ChainInfo;

/// How deep a block must lie, itself included (BOLT 7, `channel_announcement`: at least 6 confirmations).
pub(super) const CONFIRMATIONS: u32 = 6;

/// Looks in vain in a row before an answer counts as too old to ask on.
const STALE_POLLS: u32 = 3;

/// So many failed questions in a row mean that bitcoind answers nothing but looks.
const MANY: u32 = 8;

/// What a look at bitcoind has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// It answers, for the first time or again.
    Found,
    /// It does not, for the reason that the status tells.
    Lost,
    /// Its chain has another tip.
    NewTip,
    None,
}

enum State {
    /// Nobody has looked yet.
    Unknown,
    Up,
    Down {
        problem: String,
    },
}

/// What is known of bitcoind.
pub(super) struct Link {
    network: Network,
    /// Where it is, for the operator.
    place: String,
    timing: Timing,
    state: State,
    /// The last good answer and when it came.
    chain: Option<(Instant, ChainInfo)>,
    looking: bool,
    next_look: Option<Instant>,
    /// Looks in vain in a row.
    failures: u32,
    /// A question failed since the last look: why.
    suspect: Option<String>,
    /// Questions that failed in a row, though looks did not.
    refused: u32,
    /// Until when to ask nothing because of these.
    hold: Option<(Instant, String)>,
}

impl Link {
    pub fn new(network: Network, place: String, timing: Timing) -> Self {
        Self {
            network,
            place,
            timing,
            state: State::Unknown,
            chain: None,
            looking: false,
            next_look: None,
            failures: 0,
            suspect: None,
            refused: 0,
            hold: None,
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up)
    }

    /// What is wrong, in one sentence.
    pub fn problem(&self) -> Option<&str> {
        match &self.state {
            State::Down { problem } => Some(problem),
            State::Unknown => None,
            State::Up => self.hold.as_ref().map(|(_, problem)| problem.as_str()),
        }
    }

    pub fn chain(&self) -> Option<&ChainInfo> {
        self.chain.as_ref().map(|(_, chain)| chain)
    }

    /// The chain's state, if questions about blocks may be put to bitcoind now.
    pub fn usable(&self, now: Instant) -> Option<&ChainInfo> {
        let (read, chain) = self.chain.as_ref()?;
        let fresh = now.duration_since(*read) < self.timing.poll * STALE_POLLS;
        let held = self.hold.as_ref().is_some_and(|(until, _)| now < *until);
        (self.is_up() && self.suspect.is_none() && fresh && !held).then_some(chain)
    }

    /// The highest block that is deep enough.
    pub fn confirmed(&self) -> Option<u32> {
        self.chain()?.blocks.checked_sub(CONFIRMATIONS - 1)
    }

    /// The highest block that will be deep enough once bitcoind has caught up with the headers it knows.
    pub fn confirmed_by_headers(&self) -> Option<u32> {
        self.chain()?.headers.checked_sub(CONFIRMATIONS - 1)
    }

    /// bitcoind itself says that it has far to go.
    pub fn is_syncing(&self) -> bool {
        self.chain().is_none_or(|chain| chain.initial_block_download)
    }

    /// Below this, bitcoind has thrown blocks away.
    pub fn pruned_below(&self) -> u32 {
        self.chain().filter(|chain| chain.pruned).and_then(|chain| chain.prune_height).unwrap_or(0)
    }

    /// Whether it is time for a look; `wanted` says that something waits for what it may show.
    pub fn look_due(&self, now: Instant, wanted: bool) -> bool {
        let wanted = wanted || !self.is_up();
        !self.looking && (self.suspect.is_some() || wanted && self.next_look.is_none_or(|at| at <= now))
    }

    /// When [`Self::look_due`] may change by itself.
    pub fn next_wake(&self, now: Instant, wanted: bool) -> Option<Instant> {
        let wanted = wanted || !self.is_up();
        let look = self.next_look.filter(|_| wanted && !self.looking);
        let hold = self.hold.as_ref().map(|(until, _)| *until).filter(|until| *until > now);
        look.into_iter().chain(hold).min()
    }

    pub fn look_begins(&mut self) {
        self.looking = true;
    }

    /// A question has failed in a way that bitcoind's absence would explain.
    pub fn suspect(&mut self, problem: impl FnOnce() -> String) {
        if self.is_up() {
            self.suspect = Some(problem());
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// A question about blocks or outputs was answered.
    pub fn answered(&mut self) {
        (self.refused, self.hold) = (0, None);
    }

    /// Takes in what a look has shown.
    pub fn looked(&mut self, answer: Result<ChainInfo, RestError>, now: Instant, rng: &mut impl Rng) -> Change {
        self.looking = false;
        let suspicion = self.suspect.take();
        match answer.map_err(|error| self.explain(error)).and_then(|chain| self.right_chain(chain)) {
            Ok(chain) => {
                // One bad answer is a matter of its block; many and no good one are a matter of bitcoind.
                self.hold = suspicion
                    .filter(|_| self.refused >= MANY)
                    .map(|problem| (now + pause(&self.timing, self.refused / MANY - 1, rng), problem));
                self.found(chain, now)
            }
            Err(problem) => {
                let was_down = matches!(self.state, State::Down { .. });
                (self.refused, self.hold) = (0, None);
                self.next_look = Some(now + pause(&self.timing, self.failures, rng));
                self.failures = self.failures.saturating_add(1);
                self.state = State::Down { problem };
                if was_down { Change::None } else { Change::Lost }
            }
        }
    }

    fn found(&mut self, chain: ChainInfo, now: Instant) -> Change {
        let was_up = self.is_up();
        let tip: Option<BlockHash> = self.chain().map(|chain| chain.tip);
        let moved = tip != Some(chain.tip);
        self.failures = 0;
        self.state = State::Up;
        self.next_look = Some(now + self.timing.poll);
        self.chain = Some((now, chain));
        match (was_up, moved) {
            (false, _) => Change::Found,
            (true, true) => Change::NewTip,
            (true, false) => Change::None,
        }
    }

    fn explain(&self, error: RestError) -> String {
        let place = &self.place;
        match error {
            RestError::NotFound(_) => {
                format!("bitcoind at {place} has its REST interface switched off: start bitcoind with -rest=1")
            }
            error => format!("{error} (bitcoind.rest_url leads to {place})"),
        }
    }

    fn right_chain(&self, chain: ChainInfo) -> Result<ChainInfo, String> {
        let (ours, theirs) = (self.network.to_core_arg(), &chain.chain);
        if ours == theirs {
            return Ok(chain);
        }
        Err(format!(
            "bitcoind at {} is on chain \"{}\" while network = \"{}\" needs \"{ours}\": correct bitcoind.rest_url or network",
            self.place,
            theirs.escape_default().take(20).collect::<String>(),
            self.network,
        ))
    }
}

/// How long to wait after the `failures + 1`th failure in a row: doubling, up to a limit, and up to half of it taken
/// off at random, so that many who wait for the same thing do not come back together.
pub(super) fn pause(timing: &Timing, failures: u32, rng: &mut impl Rng) -> Duration {
    let doubled = timing.retry.saturating_mul(1 << failures.min(16));
    doubled.min(timing.retry_at_most).mul_f64(rng.random_range(0.5..=1.0))
}
