//! Divides what recordings tell into steps: stretches of messages that may be checked together, and what happens
//! between them. A function of the recording and the times alone, so that the same steps are taken on every machine.

use std::collections::VecDeque;
use std::iter::Peekable;

use anyhow::Context;

use crate::gossip::check::{Gossip, Recorded};
use crate::gossip::{Malformed, ShortChannelId, UnixMs};
use crate::recording::{News, Script, Told};

/// How many messages are checked together at most; and none from two different hours, so that channels are found to
/// be silent between stretches.
const STRETCH: usize = 8192;
const HOUR_MS: u64 = 3_600_000;

/// Where something was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// Which recording, in the order in which they were named.
    pub file: usize,
    pub offset: u64,
}

/// What happens next.
pub(super) enum Step {
    Stretch(Stretch),
    Closed {
        at: UnixMs,
        scid: ShortChannelId,
    },
    Proof {
        at: UnixMs,
        scid: ShortChannelId,
        capacity_sat: u64,
    },
    /// An epoch with this timestamp.
    Cut(u32),
}

/// Messages, in the order of their times.
#[derive(Default)]
pub(super) struct Stretch {
    pub messages: Vec<Recorded>,
    /// Where each of them stands.
    pub origins: Vec<Origin>,
    /// What LDK cannot read.
    pub unreadable: Vec<(Origin, Malformed)>,
    /// How much was told, readable or not.
    pub told: u64,
}

/// See the module's head.
pub(super) struct Score {
    script: Peekable<Script>,
    cuts: VecDeque<u32>,
}

impl Score {
    /// `cuts` ascend.
    pub fn new(script: Script, cuts: &[u32]) -> Self {
        Self { script: script.peekable(), cuts: cuts.iter().copied().collect() }
    }

    /// How much has not been told.
    pub fn left(&self) -> usize {
        self.script.len()
    }

    fn step(&mut self) -> anyhow::Result<Option<Step>> {
        let next = match self.script.peek() {
            Some(Ok(told)) => Some(told),
            Some(Err(_)) => return Err(self.error()),
            None => None,
        };
        let due = |cut: &u32| next.is_none_or(|told| told.seen.0 > u64::from(*cut) * 1000);
        if self.cuts.front().is_some_and(due) {
            return Ok(self.cuts.pop_front().map(Step::Cut));
        }
        // After the last epoch, nothing is of interest.
        if self.cuts.is_empty() {
            return Ok(None);
        }
        match next {
            Some(Told { news: News::Message { .. }, .. }) => {
                self.stretch().map(|stretch| Some(Step::Stretch(stretch)))
            }
            _ => self.event(),
        }
    }

    /// What is no message.
    fn event(&mut self) -> anyhow::Result<Option<Step>> {
        let Some(told) = self.script.next().transpose().context(UNREADABLE)? else { return Ok(None) };
        Ok(match told.news {
            News::Closed(scid) => Some(Step::Closed { at: told.seen, scid }),
            News::Proof { scid, capacity_sat } => Some(Step::Proof { at: told.seen, scid, capacity_sat }),
            News::Message { .. } => None, // taken by `stretch`
        })
    }

    fn stretch(&mut self) -> anyhow::Result<Stretch> {
        let mut stretch = Stretch::default();
        let Some(Ok(first)) = self.script.peek() else { return Ok(stretch) };
        let hour = first.seen.0 / HOUR_MS;
        let cut_ms = self.cuts.front().map_or(u64::MAX, |cut| u64::from(*cut) * 1000);
        let belongs = |told: &Told| told.seen.0 / HOUR_MS == hour && told.seen.0 <= cut_ms;
        while stretch.messages.len() < STRETCH {
            let next = self.script.next_if(|next| {
                next.as_ref().is_ok_and(|told| matches!(told.news, News::Message { .. }) && belongs(told))
            });
            let Some(Ok(Told { seen, news: News::Message { wire, capacity_sat, accepted }, file, offset })) = next
            else {
                break;
            };
            let recorded = |message| Recorded { at: seen, message, capacity_sat, accepted };
            stretch.take(&wire, recorded, Origin { file, offset });
        }
        Ok(stretch)
    }

    fn error(&mut self) -> anyhow::Error {
        match self.script.next() {
            Some(Err(error)) => anyhow::Error::new(error).context(UNREADABLE),
            _ => anyhow::anyhow!(UNREADABLE), // `peek` has seen an error
        }
    }
}

const UNREADABLE: &str = "cannot read back what was held in a temporary file";

impl Stretch {
    fn take(&mut self, wire: &[u8], recorded: impl FnOnce(Gossip) -> Recorded, origin: Origin) {
        self.told += 1;
        match Gossip::from_wire(wire) {
            Ok(message) => {
                self.messages.push(recorded(message));
                self.origins.push(origin);
            }
            Err(malformed) => self.unreadable.push((origin, malformed)),
        }
    }
}

impl Iterator for Score {
    type Item = anyhow::Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
