//! When to cut an epoch, and how it is stamped. Pure arithmetic; the time is passed in.
//!
//! Our timestamps are recognisable: each is `o` seconds past the aligned time, where `o` (1 to 59, no multiple of
//! 10, taken modulo the interval) belongs to the journal. Other servers stamp whole hours, so what is not ours is
//! unknown.

use std::time::Duration;

const DAY_S: u32 = 24 * 3600;
/// The first epoch after a sync or a restart is stamped at the next second that fits modulo this.
const FIRST_STEP_S: u32 = 10;
/// No epoch is cut once nothing was heard for this long, from whatever cause: no peers, a machine that slept, a disk
/// that was full.
const DEAF_AFTER_S: u32 = 3600;

/// How often an epoch is cut: a multiple of 10 s that divides 24 h.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Interval(u32);

impl Interval {
    /// `None` where `every` is not such a time.
    pub fn new(every: Duration) -> Option<Self> {
        let s = u32::try_from(every.as_secs()).ok().filter(|_| every.subsec_nanos() == 0)?;
        (s != 0 && s.is_multiple_of(10) && DAY_S.is_multiple_of(s)).then_some(Self(s))
    }

    /// In seconds.
    pub fn secs(self) -> u32 {
        self.0
    }

    pub fn as_duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self(3600)
    }
}

/// What the schedule depends on, beside the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circumstances {
    /// The newest epoch's timestamp.
    pub last_epoch: Option<u32>,
    /// Whether a full sync backs what the journal has.
    pub synced: bool,
    /// When the journal last became fresher, by a message or a full sync, in unix seconds.
    pub last_heard: Option<u32>,
}

/// What to do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Cut an epoch with this timestamp.
    Cut(u32),
    /// The next epoch is due at this time, in unix seconds.
    WaitUntil(u32),
    /// None may be cut.
    Blocked(Blocked),
}

/// Why no epoch may be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Blocked {
    #[error("waiting for a peer to tell everything it knows")]
    Syncing,
    #[error(
        "the clock is not past the last epoch ({last_epoch}): check the machine's time; if it was wrong back then, \
         move the journal and the snapshots out of data_dir to start anew"
    )]
    ClockBehind { last_epoch: u32 },
    #[error("nothing was heard for an hour, so no epoch is cut: check the peers and the network")]
    Deaf,
}

/// The schedule of one run of the service.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Interval,
    offset_s: u32,
    /// The next epoch's time, once it is known.
    next: Option<u32>,
    /// Whether an epoch was cut since the start, and since the last time that none could be.
    started: bool,
}

impl Schedule {
    /// `offset_s` is the journal's (1 to 59).
    pub fn new(interval: Interval, offset_s: u32) -> Self {
        Self { interval, offset_s, next: None, started: false }
    }

    /// What to do at `now` (unix seconds). After [`Decision::Cut`], the next call speaks of the next epoch.
    pub fn decide(&mut self, now: u32, circumstances: Circumstances) -> Decision {
        if let Some(blocked) = blocked(now, circumstances) {
            (self.next, self.started) = (None, false); // whatever ends it, the next epoch is a first one again
            return Decision::Blocked(blocked);
        }
        let step = self.step();
        // What is more than a step away was set by a clock that has been put back since.
        let next = self.next.filter(|due| *due <= now.saturating_add(step));
        let due = next.unwrap_or_else(|| at_or_after(now, step, self.offset_s));
        self.next = Some(due);
        if now < due {
            return Decision::WaitUntil(due);
        }
        // A late caller (a laptop that slept) gets the time that fits now, not one for each that was missed.
        let timestamp = at_or_before(now, step, self.offset_s).max(due);
        let repeats = circumstances.last_epoch.is_some_and(|last| last >= timestamp);
        self.started |= !repeats;
        let next = at_or_after(timestamp.saturating_add(1), self.step(), self.offset_s);
        self.next = Some(next);
        if repeats { Decision::WaitUntil(next) } else { Decision::Cut(timestamp) }
    }

    /// The first epoch after a sync or a restart comes soon, the others on the interval's grid.
    fn step(&self) -> u32 {
        if self.started { self.interval.0 } else { FIRST_STEP_S }
    }
}

fn blocked(now: u32, circumstances: Circumstances) -> Option<Blocked> {
    if circumstances.last_heard.is_some_and(|last| now.saturating_sub(last) > DEAF_AFTER_S) {
        return Some(Blocked::Deaf);
    }
    if !circumstances.synced || circumstances.last_heard.is_none() {
        return Some(Blocked::Syncing);
    }
    circumstances.last_epoch.filter(|last| *last > now).map(|last_epoch| Blocked::ClockBehind { last_epoch })
}

/// The first time at or after `from` that is `offset` past a multiple of `step`.
fn at_or_after(from: u32, step: u32, offset: u32) -> u32 {
    let missing = (step + offset % step - from % step) % step;
    from.saturating_add(missing)
}

/// The last time at or before `from` that is `offset` past a multiple of `step`.
fn at_or_before(from: u32, step: u32, offset: u32) -> u32 {
    from - (from % step + step - offset % step) % step
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u32 = 1_760_000_000; // a multiple of 100

    fn fine(now: u32) -> Circumstances {
        Circumstances { last_epoch: None, synced: true, last_heard: Some(now) }
    }

    fn interval(seconds: u64) -> Interval {
        Interval::new(Duration::from_secs(seconds)).expect("a good interval")
    }

    #[test]
    fn intervals_are_multiples_of_ten_seconds_that_divide_a_day() {
        for good in [10, 20, 60, 600, 3600, 3 * 3600, 24 * 3600] {
            assert!(Interval::new(Duration::from_secs(good)).is_some(), "{good}");
        }
        for bad in [0, 5, 15, 70, 7 * 3600, 25 * 3600, 48 * 3600, u64::MAX] {
            assert_eq!(Interval::new(Duration::from_secs(bad)), None, "{bad}");
        }
        assert_eq!(Interval::new(Duration::from_millis(10_500)), None);
    }

    #[test]
    fn the_first_epoch_comes_within_ten_seconds_and_the_next_on_the_grid() {
        for offset in (1..60).filter(|o| o % 10 != 0) {
            for start in T..T + 20 {
                let mut schedule = Schedule::new(interval(3600), offset);
                let Decision::WaitUntil(first) = schedule.decide(start, fine(start)) else {
                    let Decision::Cut(at) = Schedule::new(interval(3600), offset).decide(start, fine(start)) else {
                        panic!("blocked");
                    };
                    assert_eq!((at, at % 10), (start, offset % 10));
                    continue;
                };
                assert!(first - start < 10 && first % 10 == offset % 10);
                assert_eq!(schedule.decide(first, fine(first)), Decision::Cut(first));
                let last_epoch = Some(first);
                let later = Circumstances { last_epoch, ..fine(first) };
                let Decision::WaitUntil(second) = schedule.decide(first + 1, later) else { panic!("not waiting") };
                assert_eq!(second % 3600, offset);
                assert!(second - first <= 3600);
                assert_eq!(
                    schedule.decide(second, Circumstances { last_epoch, ..fine(second) }),
                    Decision::Cut(second)
                );
            }
        }
    }

    #[test]
    fn whole_hours_are_never_stamped() {
        for offset in (1..60).filter(|o| o % 10 != 0) {
            let mut schedule = Schedule::new(interval(10), offset);
            let stamps = (T..T + 8000).filter_map(|now| match schedule.decide(now, fine(now)) {
                Decision::Cut(at) => Some(at),
                _ => None,
            });
            let stamps: Vec<u32> = stamps.collect();
            assert!(stamps.len() >= 799 && stamps.windows(2).all(|pair| pair[1] == pair[0] + 10));
            assert!(stamps.iter().all(|at| at % 10 == offset % 10 && at % 3600 != 0));
        }
    }

    #[test]
    fn a_late_caller_gets_one_epoch_for_all_that_were_missed() {
        let mut schedule = Schedule::new(interval(10), 3);
        assert_eq!(schedule.decide(T + 3, fine(T + 3)), Decision::Cut(T + 3));
        let late = T + 3 + 95;
        let fine = Circumstances { last_epoch: Some(T + 3), ..fine(late) };
        assert_eq!(schedule.decide(late, fine), Decision::Cut(T + 93));
        assert_eq!(
            schedule.decide(late, Circumstances { last_epoch: Some(T + 93), ..fine }),
            Decision::WaitUntil(T + 103)
        );
    }

    #[test]
    fn a_timestamp_never_repeats_after_a_restart() {
        let mut schedule = Schedule::new(interval(10), 3);
        let again = Circumstances { last_epoch: Some(T + 3), ..fine(T + 3) };
        assert_eq!(schedule.decide(T + 3, again), Decision::WaitUntil(T + 13));
        assert_eq!(schedule.decide(T + 13, again), Decision::Cut(T + 13));
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_put_the_next_epoch_off() {
        let mut schedule = Schedule::new(interval(3600), 3);
        assert_eq!(schedule.decide(T + 86_404, fine(T + 86_404)), Decision::WaitUntil(T + 86_413));
        assert_eq!(schedule.decide(T, fine(T)), Decision::WaitUntil(T + 3));
    }

    #[test]
    fn old_fees_are_never_stamped_fresh() {
        let mut schedule = Schedule::new(interval(3600), 3);
        let circumstances = Circumstances { synced: false, ..fine(T) };
        assert_eq!(schedule.decide(T, circumstances), Decision::Blocked(Blocked::Syncing));
        let circumstances = Circumstances { last_epoch: Some(T + 1), ..fine(T) };
        assert_eq!(schedule.decide(T, circumstances), Decision::Blocked(Blocked::ClockBehind { last_epoch: T + 1 }));
        let circumstances = Circumstances { last_heard: Some(T - 3601), ..fine(T) };
        assert_eq!(schedule.decide(T, circumstances), Decision::Blocked(Blocked::Deaf));
        let circumstances = Circumstances { last_heard: None, ..fine(T) };
        assert_eq!(schedule.decide(T, circumstances), Decision::Blocked(Blocked::Syncing));
        let circumstances = Circumstances { last_heard: Some(T - 3600), ..fine(T) };
        assert_eq!(schedule.decide(T, circumstances), Decision::WaitUntil(T + 3));
    }
}
