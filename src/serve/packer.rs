//! The packer: compresses what is served, while it is served as it is.
//!
//! It has a thread of its own, which gives way to whoever computes a delta for a wallet. What an encoder takes and gives back
//! stays in one place of the allocator's, and a stop need not wait for the body that it is at.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, anyhow};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::snapshot::{Desk, Packed};
use crate::tasks::Tasks;

/// Starts the packer. Ends at the stop, and leaves the thread to end by itself.
pub(super) fn start(desk: Arc<Desk>, tasks: &Tasks) -> anyhow::Result<()> {
    let (stop, runtime) = (tasks.stop().clone(), Handle::current());
    let (is_there, is_gone) = oneshot::channel::<()>();
    let pack = {
        let stop = stop.clone();
        move || {
            let _is_there = is_there;
            pack_all(&desk, &stop, &runtime);
        }
    };
    thread::Builder::new().name("packer".to_owned()).spawn(pack).context("cannot start a thread")?;
    tasks.spawn("the packer", async move {
        match stop.run_until_cancelled(is_gone).await {
            Some(_) if !stop.is_cancelled() => Err(anyhow!("its thread has ended")),
            _ => Ok(()),
        }
    });
    Ok(())
}

/// How much less a thread counts than others that want a core: nice(2), which in Linux is each thread's own.
const NICENESS: i32 = 10;

fn pack_all(desk: &Desk, stop: &CancellationToken, runtime: &Handle) {
    let _ = rustix::process::nice(NICENESS); // where that is not allowed, it goes without
    let mut changes = desk.changes();
    changes.mark_changed();
    let mut packer = desk.packer();
    while let Some(Ok(())) = runtime.block_on(stop.run_until_cancelled(changes.changed())) {
        match catch_unwind(AssertUnwindSafe(|| desk.pack(&mut packer, || stop.is_cancelled()))) {
            Ok(Some(Packed { effort, took })) => tracing::debug!(?effort, ?took, "compressed the snapshots"),
            Ok(None) => {}
            // An encoder panicked: no reason to serve nobody.
            Err(_) => {
                packer = desk.packer();
                tracing::error!("compressing the snapshots failed: they are served as far as they are");
            }
        }
    }
}
