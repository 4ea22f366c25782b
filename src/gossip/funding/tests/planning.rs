//! The pure core alone, on a clock of its own: whatever goes wrong in whatever order, no claim is lost, answered
//! twice or answered falsely, and the counts are right.

use std::collections::BTreeSet;
use std::time::Duration;

use bitcoin::Network;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::bitcoind::Chain;
use super::{Claim, Verdict, Watched, claim, fast, scid, script};
use crate::gossip::BlockId;
use crate::gossip::funding::Refusal;
use crate::gossip::funding::jobs::{Done, Found, HashesJob, Job};
use crate::gossip::funding::link::{Link, pause};
use crate::gossip::funding::lookups::{Lookup, Outcome};
use crate::gossip::funding::plan::Plan;
use crate::gossip::funding::rest::{MAX_HEADERS, MAX_OUTPUTS, RestError};
use crate::gossip::funding::wire::{BlockContents, ChainInfo, Coin};

const TIP: u32 = 2_300;
const IN_FLIGHT: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A claim at one of a few places; every other one expects the wrong script.
    Claim {
        spread: u32,
        place: u32,
    },
    Withdraw(prop::sample::Index),
    /// One of the questions under way is answered, or not.
    Answer {
        which: prop::sample::Index,
        fault: Option<u8>,
    },
    Pass(u64),
    Mine,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u32..40, 0_u32..60).prop_map(|(spread, place)| Step::Claim { spread, place }),
        1 => any::<prop::sample::Index>().prop_map(Step::Withdraw),
        6 => (any::<prop::sample::Index>(), prop::option::weighted(0.4, 0_u8..4))
            .prop_map(|(which, fault)| Step::Answer { which, fault }),
        3 => (0_u64..60).prop_map(Step::Pass),
        1 => Just(Step::Mine),
    ];
    prop::collection::vec(step, 1..120)
}

/// The place of a claim: near the tip for small spreads, all over the chain for large ones.
fn place(spread: u32, place: u32) -> (u32, u32, u16) {
    ((TIP + 3).saturating_sub(spread * place), place % 5, (place % 2) as u16)
}

struct World {
    chain: Chain,
    plan: Plan,
    now: Instant,
    under_way: Vec<Job>,
    claims: Vec<Claim>,
    open: BTreeSet<u64>,
    answers: u64,
}

impl World {
    fn new() -> Self {
        let mut chain = Chain::new(TIP, 4);
        for (height, index, vout) in (1..40).flat_map(|spread| (0..60).map(move |at| place(spread, at))) {
            if height <= TIP && index < 4 && vout == 0 {
                chain.fund(height, index, 0, &script(1), height.into());
            }
        }
        let link = Link::new(Network::Regtest, "here".into(), fast());
        let plan = Plan::new(link, fast(), Watched::Elsewhere, ChaCha8Rng::seed_from_u64(1));
        let (claims, open) = (Vec::new(), BTreeSet::new());
        Self { chain, plan, now: Instant::now(), under_way: Vec::new(), claims, open, answers: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Claim { spread, place: at } => {
                let (height, index, vout) = place(spread, at);
                let id = self.claims.len() as u64;
                let claim = claim(id, scid(height, index, vout), script(1 + id % 2));
                self.claims.push(claim.clone());
                self.open.insert(id);
                self.plan.claim(claim, self.now);
            }
            Step::Withdraw(which) if !self.claims.is_empty() => {
                let claim = &self.claims[which.index(self.claims.len())];
                self.plan.withdraw(claim.id, claim.scid);
                self.open.remove(&claim.id);
            }
            Step::Answer { which, fault } if !self.under_way.is_empty() => {
                self.answer(which.index(self.under_way.len()), fault);
            }
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
            Step::Mine => self.chain.mine(1, 0),
            Step::Withdraw(_) | Step::Answer { .. } => {}
        }
        self.settle();
    }

    fn answer(&mut self, which: usize, fault: Option<u8>) {
        let job = self.under_way.swap_remove(which);
        self.plan.finish(answer(job, &self.chain, fault), self.now);
        self.settle();
    }

    /// Starts what the plan wants started, and checks what it says.
    fn settle(&mut self) {
        while self.under_way.len() < IN_FLIGHT {
            match self.plan.next_job(self.now) {
                Some(job) => self.under_way.push(job),
                None => {
                    let wake = self.plan.next_wake(self.now);
                    assert!(wake.is_none_or(|at| at > self.now), "it would be called again and again");
                    break;
                }
            }
        }
        for settled in self.plan.take_settled() {
            assert!(self.open.remove(&settled.id), "{} was not open", settled.id);
            self.answers += 1;
            assert_eq!(settled.verdict, self.truth(&self.claims[settled.id as usize]));
        }
        let status = self.plan.status(0);
        assert_eq!((status.pending, status.answered), (self.open.len() as u64, self.answers));
        assert!(status.waiting_for_blocks + status.unavailable <= status.pending);
    }

    fn truth(&self, claim: &Claim) -> Verdict {
        let (height, index, vout) = (claim.scid.height(), claim.scid.tx_index(), claim.scid.output());
        assert!(height + 5 <= self.chain.tip(), "too early to say");
        match (index < 4, height <= TIP && vout == 0, claim.script == script(1)) {
            (false, ..) => Verdict::Refused(Refusal::NoSuchTransaction),
            (_, false, _) => Verdict::Refused(Refusal::SpentOrMissing),
            (.., false) => Verdict::Refused(Refusal::WrongScript),
            (.., true) => Verdict::Proven { capacity_sat: height.into() },
        }
    }

    /// From now on nothing fails, and time passes.
    fn come_to_rest(&mut self) {
        self.chain.mine(10, 0);
        for _ in 0..10_000 {
            self.settle();
            if let Some(job) = self.under_way.pop() {
                self.plan.finish(answer(job, &self.chain, None), self.now);
            } else if let Some(wake) = self.plan.next_wake(self.now) {
                self.now = wake;
            } else {
                break;
            }
        }
        assert_eq!((self.open.len(), self.plan.status(0).pending), (0, 0));
    }
}

/// What bitcoind would say; with a `fault`, one of the ways in which it says nothing of use.
fn answer(job: Job, chain: &Chain, fault: Option<u8>) -> Done {
    let fail = |path: &str| match fault {
        Some(0) => Err(RestError::Unreachable("gone".into())),
        Some(1) => Err(RestError::Malformed { path: path.into(), fault: "is odd".into() }),
        Some(2) => Err(RestError::Busy("busy".into())),
        _ => Ok(()),
    };
    match job {
        Job::Look => Done::Looked(fail("chaininfo").map(|()| chain_info(chain, fault.is_some()))),
        Job::Hashes(job) => {
            let found = fail("hash").map(|()| if fault.is_some() { Vec::new() } else { hashes(&job, chain) });
            Done::Hashed(job, found)
        }
        Job::Contents { height, hash, tip } => {
            assert_eq!(chain.hash(height), Some(hash));
            let txids = chain.txids(height).to_vec();
            let confirmations = if fault.is_some() { -1 } else { 6 };
            let contents = match fault {
                Some(2) => Err(RestError::NotFound("block".into())),
                _ => fail("block").map(|()| BlockContents { hash, height, confirmations, txids }),
            };
            Done::Read { height, hash, tip, contents }
        }
        Job::Lookups(lookups) => {
            assert!((1..=MAX_OUTPUTS).contains(&lookups.len()));
            let found = |()| {
                let found = lookups.iter().map(|l| found(l, chain, fault.is_some())).collect();
                (tip(chain), found)
            };
            let found = fail("getutxos").map(found);
            Done::LookedUp(lookups, found)
        }
    }
}

fn tip(chain: &Chain) -> BlockId {
    let height = chain.tip();
    BlockId { height, hash: chain.hash(height).unwrap() }
}

fn chain_info(chain: &Chain, elsewhere: bool) -> ChainInfo {
    ChainInfo {
        chain: if elsewhere { "main" } else { "regtest" }.into(),
        blocks: chain.tip(),
        headers: chain.tip(),
        tip: chain.hash(chain.tip()).unwrap(),
        initial_block_download: false,
        pruned: false,
        prune_height: None,
    }
}

fn hashes(job: &HashesJob, chain: &Chain) -> Vec<(u32, bitcoin::BlockHash)> {
    assert!(job.heights.is_sorted());
    let (first, last) = (job.anchor.map_or(job.heights[0], |(height, _)| height), job.heights[job.heights.len() - 1]);
    assert!(last - first < MAX_HEADERS);
    (first..=last).filter_map(|height| Some((height, chain.hash(height)?))).collect()
}

fn found(lookup: &Lookup, chain: &Chain, elsewhere: bool) -> Found {
    if elsewhere {
        return if lookup.scid.0.is_multiple_of(2) { Found::Moved } else { Found::TooNew };
    }
    Found::Settled(chain.coin(&lookup.output).map_or(Outcome::SpentOrMissing, |(height, value_sat, script)| {
        Outcome::Unspent(Coin { height, value_sat, script: script.as_slice().try_into().ok() })
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_claim_is_lost_or_answered_twice(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.come_to_rest();
    }
}

#[test]
fn a_lone_claim_waits_for_others_for_a_tenth_of_a_second() {
    let mut world = World::new();
    let timing = super::Timing::default();
    let link = Link::new(Network::Regtest, "here".into(), timing);
    world.plan = Plan::new(link, timing, Watched::Elsewhere, ChaCha8Rng::seed_from_u64(1));
    world.settle();
    world.answer(0, None);
    world.step(Step::Claim { spread: 30, place: 5 });
    assert_eq!(world.under_way, []);
    assert_eq!(world.plan.next_wake(world.now), Some(world.now + Duration::from_millis(100)));
    world.step(Step::Pass(100));
    for _ in ["hash", "contents", "output"] {
        assert_eq!(world.under_way.len(), 1);
        world.answer(0, None);
    }
    assert_eq!(world.answers, 1);
}

#[test]
fn a_proof_is_no_older_than_the_last_block_that_was_looked_through() {
    let mut world = World::new();
    let link = Link::new(Network::Regtest, "here".into(), fast());
    world.plan = Plan::new(link, fast(), Watched::Nothing, ChaCha8Rng::seed_from_u64(1));
    world.settle();
    world.answer(0, None);
    world.step(Step::Claim { spread: 30, place: 5 });
    world.step(Step::Pass(10));
    assert_eq!(world.under_way, [], "the watch has not begun");

    world.plan.reach(tip(&world.chain));
    world.settle();
    world.answer(0, None);
    world.answer(0, None);
    let before = tip(&world.chain);
    world.chain.mine(1, 0);
    world.plan.reach(tip(&world.chain));
    let Some(Job::Lookups(lookups)) = world.under_way.pop() else { panic!("no lookup") };
    let found = lookups.iter().map(|lookup| found(lookup, &world.chain, false)).collect();
    world.plan.finish(Done::LookedUp(lookups, Ok((before, found))), world.now);
    world.settle();
    assert_eq!((world.answers, world.plan.status(0).pending), (0, 1), "it may have been spent since");
    while world.answers == 0 {
        world.step(Step::Pass(5));
        while !world.under_way.is_empty() {
            world.answer(0, None);
        }
    }
}

#[test]
fn pauses_double_up_to_a_limit_and_vary() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let timing = super::Timing::default();
    for (failures, most_s) in [(0, 1.0), (1, 2.0), (5, 32.0), (6, 60.0), (u32::MAX, 60.0)] {
        let pauses: Vec<f64> = (0..50).map(|_| pause(&timing, failures, &mut rng).as_secs_f64()).collect();
        assert!(pauses.iter().all(|pause| (most_s / 2.0..=most_s).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
