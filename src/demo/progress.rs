//! What the demo prints: a bar on a terminal, plain lines otherwise.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::http::{EpochStatus, Status};

/// How often a plain line is printed while syncing.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// See the module's words.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    terminal: bool,
    last_line: Option<Instant>,
}

impl Progress {
    pub fn new() -> Self {
        Self { bar: None, terminal: io::stderr().is_terminal(), last_line: None }
    }

    /// Prints a line, above the bar if there is one.
    pub fn say(&self, line: &str) {
        let print = || {
            // A reader that has gone away, as in `rgsd demo | head`, is no reason to stop.
            let _ = writeln!(io::stdout(), "{line}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// How many of the network's messages have been accepted, and what keeps the first snapshot.
    pub fn syncing(&mut self, accepted: u64, messages: u64, problem: Option<&str>) {
        let accepted = accepted.min(messages); // live updates are accepted, too
        let phase = problem.unwrap_or("synced; the first snapshot comes within ten seconds");
        if self.terminal {
            let bar = self.bar.get_or_insert_with(|| new_bar(messages));
            bar.set_position(accepted);
            bar.set_message(phase.to_owned());
        } else if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            self.say(&format!("{accepted} of {messages} messages accepted: {phase}"));
        }
    }

    /// The first snapshot is there.
    pub fn ready(&mut self, address: SocketAddr, after: Duration) {
        self.end();
        self.say(&format!(
            "ready after {:.1} s; the official client has accepted this snapshot:",
            after.as_secs_f64()
        ));
        self.say(&format!("  http://{address}/snapshot/0        RGS v1"));
        self.say(&format!("  http://{address}/snapshot/v2/0     RGS v2"));
        self.say(&format!("  http://{address}/status.json       how the service fares"));
        self.say("Ctrl-C ends the demo.");
    }

    /// A new epoch is served.
    pub fn epoch(&self, epoch: &EpochStatus, status: &Status) {
        let problem = status.problem.as_deref().map(|problem| format!("; {problem}")).unwrap_or_default();
        self.say(&format!(
            "epoch {}: {} channels, {} nodes, journal at entry {}{problem}",
            epoch.timestamp, epoch.channels, epoch.nodes, epoch.seq.0,
        ));
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(messages: u64) -> ProgressBar {
    let bar = ProgressBar::new(messages);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} messages: {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
