//! The thread that writes the journal: many small drafts in, a few durable commits, the entries out in order.
//!
//! Promises that every draft it took becomes exactly one entry, in the order of the channel; that no entry is
//! handed on before it is durable; that a draft waits for company no longer than [`Pace::hold`]; and that a full
//! disk loses nothing: the commit is tried again until there is room, and [`Status::storage_full`] says so
//! meanwhile. Any other failure ends the thread, with its reason in [`Writer::ended`].
//!
//! While the journal follows an archive, entries come in by [`Writer::copies`] instead, numbered already; whoever
//! sends them sees to it that there are no drafts at the same time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;

use self::forgetting::Forgetting;
use super::{AppendError, Draft, Entry, Identity, Journal, Seq};
use crate::gossip::UnixMs;

mod forgetting;

/// How the writer groups, and how it waits.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a draft waits for others to share its commit.
    pub hold: Duration,
    /// How many drafts are enough for a commit.
    pub group: usize,
    /// The most drafts in one commit, where more are queued already.
    pub burst: usize,
    /// How many drafts may queue before their senders wait.
    pub queue: usize,
    /// How many batches of copies may queue before their sender waits.
    pub copies: usize,
    /// How many commits may queue for the history before the writer waits.
    pub commits: usize,
    /// How long to wait before a full disk is tried again; doubles up to `retry_most`.
    pub retry_first: Duration,
    pub retry_most: Duration,
    /// How long one step of forgetting should take: what it may keep a commit waiting.
    pub forget_step: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            hold: Duration::from_millis(100),
            group: 1_000,
            burst: 10_000,
            queue: 10_000,
            copies: 2,
            commits: 16,
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(10),
            forget_step: Duration::from_millis(20),
        }
    }
}

/// How the writer fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The last entry that is durable.
    pub last_seq: Seq,
    /// Since when the disk has had no room; `None` while it has.
    pub storage_full: Option<Instant>,
    /// How many entries were forgotten since start.
    pub forgotten: u64,
}

/// The handle on the thread.
#[derive(Debug)]
pub struct Writer {
    control: mpsc::UnboundedSender<Command>,
    copies: mpsc::Sender<Vec<Entry>>,
    status: watch::Receiver<Status>,
    /// Until the thread's result was asked for.
    ended: Option<oneshot::Receiver<anyhow::Result<()>>>,
}

/// Asks the thread to forget what is old. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Retainer {
    control: mpsc::UnboundedSender<Command>,
}

impl Retainer {
    /// Forgets, in the background, what is older than `retention` and superseded for as long (see [`retention`](super::retention)).
    /// Passed over while the last call's work is going on.
    pub fn retain(&self, now: UnixMs, retention: Duration) {
        // Where the thread has ended, `ended` says so.
        let _ = self.control.send(Command::Retain { now, retention });
    }
}

/// What an archive's keeper asks of the thread, beside writing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notes {
    control: mpsc::UnboundedSender<Command>,
}

impl Notes {
    /// Returns when it is noted durably (see [`Journal::identify`]).
    pub async fn identify(&self, identity: Identity) -> anyhow::Result<()> {
        self.ask(|noted| Command::Identify(identity, noted)).await
    }

    /// See [`Journal::unoffered`].
    pub async fn unoffered(&self, at_most: usize) -> anyhow::Result<Vec<(i64, Vec<u8>)>> {
        self.ask(|answer| Command::Unoffered(at_most, answer)).await
    }

    /// See [`Journal::offered`].
    pub async fn offered(&self, ids: Vec<i64>) -> anyhow::Result<()> {
        self.ask(|noted| Command::Offered(ids, noted)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> anyhow::Result<T> {
        let (answer, answered) = oneshot::channel();
        // Where the thread has ended, nobody answers.
        let _ = self.control.send(command(answer));
        answered.await.map_err(|_| anyhow!("the journal has ended"))?
    }
}

/// An error, such as a full disk, is the asker's.
type Answer<T> = oneshot::Sender<anyhow::Result<T>>;

#[derive(Debug)]
enum Command {
    Identify(Identity, Answer<()>),
    Unoffered(usize, Answer<Vec<(i64, Vec<u8>)>>),
    Offered(Vec<i64>, Answer<()>),
    Retain { now: UnixMs, retention: Duration },
    Forget(anyhow::Result<Vec<Seq>>),
    Stop,
}

impl Writer {
    /// Starts the thread. Drafts go into the returned sender; their entries come out of the returned receiver, one
    /// commit at a time. If nobody receives any more, entries are journaled all the same.
    pub fn spawn(
        journal: Box<dyn Journal>,
        pace: Pace,
    ) -> anyhow::Result<(Self, mpsc::Sender<Draft>, mpsc::Receiver<Vec<Entry>>)> {
        let (draft_sender, drafts) = mpsc::channel(pace.queue);
        let (copy_sender, copies) = mpsc::channel(pace.copies);
        let (commits, commit_receiver) = mpsc::channel(pace.commits);
        let (control, commands) = mpsc::unbounded_channel();
        let (status_sender, status) = watch::channel(Status { last_seq: journal.last_seq(), ..Status::default() });
        let (end, ended) = oneshot::channel();
        let forgetting = Forgetting::new(control.clone(), pace.forget_step);
        let thread = Thread {
            journal,
            pace,
            drafts,
            copies,
            commits,
            commands,
            status: status_sender,
            forgetting,
            stopping: false,
        };
        // Its own runtime: the thread blocks on the disk, and needs no more than a timer.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                let result = runtime.block_on(thread.run());
                // Nobody asks any more when the service is going down.
                let _ = end.send(result);
            })
            .context("cannot start the journal's thread")?;
        Ok((Self { control, copies: copy_sender, status, ended: Some(ended) }, draft_sender, commit_receiver))
    }

    /// Where entries go that another collector has numbered: a batch becomes a commit.
    pub fn copies(&self) -> mpsc::Sender<Vec<Entry>> {
        self.copies.clone()
    }

    /// For an archive's keeper.
    pub fn notes(&self) -> Notes {
        Notes { control: self.control.clone() }
    }

    /// How the writer fares, as it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Whoever asks for old entries to be forgotten.
    pub fn retainer(&self) -> Retainer {
        Retainer { control: self.control.clone() }
    }

    /// Waits until the thread has ended: only by itself because of an error, or after [`Writer::stop`]. May be
    /// dropped and asked again; the result is told once.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        let Some(ended) = &mut self.ended else { return Ok(()) };
        let result = ended.await;
        self.ended = None;
        result.map_err(|_| anyhow!("the journal's thread panicked"))?
    }

    /// Takes no more drafts, commits all that are queued, closes the journal and ends the thread. The entries must
    /// be received, or their receiver dropped, meanwhile.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // Where the thread has ended already, there is nothing to stop.
        let _ = self.control.send(Command::Stop);
        self.ended().await
    }
}

struct Thread {
    journal: Box<dyn Journal>,
    pace: Pace,
    drafts: mpsc::Receiver<Draft>,
    copies: mpsc::Receiver<Vec<Entry>>,
    commits: mpsc::Sender<Vec<Entry>>,
    commands: mpsc::UnboundedReceiver<Command>,
    status: watch::Sender<Status>,
    forgetting: Forgetting,
    stopping: bool,
}

impl Thread {
    async fn run(mut self) -> anyhow::Result<()> {
        let result = self.work().await;
        self.forgetting.end();
        result
    }

    /// Until all drafts are committed and no more can come.
    async fn work(&mut self) -> anyhow::Result<()> {
        let mut group = Vec::new();
        loop {
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => self.obey(command),
                Some(entries) = self.copies.recv() => self.copy(entries).await?,
                count = self.drafts.recv_many(&mut group, self.pace.burst) => {
                    if count == 0 {
                        return Ok(());
                    }
                    self.fill(&mut group).await;
                    self.commit(&mut group).await?;
                    self.forget()?;
                },
                () = std::future::ready(()), if self.forgetting.has_work() => self.forget()?,
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            // Nobody waits for an answer any more when the service is going down.
            Command::Identify(identity, answer) => {
                drop(answer.send(self.journal.identify(identity).map_err(Into::into)))
            }
            Command::Unoffered(at_most, answer) => drop(answer.send(self.journal.unoffered(at_most))),
            Command::Offered(ids, answer) => drop(answer.send(self.journal.offered(&ids).map_err(Into::into))),
            Command::Retain { now, retention } => self.forgetting.plan(&*self.journal, now, retention),
            Command::Forget(plan) => self.forgetting.planned(plan),
            Command::Stop => {
                self.stopping = true;
                self.drafts.close();
                self.copies.close();
            }
        }
    }

    /// Waits for company for the drafts in `group`.
    async fn fill(&mut self, group: &mut Vec<Draft>) {
        let deadline = tokio::time::Instant::now() + self.pace.hold;
        while group.len() < self.pace.group {
            let room = self.pace.burst.saturating_sub(group.len());
            match timeout_at(deadline, self.drafts.recv_many(group, room)).await {
                Err(_) | Ok(0) => return,
                Ok(_) => {}
            }
        }
    }

    /// Writes the group, however long the disk is full, and hands its entries on.
    async fn commit(&mut self, group: &mut Vec<Draft>) -> anyhow::Result<()> {
        let first = self.write(group.len(), |journal| journal.append(group)).await?;
        let entries = (first.0..).zip(group.drain(..)).map(|(seq, draft)| draft.numbered(Seq(seq))).collect();
        self.hand_on(entries).await;
        Ok(())
    }

    /// The same for entries that are numbered already.
    async fn copy(&mut self, entries: Vec<Entry>) -> anyhow::Result<()> {
        self.write(entries.len(), |journal| journal.adopt(&entries)).await?;
        self.hand_on(entries).await;
        Ok(())
    }

    async fn write<T>(
        &mut self,
        count: usize,
        write: impl Fn(&mut dyn Journal) -> Result<T, AppendError>,
    ) -> anyhow::Result<T> {
        let mut wait = self.pace.retry_first;
        let written = loop {
            let last_try = self.stopping;
            match write(&mut *self.journal) {
                Ok(written) => break written,
                Err(AppendError::Full(reason)) if last_try => {
                    bail!("{reason}; {count} accepted entries could not be written before the stop")
                }
                Err(AppendError::Full(reason)) => self.note_full(&reason),
                Err(error) => return Err(error.into()),
            }
            self.rest(wait).await;
            wait = (wait * 2).min(self.pace.retry_most);
        };
        self.note_written();
        Ok(written)
    }

    async fn hand_on(&self, entries: Vec<Entry>) {
        // A history that is gone ends the service; what was accepted is durable all the same.
        let _ = self.commits.send(entries).await;
    }

    /// Waits before the next try; a stop ends the wait.
    async fn rest(&mut self, wait: Duration) {
        let until = tokio::time::Instant::now() + wait;
        while !self.stopping {
            match timeout_at(until, self.commands.recv()).await {
                Ok(Some(command)) => self.obey(command),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn note_full(&self, reason: &str) {
        self.status.send_if_modified(|status| {
            let first = status.storage_full.is_none();
            if first {
                tracing::error!("{reason}; nothing more is accepted until there is room");
                status.storage_full = Some(Instant::now());
            }
            first
        });
    }

    fn note_written(&self) {
        self.status.send_modify(|status| {
            if let Some(since) = status.storage_full.take() {
                tracing::info!("the journal has room again, after {} s", since.elapsed().as_secs());
            }
            status.last_seq = self.journal.last_seq();
        });
    }

    fn forget(&mut self) -> anyhow::Result<()> {
        let forgotten = self.forgetting.step(&mut *self.journal)?;
        if forgotten > 0 {
            self.status.send_modify(|status| status.forgotten += forgotten);
        }
        Ok(())
    }
}
