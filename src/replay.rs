//! `rgsd replay`: recorded gossip through the same checking stage, journal, history and snapshots as live gossip, on
//! the recording's own clock. The same recordings and times give the same bytes on any machine.

mod out;
mod recordings;
mod report;
mod run;
mod score;
mod stage;
pub(crate) mod times;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use self::out::Out;
pub use self::recordings::Recordings;
pub(crate) use self::report::INTERRUPTED;
pub use self::report::Progress;
use self::report::{Made, Report};
pub use self::run::{Outcome, Run};
pub use self::stage::Terms;
pub use self::times::Asked;
use crate::cli::ReplayOptions;
use crate::gossip::check::{Refusal, Tally};
use crate::gossip::{Clock, SystemClock};
use crate::journal::SqliteJournal;
use crate::recording;
use crate::serve::stop_on_signals;
use crate::snapshot::{Folder, LeftOut, Matter, cut};

/// How long what is under way may go on after a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// Replays recordings into a directory. A signal ends it with an error, and nothing is left behind.
pub async fn run(options: ReplayOptions) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let json = options.json;
    let out = Out::begin(&options.out)?;
    let (half, stopped) = (out.half().to_owned(), stop.clone());
    let work = tokio::task::spawn_blocking(move || replay(&options, &half, stopped));
    let report = tokio::select! {
        report = work => report.context("the replay failed")??,
        // Standard input may be silent for ever.
        () = patience(stop) => bail!(INTERRUPTED),
    };
    out.finish()?;
    report.print(json)
}

/// Returns some time after a signal.
pub(crate) async fn patience(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}

fn replay(options: &ReplayOptions, folder: &Path, stop: CancellationToken) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (terms, asked, progress) = (options.terms.terms(), options.asked(), Progress::new(stop.clone()));
    let readings = options.recordings.iter().map(|source| Ok((source.to_string(), recording::open(source)?)));
    let read = Recordings::read(readings, terms.network, asked.first(), terms.strict, &progress)?;
    let cuts = asked.cuts(read.span)?;
    let journal = journal(folder, &terms, &cuts, &read)?;
    let published = Folder::new(folder, terms.network);
    let mut made = Vec::new();
    let mut lacked = LeftOut::default();
    let publish = |matter: Matter| {
        // The official client holds updates against the system's clock, whatever clock the recording goes by.
        let timestamp = matter.view.epoch.timestamp;
        let cut = cut(matter, &lacked, terms.network, SystemClock.now().secs())
            .with_context(|| format!("the snapshot of epoch {timestamp}"))?;
        published.add(&cut.snapshot)?;
        made.push(Made::of(&cut));
        lacked = cut.snapshot.left_out;
        Ok(())
    };
    progress.replaying(read.script.len());
    let run = Run { names: read.names(), script: read.script, cuts: &cuts, terms, stop };
    let outcome = run.run(Some(journal), publish, |told| progress.told(told))?;
    insist_on_something(&outcome.tally, terms.network)?;
    let place = options.out.display().to_string();
    Ok(Report::new(read.surveys, &outcome, terms.signatures, made, place, started.elapsed()))
}

/// A new journal. Who it is follows from what is replayed, and how.
fn journal(folder: &Path, terms: &Terms, cuts: &[u32], read: &Recordings) -> anyhow::Result<SqliteJournal> {
    let mut seed = read.script.digest().to_vec();
    seed.extend_from_slice(format!("{terms:?} {cuts:?}").as_bytes());
    let mut rng = ChaCha8Rng::from_seed(sha256::Hash::hash(&seed).to_byte_array());
    SqliteJournal::open(folder, terms.network, read.span.0, &mut rng)
}

/// A recording of which nothing was accepted is not what the user meant.
fn insist_on_something(tally: &Tally, network: Network) -> anyhow::Result<()> {
    ensure!(tally.received > 0, "there is no gossip message in it, or none of before the last snapshot's time");
    let strange = tally.refused_for(Refusal::WrongChain);
    ensure!(
        tally.accepted > 0 || strange == 0,
        "{strange} of {} messages are not of the network {network}: name theirs with --network",
        tally.received
    );
    ensure!(tally.accepted > 0, "none of the recording's {} messages could be used", tally.received);
    Ok(())
}
