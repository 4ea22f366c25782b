//! A work beside its measure, by turns in the same run: what counts is the middle one of their ratios, so that what else
//! the machine does, which comes and goes, falls on both.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};

use super::table::{Budget, time};

/// A group for works that take seconds: each sample is a single one.
pub fn slow_group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(1));
    group.measurement_time(Duration::from_secs(10));
    group
}

/// Has a work done once for each sample, by whoever takes its time. Returns all times, in ascending order.
pub fn times(group: &mut BenchmarkGroup<WallTime>, name: &str, mut work: impl FnMut() -> Duration) -> Vec<Duration> {
    let mut times = Vec::new();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            (0..count)
                .map(|_| {
                    let took = work();
                    times.push(took);
                    took
                })
                .sum()
        });
    });
    times.sort_unstable();
    times
}

/// The middle one, of times in ascending order; `None` where the work was left out of this run.
pub fn middle(times: &[Duration]) -> Option<Duration> {
    times.get(times.len() / 2).copied()
}

/// A work's times, each after that of its measure.
#[derive(Default)]
pub struct Turns(Vec<[Duration; 2]>);

impl Turns {
    /// Has both done once for each sample.
    pub fn take(
        group: &mut BenchmarkGroup<WallTime>,
        name: &str,
        mut measure: impl FnMut() -> Duration,
        mut work: impl FnMut() -> Duration,
    ) -> Self {
        let mut turns = Self::default();
        times(group, name, || {
            let turn = [measure(), work()];
            turns.0.push(turn);
            turn[1]
        });
        turns
    }

    /// Holds the middle ratio against a budget; says nothing where the work was left out of this run.
    pub fn tell(mut self, budget: &Budget, measure: &str) {
        let ratio = |[measure, work]: &[Duration; 2]| work.as_secs_f64() / measure.as_secs_f64();
        self.0.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let Some(turn) = self.0.get(self.0.len() / 2) else { return };
        let [alone, took] = turn.map(time);
        let ratio = ratio(turn);
        budget.came_to(ratio, &format!("{ratio:.2} ×: {took}, {measure} {alone}"));
    }
}
