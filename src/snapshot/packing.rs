//! Compression, off the way of those who wait: how thorough it may be, and for how long.
//!
//! Compressing an epoch takes a tenth of the interval at most. Of that, the snapshots get the larger part, and are
//! compressed as thoroughly as fits; what is left is for the deltas that somebody asks for.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Interval;
use super::body::{Body, Coding};
use super::served::{Served, alive};

/// The share of the interval that compressing an epoch's snapshots may take, in percent …
const SNAPSHOTS_PERCENT: u32 = 7;
/// … and its deltas.
const DELTAS_PERCENT: u32 = 3;
/// What is planned for it, in percent of the snapshots' share: machines are noisy.
const PLANNED_PERCENT: u32 = 80;
/// Whoever is compressed for takes a moment more than this for a header: no coding is worth it below.
const WORTHWHILE_BYTES: usize = 512;
/// How much slower than [`Effort::ns_per_byte`] a machine is taken to be that was not measured yet.
const UNMEASURED: f64 = 1.5;

/// How thoroughly bytes are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effort {
    Quick,
    Fair,
    Thorough,
    Utmost,
}

impl Effort {
    const ALL: [Self; 4] = [Self::Quick, Self::Fair, Self::Thorough, Self::Utmost];

    /// In the coding's own words.
    fn level(self, coding: Coding) -> u8 {
        let levels = match coding {
            Coding::Zstd => [3, 9, 12, 19],
            Coding::Gzip => [4, 6, 9, 9],
            Coding::Brotli => [3, 5, 9, 11],
        };
        levels[self as usize]
    }

    /// What a byte of a full snapshot took on one core of a common machine, in nanoseconds.
    fn ns_per_byte(self, coding: Coding) -> u32 {
        let costs = match coding {
            Coding::Zstd => [9, 36, 76, 510],
            Coding::Gzip => [25, 70, 173, 173],
            Coding::Brotli => [22, 74, 222, 2_040],
        };
        costs[self as usize]
    }

    /// In all codings.
    fn estimate(self, bytes: usize) -> Duration {
        Coding::ALL.iter().map(|coding| self.estimate_in(*coding, bytes)).sum()
    }

    fn estimate_in(self, coding: Coding, bytes: usize) -> Duration {
        Duration::from_nanos(bytes as u64 * u64::from(self.ns_per_byte(coding)))
    }

    /// The most thorough one by which so many bytes are compressed, in all codings, within that time on a machine that
    /// takes `slowness` times as long as a common one; the quickest if none is.
    fn within(time: Duration, bytes: usize, slowness: f64) -> Self {
        let fits = |effort: &Self| effort.estimate(bytes).mul_f64(slowness) <= time;
        Self::ALL.into_iter().rev().find(fits).unwrap_or(Self::Quick)
    }
}

/// Compresses the snapshots of one epoch after the other.
pub struct Packer {
    time: Duration,
    slowness: f64,
}

/// How an epoch's snapshots were compressed.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    pub effort: Effort,
    pub took: Duration,
}

impl Packer {
    /// For epochs that are cut so often.
    pub fn new(interval: Interval) -> Self {
        Self { time: interval.as_duration() * SNAPSHOTS_PERCENT / 100, slowness: UNMEASURED }
    }

    /// Compresses what is served, the most useful first, until all is done, or the time is up, or it `is_overtaken`.
    pub fn pack(&mut self, served: &Served, is_overtaken: impl Fn() -> bool) -> Packed {
        let started = Instant::now();
        let bodies = served.whole();
        let bytes = bodies.iter().map(|body| body.identity().bytes.len()).sum();
        let effort = Effort::within(self.time * PLANNED_PERCENT / 100, bytes, self.slowness);
        let mut estimate = Duration::ZERO;
        for (coding, body) in Coding::ALL.into_iter().flat_map(|coding| bodies.iter().map(move |body| (coding, body)))
        {
            if is_overtaken() {
                break;
            }
            if started.elapsed() >= self.time {
                body.give_up(coding);
            } else if pack(body, coding, effort, |bytes| alive(bytes, &served.held)) {
                estimate += effort.estimate_in(coding, body.identity().bytes.len());
            }
        }
        let took = started.elapsed();
        // Nothing is learnt from what was compressed before.
        if !estimate.is_zero() {
            self.slowness = (self.slowness + took.div_duration_f64(estimate)) / 2.0;
        }
        Packed { effort, took }
    }
}

/// How long compressing an epoch's deltas may take.
pub(super) fn for_deltas(interval: Interval) -> Duration {
    interval.as_duration() * DELTAS_PERCENT / 100
}

/// How thoroughly a delta is compressed: there may be many of them.
pub(super) fn effort_for_deltas(interval: Interval) -> Effort {
    if interval.as_duration() < Duration::from_secs(60) { Effort::Quick } else { Effort::Fair }
}

/// Whether a body is long enough to be compressed.
pub(super) fn is_worthwhile(body: &Body) -> bool {
    body.identity().bytes.len() >= WORTHWHILE_BYTES
}

/// Compresses a body, unless that was tried before: whether it did. What comes of it is held as `hold` says.
pub(super) fn pack(body: &Body, coding: Coding, effort: Effort, hold: impl FnOnce(Vec<u8>) -> Bytes) -> bool {
    if body.has_tried(coding) || !is_worthwhile(body) {
        return false;
    }
    let bytes = &body.identity().bytes;
    let coded = compress(bytes, coding, effort).map(|mut coded| {
        coded.shrink_to_fit();
        hold(coded)
    });
    // An encoder that fails is like one that makes nothing shorter.
    body.keep(coding, coded.unwrap_or_else(|_| bytes.clone()));
    true
}

/// The bytes in a coding.
fn compress(bytes: &[u8], coding: Coding, effort: Effort) -> io::Result<Vec<u8>> {
    let level = effort.level(coding);
    match coding {
        Coding::Zstd => zstd::bulk::compress(bytes, i32::from(level)),
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(u32::from(level)));
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Coding::Brotli => {
            let quality = i32::from(level);
            let params = brotli::enc::BrotliEncoderParams { quality, size_hint: bytes.len(), ..Default::default() };
            let mut coded = Vec::new();
            brotli::BrotliCompress(&mut &bytes[..], &mut coded, &params)?;
            Ok(coded)
        }
    }
}

#[cfg(test)]
mod tests;
