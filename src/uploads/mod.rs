//! Files out: each published snapshot on its way to where others serve it from, a bucket (`s3`) or a receiver of
//! uploads (`hook`).
//!
//! Owns a task for each place. Promises that serving wallets never waits for any of them, that the newest epoch goes
//! out as long as the place can be reached (one that was overtaken is skipped), and that no credential is ever told. Holds
//! handles to the served bytes, and no queue: what there is to do is one value, the newest.

mod answers;
mod crypto;
mod hook;
mod s3;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::gossip::Clock;
use crate::snapshot::{Desk, Folder, Snapshot};
use crate::tasks::Tasks;
use crate::text::Secret;

pub use hook::check as check_hook;
pub use s3::check as check_s3;

/// How long to wait after a first failure, and at most; up to as long again is drawn and added.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// How long an upload that is under way may take after the stop.
const STOPS_WITHIN: Duration = Duration::from_secs(2);
/// When to try again what it takes somebody to mend, where no epoch comes before: they may have, and the next epoch may
/// be a day away.
const MENDED_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long connecting may take, and one request with its answer …
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// … beside the time that its body takes on the slowest line that will do.
const SLOWEST_BYTES_PER_S: usize = 32 << 10;
/// No secret is longer.
const MOST_SECRET_BYTES: u64 = 64 << 10;

/// One epoch's files.
#[derive(Debug)]
pub struct Parcel {
    snapshot: Snapshot,
    /// As in the folder `current`: path, content. In the order in which they should appear.
    files: Vec<(String, Bytes)>,
}

impl Parcel {
    pub fn new(folder: &Folder, snapshot: Snapshot) -> anyhow::Result<Self> {
        let files = folder.files(&snapshot)?;
        Ok(Self { snapshot, files })
    }

    /// In unix seconds.
    pub fn epoch(&self) -> u32 {
        self.snapshot.epoch.timestamp
    }
}

/// What is to be uploaded: the newest epoch, once there is one.
pub type Newest = watch::Receiver<Option<Arc<Parcel>>>;

/// One place that is uploaded to.
#[derive(Debug)]
pub struct Upload {
    /// Its name, for people.
    pub to: String,
    progress: watch::Receiver<Progress>,
}

impl Upload {
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }
}

/// How far one place is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// The epoch that was uploaded last, since the start.
    pub epoch: Option<u32>,
    /// Why the last attempt failed, in a sentence, if it did.
    pub trouble: Option<String>,
}

/// Starts a task for each place that is configured; they end at the stop.
pub fn start(
    config: &Config,
    newest: &Newest,
    desk: &Arc<Desk>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> anyhow::Result<Vec<Upload>> {
    let mut uploads = Vec::new();
    if let Some(settings) = &config.s3 {
        let freshness = s3::Freshness { desk: Arc::clone(desk), clock: Arc::clone(clock) };
        let bucket = s3::Bucket::new(settings.clone(), freshness);
        uploads.push(Worker::spawn("uploading to the bucket", bucket, newest.clone(), tasks));
    }
    if let Some(settings) = &config.upload {
        let hook = hook::Hook::new(settings.clone())?;
        uploads.push(Worker::spawn("uploading to the receiver", hook, newest.clone(), tasks));
    }
    Ok(uploads)
}

/// A place that an epoch can be sent to.
trait Place: Send + 'static {
    /// Its name, for people; without anything secret.
    fn name(&self) -> String;

    /// Sends what is left of an epoch; `done` says how much of it was sent before, and is moved on.
    fn send(&mut self, parcel: &Arc<Parcel>, done: &mut usize) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Why something was not uploaded.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Failure {
    /// In a sentence, without anything secret.
    trouble: String,
    /// Whether it takes somebody to mend it, so that trying again soon is of no use.
    mistake: bool,
}

impl Failure {
    fn passing(trouble: impl Into<String>) -> Self {
        Self { trouble: trouble.into(), mistake: false }
    }

    fn mistake(trouble: impl Into<String>) -> Self {
        Self { trouble: trouble.into(), mistake: true }
    }
}

/// How long a request with a body of so many bytes may take.
fn within(bytes: usize) -> Duration {
    ANSWER_WITHIN + Duration::from_secs((bytes / SLOWEST_BYTES_PER_S) as u64)
}

/// Whether an HTTP status says that the same request will not be answered better in a while. A redirection is not
/// followed: a receiver that has moved is for the operator to find.
fn is_mistake(status: u16) -> bool {
    (300..500).contains(&status) && !matches!(status, 408 | 425 | 429)
}

/// How the work on one epoch ended.
enum End {
    /// It is uploaded: the next one is waited for.
    Over,
    Overtaken,
    Stopped,
}

/// Keeps one place up to date.
struct Worker<P> {
    place: P,
    to: String,
    newest: Newest,
    progress: watch::Sender<Progress>,
    stop: CancellationToken,
    /// Since when it fails, and whether that was said to be a mistake.
    failing: Option<(Instant, bool)>,
}

impl<P: Place> Worker<P> {
    fn spawn(task: &'static str, place: P, newest: Newest, tasks: &Tasks) -> Upload {
        let (progress, told) = watch::channel(Progress::default());
        let (to, stop) = (place.name(), tasks.stop().clone());
        let worker = Self { place, to: to.clone(), newest, progress, stop, failing: None };
        tasks.spawn(task, async move {
            worker.run().await;
            Ok(())
        });
        Upload { to, progress: told }
    }

    async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            let parcel = self.newest.borrow_and_update().clone();
            let end = match parcel {
                Some(parcel) => self.upload(&parcel).await,
                None => End::Over,
            };
            match end {
                End::Overtaken => {}
                End::Stopped => return,
                End::Over => match stop.run_until_cancelled(self.newest.changed()).await {
                    Some(Ok(())) => {}
                    // Nobody will publish any more: the stop is near.
                    Some(Err(_)) => return stop.cancelled().await,
                    None => return,
                },
            }
        }
    }

    /// Tries until it succeeds, or is overtaken. An attempt that is under way may end: where epochs
    /// come faster than they can be uploaded, some must arrive.
    async fn upload(&mut self, parcel: &Arc<Parcel>) -> End {
        let retry = ExponentialBuilder::default().with_min_delay(RETRY_FIRST).with_max_delay(RETRY_MOST);
        let mut retries = retry.with_jitter().without_max_times().build();
        let stop = self.stop.clone();
        let mut done = 0;
        loop {
            let sent = tokio::select! {
                sent = self.place.send(parcel, &mut done) => sent,
                () = soon_after(&stop) => return End::Stopped,
            };
            let wait = match sent {
                Ok(()) => {
                    self.works(parcel.epoch());
                    return End::Over;
                }
                Err(failure) => {
                    let mistake = failure.mistake;
                    self.fails(failure);
                    if mistake { MENDED_AFTER } else { retries.next().unwrap_or(RETRY_MOST) }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = self.newest.changed() => return End::Overtaken,
                () = stop.cancelled() => return End::Stopped,
            }
        }
    }

    /// Says so when it begins to fail, and when it turns out to be a mistake.
    fn fails(&mut self, failure: Failure) {
        let Failure { trouble, mistake } = failure;
        let (to, said) = (&self.to, self.failing.map(|(_, mistake)| mistake));
        match (said, mistake) {
            (None | Some(false), true) => {
                tracing::warn!(
                    "uploads to {to} fail, and are tried again with the next epoch, after {} minutes at the latest: {trouble}",
                    MENDED_AFTER.as_secs() / 60
                );
            }
            (None, false) => tracing::warn!("uploads to {to} fail, and are tried again and again: {trouble}"),
            (Some(_), _) => tracing::debug!("uploads to {to} still fail: {trouble}"),
        }
        let since = self.failing.map_or_else(Instant::now, |(since, _)| since);
        self.failing = Some((since, mistake || said == Some(true)));
        self.progress.send_modify(|progress| progress.trouble = Some(trouble));
    }

    fn works(&mut self, epoch: u32) {
        tracing::debug!(epoch, "uploaded to {}", self.to);
        if let Some((since, _)) = self.failing.take() {
            tracing::info!(epoch, "uploads to {} work again, after {} s", self.to, since.elapsed().as_secs());
        }
        self.progress.send_replace(Progress { epoch: Some(epoch), trouble: None });
    }
}

async fn soon_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOPS_WITHIN).await;
}

/// Reads a secret from its file, without the end of its line. `key` is the setting that names the file.
async fn read_secret(key: &str, path: &Path) -> anyhow::Result<Secret> {
    let named = || format!("{key} {}", path.display());
    let mut content = Vec::new();
    let file = tokio::fs::File::open(path).await.with_context(|| format!("{} cannot be read", named()))?;
    file.take(MOST_SECRET_BYTES + 1).read_to_end(&mut content).await.with_context(named)?;
    ensure!(
        content.len() as u64 <= MOST_SECRET_BYTES,
        "{} is longer than any secret; is it the right file?",
        named()
    );
    let text = String::from_utf8(content).ok().with_context(|| format!("{} is not text", named()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    ensure!(!text.is_empty(), "{} is empty; put the secret there", named());
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests;
