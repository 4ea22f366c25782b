//! What the stories are told with: a [`World`] around the service, the [`Running`] service in process or its
//! [`Process`], and a [`Wallet`] that judges what is served.

pub mod archive;
mod process;
pub mod proxies;
pub mod receivers;
mod running;
mod wallet;
mod world;

use std::time::{Duration, Instant};

pub use process::{Process, Run, rgsd, rgsd_with, status};
pub use running::{Running, every};
pub use wallet::{Truth, Wallet};
pub use world::World;

/// How long a condition may take to come true, on a slow machine with much else to do.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How often it is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether stories are told at their full length, as `make soak` does.
pub fn soak() -> bool {
    std::env::var_os("SOAK").is_some_and(|said| !said.is_empty())
}

/// Waits until `holds` does; fails with `what` and what `state` says of it then.
pub async fn eventually(what: &str, state: impl FnMut() -> String, mut holds: impl FnMut() -> bool) {
    eventually_told(what, state, async || holds()).await;
}

/// The same where somebody else has to be asked.
pub async fn eventually_told(what: &str, mut state: impl FnMut() -> String, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < DEADLINE, "waited in vain for this: {what}\n{}", state());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Runs a story in a runtime of its own. A story that fails must not wait for the service's threads.
pub fn story(tale: impl Future<Output = ()>) {
    struct Stage(Option<tokio::runtime::Runtime>);

    impl Drop for Stage {
        fn drop(&mut self) {
            if let Some(runtime) = self.0.take() {
                runtime.shutdown_timeout(Duration::from_secs(1));
            }
        }
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let stage = Stage(Some(runtime.expect("a runtime")));
    if let Some(runtime) = &stage.0 {
        runtime.block_on(tale);
    }
}
