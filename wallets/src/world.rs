//! The world that plays a script.
//!
//! It journals what happens as the service would, lets channels that are not silenced say again what they charge, and cuts
//! epochs as `rgsd`'s own schedule has them: not each of thousands, but those around whatever happens or is asked. At a
//! restart every server reads the journal anew, of which it has forgotten what it may.

use std::collections::BTreeSet;
use std::time::Duration;

use rgsd::gossip::{Closing, Direction, Fact, Policy, ShortChannelId, UnixMs};
use rgsd::journal::retention::Plan;
use rgsd::journal::{Draft, Entry, Event, Seq};
use rgsd::snapshot::{Circumstances, Decision, Interval, Schedule, rules};

use crate::script::{Channel, Script, Setup, Step, What};
use crate::server::{Grid, Server};
use crate::unsigned::{announcement, draft, ipv4, node_announcement, update};
use crate::{DAY, START};

/// A direction that is not silent says again what it charges after this long.
const KEEP_ALIVE_S: u32 = 9 * DAY;

const ANCHOR: Channel = Channel { scid: ShortChannelId(1), nodes: [1_000, 1_001], feature: 0, capacity_sat: 1_000 };
const ANCHORS_POLICY: Policy = Policy {
    htlc_minimum_msat: 1,
    htlc_maximum_msat: 1_000,
    fee_base_msat: 1_000,
    fee_proportional_millionths: 1,
    cltv_expiry_delta: 40,
    enabled: true,
};

/// The least that can be configured.
const RETENTION: Duration = Duration::from_secs(8 * DAY as u64);

/// Of the block that every spend is in: the chain stands still, so that any closing may still be undone.
const HEIGHT: u32 = 900_000;

/// Whom a wallet asks. All have the same journal, more or less of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Host {
    /// Whoever cuts the epochs.
    Writer,
    /// A replica that is one epoch behind.
    OneBehind,
    /// A replica that is two epochs behind.
    TwoBehind,
    /// A replica that hears of nothing for four days of every eight.
    Moody,
}

impl Host {
    pub const ALL: [Host; 4] = [Host::Writer, Host::OneBehind, Host::TwoBehind, Host::Moody];
}

/// A script being played.
pub struct World {
    /// The script's, and the anchor.
    channels: Vec<Channel>,
    steps: Vec<Step>,
    /// The next step, and when it is due.
    next_step: usize,
    next_step_at: u32,
    now: u32,
    lives: Vec<Life>,
    entries: Vec<Entry>,
    schedule: Schedule,
    offset_s: u32,
    setup: Setup,
    stalled_until: u32,
    /// By [`Host`].
    servers: [Server; 4],
}

/// Where a channel stands.
#[derive(Clone, Default, Debug)]
struct Life {
    announced: bool,
    open: bool,
    /// Whether its capacity was looked up only after it had been announced.
    proven_late: bool,
    proven: bool,
    directions: [Voice; 2],
}

/// What a direction said last.
#[derive(Clone, Default, Debug)]
struct Voice {
    /// When it was last heard.
    heard_at: u32,
    /// By the newest timestamp: that, and what it charges.
    said: Option<(u32, Policy)>,
    silent_until: u32,
}

impl World {
    /// The world begins with a channel of its own, which never goes: a network is never empty.
    pub fn new(script: Script) -> Self {
        let offset_s = 17;
        let setup = script.setup;
        let first = script.steps.first().map_or(u32::MAX, |step| START + step.after_s);
        let grid = Grid { interval: interval(setup), offset_s };
        let mut world = Self {
            lives: vec![Life::default(); script.channels.len() + 1],
            channels: script.channels.into_iter().chain([ANCHOR]).collect(),
            steps: script.steps,
            next_step: 0,
            next_step_at: first,
            now: START,
            entries: Vec::new(),
            schedule: Schedule::new(interval(setup), offset_s),
            offset_s,
            setup,
            stalled_until: 0,
            servers: Host::ALL.map(|_| Server::new(grid)),
        };
        let anchor = world.channels.len() - 1;
        world.announce(anchor, true);
        for direction in Direction::BOTH {
            world.update(anchor, direction, START, ANCHORS_POLICY);
        }
        world
    }

    /// Plays on until `now`, which is not before the last time.
    pub fn advance(&mut self, now: u32) {
        while let Some((due, next)) = self.next().filter(|(due, _)| *due <= now) {
            self.cut_until(due);
            self.now = due;
            match next {
                Next::Step => self.step(),
                Next::KeepAlive { channel, direction } => self.keep_alive(channel, direction),
            }
        }
        self.cut_until(now);
        self.now = now;
        self.tell_replicas();
    }

    pub fn server(&self, host: Host) -> &Server {
        &self.servers[host as usize]
    }

    /// Whether the channel's capacity became known only after wallets may have been told of it.
    pub fn was_proven_late(&self, scid: u64) -> bool {
        let mut channels = self.channels.iter().zip(&self.lives);
        channels.any(|(channel, life)| channel.scid.0 == scid && life.proven_late)
    }

    /// The script's channels.
    pub fn channels(&self) -> &[Channel] {
        &self.channels[..self.channels.len() - 1]
    }

    fn next(&self) -> Option<(u32, Next)> {
        let step = (self.next_step < self.steps.len()).then_some((self.next_step_at, Next::Step));
        let lives = self.lives.iter().enumerate().filter(|(_, life)| life.open);
        let voices = lives.flat_map(|(channel, life)| {
            Direction::BOTH.into_iter().zip(&life.directions).filter_map(move |(direction, voice)| {
                let due = voice.heard_at.saturating_add(KEEP_ALIVE_S).max(voice.silent_until).max(self.now);
                voice.said.map(|_| (due, Next::KeepAlive { channel, direction }))
            })
        });
        voices.chain(step).min_by_key(|(due, _)| *due)
    }

    fn step(&mut self) {
        let what = self.steps[self.next_step].what.clone();
        self.next_step += 1;
        if let Some(step) = self.steps.get(self.next_step) {
            self.next_step_at = self.now.saturating_add(step.after_s);
        }
        match what {
            What::Announce { channel, proven } => self.announce(self.place(channel), proven),
            What::Prove { channel } => self.prove(self.place(channel)),
            What::Update { channel, direction, policy, age_s } => {
                let timestamp = self.now.saturating_add_signed(-age_s);
                self.update(self.place(channel), direction, timestamp, policy);
            }
            What::Silence { channel, direction, for_s } => {
                let place = self.place(channel);
                self.lives[place].directions[direction as usize].silent_until = self.now + for_s;
            }
            What::Close { channel } => self.close(self.place(channel)),
            What::Reopen { channel } => self.reopen(self.place(channel)),
            What::Node { node, feature, address } => {
                let node = node_announcement(node, self.now, &[feature], &ipv4(address));
                self.tell(Fact::Node(node));
            }
            What::Restart(setup) => self.restart(setup, self.offset_s),
            What::Takeover { offset_s } => self.restart(self.setup, offset_s),
            What::Stall { for_s } => self.stalled_until = self.now + for_s,
        }
    }

    fn place(&self, channel: usize) -> usize {
        channel % (self.channels.len() - 1).max(1)
    }

    fn announce(&mut self, place: usize, proven: bool) {
        let channel = self.channels[place].clone();
        let life = &mut self.lives[place];
        if life.open {
            return;
        }
        // What was looked up once is known.
        life.proven_late |= life.announced && proven && !life.proven;
        life.proven |= proven;
        (life.announced, life.open) = (true, true);
        life.directions = Default::default();
        let features = [channel.feature];
        let features = if channel.feature == 0 { &[][..] } else { &features };
        let capacity_sat = life.proven.then_some(channel.capacity_sat);
        let announcement = announcement(channel.scid, channel.nodes, features);
        self.tell(Fact::Channel { announcement, capacity_sat });
    }

    fn prove(&mut self, place: usize) {
        let life = &mut self.lives[place];
        if life.open && !life.proven {
            (life.proven, life.proven_late) = (true, true);
            let channel = &self.channels[place];
            self.tell(Fact::Proof { scid: channel.scid, capacity_sat: channel.capacity_sat });
        }
    }

    fn update(&mut self, place: usize, direction: Direction, timestamp: u32, policy: Policy) {
        let voice = &mut self.lives[place].directions[direction as usize];
        if self.now < voice.silent_until {
            return;
        }
        voice.heard_at = self.now;
        if voice.said.is_none_or(|(last, _)| last < timestamp) {
            voice.said = Some((timestamp, policy));
        }
        // An old one reaches the history, too: it has to pass over it.
        self.tell(Fact::Update(update(self.channels[place].scid, direction, timestamp, &policy)));
    }

    fn keep_alive(&mut self, place: usize, direction: Direction) {
        if let Some((_, policy)) = self.lives[place].directions[direction as usize].said {
            self.update(place, direction, self.now, policy);
        }
    }

    /// By a spend, so that a reorganisation can undo it.
    fn close(&mut self, place: usize) {
        if std::mem::take(&mut self.lives[place].open) {
            let (scid, reason) = (self.channels[place].scid, Closing::Spent { height: HEIGHT });
            self.tell(Fact::Closed { scid, reason });
        }
    }

    fn reopen(&mut self, place: usize) {
        let life = &mut self.lives[place];
        if life.announced && !std::mem::replace(&mut life.open, true) {
            self.tell(Fact::Reopened { scid: self.channels[place].scid });
        }
    }

    fn restart(&mut self, setup: Setup, offset_s: u32) {
        (self.setup, self.offset_s) = (setup, offset_s);
        self.schedule = Schedule::new(interval(setup), offset_s);
        let mut plan = Plan::new(UnixMs(u64::from(self.now) * 1_000), RETENTION);
        let _ = self.entries.iter().try_for_each(|entry| plan.take(entry));
        let forgotten: BTreeSet<Seq> = plan.finish().into_iter().collect();
        self.entries.retain(|entry| !forgotten.contains(&entry.seq));
        let grid = Grid { interval: interval(setup), offset_s };
        self.servers.iter_mut().for_each(|server| server.restart(grid, &self.entries));
    }

    fn tell(&mut self, fact: Fact) {
        self.append(draft(self.now.into(), fact));
    }

    fn append(&mut self, draft: Draft) {
        let entry = draft.numbered(Seq(self.server(Host::Writer).last_seq().0 + 1));
        self.servers[Host::Writer as usize].learn(&entry);
        self.entries.push(entry);
    }

    /// Cuts the epochs that are due between the last time and `now`: the first and the last of them.
    fn cut_until(&mut self, now: u32) {
        let from = self.now.max(self.stalled_until);
        if from > now {
            self.schedule.decide(self.now, Circumstances { last_epoch: None, synced: false, last_heard: None });
            return;
        }
        if let Some(due) = self.cut_at(from).filter(|due| *due <= now) {
            self.cut_at(due);
        }
        self.cut_at(now);
    }

    /// Cuts an epoch if one is due; else says when one will be.
    fn cut_at(&mut self, now: u32) -> Option<u32> {
        let last_epoch = self.server(Host::Writer).epoch().map(|epoch| epoch.timestamp);
        let circumstances = Circumstances { last_epoch, synced: true, last_heard: Some(now) };
        match self.schedule.decide(now, circumstances) {
            Decision::Cut(timestamp) => {
                let event = Event::Epoch { timestamp, rules: rules(self.setup.graph) };
                self.append(Draft { seen: UnixMs(u64::from(timestamp) * 1_000), event });
                self.cut_at(now)
            }
            Decision::WaitUntil(due) => Some(due),
            Decision::Blocked(_) => None,
        }
    }

    fn tell_replicas(&mut self) {
        for (host, behind) in [(Host::OneBehind, 1), (Host::TwoBehind, 2), (Host::Moody, 0)] {
            if host == Host::Moody && (self.now - START) / (4 * DAY) % 2 == 1 {
                continue;
            }
            let Some(until) = self.server(Host::Writer).epochs().rev().nth(behind).map(|epoch| epoch.seq) else {
                continue;
            };
            let server = &mut self.servers[host as usize];
            let known = self.entries.partition_point(|entry| entry.seq <= server.last_seq());
            let news = self.entries.iter().skip(known);
            news.take_while(|entry| entry.seq <= until).for_each(|entry| server.learn(entry));
        }
    }
}

enum Next {
    Step,
    KeepAlive { channel: usize, direction: Direction },
}

fn interval(setup: Setup) -> Interval {
    Interval::new(Duration::from_secs(setup.interval_s.into())).expect("a script's intervals divide a day")
}
