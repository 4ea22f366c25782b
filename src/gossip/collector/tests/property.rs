//! However the gossip of two collectors and the words of the leader interleave: after a take-over the journal says the
//! newest of what either accepted, and no message twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::gossip::check::Outcome;
use crate::gossip::{Policy, ShortChannelId};
use crate::history::History;
use crate::journal::{Draft, Event, Graph, Seq};

const CHANNELS: usize = 4;

struct World {
    network: Network,
    /// In the order of their making, which is not the one in which they are heard.
    messages: Vec<Bytes>,
}

/// Four channels, of each direction six updates with policies of their own, and what the nodes say meanwhile.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut network = network(CHANNELS);
    let mut messages = network.dump();
    for second in 1..=5 {
        for (index, direction) in (0..CHANNELS).flat_map(|index| Direction::BOTH.map(|direction| (index, direction)))
        {
            let old = network.channels()[index].policies[direction as usize];
            let policy = Policy { fee_base_msat: second, htlc_maximum_msat: 1, htlc_minimum_msat: 0, ..old };
            messages.push(network.set_policy(index, direction, policy, NOW.secs() + second));
        }
        messages.extend((0..4).map(|_| network.next_node_announcement(at(second.into()))));
    }
    World { network, messages }
});

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The leader hears some messages, or we do, from one on.
    Leader {
        from: usize,
        count: usize,
    },
    Ours {
        from: usize,
        count: usize,
    },
    /// bitcoind answers the leader, or us.
    LeaderProves(usize),
    OursProves(usize),
    /// We are told so many further entries of the leader's journal.
    Told(usize),
    LeaderSyncs,
    OursSyncs,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || (0..WORLD.messages.len(), 1..12usize);
    prop_oneof![
        6 => some().prop_map(|(from, count)| Step::Leader { from, count }),
        6 => some().prop_map(|(from, count)| Step::Ours { from, count }),
        2 => (1..4usize).prop_map(Step::LeaderProves),
        2 => (1..4usize).prop_map(Step::OursProves),
        4 => (1..16usize).prop_map(Step::Told),
        1 => Just(Step::LeaderSyncs),
        1 => Just(Step::OursSyncs),
    ]
}

/// The leader, and us who stand by.
struct Pair {
    leader: Checker,
    leader_claims: Vec<Claim>,
    leaders: Vec<(UnixMs, Fact)>,
    told: usize,
    by: StandBy,
    claims: Vec<Claim>,
    /// All that we ever accepted ourselves.
    accepted: Vec<Fact>,
    now: UnixMs,
}

impl Pair {
    fn new(leader_proves: bool, we_prove: bool) -> Self {
        let (leader_claims, leaders, claims, accepted) = Default::default();
        let (leader, by) = (Checker::new(rules(leader_proves)), StandBy::new(we_prove));
        Self { leader, leader_claims, leaders, told: 0, by, claims, accepted, now: NOW }
    }

    fn step(&mut self, step: Step) {
        self.now = self.now.plus(Duration::from_secs(1));
        let now = self.now;
        let some = |from: usize, count: usize| heard(WORLD.messages.iter().skip(from).take(count).cloned());
        let answers = |claims: &mut Vec<Claim>, count: usize| {
            let count = count.min(claims.len());
            claims.drain(..count).map(|claim| proven(&WORLD.network, &claim)).collect::<Vec<_>>()
        };
        let synced = || Fact::SyncCompleted { peer: WORLD.network.nodes()[0].id };
        match step {
            Step::Leader { from, count } => {
                let outcome = self.leader.check(now, some(from, count));
                self.lead_on(outcome);
            }
            Step::LeaderProves(count) => {
                let answers = answers(&mut self.leader_claims, count);
                let outcome = self.leader.settle(now, answers);
                self.lead_on(outcome);
            }
            Step::LeaderSyncs => self.leaders.push((now, synced())),
            Step::Ours { from, count } => {
                let outcome = self.by.checker.check(now, some(from, count));
                self.stand_by(outcome);
            }
            Step::OursProves(count) => {
                let answers = answers(&mut self.claims, count);
                let outcome = self.by.checker.settle(now, answers);
                self.stand_by(outcome);
            }
            Step::OursSyncs => self.by.outlet.take(now, vec![synced()]).expect("nothing is sent"),
            Step::Told(count) => self.tell(count),
        }
    }

    fn lead_on(&mut self, outcome: Outcome) {
        self.leader_claims.extend(outcome.claims);
        self.leaders.extend(outcome.facts.into_iter().map(|fact| (self.now, fact)));
    }

    fn stand_by(&mut self, outcome: Outcome) {
        self.claims.extend(outcome.claims);
        self.claims.retain(|claim| !outcome.withdrawn.contains(&(claim.id, claim.scid)));
        self.accepted.extend(outcome.facts.iter().cloned());
        self.by.outlet.take(self.now, outcome.facts).expect("nothing is sent");
    }

    fn tell(&mut self, count: usize) {
        let until = (self.told + count).min(self.leaders.len());
        let entries = self.leaders[self.told..until].to_vec();
        self.told = until;
        let outcome = self.by.outlet.told(&mut self.by.checker, self.now, entries).expect("nothing is sent");
        assert_eq!(outcome.facts, [], "what was set free is pending");
        self.stand_by(outcome);
    }

    /// We take over: what was told, and what we send.
    fn take_over(&mut self) -> Vec<(UnixMs, Fact)> {
        let mut journal = self.leaders[..self.told].to_vec();
        let pending = self.by.outlet.pending();
        assert_eq!(self.by.outlet.lead().expect("all is sent"), pending);
        assert_eq!(self.by.outlet.pending(), 0);
        let sent = self.by.sent.entries();
        let is_sync = |(_, fact): &(UnixMs, Fact)| matches!(fact, Fact::SyncCompleted { .. });
        assert!(sent.iter().rev().skip(1).all(|entry| !is_sync(entry)), "a completed sync is last");
        let times: Vec<_> = sent.iter().filter(|entry| !is_sync(entry)).map(|(seen, _)| *seen).collect();
        assert!(times.is_sorted(), "in the order of acceptance");
        journal.extend(sent);
        journal
    }
}

/// The newest of everything, and what is proven.
#[derive(PartialEq, Debug, Default)]
struct Newest {
    channels: BTreeMap<ShortChannelId, Option<u64>>,
    updates: BTreeMap<(ShortChannelId, Direction), u32>,
    nodes: BTreeMap<NodeId, u32>,
}

impl Newest {
    fn of<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let mut newest = Self::default();
        for fact in facts {
            match fact {
                Fact::Channel { announcement, capacity_sat } => {
                    let proven = newest.channels.entry(announcement.scid()).or_default();
                    *proven = proven.or(*capacity_sat);
                }
                Fact::Update(update) => {
                    let last = newest.updates.entry((update.scid(), update.direction())).or_default();
                    *last = update.timestamp().max(*last);
                }
                Fact::Node(node) => {
                    let last = newest.nodes.entry(node.node_id()).or_default();
                    *last = node.timestamp().max(*last);
                }
                Fact::Proof { scid, capacity_sat } => {
                    newest.channels.insert(*scid, Some(*capacity_sat));
                }
                Fact::Closed { .. }
                | Fact::PossibleSplice { .. }
                | Fact::Reopened { .. }
                | Fact::Block(_)
                | Fact::SyncCompleted { .. } => {}
            }
        }
        newest
    }
}

/// Both directions of each channel that a history shows whose entries these are.
fn shown(journal: &[(UnixMs, Fact)]) -> BTreeMap<ShortChannelId, (Option<u64>, [Policy; 2])> {
    let rules = crate::journal::Rules { version: 1, graph: Graph::Complete };
    let epoch = Draft { seen: NOW, event: Event::Epoch { timestamp: NOW.secs() + 3600, rules } };
    let facts = journal.iter().map(|(seen, fact)| Draft { seen: *seen, event: Event::Fact(fact.clone()) });
    let mut history = History::new();
    facts.chain([epoch]).zip(1..).for_each(|(draft, seq)| history.apply(&draft.numbered(Seq(seq))));
    let view = history.last_epoch().and_then(|epoch| history.view(epoch)).expect("a known epoch");
    view.channels.into_iter().map(|channel| (channel.scid, (channel.capacity_sat, channel.policies))).collect()
}

/// What a history should show.
fn to_be_shown(newest: &Newest) -> BTreeMap<ShortChannelId, (Option<u64>, [Policy; 2])> {
    let policies: BTreeMap<_, _> = WORLD
        .messages
        .iter()
        .filter_map(|bytes| {
            let update = crate::gossip::ChannelUpdate::from_wire(&bytes[..]).ok()?;
            Some(((update.scid(), update.direction(), update.timestamp()), update.policy()))
        })
        .collect();
    let policy = |scid, direction| {
        let timestamp = newest.updates.get(&(scid, direction))?;
        policies.get(&(scid, direction, *timestamp)).copied()
    };
    let channels = newest.channels.iter();
    let shown = channels.filter_map(|(scid, proven)| {
        let both = [policy(*scid, Direction::OneToTwo)?, policy(*scid, Direction::TwoToOne)?];
        Some((*scid, (*proven, both)))
    });
    shown.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_newest_of_both_is_journaled_once(
        (leader_proves, we_prove) in any::<(bool, bool)>(), steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut pair = Pair::new(leader_proves, we_prove);
        steps.into_iter().for_each(|step| pair.step(step));
        let told: Vec<_> = pair.leaders[..pair.told].iter().map(|(_, fact)| fact.clone()).collect();
        let journal = pair.take_over();

        // What was told, accepted, or set free by what was told: nothing of it is newer than the journal.
        let journaled = || journal.iter().map(|(_, fact)| fact);
        let newest = Newest::of(told.iter().chain(&pair.accepted).chain(journaled()));
        prop_assert_eq!(&Newest::of(journaled()), &newest);
        prop_assert_eq!(shown(&journal), to_be_shown(&newest));
        let messages: Vec<_> = journal.iter().filter_map(|(_, fact)| fact.message()).collect();
        let once: BTreeSet<_> = messages.iter().collect();
        prop_assert_eq!(once.len(), messages.len(), "no message twice");

        // Whoever leads from here, or starts from this journal, takes none of it again.
        let all = || heard(messages.iter().map(|message| Bytes::copy_from_slice(message)));
        prop_assert_eq!(pair.by.checker.check(pair.now, all()).facts, []);
        let mut restarted = Checker::new(rules(we_prove));
        journal.iter().for_each(|(seen, fact)| restarted.learn(*seen, fact));
        prop_assert_eq!(restarted.check(pair.now, all()).facts, []);
        prop_assert_eq!(restarted.channel_count(), pair.by.checker.channel_count());
        prop_assert_eq!(restarted.proven_count(), pair.by.checker.proven_count());
        let world = || heard(WORLD.messages.clone());
        let lacking = (restarted.check(pair.now, world()).facts, pair.by.checker.check(pair.now, world()).facts);
        prop_assert_eq!(lacking.0, lacking.1, "both know what the journal says, and no more");
    }
}
