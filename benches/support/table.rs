//! What a bench says at its end: rows of README's table, each against its budget.
//!
//! A row is printed, and noted in the file that `BENCH_ROWS` names, where `report` finds it. A bench judges nothing.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A work, and how much it may take.
pub struct Budget {
    /// The bench that measures it.
    pub bench: &'static str,
    pub work: &'static str,
    pub allowed: Allowed,
}

/// How much a work may take. What it is of is said in the words of the table.
#[derive(Clone, Copy)]
pub enum Allowed {
    /// So long at most.
    Time(Duration),
    /// So many of these a second, at least.
    Rate(f64, &'static str),
    /// So many MB at most, of bytes or of memory.
    Size(f64),
    /// The same, where that is a wish of ours and no promise.
    WishedSize(f64),
    /// So many times what this takes in the same run, at most.
    AtMost(f64, &'static str),
    /// So many times what this does in the same run, at least.
    AtLeast(f64, &'static str),
    /// The same, where that is a wish of ours and no promise.
    Wish(f64, &'static str),
    /// So many of these at most.
    Count(f64, &'static str),
}

/// A line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub work: String,
    /// Whether it must keep its budget on any machine.
    pub binds: bool,
    pub budget: String,
    pub measured: String,
    /// What it took by what it may.
    pub share: f64,
}

impl Budget {
    /// How long it took.
    pub fn took(&self, measured: Duration) {
        self.came_to(measured.as_secs_f64(), &time(measured));
    }

    /// How many MB it takes, and what is to be said of that.
    pub fn takes_mb(&self, measured_mb: f64, remark: &str) {
        self.came_to(measured_mb, &format!("{} MB{remark}", rounded(measured_mb, 100.0)));
    }

    /// The number that counts (a time in seconds), and how the table tells it.
    pub fn came_to(&self, measured: f64, told: &str) {
        let row = self.row(measured, told);
        println!("{}", row.line());
        if let Some(file) = std::env::var_os("BENCH_ROWS") {
            let mut file = OpenOptions::new().create(true).append(true).open(file).expect("a file for rows");
            writeln!(file, "{}", serde_json::to_string(&row).expect("no map in it")).expect("room");
        }
    }

    pub fn row(&self, measured: f64, told: &str) -> Row {
        let share = match self.allowed {
            Allowed::Time(most) => measured / most.as_secs_f64(),
            Allowed::Size(most) | Allowed::WishedSize(most) | Allowed::AtMost(most, _) | Allowed::Count(most, _) => {
                measured / most
            }
            Allowed::Rate(least, _) | Allowed::AtLeast(least, _) | Allowed::Wish(least, _) => least / measured,
        };
        let (work, told) = (self.work.to_owned(), told.to_owned());
        Row { work, binds: self.allowed.binds(), budget: self.allowed.told(), measured: told, share }
    }
}

impl Allowed {
    fn binds(self) -> bool {
        match self {
            Self::Time(_) | Self::Rate(..) => false, // another machine, or a busy one, has other times
            Self::Wish(..) | Self::WishedSize(_) => false,
            Self::Size(_) | Self::AtMost(..) | Self::AtLeast(..) | Self::Count(..) => true,
        }
    }

    fn told(self) -> String {
        match self {
            Self::Time(most) => time(most),
            Self::Rate(least, what) => format!("at least {least} {what} a second"),
            Self::Size(most) | Self::WishedSize(most) => format!("{most} MB"),
            Self::AtMost(times, what) => format!("{times} × {what}"),
            Self::AtLeast(times, what) | Self::Wish(times, what) => format!("at least {times} × {what}"),
            Self::Count(most, what) => format!("{most} {what}"),
        }
    }
}

impl Row {
    /// Whether it takes more than it may. What cannot be compared does.
    pub fn is_over(&self) -> bool {
        self.share.is_nan() || self.share > 1.0
    }

    /// Whether it is over, and must not be on any machine.
    pub fn is_missed(&self) -> bool {
        self.is_over() && self.binds
    }

    pub fn line(&self) -> String {
        let Self { work, budget, measured, share, .. } = self;
        let mark = match (self.is_missed(), self.is_over()) {
            (true, _) => " **missed**",
            (false, true) => " (over)",
            (false, false) => "",
        };
        format!("| {work} | {budget} | {measured} | {share:.2}{mark} |")
    }
}

/// A duration in the unit that suits it.
pub fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 0.01 => format!("{} ms", rounded(s * 1e3, 100.0)),
        s if s < 1.0 => format!("{} ms", rounded(s * 1e3, 1.0)),
        s if s < 120.0 => format!("{} s", rounded(s, 100.0)),
        s => format!("{} min", rounded(s / 60.0, 10.0)),
    }
}

fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}
