//! Wallets that sync at an interval, and what comes of their payments.
//!
//! At an interval, the server cuts an epoch that often, and a wallet fetches the newest that often, each in a rhythm of its
//! own. So what a wallet goes by is as old as two draws from nothing to the interval: one interval on average. All
//! intervals are asked about the same payments, which somebody who knows all that the server knows finds a route for:
//! what no wallet could pay says nothing of staleness.

use std::time::Duration;

use rand::RngExt;
use rayon::prelude::*;

use super::draw;
use super::past::Past;
use super::trial::{Cause, Court, Grace};
use super::wallet::{Turns, Wallet, Wish};
use crate::gossip::UnixMs;

/// How often a payment's ends are drawn until there is a route, before it is given up.
const TRIES: usize = 64;
/// Each graph is built once and moved forward through so many payments' moments: enough that building it does not count,
/// and few enough that all cores are busy to the end.
const MOMENTS_A_GRAPH: usize = 500;

/// What is simulated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    pub network: bitcoin::Network,
    /// In which payments are made, and all that their wallets know was known.
    pub span: (UnixMs, UnixMs),
    /// None longer than half of the span.
    pub intervals: Vec<Duration>,
    pub payments: u32,
    /// Taken by turns.
    pub amounts_sat: Vec<u64>,
    pub grace: Grace,
    pub seed: u64,
}

/// What became of payments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fates {
    pub succeeded: u32,
    /// By [`Cause`].
    pub failed: [u32; Cause::ALL.len()],
}

impl Fates {
    pub fn all(&self) -> u32 {
        self.succeeded + self.failed()
    }

    /// Of all causes.
    pub fn failed(&self) -> u32 {
        self.failed.iter().sum()
    }

    pub fn of(&self, cause: Cause) -> u32 {
        self.failed[cause as usize]
    }

    fn count(&mut self, outcome: Result<(), Cause>) {
        match outcome {
            Ok(()) => self.succeeded += 1,
            Err(cause) => self.failed[cause as usize] += 1,
        }
    }
}

/// What became of the payments, by amount.
pub type ByAmount = Vec<Fates>;

/// What a simulation comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Simulated {
    /// Of wallets that know all that the server knows: only gossip's own way is left.
    pub live: ByAmount,
    /// By interval, in the question's order.
    pub intervals: Vec<ByAmount>,
    /// How many payments were given up, because there was no route for whatever was drawn.
    pub given_up: u32,
}

/// Whoever looks on: told of each step, and asked whether to go on.
pub trait Watcher: Sync {
    /// So many steps there will be.
    fn begins(&self, steps: usize);
    /// One is done. `false` ends it all.
    fn step(&self) -> bool;
}

/// The watcher stopped it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Somebody pays.
#[derive(Clone, Copy, Debug)]
struct Payment {
    number: u32,
    at: UnixMs,
    /// Where in their rhythms the server and the wallet are, from 0 to 1.
    phases: [f64; 2],
}

/// A payment whose ends are known, and what becomes of it if its wallet knows all that the server knows.
#[derive(Clone, Copy, Debug)]
struct Settled {
    payment: Payment,
    wish: Wish,
    live: Result<(), Cause>,
}

/// What became of a payment at one of the intervals; both by their places. There may be millions.
struct Tried {
    settled: u32,
    interval: u32,
    outcome: Result<(), Cause>,
}

/// Simulates. `now_s` is the system's time in unix seconds, by which LDK judges updates; it changes no figure.
pub fn simulate(
    past: &Past,
    question: &Question,
    now_s: u32,
    watcher: &impl Watcher,
) -> Result<Simulated, Interrupted> {
    let turns = Turns::of(past);
    let court = Court::new(past, &question.grace, question.seed);
    let scene = Scene { past, turns: &turns, court: &court, purse: Purse::of(past), question, now_s, watcher };
    watcher.begins(question.payments as usize * (1 + question.intervals.len()));
    let payments = question.payments_at();
    let settled = scene.settle(payments)?;
    let mut simulated = Simulated {
        live: vec![Fates::default(); question.amounts_sat.len()],
        intervals: vec![vec![Fates::default(); question.amounts_sat.len()]; question.intervals.len()],
        given_up: question.payments - settled.len() as u32,
    };
    for one in &settled {
        simulated.live[question.amount_of(one.payment)].count(one.live);
    }
    for one in scene.try_all(&settled)? {
        let amount = question.amount_of(settled[one.settled as usize].payment);
        simulated.intervals[one.interval as usize][amount].count(one.outcome);
    }
    Ok(simulated)
}

impl Question {
    /// When somebody pays, in order: late enough that also a wallet of the longest interval was told within the span.
    fn payments_at(&self) -> Vec<Payment> {
        let longest_ms = self.intervals.iter().map(|interval| ms(*interval)).max().unwrap_or(0);
        let first = self.span.0.0.saturating_add(longest_ms.saturating_mul(2)).min(self.span.1.0);
        let mut payments: Vec<Payment> = (0..self.payments)
            .map(|number| {
                let mut rng = draw::rng(self.seed, number.into());
                let at = UnixMs(rng.random_range(first..=self.span.1.0));
                Payment { number, at, phases: [rng.random(), rng.random()] }
            })
            .collect();
        payments.sort_by_key(|payment| (payment.at, payment.number));
        payments
    }

    /// Which of the amounts.
    fn amount_of(&self, payment: Payment) -> usize {
        payment.number as usize % self.amounts_sat.len()
    }

    /// When the wallet was told what it goes by.
    fn told(&self, payment: Payment, interval: Duration) -> UnixMs {
        let age_ms = ms(interval) as f64 * (payment.phases[0] + payment.phases[1]);
        UnixMs(payment.at.0.saturating_sub(age_ms as u64).max(self.span.0.0))
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Where payments are made.
struct Scene<'a, W> {
    past: &'a Past,
    turns: &'a Turns,
    court: &'a Court<'a>,
    purse: Purse,
    question: &'a Question,
    now_s: u32,
    watcher: &'a W,
}

impl<'a, W: Watcher> Scene<'a, W> {
    /// Finds each payment's ends.
    fn settle(&self, payments: Vec<Payment>) -> Result<Vec<Settled>, Interrupted> {
        let moments = payments.into_iter().map(|payment| (payment.at, payment)).collect();
        let settled = self.moment_by_moment(moments, |wallet, at, payment| {
            let mut rng = draw::rng(self.question.seed ^ ENDS, payment.number.into());
            let amount_msat = self.question.amounts_sat[self.question.amount_of(payment)].saturating_mul(1_000);
            (0..TRIES).find_map(|_| {
                let (lsp, payee) = self.purse.draw(self.past, at, amount_msat, &mut rng)?;
                let wish = Wish { lsp, payee, amount_msat, seed: rng.random() };
                let route = wallet.route(&wish)?;
                Some(Settled { payment, wish, live: self.court.judge(&route, at, at) })
            })
        })?;
        Ok(settled.into_iter().flatten().collect())
    }

    /// What becomes of each payment at each interval.
    fn try_all(&self, settled: &[Settled]) -> Result<Vec<Tried>, Interrupted> {
        let told = |one: &Settled, interval: Duration| self.question.told(one.payment, interval);
        let intervals = || self.question.intervals.iter().zip(0..);
        let at_each = |(one, place)| intervals().map(move |(interval, n)| (told(one, *interval), (place, n)));
        let mut moments: Vec<(UnixMs, (u32, u32))> = settled.iter().zip(0..).flat_map(at_each).collect();
        moments.sort_unstable();
        self.moment_by_moment(moments, |wallet, told, (place, interval)| {
            let one = &settled[place as usize];
            let route = wallet.route(&one.wish).ok_or(Cause::NoRoute);
            let outcome = route.and_then(|route| self.court.judge(&route, told, one.payment.at));
            Tried { settled: place, interval, outcome }
        })
    }

    /// Does something at each moment, in order, with a wallet that was told everything then; on all cores.
    fn moment_by_moment<T: Copy + Send + Sync, U: Send>(
        &self,
        moments: Vec<(UnixMs, T)>,
        work: impl Fn(&Wallet, UnixMs, T) -> U + Sync,
    ) -> Result<Vec<U>, Interrupted> {
        let stretch = |stretch: &[(UnixMs, T)]| -> Result<Vec<U>, Interrupted> {
            let Some((first, _)) = stretch.first() else { return Ok(Vec::new()) };
            let mut wallet = Wallet::new(self.past, self.turns, self.question.network, *first, self.now_s);
            let one = |(at, what): &(UnixMs, T)| {
                wallet.advance(*at);
                let done = work(&wallet, *at, *what);
                if self.watcher.step() { Ok(done) } else { Err(Interrupted) }
            };
            stretch.iter().map(one).collect()
        };
        let stretches: Result<Vec<Vec<U>>, Interrupted> = moments.par_chunks(MOMENTS_A_GRAPH).map(stretch).collect();
        Ok(stretches?.into_iter().flatten().collect())
    }
}

/// Sets the draws of a payment's ends apart from those of its time.
const ENDS: u64 = 0x656e_6473;

/// Draws who pays and who is paid.
struct Purse {
    /// By channel, the capacity of all up to it; in sat.
    capacity_sat: Vec<u64>,
}

impl Purse {
    fn of(past: &Past) -> Self {
        let capacity = |sum: &mut u64, channel: &super::past::Channel| {
            *sum = sum.saturating_add(channel.capacity_sat.unwrap_or(1_000_000)); // where it is not proven
            Some(*sum)
        };
        Self { capacity_sat: past.channels().iter().scan(0, capacity).collect() }
    }

    /// The node that the wallet has its channel with: as often as it has capacity, for large nodes have many wallets. And
    /// who is paid: as often as it has channels, if one of them takes the amount. `None` if they are the same, or closed.
    fn draw(&self, past: &Past, at: UnixMs, amount_msat: u64, rng: &mut impl rand::Rng) -> Option<(u32, u32)> {
        let channels = past.channels();
        let spot = rng.random_range(0..self.capacity_sat.last().copied().filter(|sum| *sum > 0)?);
        let by_capacity = channels.get(self.capacity_sat.partition_point(|sum| *sum <= spot))?;
        let by_number = channels.get(rng.random_range(0..channels.len()))?;
        let ends = [rng.random_range(0..2_usize), rng.random_range(0..2_usize)];
        let (lsp, payee) = (by_capacity.nodes[ends[0]], by_number.nodes[ends[1]]);
        by_capacity.told(at)?;
        // What comes in to one end is what the other forwards.
        let incoming = by_number.told(at)?[1 - ends[1]];
        let takes =
            incoming.enabled && (incoming.htlc_minimum_msat..=incoming.htlc_maximum_msat).contains(&amount_msat);
        (takes && lsp != payee).then_some((lsp, payee))
    }
}
