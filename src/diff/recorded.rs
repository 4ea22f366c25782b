//! A recording as one side of a comparison: the network that it tells of at a time.

use anyhow::{Context, ensure};
use bitcoin::constants::ChainHash;
use tokio_util::sync::CancellationToken;

use super::{About, Loaded, Network};
use crate::history::View;
use crate::recording::{Reading, read_unpacked};
use crate::replay::{Asked, Progress, Recordings, Run, Terms};
use crate::snapshot::Matter;
use crate::source::Found;
use crate::text::rfc_3339;

/// Replays a recording up to `at` (unix seconds; its end if there is none), without leaving anything behind.
pub(super) fn load(found: Found, at: Option<u32>, terms: Terms) -> anyhow::Result<Loaded> {
    let Found { name, unpacked } = found;
    let reading = read_unpacked(unpacked)
        .with_context(|| format!("{name}: it is not a snapshot, nor a recording that can be read"))?;
    let view = view(&name, reading, at, terms)?;
    let network = Network::of_view(&view);
    let timestamp = view.epoch.timestamp;
    let about = About {
        source: name,
        format: "recording",
        version: None,
        chain: terms.network.to_string(),
        chain_hash: ChainHash::using_genesis_block_const(terms.network),
        timestamp,
        time: rfc_3339(timestamp),
        bytes: None,
        channels: network.channels.len(),
        nodes: network.nodes.len(),
        policies: network.policies(),
    };
    Ok(Loaded { about, network })
}

fn view(name: &str, reading: Reading, at: Option<u32>, terms: Terms) -> anyhow::Result<View> {
    let stop = CancellationToken::new(); // nothing is left behind by a signal that ends the process
    let progress = Progress::new(stop.clone());
    let readings = [Ok((name.to_owned(), reading))];
    let read = Recordings::read(readings, terms.network, at, terms.strict, &progress)?;
    let asked = Asked { at: at.into_iter().collect(), ..Asked::default() };
    let cuts = asked.cuts(read.span).with_context(|| format!("{name} cannot be compared"))?;
    progress.replaying(read.script.len());
    let run = Run { names: read.names(), script: read.script, cuts: &cuts, terms, stop };
    let mut last = None;
    let publish = |matter: Matter| {
        last = Some(matter.view);
        Ok(())
    };
    let tally = run.run(None, publish, |told| progress.told(told))?.tally;
    ensure!(
        tally.accepted > 0,
        "{name}: none of its {} messages could be used; is it of the network {}?",
        tally.received,
        terms.network
    );
    last.with_context(|| format!("{name}: there is nothing to compare"))
}
