//! A wallet's graph in time against the official client's, which read the full snapshot of the same moment.

use std::collections::BTreeMap;

use lightning_rapid_gossip_sync::RapidGossipSync;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::past::{Chronicle, Propagation};
use super::*;
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Clock, Closing, Fact, SystemClock};
use crate::history::History;
use crate::journal::{Entry, Event, Graph, Seq};
use crate::snapshot::{Version, encode_full, rules};
use crate::synth::{Network, NetworkSpec, Topology};

const CHAIN: bitcoin::Network = bitcoin::Network::Regtest;
const DAY_S: u32 = 24 * 3_600;
const DAYS: u32 = 20;
const WELL_FORMED: &str = "the network's own";

type Usable = BTreeMap<u64, [Policy; 2]>;

/// The channels over which something can be paid.
fn usable(graph: &NetworkGraph<Quiet>) -> Usable {
    let graph = graph.read_only();
    let channels = graph.channels().unordered_iter().filter_map(|(scid, channel)| {
        let policies = [channel.one_to_two.as_ref()?, channel.two_to_one.as_ref()?].map(Policy::from);
        policies.iter().any(|policy| policy.enabled).then_some((*scid, policies))
    });
    channels.collect()
}

/// As the history, and the official client, have it.
struct Judge {
    history: History,
    seq: u64,
}

impl Judge {
    fn apply(&mut self, seen: UnixMs, event: Event) {
        self.seq += 1;
        self.history.apply(&Entry { seq: Seq(self.seq), seen, event });
    }

    fn cut(&mut self, at: UnixMs, now_s: u32) -> Usable {
        self.apply(at, Event::Epoch { timestamp: at.secs(), rules: rules(Graph::Routable) });
        let epoch = self.history.last_epoch().expect("just cut");
        let mut view = self.history.view(epoch).expect("known");
        view.epoch.timestamp = now_s; // the client holds every update against the system's clock
        let bytes = encode_full(&view, ChainHash::using_genesis_block_const(CHAIN), Version::V2).expect("small");
        let graph = NetworkGraph::new(CHAIN, Quiet);
        let read = RapidGossipSync::new(&graph, Quiet).update_network_graph_no_std(&bytes, Some(now_s.into()));
        read.expect("the client takes it");
        usable(&graph)
    }
}

/// What happens to a network in twenty days, the first of which is `start`'s: channels speak, fall silent, are closed
/// and opened.
fn life(network: &mut Network, start: UnixMs, seed: u64) -> Vec<(UnixMs, Fact)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut facts = Vec::new();
    let announce = |facts: &mut Vec<(UnixMs, Fact)>, network: &Network, n: usize, at: UnixMs| {
        let channel = &network.channels()[n];
        let announcement = ChannelAnnouncement::from_wire(&channel.announcement[..]).expect(WELL_FORMED);
        facts.push((at, Fact::Channel { announcement, capacity_sat: Some(channel.capacity_sat) }));
        let updates = channel.updates.iter().map(|wire| ChannelUpdate::from_wire(&wire[..]).expect(WELL_FORMED));
        facts.extend(updates.map(|update| (at, Fact::Update(update))));
    };
    (0..network.channels().len()).for_each(|n| announce(&mut facts, network, n, start));
    for hour in 0..u64::from(DAYS) * 24 {
        let at = UnixMs(start.0 + hour * 3_600_000 + 1_000);
        match rng.random_range(0..20) {
            0 => {
                let scid = network.channels()[rng.random_range(0..network.channels().len())].scid;
                facts.push((at, Fact::Closed { scid, reason: Closing::Spent { height: 1 } }));
            }
            1 => {
                network.add_channel(network.last_height() + 1, at).expect("there is room");
                announce(&mut facts, network, network.channels().len() - 1, at);
            }
            _ => {
                let n = rng.random_range(0..network.channels().len() / 2); // the others fall silent
                let direction = Direction::BOTH[rng.random_range(0..2)];
                let policy = network.channels()[n].policies[direction as usize];
                let fee_base_msat = rng.random_range(0..3);
                let policy = Policy { fee_base_msat, enabled: rng.random_ratio(3, 4), ..policy };
                let wire = network.set_policy(n, direction, policy, at.secs());
                facts.push((at, Fact::Update(ChannelUpdate::from_wire(&wire[..]).expect(WELL_FORMED))));
            }
        }
    }
    facts
}

#[test]
fn a_wallet_moved_through_time_has_what_the_official_client_reads_then() {
    for seed in 0..4 {
        let now_s = SystemClock.now().secs();
        let start = UnixMs(1_700_000_000_000);
        let topology = Topology::generate(60, seed);
        let mut network = Network::new(&topology, NetworkSpec::default(), start).expect("a network");
        let facts = life(&mut network, start, seed);
        let propagation = Propagation { recorded: true, mean: std::time::Duration::ZERO, seed };
        let mut chronicle = Chronicle::new(propagation, UnixMs(0));
        facts.iter().for_each(|(seen, fact)| chronicle.take(*seen, fact));
        let past = chronicle.finish();
        let turns = Turns::of(&past);
        let mut moved: Option<Wallet<'_>> = None;
        let mut judge = Judge { history: History::new(), seq: 0 };
        let mut facts = facts.into_iter().peekable();
        let mut seen = Vec::new();
        for day in 0..=DAYS {
            let at = UnixMs(start.0 + u64::from(day * DAY_S + 10) * 1_000);
            while let Some((seen, fact)) = facts.next_if(|(seen, _)| *seen <= at) {
                judge.apply(seen, Event::Fact(fact));
            }
            let expected = judge.cut(at, now_s);
            let anew = Wallet::new(&past, &turns, CHAIN, at, now_s);
            assert_eq!(usable(&anew.graph), expected, "built on day {day} of {seed}");
            let moved = moved.get_or_insert(anew);
            moved.advance(at);
            assert_eq!(usable(&moved.graph), expected, "moved to day {day} of {seed}");
            seen.push(expected.len());
        }
        // Half of the network falls silent after two weeks.
        assert!(seen[13] > 25 && seen[DAYS as usize] < seen[13] - 5, "{seen:?}");
    }
}
