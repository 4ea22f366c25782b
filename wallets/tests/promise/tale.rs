//! Scripts in plain words: what happens, and when.

use rgsd::gossip::{Direction, Policy, ShortChannelId};
use rgsd::journal::Graph;
use rgsd_wallets::HOUR;
use rgsd_wallets::life::{Lived, live};
use rgsd_wallets::patterns::Habits;
use rgsd_wallets::script::{Channel, Script, Setup, Step, What};

pub const ONE: Direction = Direction::OneToTwo;
pub const TWO: Direction = Direction::TwoToOne;

/// What every channel may hold, in satoshi.
pub const CAPACITY_SAT: u64 = 1_000;

/// A script in the making.
#[derive(Clone)]
pub struct Tale {
    script: Script,
    /// The last step's time, in seconds since the start.
    at_s: u32,
}

/// A policy with this fee.
pub fn fee(base_msat: u32) -> Policy {
    Policy {
        htlc_minimum_msat: 1,
        htlc_maximum_msat: CAPACITY_SAT * 1_000,
        fee_base_msat: base_msat,
        fee_proportional_millionths: 100,
        cltv_expiry_delta: 40,
        enabled: true,
    }
}

/// A direction says that it charges this fee, and says so now.
pub fn charge(channel: usize, direction: Direction, base_msat: u32) -> What {
    What::Update { channel, direction, policy: fee(base_msat), age_s: 0 }
}

/// The channel's short channel id.
pub fn scid(channel: usize) -> u64 {
    ShortChannelId::new(800_000 + 37 * channel as u32, 1, 0).0
}

impl Tale {
    /// A line of channels, none of them announced. The server cuts an epoch every hour.
    pub fn new(channels: u32) -> Self {
        let channels = (0..channels).map(|place| Channel {
            scid: ShortChannelId(scid(place as usize)),
            nodes: [place, place + 1],
            feature: (place % 3) as u8,
            capacity_sat: CAPACITY_SAT,
        });
        let setup = Setup { interval_s: HOUR, graph: Graph::Routable };
        Self { script: Script { channels: channels.collect(), setup, steps: Vec::new() }, at_s: 0 }
    }

    /// The same, but all of them are announced at once, and charge 100 both ways.
    pub fn of_live_channels(channels: u32) -> Self {
        (0..channels as usize).fold(Self::new(channels), |tale, channel| {
            let tale = tale.then(What::Announce { channel, proven: true });
            tale.then(charge(channel, ONE, 100)).then(charge(channel, TWO, 100))
        })
    }

    /// With an epoch so often.
    pub fn with_interval(mut self, interval_s: u32) -> Self {
        self.script.setup.interval_s = interval_s;
        self
    }

    /// Something happens so many seconds after the start, or at once if that is over.
    pub fn at(mut self, at_s: u32, what: What) -> Self {
        let after_s = at_s.saturating_sub(self.at_s);
        self.at_s += after_s;
        self.script.steps.push(Step { after_s, what });
        self
    }

    /// Something happens, right after the last thing.
    pub fn then(self, what: What) -> Self {
        let at_s = self.at_s;
        self.at(at_s, what)
    }

    /// Lets wallets live through it; each must be whole after every sync.
    pub fn lived_by<const N: usize>(&self, habits: [Habits; N]) -> [Lived; N] {
        let lived = live(&self.script, &habits).unwrap_or_else(|difference| panic!("{difference}"));
        lived.try_into().expect("as many as there were")
    }

    /// The base fees that the last of a tale's wallets has for a channel; `None` where it cannot use it.
    pub fn fees(lived: &Lived, channel: usize) -> Option<[u32; 2]> {
        lived.picture.policies(scid(channel)).map(|policies| policies.map(|policy| policy.fee_base_msat))
    }
}
