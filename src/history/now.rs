//! An epoch held against now: what a wallet was told then, and what is charged by what has been heard since.

use super::{History, is_shown};
use crate::gossip::Policy;
use crate::journal::Epoch;

/// A channel that an epoch's view shows, and that is still open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The funding output's value, where it is proven by now.
    pub capacity_sat: Option<u64>,
    /// By [`Direction`](crate::gossip::Direction): what the view shows.
    pub told: [Policy; 2],
    /// By direction: what its newest update says, however old that is. `None` where the channel was closed meanwhile and
    /// announced once more by the same nodes, and this direction has not been heard since.
    pub in_force: [Option<Policy>; 2],
}

impl History {
    /// What became of the channels that a known epoch's view shows, in no particular order; `None` when it is not among
    /// [`History::epochs`]. Looks as far as the last applied entry: beyond the last epoch.
    pub fn against_now(&self, then: &Epoch) -> Option<impl Iterator<Item = Held>> {
        let (ordinal, next) = (self.ordinal(then)?, self.moment().next);
        let (channels, then) = (&self.channels, *then);
        let held = move |channel| {
            let now = channels.now(channel)?;
            let told = channel.policies(channels.past(), ordinal, then.timestamp)?;
            is_shown(&told, then.rules.graph).then(|| Held {
                capacity_sat: now.capacity_sat(next),
                told,
                in_force: now.directions().each_ref().map(|heard| Some(heard.newest()?.value.policy)),
            })
        };
        Some(channels.at(ordinal).filter_map(held))
    }
}
