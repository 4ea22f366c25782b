//! Sizes and times for people who look at the page: short, with the exact ones beside them. `script.js` says ages in the
//! same words.

use std::fmt;

use crate::text::{grouped, rfc_3339};

/// An epoch that is due is being made for this long, before it is called overdue.
const BEING_MADE_S: u32 = 15;

/// Bytes: `2.9 MB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size(pub usize);

impl Size {
    /// `2,934,001 bytes`.
    pub fn exact(&self) -> String {
        format!("{} bytes", grouped(self.0))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..99_950 => write!(f, "{:.1} kB", bytes / 1e3),
            99_950..999_500 => write!(f, "{:.0} kB", bytes / 1e3),
            999_500..99_950_000 => write!(f, "{:.1} MB", bytes / 1e6),
            _ => write!(f, "{:.0} MB", bytes / 1e6),
        }
    }
}

/// A time in unix seconds, looked at from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    pub at: u32,
    pub now: u32,
}

impl Moment {
    /// `2026-11-21T20:31:05Z`.
    pub fn machine(&self) -> String {
        rfc_3339(self.at)
    }

    /// `2026-11-21 20:31:05 UTC`.
    pub fn exact(&self) -> String {
        format!("{} UTC", self.machine().replace('T', " ").trim_end_matches('Z'))
    }

    /// `20:31:05`, or with its date where that is not today's.
    pub fn clock(&self) -> String {
        let (time, today) = (self.machine(), rfc_3339(self.now));
        match time.split_once('T').zip(today.split_once('T')) {
            Some(((date, clock), (today, _))) if date == today => clock.trim_end_matches('Z').to_owned(),
            Some(((date, clock), _)) => format!("{date} {}", clock.trim_end_matches('Z')),
            None => time,
        }
    }

    /// How long it is past.
    pub fn age(&self) -> Span {
        Span(self.now.saturating_sub(self.at).into())
    }

    /// `due in 12 min`, `due now`, `overdue by 40 s`.
    pub fn due(&self) -> String {
        match self.now.checked_sub(self.at) {
            None => format!("due in {}", Span((self.at - self.now).into())),
            Some(late) if late <= BEING_MADE_S => "due now".to_owned(),
            Some(late) => format!("overdue by {}", Span(late.into())),
        }
    }
}

/// A time span of so many seconds, in one unit: `12 min`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span(pub u64);

impl Span {
    pub fn figure(&self) -> u64 {
        match self.unit() {
            "s" => self.0,
            "min" => self.0 / 60,
            "h" => self.0 / 3_600,
            _ => self.0 / 86_400,
        }
    }

    /// The unit beside a big figure: `minutes`.
    pub fn unit_in_full(&self) -> &'static str {
        match (self.unit(), self.figure()) {
            ("s", 1) => "second",
            ("s", _) => "seconds",
            ("min", _) => "minutes",
            ("h", _) => "hours",
            _ => "days",
        }
    }

    pub fn unit(&self) -> &'static str {
        match self.0 {
            0..120 => "s",
            120..7_200 => "min",
            7_200..172_800 => "h",
            _ => "days",
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.figure(), self.unit())
    }
}

/// What comes after "every": `hour`, `10 minutes`.
pub(super) fn every(seconds: u32) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let fits = |(unit, _): &(u32, &str)| seconds.is_multiple_of(*unit);
    let (unit, name) = units.into_iter().find(fits).unwrap_or((1, "second"));
    match seconds / unit {
        1 => name.to_owned(),
        count => format!("{count} {name}s"),
    }
}

/// A sentence begins with a capital letter.
pub(super) fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The first and last digits of a long key.
pub(super) fn shortened(key: &str) -> String {
    match (key.get(..10), key.get(key.len().saturating_sub(6)..)) {
        (Some(first), Some(last)) if key.len() > 20 => format!("{first}…{last}"),
        _ => key.to_owned(),
    }
}

/// What part of all it is, in per cent.
pub(super) fn share(part: u64, all: u64) -> String {
    let percent = 100.0 * part as f64 / all.max(1) as f64;
    match percent {
        _ if part == 0 => "0 %".to_owned(),
        ..0.1 => "< 0.1 %".to_owned(),
        ..9.95 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

/// A share from 0 to 1 in per cent, small ones to the hundredth.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        0.0 => "0 %".to_owned(),
        ..0.01 => "< 0.01 %".to_owned(),
        ..0.995 => format!("{percent:.2} %"),
        ..9.95 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits() {
        let sizes = [0, 999, 1_000, 99_949, 99_950, 999_499, 999_500, 2_934_001, 123_000_000];
        let texts = ["0 B", "999 B", "1.0 kB", "99.9 kB", "100 kB", "999 kB", "1.0 MB", "2.9 MB", "123 MB"];
        assert_eq!(sizes.map(|size| Size(size).to_string()), texts.map(str::to_owned));
        assert_eq!(Size(2_934_001).exact(), "2,934,001 bytes");
    }

    #[test]
    fn times_are_told_as_people_do() {
        const NOW: u32 = 1_795_293_065; // 2026-11-21T20:31:05Z
        let moment = |at| Moment { at, now: NOW };
        assert_eq!(moment(NOW - 5).clock(), "20:31:00");
        assert_eq!(moment(NOW - 86_400).clock(), "2026-11-20 20:31:05");
        assert_eq!(moment(NOW).exact(), "2026-11-21 20:31:05 UTC");
        let spans = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|seconds| Span(seconds).to_string());
        assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"].map(str::to_owned));
        let dues = [NOW + 90, NOW, NOW - 15, NOW - 16].map(|at| moment(at).due());
        assert_eq!(dues, ["due in 90 s", "due now", "due now", "overdue by 16 s"].map(str::to_owned));
        let intervals = [10, 60, 90, 600, 3_600, 21_600, 86_400].map(every);
        assert_eq!(intervals, ["10 seconds", "minute", "90 seconds", "10 minutes", "hour", "6 hours", "day"]);
    }

    #[test]
    fn whatever_is_told_is_shortened_without_harm() {
        assert_eq!(shortened(&"ab".repeat(33)), "ababababab…ababab");
        assert_eq!((shortened(""), shortened(&"ä".repeat(15))), (String::new(), "äääää…äää".to_owned()));
        assert_eq!(capitalised("ärger: <b>"), "Ärger: <b>");
        assert_eq!(
            [(0, 0), (1, 10_000), (1, 20), (1, 2), (2, 2)].map(|(part, all)| share(part, all)),
            ["0 %", "< 0.1 %", "5.0 %", "50 %", "100 %"]
        );
        assert_eq!(
            [0.0, 0.000_09, 0.000_1, 0.009_9, 0.009_96, 0.05, 0.111, 1.0].map(percent),
            ["0 %", "< 0.01 %", "0.01 %", "0.99 %", "1.0 %", "5.0 %", "11 %", "100 %"]
        );
    }
}
