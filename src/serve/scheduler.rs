//! The clockwork: cuts epochs when they are due, and has old entries forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::pulse::Part;
use super::state::State;
use crate::gossip::{Clock, UnixMs};
use crate::journal::{Draft, Event, Retainer, Rules};
use crate::snapshot::{Decision, Schedule};
use crate::tasks::Tasks;

/// How often the clock is looked at: an epoch is cut this late at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often old entries are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Starts cutting epochs.
pub(super) fn start(
    mut schedule: Schedule,
    drafts: mpsc::Sender<Draft>,
    rules: Rules,
    state: &Arc<State>,
    clock: Arc<dyn Clock>,
    tasks: &Tasks,
) {
    let (state, stop) = (Arc::clone(state), tasks.stop().clone());
    tasks.spawn("the schedule", async move {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let now = clock.now();
            let work = state.pulse().work(Part::Schedule);
            if state.has_no_room() {
                continue; // what peers say is being dropped: such an epoch would stamp old fees fresh
            }
            let decision = schedule.decide(now.secs(), state.circumstances());
            state.schedule_says(decision);
            drop(work);
            if let Decision::Cut(timestamp) = decision {
                let draft = Draft { seen: now, event: Event::Epoch { timestamp, rules } };
                if stop.run_until_cancelled(drafts.send(draft)).await.is_none_or(|sent| sent.is_err()) {
                    break;
                }
                state.epoch_was(timestamp);
            }
        }
        stop.cancelled().await; // the journal has ended first: the service is about to stop for its reason
        Ok(())
    });
}

/// Starts forgetting, once an hour.
pub(super) fn start_retention(retainer: Retainer, retention: Duration, state: &Arc<State>, tasks: &Tasks) {
    let (clock, stop) = (state.clock(), tasks.stop().clone());
    tasks.spawn("the retention", async move {
        let mut last = UnixMs::default();
        let mut looks = tokio::time::interval(Duration::from_secs(1));
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let now = clock.now();
            if now.since(last) >= FORGET_EVERY {
                last = now;
                retainer.retain(now, retention);
            }
        }
        Ok(())
    });
}
