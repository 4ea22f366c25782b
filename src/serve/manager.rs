//! What the service manager is told, where there is one (systemd, `Type=notify`): that the service is ready, how it fares,
//! that it is alive (`WatchdogSec=`), and that it stops.
//!
//! Whether there is one stands in NOTIFY_SOCKET, and how often it wants to hear in WATCHDOG_USEC. This is the one
//! reading of the environment beside `config`: they are the manager's words to this very process, not settings. It
//! happens for a process of its own only ([`serve::run`](super::run)); services in tests and the demo have no
//! manager.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;

use super::state::State;
use crate::http::{Status, StatusSource};
use crate::tasks::Tasks;

/// How often it is told how the service fares, where there is no watchdog that wants to hear more often.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How much time a start takes for itself at each of these: reading a journal, or restoring one, may take long.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// A part that takes so long for what takes moments will not end it.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Whoever has started this process.
pub(super) struct Manager {
    tell_every: Duration,
    watchdog: bool,
    /// How long a part may take for what takes moments.
    patience: Duration,
    told: String,
}

impl Manager {
    /// The one that this process's environment speaks of.
    pub fn of_environment() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET")?;
        // Half of what it allows; nobody can be told every microsecond.
        let watchdog = sd_notify::watchdog_enabled().map(|within| (within / 2).max(Duration::from_millis(10)));
        let tell_every = watchdog.map_or(TELL_EVERY, |every| every.min(TELL_EVERY));
        Some(Self { tell_every, watchdog: watchdog.is_some(), patience: STUCK_AFTER, told: String::new() })
    }

    /// Tells it how the service fares until the stop. The sender is to be told when the service has started.
    pub fn keep(self, tasks: &Tasks) -> oneshot::Sender<Arc<State>> {
        let (has_started, started) = oneshot::channel();
        let stop = tasks.stop().clone();
        tasks.spawn("the service manager's reporter", async move {
            stop.run_until_cancelled(self.report(started)).await;
            send("STOPPING=1\nSTATUS=stopping".into()).await;
            Ok(())
        });
        has_started
    }

    async fn report(mut self, mut started: oneshot::Receiver<Arc<State>>) {
        let mut ticks = tokio::time::interval(self.tell_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let state = loop {
            tokio::select! {
                state = &mut started => break state,
                _ = ticks.tick() => send(self.while_starting()).await,
            }
        };
        // Where the start has failed, the process is about to end with the reason.
        let Ok(state) = state else { return std::future::pending().await };
        let first = format!("READY=1\n{}", self.while_running(&state));
        send(first).await;
        loop {
            ticks.tick().await;
            send(self.while_running(&state)).await;
        }
    }

    fn while_starting(&mut self) -> String {
        let more = u32::try_from(STARTS_WITHIN.as_micros()).unwrap_or(u32::MAX);
        format!("{}\n{}", NotifyState::ExtendTimeoutUsec(more), self.status("reading the journal"))
    }

    /// Looking at the status takes the locks of all parts: who cannot is not alive either.
    fn while_running(&mut self, state: &State) -> String {
        let stuck = state.pulse().stuck(self.patience);
        if let Some(part) = stuck {
            tracing::error!(?part, "stuck: this is a bug, please report it with the log");
        }
        let alive = self.watchdog && stuck.is_none();
        let alive = if alive { NotifyState::Watchdog.to_string() } else { String::new() };
        format!("{alive}\n{}", self.status(&sentence(&state.status())))
    }

    /// Nothing where it was told already.
    fn status(&mut self, sentence: &str) -> String {
        // A line would be another word to the manager, and some of these come from outside.
        let line: String = sentence.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        if self.told == line {
            return String::new();
        }
        self.told.clone_from(&line);
        NotifyState::Status(&line).to_string()
    }
}

/// How a service fares, in a line.
fn sentence(status: &Status) -> String {
    let of = status.peers.len();
    let connected = status.peers.iter().filter(|peer| ["connected", "syncing"].contains(&&*peer.state)).count();
    let peers = if of == 0 { String::new() } else { format!("; {connected} of {of} peers connected") };
    let doing = match (&status.epoch, &status.problem) {
        (Some(epoch), problem) => {
            let problem = problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
            format!("serving epoch {} ({} channels){problem}", epoch.timestamp, epoch.channels)
        }
        (None, Some(problem)) => format!("no snapshot yet: {problem}"),
        (None, None) => "no snapshot yet: syncing".into(),
    };
    format!("{doing}{peers}")
}

/// Sends what there is to say, on a thread that may wait for a busy manager.
async fn send(words: String) {
    let words = words.trim().to_owned();
    if words.is_empty() {
        return;
    }
    let sent = tokio::task::spawn_blocking(move || sd_notify::notify(&[NotifyState::Custom(&words)])).await;
    if let Ok(Err(error)) = sent {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::pulse::Part;
    use super::*;
    use crate::config::Config;
    use crate::gossip::SystemClock;
    use crate::http::{EpochStatus, PeerStatus};
    use crate::snapshot::Desk;

    fn manager(watchdog: bool) -> Manager {
        Manager { tell_every: TELL_EVERY, watchdog, patience: Duration::ZERO, told: String::new() }
    }

    #[test]
    fn a_sentence_says_how_it_fares() {
        let peer = |state: &str| PeerStatus { state: state.into(), ..PeerStatus::default() };
        let peers = vec![peer("connected"), peer("syncing"), peer("waiting: no answer")];
        let mut status = Status { peers, ..Status::default() };
        assert_eq!(sentence(&status), "no snapshot yet: syncing; 2 of 3 peers connected");
        status.epoch = Some(EpochStatus { timestamp: 17, channels: 4, ..EpochStatus::default() });
        assert_eq!(sentence(&status), "serving epoch 17 (4 channels); 2 of 3 peers connected");
        status.problem = Some("the disk is full".into());
        status.peers.clear();
        assert_eq!(sentence(&status), "serving epoch 17 (4 channels); the disk is full");
    }

    #[test]
    fn who_is_stuck_is_not_alive() {
        let (config, clock) = (Config::default(), Arc::new(SystemClock));
        let desk = Desk::new(config.network, config.snapshots, config.interval);
        let state = State::new(&config, Arc::new(desk), clock);
        let is_alive = |watchdog| manager(watchdog).while_running(&state).contains("WATCHDOG=1");
        assert!(is_alive(true) && !is_alive(false));
        let work = state.pulse().work(Part::History);
        std::thread::sleep(Duration::from_millis(5));
        assert!(!is_alive(true));
        drop(work);
        assert!(is_alive(true));
    }

    #[test]
    fn a_sentence_from_outside_is_one_line_and_told_once() {
        let mut manager = manager(false);
        assert_eq!(manager.status("bad\nMAINPID=1\r\n"), "STATUS=bad MAINPID=1  ");
        assert_eq!(manager.status("bad\nMAINPID=1\r\n"), "");
        assert_eq!(manager.status("good"), "STATUS=good");
    }
}
