//! The prover's one loop: takes orders, keeps a few requests under way, hands out answers, tells how it is doing.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::jobs::Done;
use super::plan::{Notice, Plan};
use super::rest::Rest;
use super::watcher::Tip;
use super::{Finding, Order, ProverStatus};

/// Requests under way at a time. bitcoind has 4 or 16 threads for them by default, and a queue of 16 or more.
pub(super) const IN_FLIGHT: usize = 8;

/// Orders taken in one go.
const ORDERS: usize = 1_024;

pub(super) struct Actor {
    rest: Arc<Rest>,
    plan: Plan,
    orders: mpsc::UnboundedReceiver<Order>,
    findings: mpsc::UnboundedSender<Finding>,
    publish: watch::Sender<ProverStatus>,
    publish_tip: watch::Sender<Option<Tip>>,
    jobs: JoinSet<Done>,
}

impl Actor {
    pub fn new(
        rest: Arc<Rest>,
        plan: Plan,
        orders: mpsc::UnboundedReceiver<Order>,
        findings: mpsc::UnboundedSender<Finding>,
        publish: watch::Sender<ProverStatus>,
        publish_tip: watch::Sender<Option<Tip>>,
    ) -> Self {
        Self { rest, plan, orders, findings, publish, publish_tip, jobs: JoinSet::new() }
    }

    /// Runs until nobody gives orders or takes answers any more.
    pub async fn run(mut self) {
        let mut orders = Vec::with_capacity(ORDERS);
        while self.turn().is_some() {
            let wake = self.plan.next_wake(Instant::now()).filter(|_| self.jobs.len() < IN_FLIGHT);
            tokio::select! {
                taken = self.orders.recv_many(&mut orders, ORDERS) => {
                    if taken == 0 {
                        return;
                    }
                    orders.drain(..).for_each(|order| self.obey(order));
                }
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.plan.finish(done, Instant::now()),
                    Err(died) => std::panic::resume_unwind(died.into_panic()),
                },
                () = sleep_until(wake) => {}
                () = self.findings.closed() => return,
            }
        }
    }

    /// Starts what can be started and tells what there is to tell. `None` if nobody listens.
    fn turn(&mut self) -> Option<()> {
        while self.jobs.len() < IN_FLIGHT {
            let Some(job) = self.plan.next_job(Instant::now()) else { break };
            let rest = Arc::clone(&self.rest);
            self.jobs.spawn(async move { job.run(&rest).await });
        }
        let status = self.plan.status(self.rest.requests());
        for notice in self.plan.take_notices() {
            log(&notice, &status, &self.rest);
        }
        let told = self.tell_settled();
        publish(&self.publish, status);
        publish(&self.publish_tip, self.plan.tip(Instant::now()));
        told
    }

    fn tell_settled(&mut self) -> Option<()> {
        let settled = self.plan.take_settled();
        settled.into_iter().try_for_each(|settled| self.findings.send(Finding::Settled(settled)).ok())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Prove(claim) => self.plan.claim(claim, Instant::now()),
            Order::Withdraw { id, scid } => self.plan.withdraw(id, scid),
            Order::Watch(watched) => self.plan.watch(watched),
            Order::Reach(block) => self.plan.reach(block),
            Order::Doubt(error) => self.plan.doubt(&error, Instant::now()),
            Order::Ask(question) => {
                // Where nobody listens, `run` notices.
                let _ = self.tell_settled().and_then(|()| self.findings.send(Finding::Question(question)).ok());
            }
        }
    }
}

fn publish<T: PartialEq>(channel: &watch::Sender<T>, now: T) {
    channel.send_if_modified(|published| {
        let changed = *published != now;
        *published = now;
        changed
    });
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn log(notice: &Notice, status: &ProverStatus, rest: &Rest) {
    let waiting = status.pending;
    match notice {
        Notice::Lost => {
            let problem = status.problem.as_deref().unwrap_or("bitcoind does not answer");
            tracing::warn!(waiting, "{problem}; funding proofs wait until that is mended");
        }
        Notice::Found => {
            let tip = status.tip_height.unwrap_or(0);
            let syncing = if status.initial_block_download { ", still downloading the chain" } else { "" };
            tracing::info!(waiting, tip, "bitcoind at {} answers{syncing}", rest.place());
            if let Some(sentence) = status.pruned() {
                tracing::warn!("{sentence}");
            }
        }
        Notice::Failed(error) => tracing::warn!("{error}; what waits for it is tried again"),
    }
}
