//! The packer: compresses what is served, while it is served as it is.

use std::sync::Arc;

use crate::snapshot::{Desk, Packed};
use crate::tasks::Tasks;

/// Starts the packer. Ends at the stop, and leaves the thread that is at a body to end by itself.
pub(super) fn start(desk: Arc<Desk>, tasks: &Tasks) {
    let stop = tasks.stop().clone();
    tasks.spawn("the packer", async move {
        let mut changes = desk.changes();
        changes.mark_changed();
        let mut packer = desk.packer();
        while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
            let (served_by, is_stopping) = (Arc::clone(&desk), stop.clone());
            let packed = tokio::task::spawn_blocking(move || {
                (served_by.pack(&mut packer, || is_stopping.is_cancelled()), packer)
            });
            let Some(packed) = stop.run_until_cancelled(packed).await else { break };
            match packed {
                Ok((packed, back)) => {
                    packer = back;
                    if let Some(Packed { effort, took }) = packed {
                        tracing::debug!(?effort, ?took, "compressed the snapshots");
                    }
                }
                // An encoder panicked: no reason to serve nobody.
                Err(error) => {
                    packer = desk.packer();
                    tracing::error!(%error, "compressing the snapshots failed: they are served as far as they are");
                }
            }
        }
        Ok(())
    });
}
