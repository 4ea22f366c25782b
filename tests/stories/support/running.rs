//! The service in this process: on a port of its own, its clock moved by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rgsd::config::Config;
use rgsd::gossip::{Clock, ShiftedClock};
use rgsd::http::Status;
use rgsd::serve::Service;
use rgsd::snapshot::{Interval, Version};
use rgsd::synth::Store;
use tokio_util::sync::CancellationToken;

use super::{DEADLINE, LOOK_EVERY, Wallet, World, eventually};

/// An interval between epochs.
pub fn every(seconds: u64) -> Interval {
    Interval::new(Duration::from_secs(seconds)).expect("a good interval")
}

/// See the module's words.
pub struct Running {
    service: Option<Service>,
    clock: Arc<ShiftedClock>,
    stop: CancellationToken,
    interval: Interval,
}

impl Running {
    pub async fn start(world: &World, config: Config) -> Self {
        let stop = CancellationToken::new();
        let interval = config.interval;
        let clock = Arc::clone(&world.clock);
        let service = Service::start(config, Arc::clone(&clock) as _, rgsd::tasks::Tasks::new(stop.clone())).await;
        Self { service: Some(service.expect("the service starts")), clock, stop, interval }
    }

    fn service(&self) -> &Service {
        self.service.as_ref().expect("there until it is stopped")
    }

    pub fn status(&self) -> Status {
        self.service().status()
    }

    fn status_json(&self) -> String {
        serde_json::to_string_pretty(&self.status()).expect("JSON")
    }

    /// Waits until the status is so.
    pub async fn eventually(&self, what: &str, mut holds: impl FnMut(&Status) -> bool) {
        eventually(what, || self.status_json(), || holds(&self.status())).await;
    }

    /// Waits until that many messages have been accepted since the start.
    pub async fn accepted(&self, messages: u64) {
        self.eventually(&format!("{messages} messages are accepted"), |s| s.messages.accepted >= messages).await;
    }

    /// Lets a peer tell something new, and waits until it is accepted.
    pub async fn hears(&self, store: &Store, message: Bytes) {
        let before = self.status().messages.accepted;
        store.append(message);
        self.accepted(before + 1).await;
    }

    /// Lets time pass, quicker than it does.
    pub async fn pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_secs(60);
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            self.clock.advance(step);
            left -= step;
            // Long enough for the collector to see that peers are still there.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits, second after second, until an epoch after `last` is served; whatever it takes to sync is sent already.
    async fn epoch_after(&self, last: u32) -> u32 {
        let started = Instant::now();
        loop {
            if let Some(epoch) = self.status().epoch.filter(|epoch| epoch.timestamp > last) {
                return epoch.timestamp;
            }
            assert!(started.elapsed() < DEADLINE, "no epoch after {last}\n{}", self.status_json());
            self.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the first snapshot after a sync of that many messages.
    pub async fn ready_after(&self, messages: u64) {
        self.accepted(messages).await;
        self.epoch_after(0).await;
    }

    /// Waits for the first epoch after the served one, when it may be due within seconds.
    pub async fn soon_next_epoch(&self) {
        self.epoch_after(self.status().epoch.map_or(0, |epoch| epoch.timestamp)).await;
    }

    /// Lets an interval pass, and waits for the epoch that it brings.
    pub async fn next_epoch(&self) {
        // One that was cut a moment ago, and is not served yet, is not meant.
        let last = self.status().epoch.expect("a first epoch").timestamp.max(self.clock.now().secs());
        self.clock.advance(self.interval.as_duration());
        self.eventually("the next epoch", |status| status.epoch.is_some_and(|epoch| epoch.timestamp > last)).await;
    }

    /// Lets time pass until a cut has just been: no other one comes soon.
    pub async fn just_cut(&self) {
        let status = self.status();
        let (last, next) = (status.epoch.expect("a first epoch").timestamp, status.next_cut.expect("known"));
        self.clock.advance(Duration::from_secs(next.saturating_sub(self.clock.now().secs()).into()));
        self.eventually("the next epoch", |status| status.epoch.is_some_and(|epoch| epoch.timestamp > last)).await;
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service().address())
    }

    /// What is answered there.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(self.url(path)).await.expect("an answer")
    }

    /// How often it cuts an epoch.
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// The bytes that a wallet gets which was told of the epoch at `last_sync`, in version 2.
    pub async fn body(&self, last_sync: u32) -> Bytes {
        let answer = self.get(&format!("/v2/snapshot/{last_sync}")).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a whole body")
    }

    /// The bytes that a new wallet gets.
    pub async fn fetch(&self, version: Version) -> Vec<u8> {
        let path = match version {
            Version::V1 => "/snapshot/0",
            Version::V2 => "/v2/snapshot/0",
        };
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a whole body").into()
    }

    /// A new wallet's first sync.
    pub async fn wallet(&self, version: Version) -> Wallet {
        Wallet::read(&self.fetch(version).await, version)
    }

    /// Asserts that new wallets of both versions get to know just what there is.
    pub async fn tells(&self, truth: &super::Truth) {
        for version in [Version::V1, Version::V2] {
            self.wallet(version).await.assert_knows(truth);
        }
    }

    /// Asserts that there is nothing for wallets yet, and that they are told when to come back.
    pub async fn has_no_snapshot(&self) {
        for path in ["/snapshot/0", "/v2/snapshot/0", "/readyz"] {
            let answer = self.get(path).await;
            assert_eq!(answer.status(), 503, "{path}\n{}", self.status_json());
            assert!(answer.headers().contains_key("retry-after"));
        }
        assert!(!self.status().ready);
    }

    /// Asserts that for so long, of which peers see little, nothing is told to wallets.
    pub async fn stays_without_snapshot_for(&self, time: Duration) {
        self.pass(time).await;
        tokio::time::sleep(LOOK_EVERY * 20).await;
        self.has_no_snapshot().await;
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        let service = self.service.take().expect("there until it is stopped");
        service.finish().await.expect("a clean end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
