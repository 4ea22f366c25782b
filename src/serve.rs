//! Wires the rooms into the running service: start order, shutdown order.
//!
//! Start: the address is bound and the last published snapshot served before anything else; then the journal is
//! settled with the archive, where there is one, and a [`run`] begins: it reads the journal, and starts the writer,
//! the history, the publisher, and peers. A run ends at the stop, or when another collector has taken the archive
//! over: then the next one begins, as a stand-by. Stop, in the order of the data: peers first, then the journal is
//! flushed, then the history, the publisher and the archive's keeper finish what they have.

mod archive;
pub(crate) mod collecting;
mod curator;
mod load;
mod manager;
mod packer;
mod publisher;
mod pulse;
mod run;
mod scheduler;
mod state;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::archive::settle;
use self::manager::Manager;
use self::run::{End, House, Run};
use self::state::State;
use crate::config::Config;
use crate::gossip::{Clock, SystemClock};
use crate::http::{self, Tls};
use crate::snapshot::{Desk, Folder, Served};
use crate::tasks::Tasks;
use crate::uploads;

/// How long peers, requests and the schedule may take to stop.
const FRONT_STOPS_WITHIN: Duration = Duration::from_millis(3_300);

/// Runs the service until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    // Some systems' customary limit is for programs that cannot do with more: each wallet takes a file.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let tasks = Tasks::new(stop.clone());
    let has_started = Manager::of_environment().map(|manager| manager.keep(&tasks));
    let service = tokio::select! {
        biased;
        () = stop.cancelled() => {
            // A long journal was being read: nothing is lost.
            tasks.finish(FRONT_STOPS_WITHIN).await;
            return tasks.take_reason().map_or(Ok(()), Err);
        }
        service = Service::start(config, Arc::new(SystemClock), tasks.clone()) => service?,
    };
    // Where the stop came meanwhile, nobody listens.
    let _ = has_started.map(|has_started| has_started.send(Arc::clone(&service.state)));
    service.finish().await
}

/// What the system sends to who writes beyond the size that a file may have (`ulimit -f`).
const SIGXFSZ: i32 = 25;

/// Cancels `stop` at SIGTERM or SIGINT. A file that becomes too large is then an error of whoever writes it, who can
/// clean up; by itself, it would be the end of the process.
pub fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    drop(signal(SignalKind::from_raw(SIGXFSZ)).context("cannot watch for SIGXFSZ")?); // its handler stays
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        stop.cancel();
    });
    Ok(())
}

/// The running service.
pub struct Service {
    address: SocketAddr,
    state: Arc<State>,
    /// Requests; whatever else runs ends before they do.
    front: Tasks,
    /// One run after the other.
    runs: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    /// Starts everything; returns when the journal is read and peers are being connected to, or when it turns out that
    /// the archive must be waited for. Wallets are served the last published snapshot meanwhile. What runs belongs to
    /// `front`, and ends at its stop, which is the caller's to call also after an error.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, front: Tasks) -> anyhow::Result<Self> {
        create_data_dir(&config.data_dir)?;
        let tls = config.tls.clone().map(Tls::open).transpose()?;
        let listener = http::bind(config.listen)?;
        let address = listener.local_addr()?;
        let folder = Folder::new(&config.data_dir, config.network);
        let desk = Desk::new(config.network, config.snapshots, config.interval);
        if let Some(published) = folder.load(clock.now().secs()) {
            desk.serve(Served::new(published, Vec::new(), Weak::new()));
        }
        let state = Arc::new(State::new(&config, Arc::new(desk), Arc::clone(&clock)));
        serve_http(listener, tls, address, &state, &front);
        packer::start(state.desk(), &front)?;
        start_uploads(&config, &state, &folder, &front)?;

        let house = House { config, clock, state: Arc::clone(&state), folder, stop: front.stop().clone() };
        let (ready, started) = oneshot::channel();
        let runs = tokio::spawn(run_after_run(Arc::new(house), ready));
        if started.await.is_err() {
            return Err(ended(runs).await.err().unwrap_or_else(|| anyhow!("stopped while starting")));
        }
        Ok(Self { address, state, front, runs })
    }

    /// Where wallets are served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the service fares.
    pub fn status(&self) -> http::Status {
        http::StatusSource::status(&*self.state)
    }

    /// Waits for the stop, and then for everything to end in order. An error is the reason why the service stopped
    /// by itself.
    pub async fn finish(self) -> anyhow::Result<()> {
        let Self { front, runs, .. } = self;
        let ended = ended(runs).await;
        front.stop().cancel();
        front.finish(FRONT_STOPS_WITHIN).await;
        ended?;
        front.take_reason().map_or(Ok(()), Err)
    }
}

/// Settles and runs until the stop. `ready` is told once the first run has begun, or waits for the archive.
async fn run_after_run(house: Arc<House>, ready: oneshot::Sender<()>) -> anyhow::Result<()> {
    let mut ready = Some(ready);
    let mut is_ready = move || {
        // The service was given up meanwhile: its stop ends the run.
        let _ = ready.take().map(|ready| ready.send(()));
    };
    let mut after = None;
    loop {
        let settled = tokio::select! {
            settled = settle(&house, after, &mut is_ready) => settled?,
            () = house.stop.cancelled() => return Ok(()),
        };
        let run = Run::start(&house, settled).await?;
        is_ready();
        match run.finish().await? {
            End::Stopped => return Ok(()),
            End::Unsettled { overtaken_after } => after = overtaken_after,
        }
    }
}

async fn ended(runs: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    runs.await.map_err(|_| anyhow!("the service panicked; this is a bug, please report it with the log"))?
}

fn create_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data_dir).with_context(|| {
        format!("cannot create the directory {}: choose another one with --data-dir", data_dir.display())
    })
}

/// What is served already may not have been uploaded before the last stop: it goes out now.
fn start_uploads(config: &Config, state: &State, folder: &Folder, tasks: &Tasks) -> anyhow::Result<()> {
    if config.s3.is_none() && config.upload.is_none() {
        return Ok(());
    }
    let (newest, desk) = (state.newest(), state.desk());
    if let Some(served) = desk.latest().as_deref() {
        state.hand_out(folder, &served.snapshot);
    }
    state.uploads_are(uploads::start(config, &newest, &desk, &state.clock(), tasks)?);
    Ok(())
}

fn serve_http(listener: TcpListener, tls: Option<Tls>, address: SocketAddr, state: &Arc<State>, tasks: &Tasks) {
    let app = http::App {
        network: state.network(),
        desk: state.desk(),
        clock: state.clock(),
        status: Arc::clone(state) as _,
        metrics: Arc::clone(state.metrics()),
    };
    let (stop, metrics) = (tasks.stop().clone(), Arc::clone(state.metrics()));
    tasks.spawn("the metrics' upkeep", async move {
        let mut looks = tokio::time::interval(http::metrics::UPKEEP_EVERY);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            metrics.upkeep();
        }
        Ok(())
    });
    let stop = tasks.stop().clone();
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!("serving wallets at {scheme}://{address}/snapshot/0");
    if let Some(tls) = tls.clone() {
        let stop = stop.clone();
        tasks.spawn("the TLS certificate", async move {
            tls.follow(stop).await;
            Ok(())
        });
    }
    tasks.spawn("the HTTP server", async move {
        http::serve(listener, tls, app, stop.cancelled_owned()).await;
        Ok(())
    });
}
