//! Takes steps through the checking stage: what comes out are drafts for a journal, in order.

use std::time::Duration;

use bitcoin::Network;
use bitcoin::constants::ChainHash;

use super::score::{Origin, Step, Stretch};
use crate::gossip::check::{Judged, Limits, Refusal, Replayer, Rules, Signatures, Tally};
use crate::gossip::{Malformed, UnixMs};
use crate::journal::{Draft, Event, Graph};
use crate::snapshot::rules;

/// How a recording is judged.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub network: Network,
    pub graph: Graph,
    /// A channel silent for longer than this is closed.
    pub retention: Duration,
    pub signatures: Signatures,
    /// Whether a message that no honest recorder would have kept is an error.
    pub strict: bool,
}

/// See the module's head.
pub(super) struct Stage {
    terms: Terms,
    replayer: Replayer,
    /// The recordings' names, in their order.
    names: Vec<String>,
    unreadable: u64,
}

impl Stage {
    pub fn new(terms: Terms, names: Vec<String>) -> Self {
        let rules = Rules {
            chain: ChainHash::using_genesis_block_const(terms.network),
            proofs: false,
            retention: terms.retention,
            // A recorder has met its peers; who announces how much how fast was for it to judge.
            limits: Limits { unproven_burst: u32::MAX, ..Limits::default() },
            signatures: terms.signatures,
        };
        Self { terms, replayer: Replayer::new(rules), names, unreadable: 0 }
    }

    /// Takes a step. An error names the recording and the place.
    pub fn take(&mut self, step: Step) -> anyhow::Result<Vec<Draft>> {
        let judged = match step {
            Step::Stretch(stretch) => self.stretch(stretch)?,
            Step::Closed { at, scid } => self.replayer.close(at, scid),
            Step::Proof { at, scid, capacity_sat } => self.replayer.prove(at, scid, capacity_sat),
            Step::Cut(timestamp) => return Ok(self.cut(timestamp)),
        };
        Ok(drafts(judged))
    }

    /// How many messages met which end, those included that could not be read.
    pub fn tally(&self) -> Tally {
        let mut tally = self.replayer.tally().clone();
        tally.received += self.unreadable;
        if self.unreadable > 0 {
            *tally.refused.entry(Refusal::Malformed).or_default() += self.unreadable;
        }
        tally
    }

    fn stretch(&mut self, stretch: Stretch) -> anyhow::Result<Judged> {
        let Stretch { messages, origins, unreadable, .. } = stretch;
        self.unreadable += unreadable.len() as u64;
        let judged = self.replayer.check(messages);
        if self.terms.strict {
            self.insist(&judged, &origins, &unreadable)?;
        }
        Ok(judged)
    }

    fn insist(&self, judged: &Judged, origins: &[Origin], unreadable: &[(Origin, Malformed)]) -> anyhow::Result<()> {
        if let Some((origin, malformed)) = unreadable.first() {
            anyhow::bail!("{}: {malformed}", self.place(*origin));
        }
        let bad = judged.refused.iter().filter(|(_, reason)| is_bad(*reason));
        if let Some((index, reason)) = bad.min_by_key(|(index, _)| *index) {
            anyhow::bail!("{}: a message is refused ({})", self.place(origins[*index]), reason.name());
        }
        Ok(())
    }

    fn place(&self, origin: Origin) -> String {
        format!("{}: byte {}", self.names.get(origin.file).map_or("recording", String::as_str), origin.offset)
    }

    fn cut(&mut self, timestamp: u32) -> Vec<Draft> {
        let at = UnixMs(u64::from(timestamp) * 1000);
        let mut drafts = drafts(self.replayer.wait(at));
        drafts.push(Draft { seen: at, event: Event::Epoch { timestamp, rules: rules(self.terms.graph) } });
        drafts
    }
}

/// Whether only a broken or dishonest recording holds such a message.
fn is_bad(reason: Refusal) -> bool {
    matches!(
        reason,
        Refusal::BadSignature
            | Refusal::Malformed
            | Refusal::WrongChain
            | Refusal::NodesOutOfOrder
            | Refusal::SameFundingKeys
    )
}

fn drafts(judged: Judged) -> Vec<Draft> {
    judged.facts.into_iter().map(|(seen, fact)| Draft { seen, event: Event::Fact(fact) }).collect()
}
