//! Reading on one core while the reader's user works on another: what makes a restart quick.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;

use anyhow::anyhow;

use super::{Entry, Reader, Seq};

/// Entries handed over at once: enough that the hand-over costs nothing, few enough to stay in the cache.
const BATCH: usize = 512;
/// Batches read ahead.
const AHEAD: usize = 16;

/// Hands every entry after `after` to `each`, oldest first, while a thread of its own reads and decodes the next.
pub fn read_ahead(reader: &mut dyn Reader, after: Seq, mut each: impl FnMut(Entry)) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<Entry>>(AHEAD);
        let reading = thread::Builder::new().name("journal-read".into()).spawn_scoped(scope, move || {
            let mut batch = Vec::with_capacity(BATCH);
            reader.read(after, &mut |entry| {
                batch.push(entry);
                if batch.len() < BATCH {
                    return ControlFlow::Continue(());
                }
                match sender.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            // The receiver is gone only when `each` panicked.
            let _ = sender.send(batch);
            Ok(())
        })?;
        receiver.iter().flatten().for_each(&mut each);
        reading.join().map_err(|_| anyhow!("the thread that reads the journal panicked"))?
    })
}
