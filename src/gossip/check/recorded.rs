//! Recorded gossip through the same gates, each message at its own time.
//!
//! The recording's clock is all there is: what time brings (held messages whose minute has come, channels that have
//! been silent for too long) happens between messages, so that the same recording gives the same facts on any machine.
//!
//! A recording may hold each announcement once, where live peers repeat it: a channel that was closed because it had
//! been silent is back when an update of it comes.

use std::collections::HashMap;
use std::time::Duration;

use lightning::ln::msgs;

use super::super::{ChannelAnnouncement, Closing, Direction, Fact, NodeId, ShortChannelId, UnixMs};
use super::admit::wire;
use super::cheap::Copies;
use super::signatures::Signed;
use super::{Checker, Gossip, Heard, Outcome, Refusal, Rules, STALE_AFTER_S, Tally};

/// How often held messages are looked at.
const HELD_EVERY: Duration = Duration::from_secs(10);
/// Silent channels are looked for when an hour begins, as a stretch does: where others end changes nothing.
const SILENCE_EVERY_MS: u64 = 3_600_000;
/// After a recording has been still for an hour, it says nothing of who was silent …
const DEAF_AFTER: Duration = Duration::from_secs(3600);
/// … until it has gone on for a day.
const LISTENING_FOR: Duration = Duration::from_secs(24 * 3600);

/// A recorded message.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When its recorder accepted it.
    pub at: UnixMs,
    pub message: Gossip,
    /// The value of a channel's funding output, where the recorder has looked it up.
    pub capacity_sat: Option<u64>,
    /// Whether its recorder has let it through already, limits on who may speak how often included.
    pub accepted: bool,
}

/// What came of a stretch of a recording.
#[derive(Default, Debug)]
pub struct Judged {
    /// Facts for the journal, in order, each with its time.
    pub facts: Vec<(UnixMs, Fact)>,
    /// Which messages were refused, by their index in the stretch, and why.
    pub refused: Vec<(usize, Refusal)>,
}

impl Judged {
    fn take(&mut self, at: UnixMs, outcome: Outcome) {
        self.facts.extend(outcome.facts.into_iter().map(|fact| (at, fact)));
        self.refused.extend(outcome.refused);
    }
}

/// The announcements of all channels but those that were closed on the recorder's word, with their capacities.
type Shelf = HashMap<ShortChannelId, (ChannelAnnouncement, Option<u64>)>;

/// What the recording's clock has brought so far.
#[derive(Clone, Copy, Default, Debug)]
struct Beats {
    last: UnixMs,
    held: UnixMs,
    silence: UnixMs,
    listening_since: UnixMs,
}

/// The checking stage for recordings, with what only they need to have remembered.
pub struct Replayer {
    checker: Checker,
    beats: Beats,
    shelf: Shelf,
}

impl Replayer {
    pub fn new(rules: Rules) -> Self {
        Self { checker: Checker::new(rules), beats: Beats::default(), shelf: Shelf::default() }
    }

    /// Counts since the start.
    pub fn tally(&self) -> &Tally {
        self.checker.tally()
    }

    /// Channels that were let through and are not closed.
    pub fn channel_count(&self) -> usize {
        self.checker.channel_count()
    }

    /// Passes a stretch of a recording through the gates: messages in the order of their times, which go on from those
    /// of the stretch before. Signatures are checked on all cores, so longer stretches are faster; but one must end with
    /// the hour, and where a channel is closed, because what comes after is held against what is known before it.
    pub fn check(&mut self, stretch: Vec<Recorded>) -> Judged {
        self.checker.tally.received += stretch.len() as u64;
        let times: Vec<UnixMs> = stretch.iter().map(|recorded| recorded.at).collect();
        let said: Vec<_> = stretch.iter().map(|recorded| (recorded.capacity_sat, recorded.accepted)).collect();
        let nobody = NodeId::from_slice(&[2; 33]).expect("33 bytes");
        let batch: Vec<Heard> =
            stretch.into_iter().map(|recorded| Heard { peer: nobody, message: recorded.message }).collect();
        let (mut judged, mut outcome) = (Judged::default(), Outcome::default());
        if let Some(&first) = times.first() {
            self.pass_time(first, &mut judged);
            self.take_back(first, &batch, &mut judged);
        }
        let signed =
            self.checker.check_signatures(|index| times[index], &batch, Copies::unsought(&batch), &mut outcome);
        judged.take(UnixMs::default(), outcome); // no facts yet
        for (index, signed) in signed {
            let at = times[index];
            self.pass_time(at, &mut judged);
            let mut outcome = Outcome::default();
            let (capacity_sat, accepted) = said[index];
            if accepted {
                self.give_turn(&batch[index].message);
            }
            if let Err(refusal) = self.admit(at, &batch[index], capacity_sat, signed, &mut outcome) {
                self.checker.refuse(index, batch[index].message.kind(), refusal, &mut outcome);
            }
            judged.take(at, outcome);
        }
        judged
    }

    /// Announces the silent channels again that are spoken of.
    fn take_back(&mut self, at: UnixMs, batch: &[Heard], judged: &mut Judged) {
        for heard in batch {
            let Gossip::Update(m) = &heard.message else { continue };
            let scid = ShortChannelId(m.contents.short_channel_id);
            if self.checker.is_known(scid) || m.contents.timestamp < at.secs().saturating_sub(STALE_AFTER_S) {
                continue;
            }
            if let Some((announcement, capacity_sat)) = self.shelf.get(&scid).cloned() {
                let fact = Fact::Channel { announcement, capacity_sat };
                self.checker.known.learn(at, &fact); // not accepted: it was counted when it came
                judged.facts.push((at, fact));
            }
        }
    }

    fn admit(
        &mut self,
        at: UnixMs,
        heard: &Heard,
        capacity_sat: Option<u64>,
        signed: Signed,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        match &heard.message {
            Gossip::Channel(m) => self.admit_channel(at, m, capacity_sat, outcome),
            Gossip::Update(m) => self.checker.admit_update(at, heard.peer, m, signed, outcome),
            Gossip::Node(m) => self.checker.admit_node(at, heard.peer, m, outcome),
        }
    }

    /// It had one when its recorder let it through: who counts anew from another start, or was started anew, counts
    /// otherwise.
    fn give_turn(&mut self, message: &Gossip) {
        match message {
            Gossip::Channel(_) => {}
            Gossip::Update(m) => {
                let direction = Direction::from_flags(m.contents.channel_flags);
                self.checker.known.give_turn(ShortChannelId(m.contents.short_channel_id), direction);
            }
            Gossip::Node(m) => self.checker.known.give_node_turn(&m.contents.node_id),
        }
    }

    fn admit_channel(
        &mut self,
        at: UnixMs,
        m: &msgs::ChannelAnnouncement,
        capacity_sat: Option<u64>,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        self.checker.pass_channel(at, &m.contents)?;
        let announcement = ChannelAnnouncement::from_wire(wire(ChannelAnnouncement::TYPE, m))?;
        self.shelf.insert(announcement.scid(), (announcement.clone(), capacity_sat));
        self.checker.accept(at, Fact::Channel { announcement, capacity_sat }, outcome);
        Ok(())
    }

    /// Takes the recorder's word that a channel is no more.
    pub fn close(&mut self, at: UnixMs, scid: ShortChannelId) -> Judged {
        let (mut judged, mut outcome) = (Judged::default(), Outcome::default());
        self.pass_time(at, &mut judged);
        self.shelf.remove(&scid);
        if self.checker.is_known(scid) {
            self.checker.accept(at, Fact::Closed { scid, reason: Closing::Recorded }, &mut outcome);
        }
        judged.take(at, outcome);
        judged
    }

    /// Takes the recorder's word for what a channel's funding output is worth, if that was not known.
    pub fn prove(&mut self, at: UnixMs, scid: ShortChannelId, capacity_sat: u64) -> Judged {
        let (mut judged, mut outcome) = (Judged::default(), Outcome::default());
        self.pass_time(at, &mut judged);
        if let Some((_, capacity)) = self.shelf.get_mut(&scid) {
            capacity.get_or_insert(capacity_sat);
        }
        if self.checker.known.channel(scid).is_some_and(|channel| channel.capacity_sat.is_none()) {
            self.checker.accept(at, Fact::Proof { scid, capacity_sat }, &mut outcome);
        }
        judged.take(at, outcome);
        judged
    }

    /// Lets the recording's clock come to `at`, when nothing but an epoch does. Nothing is heard by it, and nobody is
    /// found to be silent: which epochs are asked for must not change what a recording tells after them.
    pub fn wait(&mut self, at: UnixMs) -> Judged {
        let mut judged = Judged::default();
        self.look_at_held(at, &mut judged);
        judged
    }

    /// Does what the time up to `at` brings, at which something was recorded.
    fn pass_time(&mut self, at: UnixMs, judged: &mut Judged) {
        let beats = &mut self.beats;
        if at.since(beats.last) > DEAF_AFTER {
            beats.listening_since = at;
        }
        beats.last = beats.last.max(at);
        self.look_at_held(at, judged);
        let beats = &mut self.beats;
        if at.0 / SILENCE_EVERY_MS > beats.silence.0 / SILENCE_EVERY_MS {
            beats.silence = at;
            if at.since(beats.listening_since) >= LISTENING_FOR {
                let silent = self.checker.close_silent(at);
                judged.take(at, silent);
            }
        }
    }

    fn look_at_held(&mut self, at: UnixMs, judged: &mut Judged) {
        let holds = !(self.checker.held.is_empty() && self.checker.held_nodes.is_empty());
        if holds && at.since(self.beats.held) >= HELD_EVERY {
            self.beats.held = at;
            let released = self.checker.release_held(at);
            judged.take(at, released);
        }
    }
}
