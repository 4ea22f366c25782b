//! What a delta tells, rule by rule: three channels between four nodes, an epoch an hour.

use std::collections::BTreeMap;

use rgsd::gossip::{Closing, Direction, Fact, NodeId, Policy, ShortChannelId};
use rgsd::history::{Changed, History};
use rgsd::journal::{Entry, Epoch, Event, Graph, Seq};
use rgsd::snapshot::{Contents, Differences, LeftOut, REACH_S, ToldUpdate, What, delta, rules};

use crate::unsigned::{announcement, draft, ipv4, node, node_announcement, policy, scid, update};

const START: u32 = 1_700_000_017;
const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;
/// Each channel's nodes: nodes 2 and 3 have two channels each.
const CHANNELS: [(u64, [u32; 2]); 3] = [(1, [1, 2]), (2, [2, 3]), (3, [3, 4])];

/// A journal in the making.
pub struct World {
    pub history: History,
    seq: u64,
    now: u32,
}

impl World {
    /// All channels and nodes are known at the first epoch.
    pub fn new() -> Self {
        let mut world = Self { history: History::new(), seq: 0, now: START };
        for (n, nodes) in CHANNELS {
            world.announce(n, nodes);
        }
        for n in 1..=4 {
            world.node(n, 1, 1);
        }
        world.epoch();
        world
    }

    fn fact(&mut self, fact: Fact) {
        self.event(draft(self.now.into(), fact).event);
    }

    fn event(&mut self, event: Event) {
        self.seq += 1;
        let seen = rgsd::gossip::UnixMs(u64::from(self.now) * 1_000);
        self.history.apply(&Entry { seq: Seq(self.seq), seen, event });
        self.now += 1;
    }

    fn announce(&mut self, n: u64, nodes: [u32; 2]) {
        self.fact(Fact::Channel { announcement: announcement(scid(n), nodes, &[]), capacity_sat: Some(1_000_000) });
        for direction in Direction::BOTH {
            self.fee(n, direction, 1);
        }
    }

    /// So many more channels, and their numbers.
    pub fn grow(&mut self, channels: u64) -> std::ops::Range<u64> {
        let numbers = 10..10 + channels;
        numbers.clone().for_each(|n| self.announce(n, [1, 2]));
        numbers
    }

    fn says(&mut self, n: u64, direction: Direction, policy: &Policy) {
        self.fact(Fact::Update(update(scid(n), direction, self.now, policy)));
    }

    pub fn fee(&mut self, n: u64, direction: Direction, fee: u32) {
        self.says(n, direction, &policy(fee));
    }

    fn switch(&mut self, n: u64, enabled: bool) {
        for direction in Direction::BOTH {
            self.says(n, direction, &Policy { enabled, ..policy(1) });
        }
    }

    fn close(&mut self, n: u64) {
        self.fact(Fact::Closed { scid: scid(n), reason: Closing::Silent });
    }

    fn node(&mut self, n: u32, feature: u8, address: u8) {
        self.fact(Fact::Node(node_announcement(n, self.now, &[feature], &ipv4(address))));
    }

    /// An hour passes, and an epoch is cut.
    pub fn epoch(&mut self) -> Epoch {
        let last = self.history.last_epoch().map_or(START - HOUR, |epoch| epoch.timestamp);
        self.now = last + HOUR;
        self.event(Event::Epoch { timestamp: last + HOUR, rules: rules(Graph::Routable) });
        *self.history.last_epoch().expect("just cut")
    }

    /// Days pass; every direction speaks once a day, and says the same.
    fn days(&mut self, days: u32) {
        for hour in 1..=days * 24 {
            if hour.is_multiple_of(24) {
                for (n, _) in CHANNELS {
                    Direction::BOTH.iter().for_each(|direction| self.fee(n, *direction, 1));
                }
            }
            self.epoch();
        }
    }

    fn delta(&self, since: &Epoch, epoch: &Epoch) -> Contents {
        delta(&self.history.span(since, epoch).expect("known"), &LeftOut::default())
    }

    /// The delta over what `happens` within an hour that reminds of nothing.
    fn told(happens: impl FnOnce(&mut Self)) -> Contents {
        let mut world = Self::new();
        let quiet = |world: &Self, since: &Epoch, epoch: &Epoch| world.delta(since, epoch).updates.is_empty();
        let since = loop {
            let since = *world.history.last_epoch().expect("cut");
            let (one, two) = (world.epoch(), world.epoch());
            if quiet(&world, &since, &two) {
                break one;
            }
        };
        happens(&mut world);
        let epoch = world.epoch();
        world.delta(&since, &epoch)
    }
}

fn announced(contents: &Contents) -> Vec<ShortChannelId> {
    contents.channels.iter().map(|channel| channel.scid).collect()
}

fn gone(n: u64) -> Vec<ToldUpdate> {
    Direction::BOTH.map(|direction| ToldUpdate { scid: scid(n), direction, what: What::Gone }).into()
}

fn whole(n: u64, policies: [Policy; 2]) -> Vec<ToldUpdate> {
    let both = Direction::BOTH.into_iter().zip(policies);
    both.map(|(direction, policy)| ToldUpdate { scid: scid(n), direction, what: What::Whole(policy) }).collect()
}

/// Whose features are told, and whose addresses.
fn detailed(contents: &Contents) -> (Vec<NodeId>, Vec<NodeId>) {
    let features = contents.nodes.iter().filter(|node| node.features.is_some());
    let addresses = contents.nodes.iter().filter(|node| node.addresses.is_some());
    (features.map(|node| node.id).collect(), addresses.map(|node| node.id).collect())
}

fn nodes(numbers: &[u32]) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = numbers.iter().copied().map(node).collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn nothing_is_told_of_nothing() {
    let told = World::told(|_| {});
    assert_eq!(told, Contents::nothing(told.timestamp));
}

#[test]
fn of_a_fee_that_changed_the_change_is_told() {
    let fee = Changed { fee_base_msat: true, ..Changed::default() };
    let parts = |n, direction, what| vec![ToldUpdate { scid: scid(n), direction, what: What::Parts(what, fee) }];
    let told = World::told(|world| world.fee(2, Direction::TwoToOne, 5));
    assert_eq!(told.updates, parts(2, Direction::TwoToOne, policy(5)));
    assert_eq!((announced(&told), detailed(&told)), (vec![], (vec![], vec![])));

    // An answer cut short may have left the other value with the wallet.
    let told = World::told(|world| {
        world.fee(2, Direction::TwoToOne, 5);
        world.epoch();
        world.fee(2, Direction::TwoToOne, 1);
    });
    assert_eq!(told.updates, parts(2, Direction::TwoToOne, policy(1)));
    // What no epoch showed, no wallet has.
    let told = World::told(|world| {
        world.fee(2, Direction::TwoToOne, 5);
        world.fee(2, Direction::TwoToOne, 1);
    });
    assert_eq!(told.updates, []);
}

#[test]
fn a_new_channel_is_announced_with_the_details_of_new_nodes() {
    let told = World::told(|world| {
        world.announce(7, [4, 5]);
        world.node(5, 2, 2);
    });
    assert_eq!(announced(&told), [scid(7)]);
    assert_eq!(told.updates, whole(7, [policy(1), policy(1)]));
    assert_eq!(told.channels[0].nodes.map(|index| told.nodes[index as usize].id), [node(4), node(5)]);
    assert_eq!(detailed(&told), (nodes(&[5]), nodes(&[5])), "every wallet has what node 4 told");
}

#[test]
fn a_channel_that_is_no_more_is_disabled() {
    assert_eq!(World::told(|world| world.close(2)).updates, gone(2));
    assert_eq!(World::told(|world| world.switch(2, false)).updates, gone(2));
    // Even one that came and went: somebody may have met it.
    let told = World::told(|world| {
        world.announce(7, [4, 5]);
        world.epoch();
        world.close(7);
    });
    assert_eq!((announced(&told), told.updates), (vec![], gone(7)));
}

#[test]
fn a_channel_that_was_away_is_told_whole() {
    let told = World::told(|world| {
        world.switch(2, false);
        world.epoch();
        world.switch(2, true);
    });
    assert_eq!((announced(&told), told.updates), (vec![], whole(2, [policy(1), policy(1)])));
    let told = World::told(|world| {
        world.close(2);
        world.epoch();
        world.announce(2, CHANNELS[1].1);
    });
    assert_eq!((announced(&told), told.updates), (vec![], whole(2, [policy(1), policy(1)])));
}

#[test]
fn of_a_node_the_parts_are_told_that_changed() {
    let told = World::told(|world| world.node(1, 9, 1));
    assert_eq!(detailed(&told), (nodes(&[1]), vec![]));
    let told = World::told(|world| world.node(1, 1, 9));
    assert_eq!(detailed(&told), (vec![], nodes(&[1])));
    let told = World::told(|world| world.node(1, 1, 1));
    assert_eq!(detailed(&told), (vec![], vec![]));
    assert_eq!(told.nodes.len(), 0);
}

/// When each channel was reminded of, and when it was announced anew, by the deltas from each hour to the next.
fn mentions(world: &World) -> BTreeMap<ShortChannelId, Vec<(u32, bool)>> {
    let epochs: Vec<&Epoch> = world.history.epochs().collect();
    let mut mentions: BTreeMap<ShortChannelId, Vec<(u32, bool)>> = BTreeMap::new();
    for pair in epochs.windows(2) {
        let told = world.delta(pair[0], pair[1]);
        let again = announced(&told);
        for update in told.updates.chunk_by(|one, two| one.scid == two.scid) {
            assert_eq!(update.len(), 2, "both directions");
            let renewed = again.contains(&update[0].scid);
            let reminder = matches!(update[0].what, What::Reminder { enabled: true });
            assert!(reminder || renewed && matches!(update[0].what, What::Whole(_)), "{update:?}");
            mentions.entry(update[0].scid).or_default().push((pair[1].timestamp, renewed));
        }
    }
    mentions
}

#[test]
fn every_channel_is_mentioned_every_three_days_and_announced_anew_every_thirty() {
    let mut world = World::new();
    let mut all: BTreeMap<ShortChannelId, BTreeMap<u32, bool>> = BTreeMap::new();
    for _ in 0..15 {
        world.days(6);
        for (scid, mentions) in mentions(&world) {
            all.entry(scid).or_default().extend(mentions);
        }
    }
    for (n, _) in CHANNELS {
        let mentions: Vec<(u32, bool)> = all[&scid(n)].clone().into_iter().collect();
        assert!(mentions[0].0 - START <= 3 * DAY + HOUR);
        assert!(mentions.windows(2).all(|pair| pair[1].0 - pair[0].0 == 3 * DAY));
        let renewed: Vec<u32> = mentions.iter().filter(|(_, renewed)| *renewed).map(|(time, _)| *time).collect();
        assert_eq!(renewed.len(), 3);
        assert!(renewed.windows(2).all(|pair| pair[1] - pair[0] == 30 * DAY));
    }
}

/// A client forgets after seven days: a wallet that is away for long may have lost what it was last reminded of long
/// before it left.
#[test]
fn what_a_wallet_may_have_forgotten_is_announced_again() {
    let mut world = World::new();
    world.days(8);
    let mentions = mentions(&world);
    let epochs: Vec<Epoch> = world.history.epochs().copied().collect();
    let epoch = epochs[epochs.len() - 1];
    let (mut again, mut not) = (0, 0);
    for since in epochs.iter().filter(|since| since.timestamp < epoch.timestamp) {
        if epoch.timestamp - since.timestamp >= REACH_S {
            continue;
        }
        let told = world.delta(since, &epoch);
        for (n, ends) in CHANNELS {
            // By the hour: a mention belongs to the hour before its epoch.
            let last = mentions[&scid(n)].iter().rev().map(|(time, _)| *time).find(|time| *time <= since.timestamp);
            let Some(last) = last else { continue };
            let lost = last + REACH_S <= epoch.timestamp;
            let unsure = last < epoch.timestamp - REACH_S + HOUR && last + HOUR > epoch.timestamp - REACH_S;
            let renewed = mentions[&scid(n)].iter().any(|(time, renewed)| *renewed && *time > since.timestamp);
            if unsure || renewed {
                continue;
            }
            assert_eq!(announced(&told).contains(&scid(n)), lost, "channel {n} since {}", since.timestamp);
            if lost {
                again += 1;
                let whole = whole(n, [policy(1), policy(1)]);
                assert!(whole.iter().all(|update| told.updates.contains(update)));
                let lonely = ends.map(|end| end == 1 || end == 4);
                for (end, _) in ends.into_iter().zip(lonely).filter(|(_, lonely)| *lonely) {
                    assert!(detailed(&told).0.contains(&node(end)), "its details went with the channel");
                }
            } else {
                not += 1;
            }
        }
    }
    assert!(again > 50 && not > 50, "{again}, {not}");
}

#[test]
fn what_was_left_out_of_a_snapshot_is_new_when_it_is_told() {
    let mut world = World::new();
    let (one, two, three) = (world.epoch(), world.epoch(), world.epoch());
    let out = Differences { channels: [scid(2)].into(), nodes: [node(1)].into() };
    let left_out = LeftOut::default().next(&out, two.timestamp, START);
    let told = |since, until| delta(&world.history.span(since, until).expect("known"), &left_out);
    // The second epoch's snapshot lacks the channel, and what node 1 tells.
    assert_eq!(told(&one, &two).updates.iter().filter(|update| update.scid == scid(2)).count(), 2);
    assert!(gone(2).iter().all(|update| told(&one, &two).updates.contains(update)));
    // The third one's has both.
    for since in [&one, &two] {
        let told = told(since, &three);
        assert_eq!(announced(&told), [scid(2)]);
        assert!(whole(2, [policy(1), policy(1)]).iter().all(|update| told.updates.contains(update)));
        assert!(detailed(&told).1.contains(&node(1)));
    }
    let later = left_out.next(&Differences::default(), three.timestamp + 9 * DAY, three.timestamp);
    assert_eq!(later, LeftOut::default());
}
