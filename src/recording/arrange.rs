//! Puts what recordings tell in the order of time, whichever file and place it stands in.
//!
//! A recording's own clock is what its recorder noted or, where that noted nothing, what the messages say of
//! themselves:
//!
//! | what | its time |
//! |---|---|
//! | anything after an `rgsd_time` | that time |
//! | `channel_update` | its timestamp |
//! | `channel_announcement` | the earliest of its record's timestamp and its channel's updates'; with neither, the end |
//! | `node_announcement` | its timestamp, but not before the first of its channels |
//! | a closing, a proof | its record's timestamp; with none, the latest that came before it |
//!
//! The updates of a channel count whichever recording they stand in, but no channel is older than the first beginning.
//! A recording begins with the first update, and ends with the last message, that the timestamps of others (one in a
//! thousand) support: a node whose clock was off by years says nothing of when it was made. A channel whose
//! announcement is marked as deleted, and whose closing is not recorded, is closed at the end.
//!
//! What is told is held in memory up to a bound, and in an unnamed temporary file beyond it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use anyhow::Context;

use super::spool::{Item, Kind, Script, Spool, Turn};
use super::{Body, Damage, Found, Located, Record};
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, NodeId, ShortChannelId, UnixMs};
use crate::history::HEARD_FOR_S;

/// How much may be read before the rest goes to a file.
const IN_MEMORY: usize = 1 << 30;

/// What was found in one recording.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Survey {
    pub name: String,
    /// How many records there were, by what they say.
    pub records: BTreeMap<&'static str, u64>,
    /// How many of them are marked as deleted.
    pub deleted: u64,
    /// What could not be read, by reason; a torn tail is not among it.
    pub damage: BTreeMap<&'static str, Damaged>,
    /// Where the recording ends within a record, if it does.
    pub torn_at: Option<u64>,
    /// When it begins and ends, in unix milliseconds; none in an empty one.
    #[serde(skip)]
    pub span: Option<(UnixMs, UnixMs)>,
    /// Whether the recorder noted when messages came; else their times are the messages' own.
    #[serde(skip)]
    pub has_arrivals: bool,
}

/// How often something was damaged in the same way, and where first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Damaged {
    pub count: u64,
    pub first_offset: u64,
}

/// See the module's head.
pub struct Arrangement {
    strict: bool,
    spool: Spool,
    items: Vec<Item>,
    channels: HashMap<ShortChannelId, Life>,
    /// The earliest update, in unix milliseconds, of channels that nobody has announced so far.
    unannounced: HashMap<ShortChannelId, u64>,
    /// Channels of which what follows is said too late, or of another one in their place.
    closed: HashSet<ShortChannelId>,
    /// Items of recordings that tell no time at all: they are of the end, at the latest.
    timeless: Vec<usize>,
    /// Announcements without a time of arrival: the item, and the channel's nodes.
    births: Vec<(usize, [NodeId; 2])>,
    /// The same of nodes.
    nodes: Vec<(usize, NodeId)>,
    surveys: Vec<Survey>,
}

/// An announced channel, until its closing.
#[derive(Clone, Copy)]
struct Life {
    item: usize,
    file: u16,
    deleted: bool,
}

impl Arrangement {
    /// With `strict`, whatever is damaged is an error that names its place; a torn tail is not damaged.
    pub fn new(strict: bool) -> Self {
        Self {
            strict,
            spool: Spool::new(IN_MEMORY),
            items: Vec::new(),
            channels: HashMap::new(),
            unannounced: HashMap::new(),
            closed: HashSet::new(),
            timeless: Vec::new(),
            births: Vec::new(),
            nodes: Vec::new(),
            surveys: Vec::new(),
        }
    }

    /// Takes in a whole recording.
    pub fn add(&mut self, name: &str, records: impl Iterator<Item = io::Result<Located>>) -> anyhow::Result<&Survey> {
        let file = u16::try_from(self.surveys.len()).context("more than 65,536 recordings")?;
        let mut listener = Listener::new(self, name, file);
        for located in records {
            let located = located.with_context(|| format!("cannot read {name}"))?;
            listener.take(located)?;
        }
        let survey = listener.end()?;
        self.surveys.push(survey);
        Ok(self.surveys.last().expect("just pushed"))
    }

    /// Everything in the order of its time; what has the same time, in the order in which it was read, but that a
    /// channel comes before what is said of it.
    pub fn finish(mut self) -> anyhow::Result<(Script, Vec<Survey>)> {
        let spans = || self.surveys.iter().filter_map(|survey| survey.span);
        let begin_ms = spans().map(|(begin, _)| begin.0).min().unwrap_or_default();
        let end_ms = spans().map(|(_, end)| end.0).max().unwrap_or_default();
        for item in &self.timeless {
            let seen_ms = &mut self.items[*item].seen_ms;
            *seen_ms = end_ms.min(*seen_ms);
        }
        let mut born: HashMap<NodeId, u64> = HashMap::new();
        for (item, nodes) in &self.births {
            let item = &mut self.items[*item];
            if item.seen_ms < begin_ms {
                // A clock that is off by years must not make its channel so old that it seems to be silent.
                (item.seen_ms, item.turn) = (begin_ms, Turn::First);
            }
            let seen_ms = item.seen_ms;
            for node in nodes {
                born.entry(*node).and_modify(|first| *first = seen_ms.min(*first)).or_insert(seen_ms);
            }
        }
        for (item, node) in &self.nodes {
            let item = &mut self.items[*item];
            if let Some(born_ms) = born.get(node).copied().filter(|born_ms| *born_ms >= item.seen_ms) {
                // It may stand before that channel in the file.
                (item.seen_ms, item.turn) = (born_ms, Turn::Last);
            }
        }
        self.items.sort_by_key(|item| (item.seen_ms, item.turn));
        Ok((Script::new(self.spool, self.items), self.surveys))
    }
}

/// Takes in one recording.
struct Listener<'a> {
    into: &'a mut Arrangement,
    file: u16,
    survey: Survey,
    /// What the recorder last said of the time.
    time: Option<UnixMs>,
    /// An announcement whose capacity may follow.
    announced: Option<Announced>,
    /// The timestamps, in unix seconds, of updates and of all other messages; and the latest of them all.
    updated: Vec<u32>,
    stamped: Vec<u32>,
    latest_s: u32,
    /// Items whose time is only known at the end: those that only stood somewhere, and channels nobody updated.
    open: Vec<usize>,
}

struct Announced {
    offset: u64,
    record_timestamp: u32,
    deleted: bool,
    message: ChannelAnnouncement,
}

/// The time of an item that has none, until the end.
const UNTIMED_MS: u64 = u64::MAX;

impl<'a> Listener<'a> {
    fn new(into: &'a mut Arrangement, name: &str, file: u16) -> Self {
        Self {
            into,
            file,
            survey: Survey { name: name.to_owned(), ..Survey::default() },
            time: None,
            announced: None,
            updated: Vec::new(),
            stamped: Vec::new(),
            latest_s: 0,
            open: Vec::new(),
        }
    }

    fn take(&mut self, located: Located) -> anyhow::Result<()> {
        let offset = located.offset;
        match located.found {
            Found::Damage(damage) => self.damaged(offset, &damage),
            Found::Record(record) => self.record(offset, record),
        }
    }

    fn damaged(&mut self, offset: u64, damage: &Damage) -> anyhow::Result<()> {
        self.announce(None)?; // an amount beyond the damage may be another channel's
        if let Damage::TornTail { .. } = damage {
            self.survey.torn_at = Some(offset);
            return Ok(());
        }
        self.bad(offset, damage.name(), damage)
    }

    fn bad(&mut self, offset: u64, name: &'static str, why: &dyn std::fmt::Display) -> anyhow::Result<()> {
        anyhow::ensure!(!self.into.strict, "{}: byte {offset}: {why}", self.survey.name);
        let first = Damaged { count: 0, first_offset: offset };
        self.survey.damage.entry(name).or_insert(first).count += 1;
        Ok(())
    }

    fn record(&mut self, offset: u64, record: Record) -> anyhow::Result<()> {
        self.survey.deleted += u64::from(record.flags.deleted);
        let Record { flags, timestamp, body } = record;
        self.count(name(&body));
        if let Body::Amount { capacity_sat } = body {
            return self.announce(Some(capacity_sat).filter(|sat| *sat > 0));
        }
        self.announce(None)?;
        match body {
            Body::Message(wire) => return self.message(offset, timestamp, flags.deleted, wire),
            Body::Closed(scid) => self.closed(offset, timestamp, scid)?,
            Body::Proof { scid, capacity_sat } => {
                let parts = [&scid.0.to_be_bytes()[..], &capacity_sat.to_be_bytes()];
                let item = self.push(offset, Kind::Proof, &parts)?;
                self.place(item, timestamp);
            }
            Body::Time(time) if time.0 / 1000 > u64::from(u32::MAX) => {
                self.bad(offset, "time", &format_args!("a time of {} ms is beyond 2106", time.0))?;
            }
            Body::Time(time) => self.time = self.time.max(Some(time)),
            _ => {} // says nothing of the network
        }
        Ok(())
    }

    fn count(&mut self, name: &'static str) {
        *self.survey.records.entry(name).or_default() += 1;
    }

    fn message(&mut self, offset: u64, timestamp: u32, deleted: bool, wire: Box<[u8]>) -> anyhow::Result<()> {
        let read = match wire.get(..2).map(|kind| u16::from_be_bytes([kind[0], kind[1]])) {
            Some(ChannelUpdate::TYPE) => ChannelUpdate::from_wire(wire).map(|update| self.update(offset, &update)),
            Some(NodeAnnouncement::TYPE) => NodeAnnouncement::from_wire(wire).map(|node| self.node(offset, &node)),
            _ => ChannelAnnouncement::from_wire(wire).map(|message| {
                self.announced = Some(Announced { offset, record_timestamp: timestamp, deleted, message });
                Ok(())
            }),
        };
        read.unwrap_or_else(|malformed| self.bad(offset, "malformed", &malformed))
    }

    fn update(&mut self, offset: u64, update: &ChannelUpdate) -> anyhow::Result<()> {
        let item = self.push_message(offset, None, update.wire())?;
        if self.time.is_none() {
            self.stamp(item, update.timestamp());
            self.updated.push(update.timestamp());
        }
        let stamped_ms = u64::from(update.timestamp()) * 1000;
        if let Some(life) = self.into.channels.get(&update.scid()) {
            let seen_ms = &mut self.into.items[life.item].seen_ms;
            *seen_ms = (*seen_ms).min(stamped_ms);
        } else if self.time.is_none() && !self.into.closed.contains(&update.scid()) {
            let earliest_ms = self.into.unannounced.entry(update.scid()).or_insert(stamped_ms);
            *earliest_ms = (*earliest_ms).min(stamped_ms);
        }
        Ok(())
    }

    fn node(&mut self, offset: u64, node: &NodeAnnouncement) -> anyhow::Result<()> {
        let item = self.push_message(offset, None, node.wire())?;
        if self.time.is_none() {
            self.into.nodes.push((item, node.node_id()));
            self.stamp(item, node.timestamp());
            self.stamped.push(node.timestamp());
        }
        Ok(())
    }

    /// Takes in the announcement that waited for its capacity.
    fn announce(&mut self, capacity_sat: Option<u64>) -> anyhow::Result<()> {
        let Some(Announced { offset, record_timestamp, deleted, message }) = self.announced.take() else {
            return Ok(());
        };
        let item = self.push_message(offset, capacity_sat, message.wire())?;
        if self.time.is_none() {
            self.into.births.push((item, message.nodes()));
            self.into.channels.insert(message.scid(), Life { item, file: self.file, deleted });
            if record_timestamp > 0 {
                self.stamp(item, record_timestamp);
                self.stamped.push(record_timestamp);
            } else {
                self.open.push(item);
            }
            if let Some(earliest_ms) = self.into.unannounced.remove(&message.scid()) {
                let item = &mut self.into.items[item];
                (item.seen_ms, item.turn) = (item.seen_ms.min(earliest_ms), Turn::First);
            }
        }
        Ok(())
    }

    fn closed(&mut self, offset: u64, timestamp: u32, scid: ShortChannelId) -> anyhow::Result<()> {
        let item = self.push(offset, Kind::Closed, &[&scid.0.to_be_bytes()])?;
        self.place(item, timestamp);
        self.into.channels.remove(&scid);
        self.into.unannounced.remove(&scid);
        self.into.closed.insert(scid);
        Ok(())
    }

    fn push_message(&mut self, offset: u64, capacity_sat: Option<u64>, wire: &[u8]) -> anyhow::Result<usize> {
        let kind = if self.time.is_some() { Kind::Accepted } else { Kind::Message };
        self.push(offset, kind, &[&capacity_sat.unwrap_or(0).to_be_bytes(), wire])
    }

    /// Notes what is told; its time is the recorder's, if that said one.
    fn push(&mut self, offset: u64, kind: Kind, parts: &[&[u8]]) -> anyhow::Result<usize> {
        let seen_ms = self.time.map_or(UNTIMED_MS, |time| time.0);
        let stored = self.into.spool.push(parts).context("cannot hold it in a temporary file")?;
        self.into.items.push(Item::new(seen_ms, stored, kind, self.file, offset));
        Ok(self.into.items.len() - 1)
    }

    /// A message's time is its own timestamp, where the recorder did not say when it came.
    fn stamp(&mut self, item: usize, timestamp: u32) {
        self.into.items[item].seen_ms = u64::from(timestamp) * 1000;
        self.latest_s = self.latest_s.max(timestamp);
    }

    /// The time of what is no message: its record's timestamp, or where it stands.
    fn place(&mut self, item: usize, timestamp: u32) {
        if self.time.is_some() {
            return;
        }
        let latest = if timestamp > 0 { timestamp } else { self.latest_s };
        self.into.items[item].seen_ms = u64::from(latest) * 1000;
        self.open.push(item);
    }

    /// Settles what only the whole recording tells.
    fn end(mut self) -> anyhow::Result<Survey> {
        self.announce(None)?;
        let span = self.span();
        self.close_deleted()?;
        for item in &self.open {
            let seen_ms = &mut self.into.items[*item].seen_ms;
            match span {
                Some((_, end)) => *seen_ms = end.0.min(*seen_ms),
                None if *seen_ms == 0 => *seen_ms = UNTIMED_MS,
                None => {}
            }
        }
        if span.is_none() {
            self.into.timeless.append(&mut self.open);
        }
        self.survey.span = span;
        self.survey.has_arrivals = self.time.is_some();
        Ok(self.survey)
    }

    /// Closes the channels whose announcements are marked as deleted, and whose closings are not recorded.
    fn close_deleted(&mut self) -> anyhow::Result<()> {
        let file = self.file;
        let gone = self.into.channels.iter().filter(|(_, life)| life.deleted && life.file == file);
        let mut gone: Vec<ShortChannelId> = gone.map(|(scid, _)| *scid).collect();
        gone.sort_unstable();
        for scid in gone {
            let item = self.push(0, Kind::Closed, &[&scid.0.to_be_bytes()])?;
            self.into.items[item].seen_ms = UNTIMED_MS;
            self.open.push(item);
            self.into.channels.remove(&scid);
            self.into.closed.insert(scid);
        }
        Ok(())
    }

    /// When the recording begins and ends. It begins with an update, if it has any: a node may have said years ago all
    /// that it has to say.
    fn span(&mut self) -> Option<(UnixMs, UnixMs)> {
        self.updated.sort_unstable();
        let first = first(&self.updated);
        let mut all = std::mem::take(&mut self.stamped);
        all.extend(&self.updated);
        all.sort_unstable();
        let first = first.or_else(|| self::first(&all));
        let stamped = first.zip(last(&all)).map(|(first, last)| [first, last].map(|s| UnixMs(u64::from(s) * 1000)));
        match (stamped, self.timed_span()) {
            (Some([a, b]), Some([c, d])) => Some((a.min(c), b.max(d))),
            (Some([first, last]), None) | (None, Some([first, last])) => Some((first, last)),
            (None, None) => None,
        }
    }

    /// When the recorder began and ended to note the time.
    fn timed_span(&self) -> Option<[UnixMs; 2]> {
        let last = self.time?;
        let own = self.into.items.iter().filter(|item| item.file == self.file && item.seen_ms != UNTIMED_MS);
        let first = own.map(|item| item.seen_ms).min();
        Some([first.map_or(last, UnixMs), last])
    }
}

/// How many others must support a timestamp, among so many: one, and of many one in a thousand.
fn support(count: usize) -> usize {
    (count / 1000).max(1)
}

/// The first of these timestamps, which ascend, that enough others within two weeks support; or the very first.
fn first(stamps: &[u32]) -> Option<u32> {
    let support = support(stamps.len());
    let mut groups = stamps.windows(support + 1);
    let found = groups.find(|group| group[support] - group[0] <= HEARD_FOR_S);
    found.map(|group| group[0]).or(stamps.first().copied())
}

/// The last, likewise.
fn last(stamps: &[u32]) -> Option<u32> {
    let support = support(stamps.len());
    let mut groups = stamps.windows(support + 1);
    let found = groups.rfind(|group| group[support] - group[0] <= HEARD_FOR_S);
    found.map(|group| group[support]).or(stamps.last().copied())
}

/// What a record says, as a word for counters.
fn name(body: &Body) -> &'static str {
    match body {
        Body::Message(wire) => match wire.get(..2) {
            Some([1, 0]) => "channel_announcement",
            Some([1, 1]) => "node_announcement",
            _ => "channel_update",
        },
        Body::Amount { .. } => "channel_amount",
        Body::Closed(_) => "delete_chan",
        Body::Dying { .. } => "chan_dying",
        Body::Ended { .. } => "ended",
        Body::Uuid(_) => "uuid",
        Body::Private(_) => "private",
        Body::Time(_) => "rgsd_time",
        Body::Proof { .. } => "rgsd_proof",
        Body::Unknown(_) => "unknown",
    }
}

#[cfg(test)]
mod tests;
