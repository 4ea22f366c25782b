//! How stale fees are now: of a wallet that has just synced, and of ones that did so hours and days ago.
//!
//! A wallet knows what it was told at its last sync: the view of the epoch that was the newest then. That is held against
//! the newest update of each direction.

use super::share::{Share, weight_sat};
use crate::history::{Held, History};
use crate::journal::Epoch;

/// How long ago a wallet may have synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Age {
    /// `24h`.
    pub name: &'static str,
    pub seconds: u32,
}

/// Those that are told, the shortest first; epochs are known for longer than the last.
pub const AGES: [Age; 4] = [
    Age { name: "1h", seconds: 3_600 },
    Age { name: "6h", seconds: 6 * 3_600 },
    Age { name: "24h", seconds: 24 * 3_600 },
    Age { name: "3d", seconds: 3 * 24 * 3_600 },
];

/// The figures at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Live {
    /// Of a wallet that has the served epoch; `None` where the history does not know that.
    pub served: Option<Figure>,
    /// As [`AGES`]; `None` where no epoch is known that such a wallet would have.
    pub ages: [Option<Figure>; AGES.len()],
}

/// What one wallet gets wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figure {
    /// What it was told last.
    pub epoch: Epoch,
    pub share: Share,
}

impl Live {
    /// The figures at `now_s`, where an epoch is cut every `interval_s`.
    ///
    /// A wallet of some age has the newest epoch that is at least as old. Where there is a hole in the epochs, that may be
    /// one which is much older, and no such wallet's: one that is older by more than an interval, or by more than a
    /// quarter of the age (whichever is longer), does not count.
    pub fn of(history: &History, served: Option<Epoch>, now_s: u32, interval_s: u32) -> Self {
        let mut live = Self::default();
        live.served = served.and_then(|served| live.figure(history, served));
        for (place, age) in AGES.iter().enumerate() {
            let synced_s = now_s.saturating_sub(age.seconds);
            let oldest_s = synced_s.saturating_sub(interval_s.max(age.seconds / 4));
            let newest = history.epochs().rev().find(|epoch| epoch.timestamp <= synced_s);
            let had = newest.filter(|epoch| epoch.timestamp >= oldest_s);
            live.ages[place] = had.and_then(|epoch| live.figure(history, *epoch));
        }
        live
    }

    /// The figure of an epoch, which may be there already.
    fn figure(&self, history: &History, epoch: Epoch) -> Option<Figure> {
        let mut there = self.ages.iter().chain([&self.served]).flatten();
        let there = there.find(|figure| figure.epoch == epoch).copied();
        there.or_else(|| Some(Figure { epoch, share: since(history, &epoch)? }))
    }
}

/// How much of the network is stale for a wallet of a known epoch.
fn since(history: &History, then: &Epoch) -> Option<Share> {
    let mut share = Share::default();
    for Held { capacity_sat, told, in_force } in history.against_now(then)? {
        let weight_sat = weight_sat(capacity_sat, told.each_ref());
        for (told, in_force) in told.iter().zip(&in_force) {
            if let Some(in_force) = in_force {
                share.count(weight_sat, told, in_force);
            }
        }
    }
    Some(share)
}
