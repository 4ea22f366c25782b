//! Reading on one core while the reader's user works on another: what makes a restart quick.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;

use anyhow::anyhow;

use super::{Entry, Reader, Seq};

/// Entries handed over at once: enough that the hand-over costs nothing, few enough to stay in the cache.
const BATCH: usize = 512;
/// Batches read ahead.
const AHEAD: usize = 8;

/// Hands every entry after `after` to `each`, oldest first, while a thread of its own reads and decodes the next.
pub fn read_ahead(reader: &mut dyn Reader, after: Seq, mut each: impl FnMut(&Entry)) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let (full, batches) = mpsc::sync_channel::<Vec<Entry>>(AHEAD);
        // Used batches go back, for the thread that allocated the entries to free them: allocators like that.
        let (used, empty) = mpsc::channel::<Vec<Entry>>();
        let reading = thread::Builder::new().name("journal-read".into()).spawn_scoped(scope, move || {
            let mut batch = Vec::with_capacity(BATCH);
            reader.read(after, &mut |entry| {
                batch.push(entry);
                if batch.len() < BATCH {
                    return ControlFlow::Continue(());
                }
                let mut next = empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
                next.clear();
                match full.send(std::mem::replace(&mut batch, next)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            // The receiver is gone only when `each` panicked.
            let _ = full.send(batch);
            Ok(())
        })?;
        for batch in batches {
            batch.iter().for_each(&mut each);
            // The thread is gone when all is read.
            let _ = used.send(batch);
        }
        reading.join().map_err(|_| anyhow!("the thread that reads the journal panicked"))?
    })
}
