//! What the stories are recorded with: a small network whose every message is chosen, a recording that it goes to, and
//! the times at which snapshots are cut, each with what a wallet must know then.

use bytes::Bytes;
use rgsd::gossip::{Direction, NodeId, Policy, ShortChannelId, UnixMs};
use rgsd::recording::store::Writer;
use rgsd::recording::{Body, Flags, Record};
use rgsd::synth::{Network, NetworkSpec, Topology, TopologyChannel};

/// When every story begins: 2026-02-03T12:00:00Z. Times are told in seconds after it.
pub const START_S: u32 = 1_770_120_000;
pub const HOUR: u32 = 3600;
pub const DAY: u32 = 24 * HOUR;

/// What a channel holds unless its story says otherwise.
pub const CAPACITY_SAT: u64 = 1_000_000;
pub const PROVEN: Option<u64> = Some(CAPACITY_SAT);

/// A policy that differs by its fee alone.
pub fn fee(millionths: u32) -> Policy {
    Policy {
        htlc_minimum_msat: 1,
        htlc_maximum_msat: 900_000_000,
        fee_base_msat: 1000,
        fee_proportional_millionths: millionths,
        cltv_expiry_delta: 80,
        enabled: true,
    }
}

/// The same of a direction that is disabled.
pub fn disabled(millionths: u32) -> Policy {
    Policy { enabled: false, ..fee(millionths) }
}

/// A channel as a wallet must know it: its number, what its directions charge, and its capacity (which v1 has not).
pub type Told = (usize, [Policy; 2], Option<u64>);

/// What a node says of itself: its features (big-endian, as BOLT 9 has them), and how many addresses it has.
pub type Details = (Vec<u8>, usize);

/// A node as a wallet of v2 must know it: its number, and what it says of itself.
pub type ToldNode = (usize, Option<Details>);

/// A snapshot, and what its story says of it.
pub struct Cut {
    pub timestamp: u32,
    /// The story, in a few words.
    pub words: &'static str,
    /// All channels that there are.
    pub channels: Vec<(ShortChannelId, [Policy; 2], Option<u64>)>,
    /// Some of the nodes.
    pub nodes: Vec<(NodeId, Option<Details>)>,
}

/// A network, and a recording of it.
pub struct Play {
    pub network: Network,
    pub recording: Writer<Vec<u8>>,
    cuts: Vec<Cut>,
    /// In unix seconds.
    now_s: u32,
    /// Whether the recorder notes when it accepts what it hears.
    notes_times: bool,
}

impl Play {
    /// A network of these channels, by the numbers of their ends.
    pub fn new(channels: &[[u32; 2]]) -> Self {
        Self::on(bitcoin::Network::Regtest, channels)
    }

    /// The same on another chain.
    pub fn on(chain: bitcoin::Network, channels: &[[u32; 2]]) -> Self {
        let nodes = channels.iter().flatten().max().map_or(0, |last| last + 1);
        let channel = |nodes| TopologyChannel { nodes, capacity_sat: CAPACITY_SAT, policies: [fee(0); 2] };
        let topology = Topology { nodes, channels: channels.iter().map(|nodes| channel(*nodes)).collect() };
        Self::of(&topology, NetworkSpec { chain, ..NetworkSpec::default() })
    }

    pub fn of(topology: &Topology, spec: NetworkSpec) -> Self {
        let network = Network::new(topology, spec, UnixMs(u64::from(START_S) * 1000)).expect("a network");
        let recording = Writer::new(Vec::new()).expect("in memory");
        Self { network, recording, cuts: Vec::new(), now_s: START_S, notes_times: true }
    }

    /// A recorder that notes all that it hears, and not when: what it lets through is not settled by that.
    pub fn without_times(self) -> Self {
        Self { notes_times: false, ..self }
    }

    pub fn scid(&self, channel: usize) -> ShortChannelId {
        self.network.channels()[channel].scid
    }

    /// What follows was accepted so many seconds after the start.
    pub fn at(&mut self, after_s: u32) {
        self.now_s = START_S + after_s;
        if self.notes_times {
            self.record(Body::Time(UnixMs(u64::from(self.now_s) * 1000)));
        }
    }

    pub fn record(&mut self, body: Body) {
        self.record_as(Flags::default(), 0, body);
    }

    pub fn record_as(&mut self, flags: Flags, timestamp: u32, body: Body) {
        self.recording.write(&Record { flags, timestamp, body }).expect("in memory");
    }

    /// Records a message.
    pub fn tell(&mut self, wire: &[u8]) {
        self.record(Body::Message(wire.into()));
    }

    /// Announces a channel, and what it is worth.
    pub fn announce(&mut self, channel: usize) {
        self.announce_unproven(channel);
        self.record(Body::Amount { capacity_sat: CAPACITY_SAT });
    }

    /// Announces a channel that nobody looked up.
    pub fn announce_unproven(&mut self, channel: usize) {
        let wire = self.network.channels()[channel].announcement.clone();
        self.tell(&wire);
    }

    /// Signs an update, stamped so many seconds after the start.
    pub fn sign(&mut self, channel: usize, direction: usize, policy: Policy, after_s: u32) -> Bytes {
        self.network.set_policy(channel, Direction::BOTH[direction], policy, START_S + after_s)
    }

    /// An update of this moment.
    pub fn update(&mut self, channel: usize, direction: usize, policy: Policy) {
        let wire = self.sign(channel, direction, policy, self.now_s - START_S);
        self.tell(&wire);
    }

    /// A fee of this moment.
    pub fn fee(&mut self, channel: usize, direction: usize, millionths: u32) {
        self.update(channel, direction, fee(millionths));
    }

    /// The fees of both directions.
    pub fn fees(&mut self, channel: usize, millionths: [u32; 2]) {
        self.fee(channel, 0, millionths[0]);
        self.fee(channel, 1, millionths[1]);
    }

    /// A channel with its fees, from now on.
    pub fn open(&mut self, channel: usize, millionths: [u32; 2]) {
        self.announce(channel);
        self.fees(channel, millionths);
    }

    pub fn close(&mut self, channel: usize) {
        let scid = self.scid(channel);
        self.record(Body::Closed(scid));
    }

    pub fn prove(&mut self, channel: usize) {
        let scid = self.scid(channel);
        self.record(Body::Proof { scid, capacity_sat: CAPACITY_SAT });
    }

    /// A node says something of itself at this moment.
    pub fn node(&mut self, node: usize, features: &[u8], addresses: &[u8]) {
        let wire = self.network.set_node(node, features, addresses, self.now_s);
        self.tell(&wire);
    }

    /// A snapshot, so many seconds after the start.
    pub fn cut(&mut self, after_s: u32, words: &'static str, channels: &[Told]) {
        let channels = channels.iter().map(|(channel, policies, sat)| (self.scid(*channel), *policies, *sat));
        let channels = channels.collect();
        self.cuts.push(Cut { timestamp: START_S + after_s, words, channels, nodes: Vec::new() });
    }

    /// What the last snapshot says of these nodes.
    pub fn nodes(&mut self, nodes: Vec<ToldNode>) {
        let id = |node: usize| self.network.nodes()[node].id;
        let nodes = nodes.into_iter().map(|(node, details)| (id(node), details)).collect();
        self.cuts.last_mut().expect("a snapshot").nodes = nodes;
    }

    /// The story of the recording so far.
    pub fn story(self, name: &'static str) -> Story {
        let recordings = vec![("recording.gossip_store", self.recording.into_inner())];
        Story {
            name,
            recordings,
            borrowed: None,
            flags: &[],
            cuts: self.cuts,
            refused: &[],
            damage: &[],
            torn: false,
        }
    }
}

/// A directory of `snapshots/`.
pub struct Story {
    pub name: &'static str,
    /// Names and bytes; `.zst` and `.gz` are packed on their way to the disk.
    pub recordings: Vec<(&'static str, Vec<u8>)>,
    /// A recording of another story that is replayed instead.
    pub borrowed: Option<&'static str>,
    pub flags: &'static [&'static str],
    pub cuts: Vec<Cut>,
    /// How many messages are refused, by reason.
    pub refused: &'static [(&'static str, u64)],
    /// What is damaged in the recording, by reason.
    pub damage: &'static [&'static str],
    /// Whether it ends within a record.
    pub torn: bool,
}

impl Story {
    pub fn refusing(self, refused: &'static [(&'static str, u64)]) -> Self {
        Self { refused, ..self }
    }

    /// The arguments of `rgsd replay` in the story's directory, `--out` aside: `replay.args`.
    pub fn arguments(&self) -> String {
        let names = self.recordings.iter().map(|(name, _)| *name).chain(self.borrowed);
        let times = self.cuts.iter().map(|cut| format!("--at {}", cut.timestamp));
        let lines = names.map(str::to_owned).chain(["--network regtest".to_owned()]);
        let lines = lines.chain(self.flags.iter().map(ToString::to_string)).chain(times);
        lines.map(|line| line + "\n").collect()
    }
}
