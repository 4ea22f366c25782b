//! A week of a network of mainnet's size, as a service's journal has it: what an initial sync brings, then 250,000 updates
//! and 125,000 node announcements a day, of channels as unevenly busy as mainnet's, and an epoch an hour.
//!
//! Half of the updates repeat what was said. Of the others, nine in ten change the fee, up to half or double; the rest
//! disables the direction for some minutes. Each day brings 96 channels and closes 48. Gossip takes from nothing to four
//! minutes to come.

use std::path::Path;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::{ChannelAnnouncement, ChannelUpdate, Closing, Direction, Fact, NodeAnnouncement, Policy, UnixMs};
use rgsd::journal::{Draft, Event, Graph, Journal, SqliteJournal};
use rgsd::snapshot::rules;
use rgsd::synth::{Network, NetworkSpec};

use super::shape;

const HOURS: u32 = 7 * 24;
const UPDATES_AN_HOUR: u32 = 250_000 / 24;
const NODE_ANNOUNCEMENTS_AN_HOUR: u32 = 125_000 / 24;
const OPENED_AN_HOUR: u32 = 4;
const CLOSED_AN_HOUR: u32 = 2;
/// One update in so many disables its direction, which comes back within half an hour.
const BLINKS_ONE_IN: u32 = 20;
const WAY_MS: u64 = 240_000;
const WELL_FORMED: &str = "the network's own";

/// Journals a week that ends at `end`. Returns how many entries there are.
pub fn journal(data_dir: &Path, end: UnixMs) -> u64 {
    let spec = NetworkSpec { chain: bitcoin::Network::Bitcoin, ..NetworkSpec::default() };
    let topology = shape::topology(spec.seed);
    let start = UnixMs(end.0 - u64::from(HOURS) * 3_600_000);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut journal = SqliteJournal::open(data_dir, spec.chain, start, &mut rng).expect("opens");
    let network = Network::new(&topology, spec, start).expect("a network");
    let mut week = Week { network, rng, pending: Vec::new(), back: Vec::new() };
    week.initial_sync(start);
    week.write(&mut journal, start);
    for hour in 0..HOURS {
        let begin = UnixMs(start.0 + u64::from(hour) * 3_600_000);
        week.hour(begin);
        week.write(&mut journal, begin.plus(Duration::from_secs(3_600)));
    }
    journal.last_seq().0
}

struct Week {
    network: Network,
    rng: ChaCha8Rng,
    /// What is on its way.
    pending: Vec<Draft>,
    /// Directions that are disabled, and when they come back.
    back: Vec<(UnixMs, usize, Direction)>,
}

impl Week {
    fn initial_sync(&mut self, at: UnixMs) {
        (0..self.network.channels().len()).for_each(|n| self.announce(n, at));
        for n in 0..self.network.nodes().len() {
            let wire = self.network.nodes()[n].announcement.clone();
            self.put(at, Fact::Node(NodeAnnouncement::from_wire(&wire[..]).expect(WELL_FORMED)));
        }
        let peer = self.network.nodes()[0].id;
        self.put(at, Fact::SyncCompleted { peer });
    }

    fn hour(&mut self, begin: UnixMs) {
        let at = |n: u32, of: u32| UnixMs(begin.0 + 3_600_000 * u64::from(n) / u64::from(of));
        for n in 0..UPDATES_AN_HOUR {
            let now = at(n, UPDATES_AN_HOUR);
            self.come_back(now);
            if self.rng.random_ratio(1, BLINKS_ONE_IN) {
                self.blink(now);
            } else {
                let wire = self.network.next_update(now);
                self.say(now, &wire);
            }
        }
        for n in 0..NODE_ANNOUNCEMENTS_AN_HOUR {
            let now = at(n, NODE_ANNOUNCEMENTS_AN_HOUR);
            let wire = self.network.next_node_announcement(now);
            let seen = self.seen(now);
            self.put(seen, Fact::Node(NodeAnnouncement::from_wire(&wire[..]).expect(WELL_FORMED)));
        }
        for n in 0..OPENED_AN_HOUR {
            let now = at(n, OPENED_AN_HOUR);
            let height = self.network.last_height() + 1;
            self.network.add_channel(height, now).expect("there is room");
            self.announce(self.network.channels().len() - 1, now);
        }
        for n in 0..CLOSED_AN_HOUR {
            let channel = self.rng.random_range(0..self.network.channels().len());
            let scid = self.network.channels()[channel].scid;
            self.put(at(n, CLOSED_AN_HOUR), Fact::Closed { scid, reason: Closing::Spent { height: 1 } });
        }
    }

    /// One who would have spoken disables itself instead.
    fn blink(&mut self, now: UnixMs) {
        let wire = self.network.next_update(now);
        let update = ChannelUpdate::from_wire(&wire[..]).expect(WELL_FORMED);
        let (direction, policy) = (update.direction(), update.policy());
        let Some(channel) = self.network.index_of(update.scid()).filter(|_| policy.enabled) else { return };
        self.set(now, channel, direction, Policy { enabled: false, ..policy }, update.timestamp());
        self.back.push((now.plus(Duration::from_secs(self.rng.random_range(60..1_800))), channel, direction));
    }

    fn come_back(&mut self, now: UnixMs) {
        let due: Vec<_> = self.back.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, channel, direction) in due {
            let known = &self.network.channels()[channel];
            let (policy, timestamp) = (known.policies[direction as usize], known.timestamps[direction as usize]);
            self.set(now, channel, direction, Policy { enabled: true, ..policy }, timestamp);
        }
    }

    fn set(&mut self, now: UnixMs, channel: usize, direction: Direction, policy: Policy, before: u32) {
        let wire = self.network.set_policy(channel, direction, policy, now.secs().max(before + 1));
        self.say(now, &wire);
    }

    fn announce(&mut self, channel: usize, at: UnixMs) {
        let channel = &self.network.channels()[channel];
        let announcement = ChannelAnnouncement::from_wire(&channel.announcement[..]).expect(WELL_FORMED);
        let (capacity_sat, updates) = (Some(channel.capacity_sat), channel.updates.clone());
        self.put(at, Fact::Channel { announcement, capacity_sat });
        updates.iter().for_each(|wire| {
            self.put(at, Fact::Update(ChannelUpdate::from_wire(&wire[..]).expect(WELL_FORMED)));
        });
    }

    fn say(&mut self, now: UnixMs, wire: &[u8]) {
        let seen = self.seen(now);
        self.put(seen, Fact::Update(ChannelUpdate::from_wire(wire).expect(WELL_FORMED)));
    }

    fn seen(&mut self, sent: UnixMs) -> UnixMs {
        sent.plus(Duration::from_millis(self.rng.random_range(0..WAY_MS)))
    }

    fn put(&mut self, seen: UnixMs, fact: Fact) {
        self.pending.push(Draft { seen, event: Event::Fact(fact) });
    }

    /// Journals what has come by `now`, and an epoch.
    fn write(&mut self, journal: &mut SqliteJournal, now: UnixMs) {
        self.pending.sort_by_key(|draft| draft.seen);
        let come = self.pending.partition_point(|draft| draft.seen <= now);
        let mut come: Vec<Draft> = self.pending.drain(..come).collect();
        let seen = UnixMs(now.0 + 17_000);
        come.push(Draft { seen, event: Event::Epoch { timestamp: seen.secs(), rules: rules(Graph::Routable) } });
        for group in come.chunks(10_000) {
            journal.append(group).expect("room");
        }
    }
}
