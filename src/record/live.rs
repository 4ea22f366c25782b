//! Recording live gossip: the service's collector, without its journal, its snapshots and its wallets.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use tokio_util::sync::CancellationToken;

use super::files::{Files, Rotation};
use crate::config::Config;
use crate::gossip::check::Checker;
use crate::gossip::collector::{Collector, Mode, Sink, SinkClosed};
use crate::gossip::sync::Syncs;
use crate::gossip::{Clock, Fact, SystemClock, UnixMs};
use crate::journal::DataDirLock;
use crate::recording::Counts;
use crate::serve::{collecting, stop_on_signals};
use crate::tasks::Tasks;

/// How long everything may take to stop.
const STOPS_WITHIN: Duration = Duration::from_millis(3_300);

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// The directory of the files.
    pub out: PathBuf,
    pub rotation: Rotation,
    /// When to end by itself.
    pub duration: Option<Duration>,
}

/// Records until SIGTERM, SIGINT, or the end of the duration; an error is the reason why it ended before.
pub async fn live(asked: Live, config: Config) -> anyhow::Result<()> {
    ensure!(!config.replica, "replica is set, but a replica hears no gossip: record without it");
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    // Two that had the same key would push one another off their peers.
    let _lock = DataDirLock::take(&config.data_dir)?;
    let tasks = Tasks::new(stop.clone());
    let clock = Arc::new(SystemClock);
    let setup = collecting::setup(&config, Mode::Leading, Arc::default(), Arc::clone(&clock) as _)?;
    let files = Files::begin(&asked.out, asked.rotation, clock.now(), ChaCha20Rng::from_rng(&mut rand::rng()))?;
    tracing::info!("recording to {}", files.path().display());
    let recorder = Recorder { files: Arc::new(Mutex::new(State { files, synced: false, failed: None })) };
    let syncs = Syncs::new(None, None, collecting::peers(&config), clock.now());
    let checker = Checker::new(setup.rules);
    Collector::start(setup, checker, syncs, recorder.sink(), &tasks)?; // what it does belongs to `tasks`
    tokio::select! {
        () = stop.cancelled() => {}
        () = end_of(asked.duration) => tracing::info!("the duration is over: stopping"),
    }
    stop.cancel();
    tasks.finish(STOPS_WITHIN).await;
    let finished = tokio::task::spawn_blocking(move || recorder.finish()).await;
    finished.map_err(|_| anyhow!("the recorder panicked; this is a bug, please report it with the log"))??;
    tasks.take_reason().map_or(Ok(()), Err)
}

async fn end_of(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// The files, shared between the collector's thread and the end.
struct Recorder {
    files: Arc<Mutex<State>>,
}

struct State {
    files: Files<ChaCha20Rng>,
    /// Whether a peer has told all that it knows.
    synced: bool,
    /// Why nothing can be written any more.
    failed: Option<anyhow::Error>,
}

impl Recorder {
    fn sink(&self) -> Sink {
        let files = Arc::clone(&self.files);
        Box::new(move |seen: UnixMs, facts: Vec<Fact>| {
            let mut state = lock(&files);
            let synced = facts.iter().any(|fact| matches!(fact, Fact::SyncCompleted { .. }));
            if let Err(error) = state.files.take(seen, facts) {
                state.failed = Some(error);
                return Err(SinkClosed); // which ends the collector, and with it everything
            }
            if synced {
                state.synced = true;
                let Counts { channels, nodes } = state.files.counts();
                let (bytes, path) = (state.files.bytes(), state.files.path().display());
                tracing::info!(channels, nodes, bytes, "{path} has everything that a peer knows");
            }
            Ok(())
        })
    }

    fn finish(&self) -> anyhow::Result<()> {
        let mut state = lock(&self.files);
        if let Some(failed) = state.failed.take() {
            return Err(failed);
        }
        state.files.finish()?;
        let Counts { channels, nodes } = state.files.counts();
        let (bytes, path) = (state.files.bytes(), state.files.path().display());
        if !state.synced {
            tracing::warn!("no peer has told all that it knows: what is recorded is a part of the network");
        }
        tracing::info!(channels, nodes, bytes, "recorded; {path} is the last file");
        Ok(())
    }
}

fn lock(files: &Mutex<State>) -> MutexGuard<'_, State> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}
