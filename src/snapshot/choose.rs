//! Which snapshot answers whom: from the time of a wallet's last sync alone.

use super::delta::{REACH_S, SERVED_FOR_S, WHOLE_FOR_S};
use super::{Interval, RULES_VERSION};
use crate::journal::{Epoch, Rules};

/// What a wallet gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The whole view: to a wallet that has nothing.
    Full,
    /// The whole view, and all that left it of late: to a wallet that may have anything.
    Returning,
    /// Nothing, stamped with this time: to a wallet that is up to date.
    Nothing { timestamp: u32 },
    /// What has changed since the known epoch of this time.
    Delta { since: u32 },
}

/// What a wallet gets that names a known epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What has changed since.
    #[default]
    Delta,
    /// Everything.
    Full,
}

/// The times at which epochs are cut: so many seconds past a multiple of the interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    pub interval: Interval,
    pub offset_s: u32,
}

impl Grid {
    /// The first of these times after `timestamp`.
    pub fn after(self, timestamp: u32) -> Option<u32> {
        let interval = self.interval.secs();
        let past = (timestamp % interval + interval - self.offset_s % interval) % interval;
        timestamp.checked_add(interval - past)
    }

    /// Whether `timestamp` is one of the next two times after `epoch`: what another replica, which is further, has
    /// given out.
    fn is_just_ahead(self, timestamp: u32, epoch: u32) -> bool {
        let interval = self.interval.secs();
        let ahead = timestamp.checked_sub(epoch).is_some_and(|ahead| (1..=2 * interval).contains(&ahead));
        ahead && timestamp % interval == self.offset_s % interval
    }
}

/// The epochs that a delta to `epoch` can begin with, of all that are known: less than [`REACH_S`] back, by the same
/// rules, which are today's (what wallets were told by others, nobody knows). Their times, in ascending order.
pub fn reachable<'a>(epoch: &Epoch, known: impl IntoIterator<Item = &'a Epoch>) -> Vec<u32> {
    let near = |since: u32| since < epoch.timestamp && epoch.timestamp - since < REACH_S;
    let same = |rules: Rules| rules == epoch.rules && rules.version == RULES_VERSION;
    let known = known.into_iter().filter(|known| near(known.timestamp) && same(known.rules));
    known.map(|known| known.timestamp).collect()
}

/// Which snapshot a wallet gets whose last sync was `last_sync` (0 for never), where `epoch` is the one that is served
/// at `now_s`, and `since` are the times of those that are [`reachable`] from it, in ascending order, and `grid` is when
/// epochs are cut, where that is known. All times are in unix seconds.
pub fn choose(last_sync: u64, epoch: u32, since: &[u32], grid: Option<Grid>, now_s: u32, mode: Mode) -> Choice {
    let Ok(last_sync) = u32::try_from(last_sync) else { return Choice::Returning };
    let age_s = now_s.saturating_sub(epoch);
    let is_up_to_date = || last_sync == epoch || grid.is_some_and(|grid| grid.is_just_ahead(last_sync, epoch));
    match mode {
        _ if last_sync == 0 => Choice::Full,
        _ if age_s <= WHOLE_FOR_S && is_up_to_date() => Choice::Nothing { timestamp: last_sync },
        Mode::Delta if age_s <= SERVED_FOR_S && since.binary_search(&last_sync).is_ok() => {
            Choice::Delta { since: last_sync }
        }
        Mode::Delta | Mode::Full => Choice::Returning,
    }
}

#[cfg(test)]
mod tests;
