//! Over random journals: views are what the design says, never change, and do not miss what retention forgets.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use rgsd::gossip::{Closing, Fact, UnixMs};
use rgsd::history::{History, View};
use rgsd::journal::retention::Plan;
use rgsd::journal::{Entry, Epoch, Event, Seq};
use rgsd::snapshot::{Contents, LeftOut, delta};

use crate::model;

const DAY_S: u64 = 24 * 3600;

fn learn<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> History {
    let mut history = History::new();
    entries.into_iter().for_each(|entry| history.apply(entry));
    history
}

fn view(history: &History, epoch: &Epoch) -> View {
    history.view(epoch).expect("a known epoch")
}

/// The deltas to an epoch, from each of the others that comes before it.
fn deltas(history: &History, from: &[Epoch], to: &Epoch) -> Vec<Contents> {
    let earlier = from.iter().filter(|since| since.timestamp < to.timestamp);
    let spans = earlier.map(|since| history.span(since, to).expect("both are known, and in this order"));
    spans.map(|span| delta(&span, &LeftOut::default())).collect()
}

fn plan(entries: &[Entry], now: UnixMs, retention: Duration) -> Vec<Seq> {
    let mut plan = Plan::new(now, retention);
    let _ = entries.iter().try_for_each(|entry| plan.take(entry));
    plan.finish()
}

/// What is left without the entries of these numbers.
fn without<'a>(entries: &'a [Entry], gone: &[Seq]) -> Vec<&'a Entry> {
    let gone: BTreeSet<Seq> = gone.iter().copied().collect();
    entries.iter().filter(|entry| !gone.contains(&entry.seq)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_view_is_what_the_design_says(entries in model::journal()) {
        let mut history = History::new();
        for entry in &entries {
            history.apply(entry);
            if let Some(epoch) = history.last_epoch().filter(|epoch| epoch.seq == entry.seq) {
                prop_assert_eq!(view(&history, epoch), model::view(&entries, *epoch));
            }
        }
    }

    #[test]
    fn a_view_never_changes(entries in model::journal(), compact in any::<u64>()) {
        let mut history = History::new();
        let mut at_the_time: Vec<View> = Vec::new();
        for entry in &entries {
            history.apply(entry);
            if let Some(epoch) = history.last_epoch().filter(|epoch| epoch.seq == entry.seq) {
                at_the_time.push(view(&history, epoch));
            }
            if compact.rotate_left(entry.seq.0 as u32) & 3 == 0 {
                history.compact();
            }
            for epoch in history.epochs() {
                let place = at_the_time.partition_point(|view| view.epoch.timestamp < epoch.timestamp);
                prop_assert_eq!(&view(&history, epoch), &at_the_time[place]);
            }
        }
        if let (Some(last), Some(first)) = (history.last_epoch(), history.epochs().next()) {
            let week = u64::from(last.timestamp) - 7 * DAY_S;
            let in_week = at_the_time.iter().filter(|view| u64::from(view.epoch.timestamp) >= week).count();
            prop_assert!(history.epochs().len() >= in_week && u64::from(first.timestamp) + 8 * DAY_S >= last.timestamp.into());
        }
    }

    #[test]
    fn a_delta_never_changes(entries in model::journal(), compact in any::<u64>()) {
        let mut history = History::new();
        let mut last: Option<(Epoch, Vec<Epoch>, Vec<Contents>)> = None;
        for entry in &entries {
            history.apply(entry);
            let known: Vec<Epoch> = history.epochs().copied().collect();
            if let Some(epoch) = known.last().filter(|epoch| epoch.seq == entry.seq) {
                last = Some((*epoch, known.clone(), deltas(&history, &known, epoch)));
            }
            if compact.rotate_left(entry.seq.0 as u32) & 3 == 0 {
                history.compact();
            }
            if let Some((epoch, known, at_the_time)) = &last {
                prop_assert_eq!(&deltas(&history, known, epoch), at_the_time);
            }
        }
    }

    #[test]
    fn retention_changes_no_view_and_no_delta(entries in model::journal(), cut in 0.0..1.0, later_days in 0..40u64, upto in 0.0..1.0) {
        // Forget at some moment, go on with what comes after, and start again from what is left.
        let now = entries[((entries.len() - 1) as f64 * cut) as usize].seen;
        let known: Vec<Entry> = entries.iter().filter(|entry| entry.seen <= now).cloned().collect();
        let now = UnixMs(now.0 + later_days * DAY_S * 1_000);
        let retention = Duration::from_secs(8 * DAY_S);
        let mut gone = plan(&known, now, retention);
        prop_assert!(gone.is_sorted());
        prop_assert!(gone.last().is_none_or(|last| *last < known[known.len() - 1].seq) || learn(&known).last_epoch().is_none());
        // A kill in the middle leaves the rest for the next time.
        gone.truncate((gone.len() as f64 * upto * 1.5) as usize);

        for all in [&known, &entries] {
            let (whole, short) = (learn(all), learn(without(all, &gone)));
            let young = |epoch: &&Epoch| u64::from(epoch.timestamp) * 1_000 + 8 * DAY_S * 1_000 >= now.0;
            let current = whole.last_epoch();
            let known: Vec<Epoch> = whole.epochs().filter(young).chain(current).copied().collect();
            for epoch in &known {
                prop_assert_eq!(view(&short, epoch), view(&whole, epoch));
                prop_assert_eq!(deltas(&short, &known, epoch), deltas(&whole, &known, epoch));
            }
            prop_assert_eq!(short.last_epoch(), current);
        }
    }

    #[test]
    fn what_is_left_is_bounded(entries in model::journal()) {
        // Long after everything: two updates for each of three channels, one announcement for each of four nodes, …
        let last = entries[entries.len() - 1].seen;
        let now = UnixMs(last.0 + 100 * DAY_S * 1_000);
        let gone = plan(&entries, now, Duration::from_secs(8 * DAY_S));
        let left = without(&entries, &gone);
        let again: Vec<Entry> = left.iter().copied().cloned().collect();
        prop_assert_eq!(plan(&again, now, Duration::from_secs(8 * DAY_S)), []);
        let Some(bound) = left.iter().find(|entry| matches!(entry.event, Event::Epoch { .. })).map(|entry| entry.seq) else {
            return Ok(());
        };
        let count = |is: fn(&Event) -> bool| {
            left.iter().filter(|entry| entry.seq < bound && is(&entry.event)).count()
        };
        let updates = count(|event| matches!(event, Event::Fact(Fact::Update(_))));
        let nodes = count(|event| matches!(event, Event::Fact(Fact::Node(_))));
        let syncs = count(|event| matches!(event, Event::Fact(Fact::SyncCompleted { .. })));
        let blocks = count(|event| matches!(event, Event::Fact(Fact::Block(_))));
        let splices = count(|event| matches!(event, Event::Fact(Fact::PossibleSplice { .. })));
        prop_assert!(updates <= 6 && nodes <= 4 && syncs <= 1 && blocks <= 1 && splices <= 3);
        // Those that were undone stay as long as their channels, and one each that may still be.
        let undone = count(|event| matches!(event, Event::Fact(Fact::Reopened { .. })));
        let spent = count(|event| matches!(event, Event::Fact(Fact::Closed { reason: Closing::Spent { .. }, .. })));
        let closings = count(|event| matches!(event, Event::Fact(Fact::Closed { .. })));
        prop_assert!(closings == spent && spent <= undone + 3);
    }
}
