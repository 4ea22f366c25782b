//! Whether the parts that everything depends on get on: each says when it begins a piece of work that takes moments, and
//! when it has done it. What may rightly wait (for the disk, for the archive) is not said.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part that must get on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Schedule,
    History,
}

impl Part {
    const ALL: [Part; 2] = [Part::Schedule, Part::History];
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Pulse {
    since: Instant,
    /// By part, when its piece of work began, in milliseconds from `since` and one more; 0 between two.
    began_ms: [AtomicU64; Part::ALL.len()],
}

impl Default for Pulse {
    fn default() -> Self {
        Self { since: Instant::now(), began_ms: Default::default() }
    }
}

/// A piece of work, which ends when this is dropped.
pub(super) struct Work<'a>(&'a AtomicU64);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Pulse {
    /// A piece of work begins.
    pub fn work(&self, part: Part) -> Work<'_> {
        let began_ms = &self.began_ms[part as usize];
        began_ms.store(self.now_ms(), Ordering::Relaxed);
        Work(began_ms)
    }

    /// A part whose piece of work takes longer than `patience`.
    pub fn stuck(&self, patience: Duration) -> Option<Part> {
        let now_ms = self.now_ms();
        let took_ms = |part: &Part| match self.began_ms[*part as usize].load(Ordering::Relaxed) {
            0 => 0,
            began_ms => now_ms.saturating_sub(began_ms),
        };
        Part::ALL.into_iter().find(|part| u128::from(took_ms(part)) > patience.as_millis())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_stuck_while_its_work_does_not_end() {
        let pulse = Pulse { since: Instant::now() - Duration::from_secs(60), ..Pulse::default() };
        assert_eq!(pulse.stuck(Duration::ZERO), None);
        let work = pulse.work(Part::History);
        assert_eq!(pulse.stuck(Duration::from_secs(10)), None);
        pulse.began_ms[Part::History as usize].store(1, Ordering::Relaxed);
        assert_eq!(pulse.stuck(Duration::from_secs(59)), Some(Part::History));
        assert_eq!(pulse.stuck(Duration::from_secs(100)), None);
        drop(work);
        assert_eq!(pulse.stuck(Duration::from_secs(10)), None);
    }
}
