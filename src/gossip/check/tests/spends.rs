//! Spends of known channels, against a model that looks at the chain as it is in the end.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::gossip::funding::{self, BlockSpends, FundingTag, Spend, Verdict};
use crate::gossip::{BlockId, NodeId};
use crate::history::History;
use crate::journal::{Entry, Event, Graph, Seq};
use crate::synth::TopologyChannel;

const CHANNELS: usize = 5;
/// Height of the block at which the watch begins.
const BEGIN: u32 = 1_000;
/// Of the channel that may take the place of the first, and of others between the same nodes.
const SUCCESSOR: u32 = 5_000;

fn network_with_successor() -> Network {
    let mut network = network(CHANNELS);
    let first = network.channels()[0].clone();
    let policies = first.policies.map(|policy| crate::gossip::Policy { enabled: true, ..policy });
    let shape = TopologyChannel { nodes: first.nodes, capacity_sat: first.capacity_sat, policies };
    network.add_channel_like(&shape, SUCCESSOR, NOW).expect("room");
    network
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Blocks are mined; the first spends some channels, the second number says which of these for certain.
    Mine { count: u32, spends: u8, close: u8 },
    /// The last blocks are replaced by one more; some of their spends are gone.
    Reorganise { depth: u32, without: u8 },
    /// Some blocks are read.
    Read(u32),
    /// The service is killed: the facts of what it did last are journaled up to one of them.
    Kill(Index),
    /// A peer tells everything again.
    Retell,
    /// A channel's fee changes.
    Update(usize),
    /// The successor is announced and heard.
    Succeed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count = prop_oneof![6 => 1..4u32, 1 => 60..80u32, 1 => 90..110u32];
    let step = prop_oneof![
        5 => (count, prop_oneof![Just(0), any::<u8>()], any::<u8>())
            .prop_map(|(count, spends, close)| Step::Mine { count, spends, close }),
        2 => (1..6u32, any::<u8>()).prop_map(|(depth, without)| Step::Reorganise { depth, without }),
        6 => prop_oneof![Just(1), Just(2), Just(u32::MAX)].prop_map(Step::Read),
        2 => any::<Index>().prop_map(Step::Kill),
        1 => Just(Step::Retell),
        1 => (0..CHANNELS).prop_map(Step::Update),
        1 => Just(Step::Succeed),
    ];
    proptest::collection::vec(step, 1..60)
}

struct Block {
    hash: BlockHash,
    /// The channels, by their place in the network, and whether they are closed for certain.
    spends: Vec<(usize, bool)>,
}

struct World {
    network: Network,
    /// From [`BEGIN`] on.
    chain: Vec<Block>,
    hashes: u64,
    checker: Checker,
    journal: Vec<Fact>,
    /// Where in the journal the facts of the last block begin.
    last_block: usize,
    now: UnixMs,
    lost: bool,
    succeeded: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            network: network_with_successor(),
            chain: Vec::new(),
            hashes: 0,
            checker: Checker::new(rules(true)),
            journal: Vec::new(),
            last_block: 0,
            now: NOW,
            lost: false,
            succeeded: false,
        };
        world.mine(1, Vec::new());
        world.read_one();
        world.tell(world.network.dump_where(|channel| channel.scid.height() < SUCCESSOR));
        assert_eq!(world.checker.channel_count(), CHANNELS);
        world
    }

    fn step(&mut self, step: Step) {
        self.now = UnixMs(self.now.0 + 1_000);
        match step {
            Step::Mine { count, spends, close } => {
                let spent = self.spent();
                let chosen = (0..CHANNELS).filter(|n| spends >> n & 1 == 1 && !spent.contains_key(n));
                let first = chosen.map(|n| (n, close >> n & 1 == 1)).collect();
                self.mine(1, first);
                self.mine(count - 1, Vec::new());
            }
            Step::Reorganise { depth, without } => self.reorganise(depth, without),
            Step::Read(count) => {
                for _ in 0..count.min(300) {
                    self.read_one();
                }
            }
            Step::Kill(index) => self.kill(index),
            Step::Retell => self.tell(self.network.dump_where(|channel| channel.scid.height() < SUCCESSOR)),
            Step::Update(n) => {
                let policy = self.network.channels()[n].policies[0];
                let update = self.network.set_policy(n, Direction::OneToTwo, policy, self.now.secs());
                self.tell(vec![update]);
            }
            Step::Succeed => {
                self.succeeded = true;
                self.tell(self.network.channels()[CHANNELS].messages().to_vec());
            }
        }
        let settled = self.checker.settle_splices(self.now);
        self.deliver(settled);
    }

    fn mine(&mut self, count: u32, spends: Vec<(usize, bool)>) {
        for nth in 0..count {
            self.hashes += 1;
            let hash = BlockHash::hash(&self.hashes.to_be_bytes());
            self.chain.push(Block { hash, spends: if nth == 0 { spends.clone() } else { Vec::new() } });
        }
    }

    fn reorganise(&mut self, depth: u32, without: u8) {
        let depth = (depth as usize).min(self.chain.len() - 1);
        let replaced: Vec<Block> = self.chain.drain(self.chain.len() - depth..).collect();
        for mut block in replaced {
            block.spends.retain(|(n, _)| without >> n & 1 == 0);
            self.mine(1, block.spends);
        }
        self.mine(1, Vec::new());
    }

    /// Reads as the watcher does: what comes after the last block of the trail that is in the chain.
    fn read_one(&mut self) {
        let tip = BEGIN + self.chain.len() as u32 - 1;
        let trail = self.checker.trail();
        let in_chain = |block: &BlockId| {
            self.chain.get((block.height - BEGIN) as usize).is_some_and(|other| other.hash == block.hash)
        };
        let next = match (trail.last(), trail.newest_first().find(in_chain)) {
            (None, _) => BEGIN,
            (Some(last), _) if last.height > tip => return,
            (_, Some(fork)) if fork.height == tip => return,
            (_, fork) => fork.expect("shallow reorganisations").height + 1,
        };
        let Block { hash, spends } = &self.chain[(next - BEGIN) as usize];
        let tag = |n: usize| {
            let keys = self.network.channels()[n].funding_keys.map(|key| NodeId::from_pubkey(&key));
            FundingTag::of_keys(&keys)
        };
        let tags: Vec<FundingTag> = spends.iter().map(|(n, _)| tag(*n)).collect();
        let matches = self.checker.matches(&tags);
        let spends = matches.into_iter().map(|(at, scid)| Spend { scid, closes: spends[at].1 }).collect();
        let block = BlockId { height: next, hash: *hash };
        let outcome = self.checker.take_block(self.now, &BlockSpends { block, spends });
        self.last_block = self.journal.len();
        self.lost |= outcome.lost;
        self.deliver(outcome);
    }

    fn tell(&mut self, messages: Vec<Bytes>) {
        let outcome = self.checker.check(self.now, heard(messages));
        self.deliver(outcome);
    }

    /// Journals the facts, and has claims settled by the chain as it is.
    fn deliver(&mut self, outcome: Outcome) {
        self.journal.extend(outcome.facts);
        let spent = self.spent();
        let verdict = |claim: &Claim| {
            let n = self.network.index_of(claim.scid).expect("a real place");
            let capacity_sat = self.network.channels()[n].capacity_sat;
            let refused = Verdict::Refused(funding::Refusal::SpentOrMissing);
            if spent.contains_key(&n) { refused } else { Verdict::Proven { capacity_sat } }
        };
        let answers: Vec<Settled> =
            outcome.claims.iter().map(|claim| Settled { id: claim.id, verdict: verdict(claim) }).collect();
        if !answers.is_empty() {
            let outcome = self.checker.settle(self.now, answers);
            self.deliver(outcome);
        }
    }

    fn kill(&mut self, upto: Index) {
        // Only what a block brought may be torn: the rest of these steps would have to be told again.
        if self.last_block < self.journal.len()
            && self.journal[self.last_block..].iter().all(|fact| !fact.is_message())
        {
            let end = self.last_block + upto.index(self.journal.len() - self.last_block + 1);
            self.journal.truncate(end);
        }
        self.checker = self.restarted();
    }

    fn restarted(&self) -> Checker {
        let mut checker = Checker::new(rules(true));
        self.journal.iter().for_each(|fact| checker.learn(self.now, fact));
        checker
    }

    /// The channels that the chain has spends of: at which height, and whether for certain.
    fn spent(&self) -> BTreeMap<usize, (u32, bool)> {
        let blocks = (BEGIN..).zip(&self.chain);
        let spends = blocks.flat_map(|(height, block)| block.spends.iter().map(move |(n, c)| (*n, (height, *c))));
        spends.collect()
    }

    /// The channels that stand in the end, and how many of these may be spliced.
    fn truth(&self) -> (BTreeSet<ShortChannelId>, usize) {
        let tip = BEGIN + self.chain.len() as u32 - 1;
        let (spent, mut spliced, channels) = (self.spent(), 0, self.network.channels());
        let mut stands = |n: usize| {
            let Some((height, closes)) = spent.get(&n) else { return n < CHANNELS || self.succeeded };
            let succeeded = self.succeeded && channels[n].node_ids == channels[CHANNELS].node_ids;
            let stays = !closes && tip < height + 72 && !succeeded;
            spliced += usize::from(stays);
            stays
        };
        let standing = (0..=CHANNELS).filter(|n| stands(*n)).map(|n| channels[n].scid).collect();
        (standing, spliced)
    }
}

fn open(checker: &Checker, network: &Network) -> BTreeSet<ShortChannelId> {
    network.channels().iter().map(|channel| channel.scid).filter(|scid| checker.is_known(*scid)).collect()
}

/// The channels that a history of this journal shows.
fn shown(journal: &[Fact], now: UnixMs) -> BTreeSet<ShortChannelId> {
    let rules = crate::journal::Rules { version: 1, graph: Graph::Complete };
    let events = journal.iter().cloned().map(Event::Fact);
    let mut history = History::new();
    for (seq, event) in (1..).zip(events.chain([Event::Epoch { timestamp: now.secs(), rules }])) {
        history.apply(&Entry { seq: Seq(seq), seen: now, event });
    }
    let view = history.view(history.last_epoch().expect("cut")).expect("known");
    view.channels.into_iter().map(|channel| channel.scid).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_stands_in_the_end_is_what_the_chain_says(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            let open = open(&world.checker, &world.network);
            prop_assert_eq!(&shown(&world.journal, world.now), &open);
        }
        world.step(Step::Read(u32::MAX));
        world.step(Step::Read(u32::MAX));
        let (stands, spliced) = world.truth();
        for checker in [&world.checker, &world.restarted()] {
            prop_assert_eq!(&open(checker, &world.network), &stands);
            prop_assert_eq!(checker.possible_splices(), spliced);
            prop_assert_eq!(checker.trail(), world.checker.trail());
        }
        // What was lost while channels were closed, a full sync brings: nothing is known that was not journaled.
        let policy = world.network.channels().iter().map(|channel| channel.timestamps).collect::<Vec<_>>();
        world.step(Step::Retell);
        for (n, timestamps) in policy.iter().enumerate().take(CHANNELS) {
            if let Some(channel) = world.checker.known.channel(world.network.channels()[n].scid) {
                prop_assert_eq!(channel.directions.map(|direction| direction.timestamp), *timestamps);
            }
        }
    }
}

#[test]
fn a_reopening_asks_for_what_was_refused_meanwhile() {
    let mut world = World::new();
    world.mine(1, vec![(1, true), (2, false)]);
    world.step(Step::Read(1));
    assert_eq!((world.checker.channel_count(), world.checker.possible_splices()), (CHANNELS - 1, 1));
    world.step(Step::Update(1));
    assert_eq!(world.checker.tally().refused_for(Refusal::NoChannel), 1);
    world.step(Step::Retell);
    assert_eq!(world.checker.waiting_channels(), 0, "nobody is asked about what was spent");
    assert!(!world.lost);
    world.step(Step::Reorganise { depth: 1, without: 0b110 });
    world.step(Step::Read(1));
    assert!(world.lost);
    assert_eq!((world.checker.channel_count(), world.checker.possible_splices()), (CHANNELS, 0));
    let scids = [1, 2].map(|n| world.network.channels()[n].scid);
    let reopened = |fact: &Fact| matches!(fact, Fact::Reopened { scid } if scids.contains(scid));
    assert_eq!(world.journal.iter().filter(|fact| reopened(fact)).count(), 2);
}
