//! Wires the rooms into the running service: start order, shutdown order.
//!
//! Start: the address is bound and the last published snapshot served before anything else; then the journal is
//! read, and the snapshot of its last epoch is published if it was not; then the writer, the history and the
//! publisher; then peers. Stop, in the order of the data: peers first, then the journal is flushed, then the history
//! and the publisher finish what they have.

mod curator;
mod load;
mod publisher;
mod scheduler;
mod state;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context;
use bitcoin::constants::ChainHash;
use rand::RngExt;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::load::{Remembered, remember};
use self::state::State;
use crate::config::Config;
use crate::gossip::check::{Limits, Rules};
use crate::gossip::collector::{Collector, Mode, Setup, Sink, SinkClosed};
use crate::gossip::sync::Syncs;
use crate::gossip::{Clock, Fact, NodeId, Secrets, SystemClock, UnixMs, funding, node_key};
use crate::journal::{Draft, Event, Journal, SqliteJournal, Writer};
use crate::snapshot::{Folder, Latest, Schedule};
use crate::tasks::Tasks;
use crate::{http, snapshot};

/// How long peers, requests and the schedule may take to stop.
const FRONT_STOPS_WITHIN: Duration = Duration::from_millis(3_300);
/// How long everything may take, the journal, the history and the publisher included.
const STOPS_WITHIN: Duration = Duration::from_millis(4_300);

/// Runs the service until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let tasks = Tasks::new(stop.clone());
    let service = tokio::select! {
        service = Service::start(config, Arc::new(SystemClock), tasks.clone()) => service?,
        () = stop.cancelled() => {
            // A long journal was being read: nothing is lost.
            tasks.finish(FRONT_STOPS_WITHIN).await;
            return tasks.take_reason().map_or(Ok(()), Err);
        }
    };
    service.finish().await
}

/// Cancels `stop` at SIGTERM or SIGINT.
pub fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
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
    /// Peers, requests, the schedule.
    front: Tasks,
    /// The history and the publisher: they end when the journal has.
    back: Tasks,
    writer: Writer,
}

impl Service {
    /// Starts everything; returns when the journal is read and peers are being connected to. Wallets are served the
    /// last published snapshot meanwhile. What runs belongs to `front`, and ends at its stop.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, front: Tasks) -> anyhow::Result<Self> {
        let back = front.sibling();
        create_data_dir(&config.data_dir)?;
        let listener = http::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let now = clock.now();
        let journal = SqliteJournal::open(&config.data_dir, config.network, now, &mut rand::rng())?;
        let secrets = secrets(&config.data_dir)?;

        let folder = Folder::new(&config.data_dir, config.network);
        let latest = Latest::new(folder.load(now.secs()).map(Arc::new).into());
        let state = Arc::new(State::new(&config, Arc::clone(&latest), Arc::clone(&clock)));
        serve_http(listener, address, &state, &front);

        let rules = checking_rules(&config);
        let (journal, remembered) = tokio::task::spawn_blocking(move || {
            let remembered = remember(&journal, rules);
            remembered.map(|remembered| (journal, remembered))
        })
        .await??;
        let offset_s = journal.identity().epoch_offset_s;
        let (writer, drafts, commits) = Writer::spawn(Box::new(journal), Default::default())?;
        state.journal_is(writer.status());

        let (views, next_view) = watch::channel(None);
        publisher::start(next_view, folder, config.network, Arc::clone(&state), &back);
        let Remembered { history, checker, last_sync, last_message } = remembered;
        curator::start(history, commits, views, snapshot::rules(config.graph), &state, &back);

        let peers: Vec<_> = config.peers.iter().map(|peer| NodeId::from_pubkey(&peer.node_id)).collect();
        let syncs = Syncs::new(last_sync, last_message, peers, clock.now());
        let setup = setup(&config, rules, secrets, state.storage_full(), Arc::clone(&clock));
        let collector = Collector::start(setup, checker, syncs, sink(drafts.clone(), front.stop().clone()), &front)?;
        state.collector_is(collector);

        let schedule = Schedule::new(config.interval, offset_s);
        scheduler::start(schedule, drafts, snapshot::rules(config.graph), &state, clock, &front);
        scheduler::start_retention(writer.retainer(), config.retention, &state, &front);
        Ok(Self { address, state, front, back, writer })
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
        let Self { state, front, back, mut writer, .. } = self;
        let failed = tokio::select! {
            () = front.stop().cancelled() => None,
            ended = writer.ended() => Some(ended),
        };
        let deadline = Instant::now() + STOPS_WITHIN;
        front.stop().cancel();
        front.finish(FRONT_STOPS_WITHIN).await;
        let flushed = match failed {
            Some(ended) => Ok(ended),
            None => tokio::time::timeout_at(deadline.into(), writer.stop()).await,
        };
        back.finish(deadline.saturating_duration_since(Instant::now())).await;
        match flushed {
            // It may have ended others with it, whose reasons would hide its own.
            Ok(Err(error)) if !state.has_no_room() => return Err(error.context("the journal failed")),
            Ok(Err(_)) => tracing::warn!("the disk is full: the last messages were not journaled"),
            Err(_) => tracing::warn!("the disk is slow: the last messages may not have been journaled"),
            Ok(Ok(())) => {}
        }
        front.take_reason().map_or(Ok(()), Err)
    }
}

fn create_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data_dir).with_context(|| {
        format!("cannot create the directory {}: choose another one with --data-dir", data_dir.display())
    })
}

fn secrets(data_dir: &Path) -> anyhow::Result<Secrets> {
    let mut rng = rand::rng();
    let node_key = node_key(data_dir, || rng.random())?;
    Ok(Secrets { node_key, ephemeral: rng.random() })
}

fn serve_http(listener: tokio::net::TcpListener, address: SocketAddr, state: &Arc<State>, tasks: &Tasks) {
    let app = http::App { network: state.network(), latest: state.latest(), status: Arc::clone(state) as _ };
    let stop = tasks.stop().clone();
    tracing::info!("serving wallets at http://{address}/snapshot/0");
    tasks.spawn("the HTTP server", async move {
        http::serve(listener, app, stop.cancelled_owned()).await;
        Ok(())
    });
}

fn checking_rules(config: &Config) -> Rules {
    Rules {
        chain: ChainHash::using_genesis_block_const(config.network),
        proofs: config.bitcoind.rest_url.is_some(),
        retention: config.retention,
        limits: Limits::default(),
    }
}

fn setup(
    config: &Config,
    rules: Rules,
    secrets: Secrets,
    storage_full: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
) -> Setup {
    let bitcoind = config.bitcoind.rest_url.as_ref().map(|url| funding::Settings {
        rest_url: url.expose(),
        network: config.network,
        timing: funding::Timing::default(),
    });
    if bitcoind.is_none() {
        tracing::warn!("no bitcoind.rest_url is configured: channels are accepted without proof of their funding");
    }
    Setup { rules, peers: config.peers.clone(), secrets, bitcoind, storage_full, mode: Mode::Leading, clock }
}

/// Facts become drafts for the journal. Waits when the journal is slow, until the stop: the collector has a thread for
/// it.
fn sink(drafts: mpsc::Sender<Draft>, stop: CancellationToken) -> Sink {
    let runtime = Handle::current();
    Box::new(move |seen: UnixMs, facts: Vec<Fact>| {
        for fact in facts {
            let sent = match drafts.try_send(Draft { seen, event: Event::Fact(fact) }) {
                Err(TrySendError::Full(draft)) => {
                    runtime.block_on(stop.run_until_cancelled(drafts.send(draft))).is_some_and(|sent| sent.is_ok())
                }
                sent => sent.is_ok(),
            };
            if !sent {
                return Err(SinkClosed);
            }
        }
        Ok(())
    })
}
