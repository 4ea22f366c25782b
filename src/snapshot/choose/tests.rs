use std::time::Duration;

use super::*;
use crate::journal::{Graph, Seq};

const HOUR_S: u32 = 3_600;
const DAY_S: u32 = 24 * HOUR_S;
/// On the grid: 17 seconds past a full hour.
const EPOCH: u32 = 1_700_006_400 - 2 * HOUR_S + 17;

fn grid(interval_s: u32, offset_s: u32) -> Option<Grid> {
    Some(Grid { interval: Interval::new(Duration::from_secs(interval_s.into())).expect("an interval"), offset_s })
}

fn chosen(last_sync: u64, since: &[u32]) -> Choice {
    choose(last_sync, EPOCH, since, grid(HOUR_S, 17), EPOCH + 60, Mode::Delta)
}

#[test]
fn everybody_gets_what_fits_them() {
    assert_eq!(EPOCH % HOUR_S, 17);
    let known = [EPOCH - 2 * HOUR_S, EPOCH - HOUR_S];
    assert_eq!(chosen(0, &known), Choice::Full);
    assert_eq!(chosen(EPOCH.into(), &known), Choice::Nothing { timestamp: EPOCH });
    for since in known {
        assert_eq!(chosen(since.into(), &known), Choice::Delta { since });
    }
    let strange = [1, EPOCH - HOUR_S - 1, EPOCH - 3 * HOUR_S, EPOCH + 1, EPOCH - 17 + HOUR_S, u32::MAX];
    for last_sync in strange.map(u64::from).into_iter().chain([1 << 32, u64::MAX]) {
        assert_eq!(chosen(last_sync, &known), Choice::Returning, "{last_sync}");
    }
}

#[test]
fn a_wallet_that_met_a_replica_ahead_is_up_to_date() {
    for (interval_s, offset_s, ahead, first) in [
        (HOUR_S, 17, [HOUR_S, 2 * HOUR_S], EPOCH),
        // The first epoch after a restart is off the hour: the next ones are on it.
        (HOUR_S, 17, [HOUR_S - 10, 2 * HOUR_S - 10], EPOCH + 10),
        (10, 57, [10, 20], EPOCH),
        (60, 17, [60, 120], EPOCH),
    ] {
        let choice =
            |last_sync: u32| choose(last_sync.into(), first, &[], grid(interval_s, offset_s), first, Mode::Full);
        for timestamp in ahead.map(|ahead| first + ahead) {
            assert_eq!(choice(timestamp), Choice::Nothing { timestamp });
        }
        for timestamp in [first + ahead[0] + 1, first + ahead[1] + interval_s, first - interval_s] {
            assert_eq!(choice(timestamp), Choice::Returning, "{timestamp}");
        }
    }
}

/// While the journal is being read, or the archive waited for, nobody knows when epochs are cut: a full hour, say, is
/// another server's time.
#[test]
fn before_the_grid_is_known_nobody_is_ahead() {
    let choice = |last_sync: u32| choose(last_sync.into(), EPOCH, &[], None, EPOCH + HOUR_S, Mode::Delta);
    assert_eq!(choice(EPOCH - 17 + HOUR_S), Choice::Returning);
    assert_eq!(choice(EPOCH), Choice::Nothing { timestamp: EPOCH });
}

#[test]
fn what_is_a_day_old_is_no_end_of_a_delta() {
    let known = [EPOCH - HOUR_S];
    let at = |now_s| choose(known[0].into(), EPOCH, &known, grid(HOUR_S, 17), now_s, Mode::Delta);
    assert_eq!(at(EPOCH + DAY_S), Choice::Delta { since: known[0] });
    assert_eq!(at(EPOCH + DAY_S + 1), Choice::Returning);
    // Where none is cut any more, wallets begin to forget.
    for (timestamp, days, choice) in [
        (EPOCH, 3, Choice::Nothing { timestamp: EPOCH }),
        (EPOCH + HOUR_S, 3, Choice::Nothing { timestamp: EPOCH + HOUR_S }),
        (EPOCH, 5, Choice::Returning),
        (EPOCH + HOUR_S, 5, Choice::Returning),
    ] {
        let now_s = EPOCH + days * DAY_S;
        assert_eq!(choose(timestamp.into(), EPOCH, &known, grid(HOUR_S, 17), now_s, Mode::Delta), choice);
    }
}

#[test]
fn where_only_full_snapshots_are_wanted_known_epochs_get_them() {
    let known = [EPOCH - HOUR_S];
    let full = |last_sync| choose(last_sync, EPOCH, &known, grid(HOUR_S, 17), EPOCH, Mode::Full);
    assert_eq!(full(0), Choice::Full);
    assert_eq!(full(known[0].into()), Choice::Returning);
    assert_eq!(full(EPOCH.into()), Choice::Nothing { timestamp: EPOCH });
}

#[test]
fn a_delta_begins_less_than_six_days_back_and_under_the_same_rules() {
    let rules = crate::snapshot::rules(Graph::Routable);
    let epoch = |timestamp, rules| Epoch { timestamp, seq: Seq(timestamp.into()), rules };
    let others = [Rules { version: RULES_VERSION - 1, ..rules }, Rules { graph: Graph::Complete, ..rules }];
    let known = [
        epoch(EPOCH - 6 * DAY_S, rules),
        epoch(EPOCH - 6 * DAY_S + 1, rules),
        epoch(EPOCH - 60, others[0]),
        epoch(EPOCH - 50, others[1]),
        epoch(EPOCH - 10, rules),
        epoch(EPOCH, rules),
        epoch(EPOCH + 10, rules),
    ];
    assert_eq!(reachable(&known[5], &known), [EPOCH - 6 * DAY_S + 1, EPOCH - 10]);
    // What another version has published stays up for a while, and its rules are not known.
    let foreign = [epoch(EPOCH - 10, others[0]), epoch(EPOCH, others[0])];
    assert!(reachable(&foreign[1], &foreign).is_empty());
}

#[test]
fn the_next_cut_is_the_first_time_of_the_grid_after_an_epoch() {
    for (interval_s, offset_s, epoch, next) in [
        (HOUR_S, 17, EPOCH, EPOCH + HOUR_S),
        // The first epoch after a restart is off the grid.
        (HOUR_S, 17, EPOCH + 10, EPOCH + HOUR_S),
        (HOUR_S, 17, EPOCH - 10, EPOCH),
        (10, 17, EPOCH, EPOCH + 10),
        (10, 17, EPOCH + 3, EPOCH + 10),
    ] {
        assert_eq!(grid(interval_s, offset_s).expect("a grid").after(epoch), Some(next), "{interval_s} {epoch}");
    }
    assert_eq!(grid(HOUR_S, 17).expect("a grid").after(u32::MAX), None);
}
