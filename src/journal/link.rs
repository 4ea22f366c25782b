//! The connection to the archive, kept up: connects, waits longer after each failure, and says once in the log when
//! the archive is gone and once when it is back.

use std::fmt;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::watch;

use super::lease::Misfit;
use super::postgres::{Archive, Settings, Wire, connect};
use super::writer::Notes;
use super::{Seq, Term};
use crate::gossip::UnixMs;

/// How long to wait after a first failure, and at most; up to as long again is drawn and added. Both are shorter where
/// the lease is: the writer must be back before another collector takes it for gone.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(5);
/// How many times the longest wait fits into a lease.
const RETRIES: u32 = 6;

/// How to connect to the archive.
#[derive(Clone, Debug)]
pub struct Connector {
    pub settings: Settings,
    /// How long the database may take to answer, at the connection and at every later operation.
    pub timeout: Duration,
}

impl Connector {
    /// Connects, and brings the tables up to date. The archive works for as long as the wire is kept.
    pub async fn connect(&self) -> anyhow::Result<(Archive, Wire)> {
        let (client, wire) = connect(&self.settings, self.timeout).await?;
        Ok((Archive::open(client, self.timeout).await?, wire))
    }
}

/// What this collector is to the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It ships its journal.
    #[default]
    Writer,
    /// It follows, and takes over when the writer falls silent.
    StandBy,
    /// It follows.
    Replica,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Writer => "writer",
            Role::StandBy => "stand-by",
            Role::Replica => "replica",
        })
    }
}

/// How things stand with the archive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    pub role: Role,
    /// The writer's term, once known.
    pub term: Option<Term>,
    /// Whether the last thing asked of it worked.
    pub connected: bool,
    /// How many seconds past the interval's multiples that term's epochs are cut, once known.
    pub epoch_offset_s: Option<u32>,
    /// Its last entry, once known.
    pub last_seq: Option<Seq>,
    /// Of what waits to be shipped, when the oldest was accepted.
    pub waiting_since: Option<UnixMs>,
    /// A follower's last look at an archive that had nothing new.
    pub up_to_date: Option<Instant>,
    /// When a follower last saw a sign of life of the writer's.
    pub writer_seen: Option<Instant>,
    /// Why it is not connected, in a sentence.
    pub trouble: Option<String>,
    /// That sentence says that journal and archive do not go together: no time will mend it.
    pub misfit: bool,
}

/// See the module's words.
pub struct Link {
    connector: Connector,
    retry: ExponentialBuilder,
    health: watch::Sender<Health>,
    retries: Option<ExponentialBackoff>,
    gone: Option<Instant>,
}

impl Link {
    /// With the lease that is to be kept.
    pub fn new(connector: Connector, lease: Duration, role: Role) -> Self {
        let health = watch::Sender::new(Health { role, ..Health::default() });
        let most = RETRY_MOST.min(lease / RETRIES);
        let retry = ExponentialBuilder::default().with_min_delay(RETRY_FIRST.min(most)).with_max_delay(most);
        let retry = retry.with_jitter().without_max_times();
        Self { connector, retry, health, retries: None, gone: None }
    }

    /// What it connects with.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How things stand, as it changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Notes something about how things stand.
    pub fn note(&self, change: impl FnOnce(&mut Health)) {
        self.health.send_modify(change);
    }

    /// One attempt to connect.
    pub async fn try_connect(&self) -> anyhow::Result<(Archive, Wire)> {
        self.connector.connect().await
    }

    /// Connects, however long it takes.
    pub async fn connect(&mut self) -> (Archive, Wire) {
        loop {
            match self.try_connect().await {
                Ok(connected) => return connected,
                Err(error) => self.lost(&error).await,
            }
        }
    }

    /// Something failed, and the connection is given up: says so, the first time, and waits for a while.
    pub async fn lost(&mut self, error: &anyhow::Error) {
        let trouble = format!("{error:#}");
        if self.gone.is_none() {
            self.gone = Some(Instant::now());
            tracing::warn!("the archive cannot be used, and is tried again and again: {trouble}");
        } else {
            tracing::debug!("the archive still cannot be used: {trouble}");
        }
        self.note(|health| {
            health.connected = false;
            health.trouble = Some(trouble);
            health.misfit = error.is::<Misfit>();
        });
        let wait = self.retries.get_or_insert_with(|| self.retry.build()).next().unwrap_or(RETRY_MOST);
        tokio::time::sleep(wait).await;
    }

    /// Something worked: says so, the first time after a failure. `waiting` entries are still to be copied.
    pub fn works(&mut self, waiting: u64) {
        self.retries = None;
        if let Some(since) = self.gone.take() {
            tracing::info!(waiting, "the archive is back, after {} s", since.elapsed().as_secs());
        }
        if !self.health.borrow().connected {
            self.note(|health| {
                health.connected = true;
                (health.trouble, health.misfit) = (None, false);
            });
        }
    }
}

/// How many messages are offered at once.
const OFFER: usize = 1_000;

/// Offers some of what was cut off this journal to the archive's writer, whoever that is. Returns whether there was
/// any.
pub(super) async fn offer_some(archive: &mut Archive, notes: &Notes) -> anyhow::Result<bool> {
    let (ids, messages): (Vec<i64>, Vec<Vec<u8>>) = notes.unoffered(OFFER).await?.into_iter().unzip();
    if ids.is_empty() {
        return Ok(false);
    }
    archive.offer(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
    // A kill in between has them offered once more: they will be refused as known.
    notes.offered(ids).await?;
    Ok(true)
}
