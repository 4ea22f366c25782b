//! How often fees change: by the hour in which it was heard, for the last day.

use std::collections::VecDeque;

use crate::gossip::UnixMs;

const HOUR_S: u32 = 3600;
/// The running hour, and the day before it.
const SHOWN: usize = 25;
/// One more than is shown: who asks may have a clock that is a little behind.
const KEPT: usize = SHOWN + 1;

/// Counts of updates whose base or proportional fee was another than their direction's last one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FeeChanges {
    total: u64,
    /// The newest hour of `counts`, in hours since 1970.
    newest: u32,
    /// Oldest first, without gaps; at most [`KEPT`].
    counts: VecDeque<u32>,
}

/// The changes of one hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct HourOfFees {
    /// When it began, in unix seconds.
    pub from: u32,
    pub changes: u32,
}

impl FeeChanges {
    /// All that were heard since the first entry that the journal still had.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The last 24 full hours and the running one, oldest first.
    pub fn last_day(&self, now: UnixMs) -> Vec<HourOfFees> {
        let running = now.secs() / HOUR_S;
        let oldest = running.saturating_sub(SHOWN as u32 - 1);
        let hour = |hour: u32| HourOfFees { from: hour.saturating_mul(HOUR_S), changes: self.of(hour) };
        (oldest..=running).map(hour).collect()
    }

    /// Entries come by the clock of whoever wrote them; where that was put back by more than what is kept, it counts
    /// anew.
    pub(super) fn count(&mut self, seen: UnixMs) {
        self.total += 1;
        let hour = seen.secs() / HOUR_S;
        if self.counts.is_empty() || self.newest.abs_diff(hour) >= KEPT as u32 {
            self.counts.clear();
            self.counts.push_back(1);
            self.newest = hour;
            return;
        }
        while self.newest < hour {
            self.newest += 1;
            self.counts.push_back(0);
        }
        while self.counts.len() > KEPT {
            self.counts.pop_front();
        }
        let back = (self.newest - hour) as usize;
        while self.counts.len() <= back {
            self.counts.push_front(0);
        }
        let place = self.counts.len() - 1 - back;
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    fn of(&self, hour: u32) -> u32 {
        let back = self.newest.checked_sub(hour).map(|back| back as usize);
        let place = back.and_then(|back| self.counts.len().checked_sub(back + 1));
        place.and_then(|place| self.counts.get(place)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = HOUR_S as u64 * 1000;

    fn hours(changes: &FeeChanges, now_hour: u64) -> Vec<u32> {
        changes.last_day(UnixMs(now_hour * HOUR_MS + 5)).iter().map(|hour| hour.changes).collect()
    }

    fn counted(hours: &[u64]) -> FeeChanges {
        let mut changes = FeeChanges::default();
        hours.iter().for_each(|hour| changes.count(UnixMs(hour * HOUR_MS + 1)));
        changes
    }

    #[test]
    fn a_day_of_hours_ends_with_the_running_one() {
        let changes = counted(&[1000, 1000, 1003, 1024, 1024, 1024]);
        let day = changes.last_day(UnixMs(1024 * HOUR_MS));
        assert_eq!((day.len(), day[0].from, day[24].from), (25, 1000 * 3600, 1024 * 3600));
        assert_eq!((day[0].changes, day[3].changes, day[24].changes), (2, 1, 3));
        assert_eq!(day.iter().map(|hour| hour.changes).sum::<u32>(), 6);
        assert_eq!(changes.total(), 6);
        assert_eq!(hours(&changes, 1030)[18], 3);
        assert_eq!(hours(&changes, 1100), vec![0; 25]);
        assert_eq!(hours(&FeeChanges::default(), 1100), vec![0; 25]);
    }

    #[test]
    fn a_late_one_counts_in_its_hour_and_a_clock_put_back_far_begins_anew() {
        assert_eq!(hours(&counted(&[1010, 1005]), 1010)[19], 1);
        let put_back = counted(&[900_000, 900_000, 1010]);
        assert_eq!((hours(&put_back, 1010)[24], put_back.total()), (1, 3));
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_within_a_day_and_little_is_kept(hours_ago in proptest::collection::vec(0_u64..25, 0..200)) {
            let seen: Vec<u64> = hours_ago.iter().map(|ago| 1024 - ago).collect();
            let changes = counted(&seen);
            let day = hours(&changes, 1024);
            for (hour, changes) in (1000_u64..).zip(&day) {
                assert_eq!(seen.iter().filter(|seen| **seen == hour).count(), *changes as usize);
            }
            assert!(changes.counts.len() <= KEPT);
        }
    }
}
