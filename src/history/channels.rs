//! The channels, and what each direction charged through time.

use std::collections::HashMap;

use super::timeline::{Ordinal, Past, Timeline};
use super::{HEARD_FOR_S, Moment};
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Closing, Policy, ShortChannelId, is_final};

/// No epoch yet.
const NEVER: Ordinal = Ordinal::MAX;

/// All channels that a known epoch may show.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// In no particular order; one short channel id may be there several times, each with a life of its own.
    channels: Vec<Channel>,
    /// The places of those that are not closed.
    open: HashMap<ShortChannelId, u32>,
    /// The places of those that were closed by a spend, and may come back.
    spent: HashMap<ShortChannelId, u32>,
    past: Past<Heard>,
}

/// A channel, from its announcement to its closing (or to another announcement in its place).
#[derive(Debug)]
pub(super) struct Channel {
    pub scid: ShortChannelId,
    pub nodes: [u32; 2],
    pub features: Box<[u8]>,
    capacity_sat: u64,
    /// The first epoch at which the capacity is known.
    proven: Ordinal,
    /// The first epoch that has it.
    pub from: Ordinal,
    /// The first epoch that has it no more.
    pub until: Ordinal,
    /// Height of the block that spent its funding output, while a reorganisation may undo that.
    spent_at: Option<u32>,
    directions: [Timeline<Heard>; 2],
}

/// What a direction charges, as of its newest update. A version of it begins wherever the policy became another,
/// even if the same epoch brought the old one back: that it did not stand still stays known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    pub policy: Policy,
    /// The update's, by its sender's clock.
    pub timestamp: u32,
}

impl Channels {
    /// Takes an announcement. One with other nodes than the channel that is there begins another channel; one with
    /// the same nodes keeps what was heard and proven of it.
    pub fn announce(
        &mut self,
        next: Ordinal,
        announcement: &ChannelAnnouncement,
        nodes: [u32; 2],
        capacity_sat: Option<u64>,
    ) {
        let scid = announcement.scid();
        let mut channel = Channel {
            scid,
            nodes,
            features: announcement.features().into(),
            capacity_sat: capacity_sat.unwrap_or(0),
            proven: if capacity_sat.is_some() { next } else { NEVER },
            from: next,
            until: NEVER,
            spent_at: None,
            directions: Default::default(),
        };
        if let Some(before) = self.open.get(&scid).and_then(|place| self.channels.get_mut(*place as usize)) {
            if before.nodes == nodes {
                if before.features == channel.features {
                    return capacity_sat.map_or((), |capacity_sat| before.prove(next, capacity_sat));
                }
                channel.inherit(before, next, &mut self.past);
            }
            before.until = next;
        }
        self.forget_spent(scid);
        self.open.insert(scid, self.channels.len() as u32);
        self.channels.push(channel);
    }

    /// Takes an update, unless it is no newer than the last one. Whether its fee is another than the last one's.
    pub fn update(&mut self, moment: Moment, update: &ChannelUpdate) -> bool {
        let place = self.open.get(&update.scid()).copied();
        let Some(channel) = place.and_then(|place| self.channels.get_mut(place as usize)) else { return false };
        let direction = &mut channel.directions[update.direction() as usize];
        let (policy, timestamp) = (update.policy(), update.timestamp());
        let mut fee_changed = false;
        if let Some(newest) = direction.newest_mut() {
            let heard = &mut newest.value;
            if timestamp <= heard.timestamp {
                return false;
            }
            fee_changed = fee(&heard.policy) != fee(&policy);
            if heard.policy == policy && (newest.since == moment.next || is_heard(heard.timestamp, moment.last_epoch))
            {
                // A keep-alive in time: every epoch so far hears the direction, by the old timestamp or by this one.
                heard.timestamp = timestamp;
                return false;
            }
        }
        direction.set(&mut self.past, moment.next, Heard { policy, timestamp });
        fee_changed
    }

    /// The funding output's value was looked up.
    pub fn prove(&mut self, next: Ordinal, scid: ShortChannelId, capacity_sat: u64) {
        if let Some(channel) = self.open_mut(scid) {
            channel.prove(next, capacity_sat);
        }
    }

    /// The channel is no more.
    pub fn close(&mut self, next: Ordinal, scid: ShortChannelId, reason: Closing) {
        let Some(place) = self.open.remove(&scid) else { return };
        let Some(channel) = self.channels.get_mut(place as usize) else { return };
        channel.until = next;
        if let Closing::Spent { height } = reason {
            channel.spent_at = Some(height);
            self.spent.insert(scid, place);
        }
    }

    /// The spend for which the channel was closed is undone: it goes on with what it had.
    pub fn reopen(&mut self, next: Ordinal, scid: ShortChannelId) {
        let Some(place) = self.spent.remove(&scid) else { return };
        let end = self.channels.len() as u32;
        let Some(before) = self.channels.get_mut(place as usize) else { return };
        before.spent_at = None;
        if before.until == next {
            before.until = NEVER; // no epoch saw it closed
            self.open.insert(scid, place);
            return;
        }
        let mut channel = Channel {
            scid,
            nodes: before.nodes,
            features: before.features.clone(),
            capacity_sat: 0,
            proven: NEVER,
            from: next,
            until: NEVER,
            spent_at: None,
            directions: Default::default(),
        };
        channel.inherit(before, next, &mut self.past);
        self.open.insert(scid, end);
        self.channels.push(channel);
    }

    /// The chain has come to this height: what was closed by a spend that lies deep enough stays closed.
    pub fn settle(&mut self, tip: u32) {
        let channels = &mut self.channels;
        self.spent.retain(|_, place| {
            let Some(channel) = channels.get_mut(*place as usize) else { return false };
            channel.spent_at = channel.spent_at.filter(|height| !is_final(*height, tip));
            channel.spent_at.is_some()
        });
    }

    /// The channels that an epoch has, heard or not.
    pub fn at(&self, epoch: Ordinal) -> impl Iterator<Item = &Channel> {
        self.channels.iter().filter(move |channel| channel.from <= epoch && epoch < channel.until)
    }

    /// The channels that any epoch from one to another has.
    pub fn between(&self, from: Ordinal, to: Ordinal) -> impl Iterator<Item = &Channel> {
        let lived = |channel: &&Channel| channel.from < channel.until;
        self.channels.iter().filter(move |channel| channel.from <= to && from < channel.until).filter(lived)
    }

    /// A channel as it is now, maybe under a later announcement by the same nodes; `None` where it is closed.
    pub fn now<'a>(&'a self, channel: &'a Channel) -> Option<&'a Channel> {
        if channel.until == NEVER {
            return Some(channel);
        }
        let open = self.channels.get(*self.open.get(&channel.scid)? as usize);
        open.filter(|open| open.nodes == channel.nodes)
    }

    /// The superseded values that [`Channel::policies`] reads.
    pub fn past(&self) -> &Past<Heard> {
        &self.past
    }

    /// How many channels are announced and not closed.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How many superseded policies are kept.
    pub fn versions(&self) -> usize {
        self.past.len()
    }

    /// What a sweep visits.
    pub fn held(&self) -> usize {
        self.channels.len() + self.past.len()
    }

    /// Drops what the epoch `oldest` and all later ones do not show.
    pub fn sweep(&mut self, oldest: Ordinal) {
        self.channels.retain(|channel| channel.until > oldest || channel.spent_at.is_some());
        let mut kept = self.past.successor();
        for direction in self.channels.iter_mut().flat_map(|channel| &mut channel.directions) {
            direction.move_on(&self.past, &mut kept, oldest);
        }
        self.past = kept;
        self.open = self.places(|channel| channel.until == NEVER);
        self.spent = self.places(|channel| channel.spent_at.is_some());
    }

    fn places(&self, of: impl Fn(&Channel) -> bool) -> HashMap<ShortChannelId, u32> {
        let channels = self.channels.iter().zip(0..).filter(|(channel, _)| of(channel));
        channels.map(|(channel, place)| (channel.scid, place)).collect()
    }

    /// Another channel has come to the place of one that might have come back.
    fn forget_spent(&mut self, scid: ShortChannelId) {
        if let Some(place) = self.spent.remove(&scid)
            && let Some(channel) = self.channels.get_mut(place as usize)
        {
            channel.spent_at = None;
        }
    }

    fn open_mut(&mut self, scid: ShortChannelId) -> Option<&mut Channel> {
        let place = *self.open.get(&scid)?;
        self.channels.get_mut(place as usize)
    }
}

impl Channel {
    /// The funding output's value, where an epoch knows it.
    pub fn capacity_sat(&self, epoch: Ordinal) -> Option<u64> {
        (self.proven <= epoch).then_some(self.capacity_sat)
    }

    /// What both directions charge at an epoch cut at `timestamp`; `None` where one of them is unknown: not heard,
    /// not heard for too long, or claiming to forward more than the channel holds (the official client ignores such
    /// an update).
    pub fn policies(&self, past: &Past<Heard>, epoch: Ordinal, timestamp: u32) -> Option<[Policy; 2]> {
        let [one, two] = &self.directions;
        self.known([one.at(past, epoch)?, two.at(past, epoch)?], epoch, timestamp)
    }

    /// The same, where it has been looked up what both directions had last told by then.
    pub fn known(&self, heard: [&Heard; 2], epoch: Ordinal, timestamp: u32) -> Option<[Policy; 2]> {
        let most_msat = self.most_msat(epoch);
        let known =
            |heard: &&Heard| is_heard(heard.timestamp, timestamp) && heard.policy.htlc_maximum_msat <= most_msat;
        heard.iter().all(known).then(|| heard.map(|heard| heard.policy))
    }

    /// The most that a direction can forward, as far as an epoch knows.
    pub fn most_msat(&self, epoch: Ordinal) -> u64 {
        self.capacity_sat(epoch).map_or(u64::MAX, |sat| sat.saturating_mul(1_000))
    }

    /// What each direction told through time.
    pub fn directions(&self) -> &[Timeline<Heard>; 2] {
        &self.directions
    }

    /// The first epoch at which the capacity is known.
    pub fn proven(&self) -> Ordinal {
        self.proven
    }

    /// The output a channel spends from cannot change its value: the first proof holds.
    fn prove(&mut self, next: Ordinal, capacity_sat: u64) {
        if self.proven == NEVER {
            self.capacity_sat = capacity_sat;
            self.proven = next;
        }
    }

    /// Goes on from `before`, the same channel under an older announcement.
    fn inherit(&mut self, before: &Channel, next: Ordinal, past: &mut Past<Heard>) {
        if before.proven != NEVER {
            self.capacity_sat = before.capacity_sat;
            self.proven = next;
        }
        for (direction, old) in self.directions.iter_mut().zip(&before.directions) {
            if let Some(newest) = old.newest() {
                direction.set(past, next, newest.value);
            }
        }
    }
}

fn fee(policy: &Policy) -> (u32, u32) {
    (policy.fee_base_msat, policy.fee_proportional_millionths)
}

/// Whether a direction that last spoke at `timestamp` is known at `epoch`. LDK forgets what is older than 14 days
/// (`remove_stale_channels_and_tracking_with_time`), and keeps what is exactly as old.
pub(super) fn is_heard(timestamp: u32, epoch: u32) -> bool {
    timestamp >= epoch.saturating_sub(HEARD_FOR_S)
}
