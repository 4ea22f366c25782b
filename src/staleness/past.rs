//! What each direction charged, and who could know it when: every policy with the time from which it was in force, and
//! the time from which the server knew it.
//!
//! A node goes by its new policy at once, and the server hears of it when gossip has come there. A journal tells both
//! times: the message's own, and when it was accepted. Where it does not (a recording may know only the message's), or
//! where the two are too far apart to tell anything of gossip (a clock that is wrong; a backlog), the way is drawn at
//! random, [`Propagation::mean`] long on average: evenly from nothing to twice that.

use std::collections::HashMap;
use std::time::Duration;

use crate::gossip::{
    ChannelAnnouncement, ChannelUpdate, Closing, Direction, Fact, NodeId, Policy, ShortChannelId, UnixMs,
};
use crate::history::HEARD_FOR_S;

/// A message that took longer says nothing of how gossip spreads: its sender's clock is wrong, or the server was away.
const PLAUSIBLE_MS: u64 = 3_600_000;

/// Never.
pub const NEVER: UnixMs = UnixMs(u64::MAX);

/// How long gossip takes to reach the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Propagation {
    /// Whether entries' times are when messages came, rather than the messages' own.
    pub recorded: bool,
    /// Where that is not known, how long the way is on average.
    pub mean: Duration,
    pub seed: u64,
}

/// All that happened.
#[derive(Debug)]
pub struct Past {
    nodes: Vec<NodeId>,
    channels: Vec<Channel>,
}

/// A channel, from its announcement to its end.
#[derive(Debug)]
pub struct Channel {
    pub scid: ShortChannelId,
    /// Its ends' places in [`Past::nodes`].
    pub nodes: [u32; 2],
    /// The funding output's value, where it is proven.
    pub capacity_sat: Option<u64>,
    /// From when the server knew it.
    pub announced: UnixMs,
    /// From when it forwarded nothing any more …
    pub ended: UnixMs,
    /// … and from when the server knew that; [`NEVER`], both, while it is open.
    pub known_ended: UnixMs,
    directions: [Vec<Version>; 2],
}

/// A policy, until the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    pub policy: Policy,
    pub in_force: UnixMs,
    pub known: UnixMs,
    /// The last time at which a wallet still has it, if nothing newer comes: it was repeated until two weeks before. In
    /// unix seconds.
    pub fresh_until_s: u32,
}

impl Past {
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// How many policies there are.
    pub fn versions(&self) -> usize {
        self.channels.iter().flat_map(|channel| &channel.directions).map(Vec::len).sum()
    }

    /// From when nine tenths were known of the most channels that were ever known, in both directions, at one time: what
    /// is before that is the server's first sync, or a recording's first messages. `None` if there is no such channel.
    pub fn complete_from(&self) -> Option<UnixMs> {
        let ends = |channel: &Channel| {
            let [one, two] = channel.directions.each_ref().map(|versions| versions.first());
            let known = one?.known.max(two?.known).max(channel.announced);
            (known < channel.known_ended).then_some([(known, 1_i64), (channel.known_ended, -1)])
        };
        let mut ends: Vec<(UnixMs, i64)> = self.channels.iter().filter_map(ends).flatten().collect();
        ends.sort_unstable();
        let mut sizes = ends.iter().scan(0, |size, (at, by)| {
            *size += by;
            Some((*at, *size))
        });
        let most = sizes.clone().map(|(_, size)| size).max()?;
        sizes.find(|(_, size)| size * 10 >= most * 9).map(|(at, _)| at)
    }

    /// How long the way of updates was on average that came to the server in this time; `None` if none came.
    pub fn mean_way(&self, (from, to): (UnixMs, UnixMs)) -> Option<Duration> {
        let came = |version: &&Version| from <= version.known && version.known <= to;
        let versions = self.channels.iter().flat_map(|channel| &channel.directions).flatten().filter(came);
        let add = |(sum_ms, count): (u64, u64), version: &Version| {
            (sum_ms.saturating_add(version.known.0.saturating_sub(version.in_force.0)), count + 1)
        };
        let (sum_ms, count) = versions.fold((0, 0), add);
        Some(Duration::from_millis(sum_ms.checked_div(count)?))
    }
}

impl Channel {
    /// What a direction charged, oldest first.
    pub fn versions(&self, direction: Direction) -> &[Version] {
        &self.directions[direction as usize]
    }

    /// What the direction charged until `at`, oldest first: the last is in force then.
    pub fn in_force(&self, direction: Direction, at: UnixMs) -> &[Version] {
        let versions = self.versions(direction);
        &versions[..versions.partition_point(|version| version.in_force <= at)]
    }

    /// What the server knew at `at` of what the direction charges.
    pub fn known(&self, direction: Direction, at: UnixMs) -> Option<&Version> {
        let versions = self.versions(direction);
        versions.get(versions.partition_point(|version| version.known <= at).checked_sub(1)?)
    }

    /// What a wallet that was told at `at` has of both directions, as [`History::view`](crate::history::History::view)
    /// has it; `None` where it does not have the channel.
    pub fn told(&self, at: UnixMs) -> Option<[&Policy; 2]> {
        if self.announced > at || self.known_ended <= at {
            return None;
        }
        let most_msat = self.capacity_sat.map_or(u64::MAX, |sat| sat.saturating_mul(1_000));
        let [one, two] = Direction::BOTH.map(|direction| self.known(direction, at));
        let (one, two) = (one?, two?);
        let has =
            |version: &&Version| at.secs() <= version.fresh_until_s && version.policy.htlc_maximum_msat <= most_msat;
        [one, two].iter().all(has).then_some([&one.policy, &two.policy])
    }

    /// Whether it still forwards at `at`.
    pub fn is_open(&self, at: UnixMs) -> bool {
        self.announced <= at && at < self.ended
    }
}

/// Takes facts in their order.
#[derive(Debug)]
pub struct Chronicle {
    propagation: Propagation,
    past: Past,
    node_places: HashMap<NodeId, u32>,
    /// The places of the channels that are open, or may come back.
    places: HashMap<ShortChannelId, u32>,
    /// By channel and direction, the time of the newest update; in unix seconds.
    newest_s: Vec<[u32; 2]>,
    /// What was in force only before is of no interest.
    from: UnixMs,
}

impl Chronicle {
    /// Of what there was before `from`, each direction's last two policies are kept: a journal may go back for months.
    pub fn new(propagation: Propagation, from: UnixMs) -> Self {
        let past = Past { nodes: Vec::new(), channels: Vec::new() };
        Self { propagation, past, node_places: HashMap::new(), places: HashMap::new(), newest_s: Vec::new(), from }
    }

    /// Takes the next fact, which was accepted at `seen`.
    pub fn take(&mut self, seen: UnixMs, fact: &Fact) {
        match fact {
            Fact::Channel { announcement, capacity_sat } => self.announce(seen, announcement, *capacity_sat),
            Fact::Update(update) => self.update(seen, update),
            Fact::Proof { scid, capacity_sat } => {
                if let Some(channel) = self.channel(*scid) {
                    channel.capacity_sat.get_or_insert(*capacity_sat);
                }
            }
            Fact::PossibleSplice { scid, .. } => {
                if let Some(channel) = self.channel(*scid) {
                    channel.ended = channel.ended.min(seen);
                }
            }
            Fact::Closed { scid, reason } => self.close(seen, *scid, *reason),
            Fact::Reopened { scid } => {
                if let Some(channel) = self.channel(*scid) {
                    (channel.ended, channel.known_ended) = (NEVER, NEVER);
                }
            }
            Fact::Node(_) | Fact::Block(_) | Fact::SyncCompleted { .. } => {}
        }
    }

    pub fn finish(self) -> Past {
        self.past
    }

    /// Another announcement of a channel that is there changes nothing; one with other ends begins another channel.
    fn announce(&mut self, seen: UnixMs, announcement: &ChannelAnnouncement, capacity_sat: Option<u64>) {
        let scid = announcement.scid();
        let nodes = announcement.nodes().map(|id| self.node(id));
        if let Some(before) = self.channel(scid) {
            if before.nodes == nodes && before.known_ended == NEVER {
                before.capacity_sat = before.capacity_sat.or(capacity_sat);
                return;
            }
            before.ended = before.ended.min(seen);
            before.known_ended = before.known_ended.min(seen);
        }
        self.places.insert(scid, self.past.channels.len() as u32);
        self.newest_s.push([0; 2]);
        self.past.channels.push(Channel {
            scid,
            nodes,
            capacity_sat,
            announced: seen,
            ended: NEVER,
            known_ended: NEVER,
            directions: Default::default(),
        });
    }

    fn update(&mut self, seen: UnixMs, update: &ChannelUpdate) {
        let Some(place) = self.places.get(&update.scid()).copied() else { return };
        let (direction, timestamp, policy) = (update.direction(), update.timestamp(), update.policy());
        let newest_s = &mut self.newest_s[place as usize][direction as usize];
        let versions = &mut self.past.channels[place as usize].directions[direction as usize];
        if timestamp <= *newest_s && !versions.is_empty() {
            return;
        }
        *newest_s = timestamp;
        let fresh_until_s = timestamp.saturating_add(HEARD_FOR_S);
        let way = self.propagation.way(seen, update);
        let repeats = |last: &&mut Version| last.policy == policy && way.1.secs() <= last.fresh_until_s;
        if let Some(last) = versions.last_mut().filter(repeats) {
            last.fresh_until_s = fresh_until_s; // a keep-alive, before anybody had forgotten the policy
            return;
        }
        let after = versions.last().map_or((UnixMs(0), UnixMs(0)), |last| (last.in_force, last.known));
        let (in_force, known) = (way.0.max(after.0), way.1.max(after.1));
        if versions.len() == 2 && versions[1].known <= self.from {
            versions.remove(0);
        }
        versions.push(Version { policy, in_force, known, fresh_until_s });
    }

    fn close(&mut self, seen: UnixMs, scid: ShortChannelId, reason: Closing) {
        if let Some(channel) = self.channel(scid) {
            channel.ended = channel.ended.min(seen);
            channel.known_ended = channel.known_ended.min(seen);
        }
        if !matches!(reason, Closing::Spent { .. }) {
            self.places.remove(&scid);
        }
    }

    fn channel(&mut self, scid: ShortChannelId) -> Option<&mut Channel> {
        self.past.channels.get_mut(*self.places.get(&scid)? as usize)
    }

    fn node(&mut self, id: NodeId) -> u32 {
        let next = self.past.nodes.len() as u32;
        let place = *self.node_places.entry(id).or_insert(next);
        if place == next {
            self.past.nodes.push(id);
        }
        place
    }
}

impl Propagation {
    /// From when an update was in force, and from when the server knew it.
    fn way(&self, seen: UnixMs, update: &ChannelUpdate) -> (UnixMs, UnixMs) {
        let sent = UnixMs(u64::from(update.timestamp()) * 1_000);
        if !self.recorded {
            return (sent, UnixMs(seen.max(sent).0.saturating_add(self.draw_ms(update))));
        }
        match seen.0.checked_sub(sent.0) {
            Some(took_ms) if took_ms <= PLAUSIBLE_MS => (sent, seen),
            _ => (UnixMs(seen.0.saturating_sub(self.draw_ms(update))), seen),
        }
    }

    /// The same for the same update.
    fn draw_ms(&self, update: &ChannelUpdate) -> u64 {
        let twice_ms = u64::try_from(self.mean.as_millis() * 2).unwrap_or(u64::MAX);
        let parts = [self.seed, update.scid().0, u64::from(update.timestamp()), update.direction() as u64];
        super::draw::hash(&parts) % twice_ms.saturating_add(1)
    }
}
