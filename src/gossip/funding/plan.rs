//! The order of the questions: which to put next, and what each answer means for the claims that wait.
//!
//! A pure core: told of claims, answers and the time, it names the next [`Job`]. It does no I/O and reads no clock.
//!
//! A claim's way: gathered for a moment, then on the [`Board`] under its block until the block's hash and its
//! transaction ids are known, then among the [`Lookups`] until its output is. Blocks are swept upwards, round and
//! round, so that claims that come in any order meet at their block.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::{BlockHash, OutPoint, Txid};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::board::{Asker, Board, Stage};
use super::cache::{Contents, Hashes, Outcomes};
use super::jobs::{Done, Found, HashesJob, Job};
use super::link::{Change, Link, pause};
use super::lookups::{Lookup, Lookups, Outcome};
use super::rest::{MAX_HEADERS, RestError};
use super::watcher::Tip;
use super::wire::{BlockContents, ChainInfo};
use super::{Claim, ProverStatus, Settled, Timing, Watched};
use crate::gossip::{BlockId, REORG_DEPTH, ShortChannelId};

/// As many claims are not gathered any longer.
const GATHER_CLAIMS: usize = 2_000;

/// With so many blocks ready to be read, hashes of further ones can wait for more claims to come.
const READY_BLOCKS: usize = 32;

/// An output waits at most this long for others to be looked up with, while others are on their way.
const HOLD: Duration = Duration::from_millis(250);

/// Something that the operator should read in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    Found,
    Lost,
    Failed(RestError),
}

/// Everything that waits, and everything known.
pub(super) struct Plan {
    timing: Timing,
    rng: ChaCha8Rng,
    link: Link,
    watched: Watched,
    gathering: Vec<Claim>,
    /// When the first and the last of `gathering` came.
    gathered: Option<(Instant, Instant)>,
    board: Board,
    lookups: Lookups,
    /// The sweep's place.
    height: u32,
    /// Jobs under way that may lead to lookups.
    feeding: usize,
    hashes: Hashes,
    contents: Contents,
    outcomes: Outcomes,
    settled: Vec<Settled>,
    answered: u64,
    withdrawn: u64,
    notices: Vec<Notice>,
    /// No further failed question is logged before then.
    quiet_until: Option<Instant>,
}

impl Plan {
    pub fn new(link: Link, timing: Timing, watched: Watched, rng: ChaCha8Rng) -> Self {
        Self {
            timing,
            rng,
            link,
            watched,
            gathering: Vec::new(),
            gathered: None,
            board: Board::default(),
            lookups: Lookups::default(),
            height: 0,
            feeding: 0,
            hashes: Hashes::default(),
            contents: Contents::default(),
            outcomes: Outcomes::default(),
            settled: Vec::new(),
            answered: 0,
            withdrawn: 0,
            notices: Vec::new(),
            quiet_until: None,
        }
    }

    pub fn claim(&mut self, claim: Claim, now: Instant) {
        self.gathering.push(claim);
        let first = self.gathered.map_or(now, |(first, _)| first);
        self.gathered = Some((first, now));
    }

    pub fn withdraw(&mut self, id: u64, scid: ShortChannelId) {
        let gathered = self.gathering.len();
        self.gathering.retain(|claim| (claim.id, claim.scid) != (id, scid));
        let found =
            self.gathering.len() < gathered || self.lookups.withdraw(scid, id) || self.board.withdraw(scid, id);
        self.withdrawn += u64::from(found);
    }

    /// The next question to put to bitcoind now, if any.
    pub fn next_job(&mut self, now: Instant) -> Option<Job> {
        self.wake(now);
        if self.link.look_due(now, self.wants_chain()) {
            self.link.look_begins();
            return Some(Job::Look);
        }
        let tip = self.usable(now)?.tip;
        loop {
            if let Some(batch) = self.lookups.next_batch(now, true, HOLD) {
                return Some(Job::Lookups(batch));
            }
            if self.board.needs_contents().len() < READY_BLOCKS
                && let Some(job) = self.next_hashes(tip)
            {
                self.feeding += 1;
                return Some(Job::Hashes(job));
            }
            let Some((height, hash, tip)) = self.next_contents() else { break };
            if let Some(txids) = self.contents.get(hash) {
                self.find_outputs(height, hash, tip, &txids, now);
                continue;
            }
            self.board.move_to(height, Stage::Asked);
            self.feeding += 1;
            return Some(Job::Contents { height, hash, tip });
        }
        self.lookups.next_batch(now, self.feeding > 0, HOLD).map(Job::Lookups)
    }

    /// Takes in an answer.
    pub fn finish(&mut self, done: Done, now: Instant) {
        match done {
            Done::Looked(answer) => self.looked(answer, now),
            Done::Hashed(job, answer) => {
                self.feeding -= 1;
                self.hashed(&job, answer, now);
            }
            Done::Read { height, hash, tip, contents } => {
                self.feeding -= 1;
                self.read(height, hash, tip, contents, now);
            }
            Done::LookedUp(lookups, answer) => self.looked_up(lookups, answer, now),
        }
    }

    /// When to call [`Self::next_job`] again even if nothing happens.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let gathered = self.gathered.map(|(first, last)| self.gather_ends(first, last));
        let held = self.lookups.oldest().filter(|_| self.usable(now).is_some()).map(|since| since + HOLD);
        let link = self.link.next_wake(now, self.wants_chain());
        [gathered, held, link, self.board.next_wake()].into_iter().flatten().min()
    }

    /// Who watches the chain has changed, or how far it is watched: what was proven before says nothing.
    pub fn watch(&mut self, watched: Watched) {
        self.watched = watched;
        self.outcomes = Outcomes::default();
    }

    /// The chain is being looked through for spends in this block, and was in those before.
    pub fn reach(&mut self, block: BlockId) {
        self.watch(Watched::UpTo(block));
        self.link.answered();
    }

    /// Another's question about blocks had no answer.
    pub fn doubt(&mut self, error: &RestError, now: Instant) {
        self.link.suspect(|| error.to_string());
        let unheard_of = matches!(error, RestError::Malformed { .. } | RestError::Refused { .. });
        if unheard_of && self.quiet_until.is_none_or(|until| until <= now) {
            self.quiet_until = Some(now + self.timing.retry_at_most);
            self.notices.push(Notice::Failed(error.clone()));
        }
    }

    /// Where the chain stands, if questions may be put to bitcoind now.
    pub fn tip(&self, now: Instant) -> Option<Tip> {
        let chain = self.link.usable(now)?;
        let block = BlockId { height: chain.blocks, hash: chain.tip };
        Some(Tip { block, pruned_below: self.link.pruned_below() })
    }

    pub fn take_settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub fn status(&self, requests: u64) -> ProverStatus {
        let chain = self.link.chain();
        // A bitcoind that is behind makes claims wait for itself, not for the chain.
        let behind = match self.link.confirmed_by_headers() {
            _ if !self.link.is_up() || self.link.is_syncing() => self.board.claims_for_blocks(),
            Some(known) => self.board.claims_for_blocks_to(known),
            None => 0,
        };
        ProverStatus {
            reachable: self.link.is_up(),
            problem: self.link.problem().map(str::to_owned),
            tip_height: chain.map(|chain| chain.blocks),
            initial_block_download: chain.is_some_and(|chain| chain.initial_block_download),
            prune_height: chain.filter(|chain| chain.pruned).and_then(|chain| chain.prune_height),
            pending: self.gathering.len() as u64 + self.board.claims() + self.lookups.claims(),
            waiting_for_blocks: self.board.claims_for_blocks() - behind,
            unavailable: self.board.claims_unavailable(),
            answered: self.answered,
            withdrawn: self.withdrawn,
            requests,
        }
    }

    /// Whether anything waits for news of the chain.
    fn wants_chain(&self) -> bool {
        self.watched != Watched::Elsewhere
            || self.board.claims() > self.board.claims_unavailable()
            || self.lookups.claims() > 0
    }

    /// The chain's state, if proofs may be looked for now.
    fn usable(&self, now: Instant) -> Option<&ChainInfo> {
        self.link.usable(now).filter(|_| self.watched != Watched::Nothing)
    }

    /// Whether what was seen of the chain with this tip counts.
    fn is_fresh(&self, tip: BlockId) -> bool {
        match self.watched {
            Watched::Elsewhere => true,
            Watched::Nothing => false,
            Watched::UpTo(block) => tip.height > block.height || tip == block,
        }
    }

    fn gather_ends(&self, first: Instant, last: Instant) -> Instant {
        (first + self.timing.gather_at_most).min(last + self.timing.gather)
    }

    /// Does what is due by the clock alone.
    fn wake(&mut self, now: Instant) {
        let mut sort = self.board.wake(now);
        if let Some((first, last)) = self.gathered
            && (self.gathering.len() >= GATHER_CLAIMS || self.gather_ends(first, last) <= now)
        {
            self.gathered = None;
            for claim in std::mem::take(&mut self.gathering) {
                self.admit(claim, now);
            }
            sort = true;
        }
        // Old news of the chain must not decide; newer is on its way, and sorts when it is here.
        if sort && self.link.usable(now).is_some() {
            self.sort(now);
        }
    }

    fn admit(&mut self, claim: Claim, now: Instant) {
        let asker = Asker { id: claim.id, script: claim.script };
        if let Some(outcome) = self.outcomes.get(claim.scid, now) {
            self.settle(claim.scid, asker, outcome);
        } else if !self.lookups.join(claim.scid, asker) {
            self.board.add(claim.scid, asker);
        }
    }

    fn settle(&mut self, scid: ShortChannelId, asker: Asker, outcome: Outcome) {
        self.answered += 1;
        self.settled.push(Settled { id: asker.id, verdict: outcome.verdict(scid, &asker.script) });
    }

    fn sort(&mut self, now: Instant) {
        self.board.sort(self.link.confirmed(), self.link.pruned_below(), now + self.timing.unavailable);
    }

    fn looked(&mut self, answer: Result<ChainInfo, RestError>, now: Instant) {
        match self.link.looked(answer, now, &mut self.rng) {
            Change::Lost => self.notices.push(Notice::Lost),
            Change::Found => {
                // It may be another bitcoind, or the same one on other data.
                self.hashes = Hashes::default();
                self.contents = Contents::default();
                self.outcomes = Outcomes::default();
                self.board.retry_failed();
                self.notices.push(Notice::Found);
            }
            Change::NewTip => {
                let reachable = self.shallow_from();
                self.hashes.forget_from(reachable);
                self.outcomes.forget_from(reachable);
            }
            Change::None => {}
        }
        if self.link.usable(now).is_some() {
            self.sort(now);
        }
    }

    /// The lowest height that a reorganisation may change.
    fn shallow_from(&self) -> u32 {
        self.link.chain().map_or(0, |chain| (chain.blocks + 1).saturating_sub(REORG_DEPTH))
    }

    /// The next heights of the sweep whose hashes are to be asked for: as many as one range of headers covers, if
    /// that takes fewer requests than one for each.
    fn next_hashes(&mut self, tip: BlockHash) -> Option<HashesJob> {
        let first = loop {
            let first = from_or_first(self.board.needs_hash(), self.height)?;
            let Some(hash) = self.hashes.get(first) else { break first };
            self.board.move_to(first, Stage::NeedsContents { hash, tip });
        };
        let wanted_to = |base: u32| self.board.needs_hash().range(first..base.saturating_add(MAX_HEADERS)).copied();
        let anchor = self.hashes.last_in((first + 1).saturating_sub(MAX_HEADERS), first);
        // A range costs one request from an anchor, two without; a hash by itself costs one.
        let without = wanted_to(first).count();
        let anchor = anchor.filter(|(base, _)| {
            let with = wanted_to(*base).count();
            with >= 2 && with * 2 >= without
        });
        let heights: Vec<u32> = match anchor {
            Some((base, _)) => wanted_to(base).collect(),
            None if without > 2 => wanted_to(first).collect(),
            None => vec![first],
        };
        for height in &heights {
            self.board.move_to(*height, Stage::Asked);
        }
        Some(HashesJob { heights, anchor, tip })
    }

    fn hashed(&mut self, job: &HashesJob, answer: Result<Vec<(u32, BlockHash)>, RestError>, now: Instant) {
        let found = match answer {
            Ok(found) => {
                self.link.answered();
                found
            }
            Err(error) => return self.failed(&error, job.heights.iter().copied(), now),
        };
        let shallow = self.shallow_from();
        let same_tip = self.link.chain().is_some_and(|chain| chain.tip == job.tip);
        for (height, hash) in found.iter().filter(|(height, _)| same_tip || *height < shallow) {
            self.hashes.insert(*height, *hash);
        }
        let Some((base, _)) = found.first().copied() else {
            // Not there, though the chain's height says so: it has shrunk, or it will be there soon.
            job.heights.iter().for_each(|height| self.board.move_to(*height, Stage::ForBlocks));
            return;
        };
        for height in &job.heights {
            let at = height.checked_sub(base).and_then(|offset| found.get(offset as usize));
            let stage = at.map_or(Stage::ForBlocks, |(_, hash)| Stage::NeedsContents { hash: *hash, tip: job.tip });
            self.board.move_to(*height, stage);
        }
    }

    /// The next block of the sweep that is to be read.
    fn next_contents(&mut self) -> Option<(u32, BlockHash, BlockHash)> {
        let height = from_or_first(self.board.needs_contents(), self.height)?;
        self.height = height;
        match self.board.stage(height) {
            Some(Stage::NeedsContents { hash, tip }) => Some((height, hash, tip)),
            _ => None,
        }
    }

    fn read(
        &mut self,
        height: u32,
        hash: BlockHash,
        tip: BlockHash,
        answer: Result<BlockContents, RestError>,
        now: Instant,
    ) {
        if self.board.stage(height) != Some(Stage::Asked) {
            return; // everyone who asked has withdrawn
        }
        match answer {
            Ok(block) if block.hash == hash && block.height == height && block.confirmations >= 0 => {
                self.link.answered();
                let txids: Arc<[Txid]> = block.txids.into();
                self.contents.insert(hash, Arc::clone(&txids));
                self.find_outputs(height, hash, tip, &txids, now);
            }
            Ok(_) => {
                // Another block has taken its place.
                self.hashes.forget_from(height);
                self.link.suspect(|| format!("bitcoind gives another block for {hash} at height {height}"));
                self.retry_later(height, now);
            }
            Err(RestError::NotFound(_)) => {
                self.hashes.forget(height);
                self.board.move_to(height, Stage::Unavailable { until: now + self.timing.unavailable });
            }
            Err(error) => self.failed(&error, [height], now),
        }
    }

    /// A block's transaction ids are known: every channel that waits for them has its output, or has none.
    fn find_outputs(&mut self, height: u32, hash: BlockHash, tip: BlockHash, txids: &[Txid], now: Instant) {
        for (scid, asker) in self.board.take(height) {
            match txids.get(scid.tx_index() as usize) {
                Some(txid) => {
                    let output = OutPoint::new(*txid, scid.output().into());
                    self.lookups.add(Lookup { scid, output, block: hash, tip }, asker, now);
                }
                None => {
                    self.outcomes.insert(scid, Outcome::NoSuchTransaction, now);
                    self.settle(scid, asker, Outcome::NoSuchTransaction);
                }
            }
        }
    }

    fn looked_up(&mut self, lookups: Vec<Lookup>, answer: Result<(BlockId, Vec<Found>), RestError>, now: Instant) {
        let mut heights: Vec<u32> = lookups.iter().map(|lookup| lookup.scid.height()).collect();
        heights.dedup();
        let found = match answer {
            Ok((tip, found)) => {
                self.link.answered();
                if !self.is_fresh(tip) {
                    lookups.iter().for_each(|lookup| self.put_back(lookup.scid));
                    return heights.into_iter().for_each(|height| self.retry_later(height, now));
                }
                found
            }
            Err(error) => {
                lookups.iter().for_each(|lookup| self.put_back(lookup.scid));
                return self.failed(&error, heights, now);
            }
        };
        for (lookup, found) in lookups.iter().zip(found) {
            let (scid, height) = (lookup.scid, lookup.scid.height());
            match found {
                Found::Settled(outcome) => {
                    self.outcomes.insert(scid, outcome, now);
                    for asker in self.lookups.take(scid) {
                        self.settle(scid, asker, outcome);
                    }
                }
                Found::Moved => {
                    self.hashes.forget_from(height);
                    self.put_back(scid);
                }
                Found::TooNew => {
                    self.put_back(scid);
                    self.board.move_to(height, Stage::ForBlocks);
                }
            }
        }
    }

    /// From the lookups back to the board.
    fn put_back(&mut self, scid: ShortChannelId) {
        for asker in self.lookups.take(scid) {
            self.board.add(scid, asker);
        }
    }

    /// A question about these blocks has no answer: each waits by itself, and bitcoind as a whole is looked at.
    fn failed(&mut self, error: &RestError, heights: impl IntoIterator<Item = u32>, now: Instant) {
        self.doubt(error, now);
        heights.into_iter().for_each(|height| self.retry_later(height, now));
    }

    fn retry_later(&mut self, height: u32, now: Instant) {
        let failures = self.board.count_failure(height);
        let until = now + pause(&self.timing, failures, &mut self.rng);
        self.board.move_to(height, Stage::Failed { until });
    }
}

/// The first at or after `from`, else the very first.
fn from_or_first(heights: &std::collections::BTreeSet<u32>, from: u32) -> Option<u32> {
    heights.range(from..).next().or_else(|| heights.first()).copied()
}
