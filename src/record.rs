//! `rgsd record`: live gossip, or what a journal holds of it, to recordings that can be replayed.

mod export;
mod files;
mod live;

use std::time::Duration;

pub use export::{Export, Target, export};
pub use files::{Files, Rotation};
pub use live::{Live, live};

/// How many bytes a text means: a number, alone or with kB, MB, GB (powers of 1000) or KiB, MiB, GiB (of 1024).
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size such as 100MB or 64MiB, at least 1".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(expected)
}

/// A time as a file's name has it: `2026-11-21T14-00-17Z`.
fn name_of(unix_s: u32) -> String {
    crate::text::rfc_3339(unix_s).replace(':', "-")
}

/// Reads a time of at least a second.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok().filter(|time| time.as_secs() > 0);
    time.ok_or_else(|| "expected a time of at least a second, such as 1d".to_owned())
}

#[cfg(test)]
mod tests;
