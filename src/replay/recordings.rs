//! Reading recordings, of whatever format, into one script.

use anyhow::{Context, ensure};
use bitcoin::Network;

use super::report::{INTERRUPTED, Progress};
use crate::gossip::UnixMs;
use crate::recording::{Arrangement, Body, Content, Flags, Found, Located, Reading, Record, Script, Survey};
use crate::synth::{Network as Synthetic, NetworkSpec, Topology};

/// When a map, which tells no times, is taken to be of unless a time is asked for: the first second of 2026.
const MAP_OF_S: u32 = 1_767_225_600;

/// Recordings, read.
pub struct Recordings {
    pub script: Script,
    pub surveys: Vec<Survey>,
    /// When the first begins and the last ends.
    pub span: (UnixMs, UnixMs),
}

impl Recordings {
    /// Reads all of these, each with its name. `first` is the first time asked for, in unix seconds: a map of `network`
    /// is taken to be of then. With `strict`, whatever is damaged is an error.
    pub fn read(
        readings: impl IntoIterator<Item = anyhow::Result<(String, Reading)>>,
        network: Network,
        first: Option<u32>,
        strict: bool,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let mut arrangement = Arrangement::new(strict);
        for reading in readings {
            let (name, Reading { content, size, consumed, .. }) = reading?;
            progress.reading(&name, size, consumed);
            match content {
                Content::Records(records) => {
                    let added = arrangement.add(&name, records.map(|record| progress.read(record)));
                    ensure!(!progress.is_interrupted(), INTERRUPTED);
                    added?
                }
                Content::Map(topology) => {
                    let at = first.unwrap_or(MAP_OF_S);
                    let records = signed(&topology, network, at).with_context(|| format!("cannot sign {name}"))?;
                    arrangement.add(&name, records.into_iter().map(Ok))?
                }
            };
        }
        let (script, surveys) = arrangement.finish()?;
        let spans = || surveys.iter().filter_map(|survey| survey.span);
        let span = spans().map(|span| span.0).min().zip(spans().map(|span| span.1).max());
        let span = span.with_context(|| nothing(&surveys))?;
        Ok(Self { script, surveys, span })
    }

    /// The recordings' names, in their order.
    pub fn names(&self) -> Vec<String> {
        self.surveys.iter().map(|survey| survey.name.clone()).collect()
    }
}

/// That there is nothing, and what was damaged.
fn nothing(surveys: &[Survey]) -> String {
    let one = |survey: &Survey| {
        let damage = survey.damage.iter().map(|(reason, damaged)| {
            format!(", but {} damaged ({reason}), the first at byte {}", damaged.count, damaged.first_offset)
        });
        format!("nothing in {} tells of the network{}", survey.name, damage.collect::<String>())
    };
    surveys.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// A map as its recorder would have recorded it in the hours before `at` (unix seconds), with keys of our own.
fn signed(topology: &Topology, network: Network, at: u32) -> anyhow::Result<Vec<Located>> {
    let spec = NetworkSpec { chain: network, ..NetworkSpec::default() };
    let signed = Synthetic::new(topology, spec, UnixMs(u64::from(at) * 1000))?;
    let mut bodies = Vec::new();
    for channel in signed.channels() {
        let [announcement, one, two] = channel.messages();
        bodies.push(Body::Message(announcement.to_vec().into()));
        bodies.push(Body::Amount { capacity_sat: channel.capacity_sat });
        bodies.extend([one, two].map(|update| Body::Message(update.to_vec().into())));
    }
    bodies.extend(signed.nodes().iter().map(|node| Body::Message(node.announcement.to_vec().into())));
    let record = |body| Found::Record(Record { flags: Flags::default(), timestamp: 0, body });
    Ok(bodies.into_iter().map(|body| Located { offset: 0, found: record(body) }).collect())
}
