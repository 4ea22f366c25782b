//! Forgetting without holding up a commit: the plan is made by a thread of its own, and carried out by the
//! writer in steps so short that a draft does not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;

use super::Command;
use crate::gossip::UnixMs;
use crate::journal::{AppendError, Journal, Seq, retention};

/// Fewest and most entries to forget in one step; how many, is found out as it goes.
const STEP: std::ops::RangeInclusive<usize> = 8..=4096;

pub(super) struct Forgetting {
    control: mpsc::UnboundedSender<Command>,
    /// How long a step should take.
    budget: Duration,
    planning: Option<JoinHandle<()>>,
    /// Cleared to break off a plan.
    go_on: Arc<AtomicBool>,
    /// What is still to be forgotten, in descending order: taken from the end.
    todo: Vec<Seq>,
    step: usize,
}

impl Forgetting {
    pub(super) fn new(control: mpsc::UnboundedSender<Command>, budget: Duration) -> Self {
        Self { control, budget, planning: None, go_on: Arc::new(AtomicBool::new(true)), todo: Vec::new(), step: 64 }
    }

    /// Starts to plan; the plan comes back as a command. Nothing happens while the last one is being made or
    /// carried out.
    pub(super) fn plan(&mut self, journal: &dyn Journal, now: UnixMs, retention: Duration) {
        if self.planning.is_some() || self.has_work() {
            return;
        }
        match self.spawn(journal, now, retention) {
            Ok(planning) => self.planning = Some(planning),
            Err(error) => tracing::error!("cannot plan what the journal may forget: {error:#}"),
        }
    }

    fn spawn(&self, journal: &dyn Journal, now: UnixMs, retention: Duration) -> anyhow::Result<JoinHandle<()>> {
        let reader = journal.reader()?;
        let (control, go_on) = (self.control.clone(), self.go_on.clone());
        let work = move || {
            let plan = retention::plan(&*reader, now, retention, || go_on.load(Ordering::Relaxed));
            // The writer is gone only when the service ends.
            let _ = control.send(Command::Forget(plan));
        };
        thread::Builder::new().name("journal-retain".into()).spawn(work).context("cannot start a thread")
    }

    /// Takes a plan, to be carried out.
    pub(super) fn planned(&mut self, plan: anyhow::Result<Vec<Seq>>) {
        self.planning = None;
        match plan {
            Ok(mut seqs) => {
                if !seqs.is_empty() {
                    tracing::debug!("forgetting {} superseded entries", seqs.len());
                }
                seqs.reverse();
                self.todo = seqs;
            }
            Err(error) => tracing::error!("cannot plan what the journal may forget: {error:#}"),
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Forgets a few entries; returns how many.
    pub(super) fn step(&mut self, journal: &mut dyn Journal) -> anyhow::Result<u64> {
        if self.todo.is_empty() {
            return Ok(0);
        }
        let started = Instant::now();
        let mut seqs = self.todo.split_off(self.todo.len().saturating_sub(self.step));
        seqs.reverse();
        match journal.forget(&seqs) {
            Ok(count) => {
                self.adapt(started.elapsed());
                Ok(count as u64)
            }
            Err(AppendError::Full(_)) => {
                // Even forgetting needs room, in the write-ahead log. There is no hurry: the next plan has it again.
                self.todo.clear();
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn adapt(&mut self, took: Duration) {
        let step = if took > self.budget { self.step / 2 } else { self.step * 2 };
        if took > self.budget || took * 2 < self.budget {
            self.step = step.clamp(*STEP.start(), *STEP.end());
        }
    }

    /// Breaks off, and waits for the thread.
    pub(super) fn end(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
        if self.planning.take().is_some_and(|planning| planning.join().is_err()) {
            tracing::error!("the thread that plans what the journal may forget panicked");
        }
    }
}
