//! At which times a replay cuts its snapshots: pure arithmetic on what was asked for and when the recording was made.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{bail, ensure};

use crate::gossip::UnixMs;
use crate::history::HEARD_FOR_S;
use crate::text::rfc_3339;

/// More snapshots than anybody wants: a slip in a time is likelier.
const CUTS_AT_MOST: usize = 100_000;

/// What was asked for. Times are unix seconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    pub at: Vec<u32>,
    pub every: Option<Duration>,
    pub from: Option<u32>,
    pub to: Option<u32>,
}

impl Asked {
    /// The times, in order. With none asked for, the recording's end; `span` is when it begins and ends.
    pub fn cuts(&self, span: (UnixMs, UnixMs)) -> anyhow::Result<Vec<u32>> {
        let start = span.0.secs();
        let end = u32::try_from(span.1.0.div_ceil(1000)).unwrap_or(u32::MAX);
        let cuts = match self.every {
            Some(every) => self.grid(every, start, end)?,
            None if self.at.is_empty() => vec![end],
            None => self.single(start, end)?,
        };
        ensure!(cuts.len() <= CUTS_AT_MOST, "{} snapshots are asked for: narrow --from and --to", cuts.len());
        Ok(cuts)
    }

    /// The first time asked for, where that does not depend on the recording.
    pub fn first(&self) -> Option<u32> {
        self.at.iter().copied().min().or(self.from).or(self.to)
    }

    fn single(&self, start: u32, end: u32) -> anyhow::Result<Vec<u32>> {
        let mut cuts = self.at.clone();
        cuts.sort_unstable();
        cuts.dedup();
        if let Some(early) = cuts.iter().find(|at| **at < start) {
            bail!(
                "{} is before the recording begins (--at says when): it runs from {} to {}",
                rfc_3339(*early),
                rfc_3339(start),
                rfc_3339(end)
            );
        }
        if let Some(late) = cuts.iter().find(|at| **at > end.saturating_add(HEARD_FOR_S)) {
            bail!(
                "{} is more than two weeks after the recording ends, and nothing of it is current then: it runs from {} \
                 to {}; name a time with --at",
                rfc_3339(*late),
                rfc_3339(start),
                rfc_3339(end)
            );
        }
        Ok(cuts)
    }

    fn grid(&self, every: Duration, start: u32, end: u32) -> anyhow::Result<Vec<u32>> {
        let step = u32::try_from(every.as_secs()).unwrap_or(u32::MAX).max(1);
        let from = self.from.unwrap_or_else(|| start.checked_next_multiple_of(step).unwrap_or(u32::MAX));
        let to = self.to.unwrap_or(end);
        let run = || format!("the recording runs from {} to {}", rfc_3339(start), rfc_3339(end));
        ensure!(from >= start, "--from {} is before the recording begins: {}", rfc_3339(from), run());
        ensure!(from <= to, "no snapshot falls between {} and {}: {}", rfc_3339(from), rfc_3339(to), run());
        let count = (to - from) / step;
        ensure!((count as usize) < CUTS_AT_MOST, "{count} snapshots are asked for: narrow --from and --to");
        Ok((0..=count).map(|n| from + n * step).collect())
    }
}

/// Reads a time: unix seconds, or RFC 3339 in UTC.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    let expected = "expected unix seconds or a time such as 2026-02-03T12:00:00Z";
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| expected.to_owned())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| expected.to_owned())?;
    u32::try_from(since.as_secs()).map_err(|_| expected.to_owned())
}

/// Reads how often: whole seconds.
pub(crate) fn parse_every(text: &str) -> Result<Duration, String> {
    let expected = "expected a time of whole seconds, such as 1h";
    let every = humantime::parse_duration(text).map_err(|_| expected.to_owned())?;
    if every.as_secs() == 0 || every.subsec_nanos() != 0 { Err(expected.to_owned()) } else { Ok(every) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: (UnixMs, UnixMs) = (UnixMs(1_000_500), UnixMs(10_000_200));

    #[test]
    fn without_a_time_there_is_one_snapshot_at_the_end() {
        assert_eq!(Asked::default().cuts(SPAN).unwrap(), [10_001]);
    }

    #[test]
    fn a_grid_is_aligned_unless_its_start_is_given() {
        let hourly = Asked { every: Some(Duration::from_secs(3600)), ..Asked::default() };
        assert_eq!(hourly.cuts(SPAN).unwrap(), [3600, 7200]);
        let given = Asked { from: Some(1001), to: Some(20_000), ..hourly };
        assert_eq!(given.cuts(SPAN).unwrap(), [1001, 4601, 8201, 11_801, 15_401, 19_001]);
    }

    #[test]
    fn times_come_in_order_and_once() {
        let asked = Asked { at: vec![5000, 2000, 5000, 90_000], ..Asked::default() };
        assert_eq!(asked.cuts(SPAN).unwrap(), [2000, 5000, 90_000]);
    }

    #[test]
    fn what_makes_no_sense_is_said_with_the_recordings_times() {
        let refusal = |asked: Asked| asked.cuts(SPAN).unwrap_err().to_string();
        let early = refusal(Asked { at: vec![999], ..Asked::default() });
        assert!(early.contains("1970-01-01T00:16:39Z") && early.contains("1970-01-01T02:46:41Z"), "{early}");
        let second = Some(Duration::from_secs(1));
        let far = refusal(Asked { every: second, to: Some(u32::MAX), ..Asked::default() });
        assert!(far.contains("narrow --from and --to"), "{far}");
        let turned = refusal(Asked { every: second, from: Some(5000), to: Some(4000), ..Asked::default() });
        assert!(turned.contains("no snapshot falls between"), "{turned}");
        refusal(Asked { every: second, from: Some(10), ..Asked::default() });
        let late = refusal(Asked { at: vec![10_001 + HEARD_FOR_S + 1], ..Asked::default() });
        assert!(late.contains("two weeks after the recording ends"), "{late}");
    }

    #[test]
    fn times_are_read_as_people_and_as_machines_write_them() {
        for text in ["1770076800", "2026-02-03T00:00:00Z", "2026-02-03 00:00:00"] {
            assert_eq!(parse(text), Ok(1_770_076_800), "{text}");
        }
        assert_eq!(rfc_3339(1_770_076_800), "2026-02-03T00:00:00Z");
        for text in ["", "yesterday", "-1", "1969-12-31T00:00:00Z", "2222-01-01T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse_every("1h"), Ok(Duration::from_secs(3600)));
        for text in ["0s", "1500ms", "1", "soon"] {
            assert!(parse_every(text).is_err(), "{text}");
        }
    }
}
