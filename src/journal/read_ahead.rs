//! Reading on one core while the reader's users work on others: what makes a restart quick.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope, ScopedJoinHandle};

use anyhow::anyhow;

use super::{Entry, Reader, Seq};

/// Entries handed over at once: enough that the hand-over costs nothing, few enough to stay in the cache.
const BATCH: usize = 512;
/// Batches read ahead.
const AHEAD: usize = 8;

/// Hands every entry after `after` to `each`, oldest first, while a thread of its own reads and decodes the next.
pub fn read_ahead(reader: &mut dyn Reader, after: Seq, mut each: impl FnMut(&Entry)) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let Ahead { batches, used, reading } = Ahead::start(scope, reader, after)?;
        for batch in batches {
            batch.iter().for_each(&mut each);
            // The thread is gone when all is read.
            let _ = used.send(batch);
        }
        ended(reading)
    })
}

/// The same for two users that know nothing of each other: `second` works on another thread.
pub fn read_ahead_for_two(
    reader: &mut dyn Reader,
    after: Seq,
    mut first: impl FnMut(&Entry),
    mut second: impl FnMut(&Entry) + Send,
) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let Ahead { batches, used, reading } = Ahead::start(scope, reader, after)?;
        let (handed, second_batches) = mpsc::sync_channel::<Arc<Vec<Entry>>>(AHEAD);
        let used_too = used.clone();
        let following = thread::Builder::new().name("journal-learn".into()).spawn_scoped(scope, move || {
            for batch in second_batches {
                batch.iter().for_each(&mut second);
                give_back(batch, &used_too);
            }
            Ok(())
        })?;
        for batch in batches {
            let batch = Arc::new(batch);
            // The receiver is gone only when `second` panicked, which its thread's end tells.
            let _ = handed.send(batch.clone());
            batch.iter().for_each(&mut first);
            give_back(batch, &used);
        }
        drop(handed);
        ended(following)?;
        ended(reading)
    })
}

/// A thread that reads.
struct Ahead<'scope> {
    batches: Receiver<Vec<Entry>>,
    /// Used batches go back, for the thread that allocated the entries to free them: allocators like that.
    used: Sender<Vec<Entry>>,
    reading: ScopedJoinHandle<'scope, anyhow::Result<()>>,
}

impl<'scope> Ahead<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        reader: &'env mut dyn Reader,
        after: Seq,
    ) -> anyhow::Result<Self> {
        let (full, batches) = mpsc::sync_channel::<Vec<Entry>>(AHEAD);
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
            // The receiver is gone only when a user panicked.
            let _ = full.send(batch);
            Ok(())
        })?;
        Ok(Self { batches, used, reading })
    }
}

/// The user that lets go of a batch last gives it back.
fn give_back(batch: Arc<Vec<Entry>>, used: &Sender<Vec<Entry>>) {
    if let Some(batch) = Arc::into_inner(batch) {
        // The thread that reads is gone when all is read.
        let _ = used.send(batch);
    }
}

fn ended(thread: ScopedJoinHandle<'_, anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().map_err(|_| anyhow!("a thread that reads the journal panicked"))?
}
