//! Where accepted facts go: to the journal at once, or, while another collector leads, to what is pending.

use super::super::check::{Checker, Outcome};
use super::super::funding::Claim;
use super::super::pending::Pending;
use super::super::{Fact, UnixMs};

/// Where facts go.
pub type Sink = Box<dyn FnMut(UnixMs, Vec<Fact>) -> Result<(), SinkClosed> + Send>;

/// Nobody takes facts any more: the service is stopping.
#[derive(Clone, Copy, Debug)]
pub struct SinkClosed;

/// Whose facts the journal takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Ours.
    #[default]
    Leading,
    /// Those of another collector, which tells us of them; ours are kept for the day when we lead.
    StandingBy,
}

/// Where a collector's facts go.
pub(super) struct Outlet {
    sink: Sink,
    /// While another collector leads.
    pending: Option<Pending>,
}

impl Outlet {
    pub fn new(mode: Mode, sink: Sink) -> Self {
        Self { sink, pending: (mode == Mode::StandingBy).then(Pending::default) }
    }

    pub fn is_leading(&self) -> bool {
        self.pending.is_none()
    }

    /// How many accepted facts the leader's journal lacks.
    pub fn pending(&self) -> usize {
        self.pending.as_ref().map_or(0, Pending::len)
    }

    /// The questions for the channels that this collector has proven and the leader's journal lacks. Whoever watched the
    /// chain meanwhile passed over their spends.
    pub fn claim_again(&self, checker: &mut Checker) -> Vec<Claim> {
        let proven = self.pending.iter().flat_map(Pending::proven);
        proven.filter_map(|announcement| checker.claim_again(announcement)).collect()
    }

    /// Takes what this collector accepted.
    pub fn take(&mut self, seen: UnixMs, facts: Vec<Fact>) -> Result<(), SinkClosed> {
        match &mut self.pending {
            Some(pending) => facts.into_iter().for_each(|fact| pending.add(seen, fact)),
            None if facts.is_empty() => {}
            None => (self.sink)(seen, facts)?,
        }
        Ok(())
    }

    /// Takes what the leader journaled, in its order; `checker` learns of it. What that sets free goes the way of other
    /// facts; the rest of the outcome is the caller's.
    pub fn told(
        &mut self,
        checker: &mut Checker,
        now: UnixMs,
        entries: Vec<(UnixMs, Fact)>,
    ) -> Result<Outcome, SinkClosed> {
        let mut outcome = Outcome::default();
        for (seen, fact) in entries {
            let replaces = checker.would_replace(&fact);
            if self.pending.as_mut().is_none_or(|pending| pending.told(seen, &fact, replaces)) {
                checker.told(now, seen, &fact, &mut outcome);
                self.take(now, std::mem::take(&mut outcome.facts))?;
            }
        }
        Ok(outcome)
    }

    /// From now on, facts go to the journal: first those that are pending, as they were accepted. Returns how many
    /// these were.
    pub fn lead(&mut self) -> Result<usize, SinkClosed> {
        let Some(pending) = self.pending.take() else { return Ok(0) };
        let count = pending.len();
        let (mut of, mut batch) = (UnixMs::default(), Vec::new());
        for (seen, fact) in pending.in_order() {
            if seen != of {
                self.take(of, std::mem::take(&mut batch))?;
            }
            of = seen;
            batch.push(fact);
        }
        self.take(of, batch)?;
        Ok(count)
    }
}
