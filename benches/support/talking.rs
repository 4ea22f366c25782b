//! A network of mainnet's size that talks for six days, without signatures: 51,000 channels, 17,000 nodes, 250,000
//! updates a day (half of them keep-alives) and 125,000 node announcements, with an epoch an hour.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::{Direction, Fact, Policy};
use rgsd::journal::{Draft, Journal};

use super::unsigned::{announcement, draft, epoch, ipv4, node_announcement, scid, update};

const CHANNELS: u64 = 51_000;
const NODES: u32 = 17_000;
pub const DAYS: u32 = 6;
const UPDATES_A_DAY: u32 = 250_000;
const NODE_ANNOUNCEMENTS_A_DAY: u32 = 125_000;
/// One node announcement in so many brings other details.
const NEWS: u32 = 10;

/// A network that talks.
pub struct Gossip {
    /// When the initial sync ends, in unix seconds.
    start: u32,
    rng: ChaCha8Rng,
    policies: Vec<[Policy; 2]>,
    addresses: Vec<u8>,
}

impl Gossip {
    pub fn new(start: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let policies = (0..CHANNELS).map(|_| [policy(&mut rng), policy(&mut rng)]).collect();
        Self { start, rng, policies, addresses: vec![0; NODES as usize] }
    }

    /// What an initial sync brings.
    pub fn initial_sync(&mut self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for n in 0..CHANNELS {
            let one = self.rng.random_range(0..NODES - 1);
            let nodes = [one, self.rng.random_range(one + 1..NODES)];
            let announcement = announcement(scid(n << 40), nodes, &[]);
            drafts.push(draft(self.start.into(), Fact::Channel { announcement, capacity_sat: Some(10_000_000) }));
            drafts.extend(Direction::BOTH.map(|direction| self.update(n, direction, self.start - 1)));
        }
        drafts.extend((0..NODES).map(|n| self.node(n, self.start - 1)));
        drafts
    }

    /// Journals six days of talk, hour by hour.
    pub fn fill(&mut self, journal: &mut dyn Journal) {
        for hour in 0..DAYS * 24 {
            for group in self.hour(hour).chunks(10_000) {
                journal.append(group).expect("room");
            }
        }
    }

    /// What comes within one hour, and the epoch at its end.
    fn hour(&mut self, hour: u32) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for n in 0..(UPDATES_A_DAY + NODE_ANNOUNCEMENTS_A_DAY) / 24 {
            let now = self.start + hour * 3600 + n / 5;
            drafts.push(if n % 3 == 2 {
                let n = self.rng.random_range(0..NODES);
                if self.rng.random_range(0..NEWS) == 0 {
                    self.addresses[n as usize] += 1;
                }
                self.node(n, now)
            } else {
                let (n, second) = (self.rng.random_range(0..CHANNELS), self.rng.random_range(0..2usize));
                if self.rng.random_bool(0.5) {
                    self.policies[n as usize][second] = policy(&mut self.rng);
                }
                self.update(n, Direction::BOTH[second], now)
            });
        }
        drafts.push(epoch(self.start + (hour + 1) * 3600 + 17));
        drafts
    }

    fn update(&self, n: u64, direction: Direction, timestamp: u32) -> Draft {
        let policy = &self.policies[n as usize][direction as usize];
        draft(timestamp.into(), Fact::Update(update(scid(n << 40), direction, timestamp, policy)))
    }

    fn node(&self, n: u32, timestamp: u32) -> Draft {
        let onion = [&[4], &[self.addresses[n as usize]; 37][..]].concat();
        let addresses = [&ipv4(self.addresses[n as usize])[..], &onion].concat();
        draft(
            timestamp.into(),
            Fact::Node(node_announcement(n, timestamp, &[0x80, 0, 0, 0, 0x0a, 0x69, 0xa2], &addresses)),
        )
    }
}

fn policy(rng: &mut ChaCha8Rng) -> Policy {
    Policy {
        htlc_minimum_msat: 1_000,
        htlc_maximum_msat: rng.random_range(1_000..9_900_000_000),
        fee_base_msat: rng.random_range(0..3) * 500,
        fee_proportional_millionths: rng.random_range(0..2_000),
        cltv_expiry_delta: 80,
        enabled: rng.random_bool(0.9),
    }
}
