//! `make bench-report`'s promise, on rows as benches note them: what must hold on any machine fails when it is missed, a
//! time or a wish is only told, and a bench that measured nothing never looks like success.

#[path = "../benches/support/budgets.rs"]
mod budgets;
#[path = "../benches/support/report.rs"]
mod report;
#[path = "../benches/support/table.rs"]
#[allow(dead_code)] // Benches use the rest of it.
mod table;

use std::collections::BTreeSet;
use std::path::Path;

use budgets::{CUT, FULL_V2_COMPLETE, MEMORY, ORDER, PROOFS, RESTART, SYNC};
use report::Report;
use table::Budget;

/// The rows of these budgets, of which each came to so much, in the file that benches write.
fn noted(measured: &[(&Budget, f64)]) -> String {
    let row = |(budget, measured): &(&Budget, f64)| budget.row(*measured, &format!("{measured} of what it is"));
    let lines = measured.iter().map(|measured| serde_json::to_string(&row(measured)).expect("a row"));
    lines.map(|line| line + "\n").collect()
}

/// The report on them, where each bench that is named was to measure just these.
fn report(benches: &[&str], order: &[&Budget], measured: &[(&Budget, f64)]) -> Report {
    let benches: Vec<String> = benches.iter().map(|bench| (*bench).to_owned()).collect();
    Report::of(order, &noted(measured), &benches)
}

/// What is told in the line about a work.
fn line<'a>(report: &'a Report, budget: &Budget) -> &'a str {
    let start = format!("| {} |", budget.work);
    report.table.lines().find(|line| line.starts_with(&start)).expect("a row")
}

#[test]
fn what_keeps_its_budgets_passes() {
    let all = [&CUT, &SYNC, &PROOFS];
    let report = report(&["mainnet", "sync"], &all, &[(&CUT, 0.02), (&SYNC, 1.5), (&PROOFS, 1.1)]);
    assert_eq!(report.failures, [""; 0]);
    assert!(!report.table.contains("missed") && !report.table.contains("over"), "{}", report.table);
}

#[test]
fn a_ratio_a_size_or_a_count_that_is_missed_fails_and_is_named() {
    for (budget, measured) in [(&SYNC, 1.51), (&budgets::SMALL_DELTA[0], 0.79), (&MEMORY, 401.0), (&PROOFS, 2.3)] {
        let report = report(&[budget.bench], &[budget], &[(budget, measured)]);
        let [failure] = &report.failures[..] else { panic!("{:?}", report.failures) };
        assert!(failure.contains(budget.work) && failure.contains(&format!("{measured} of what it is")), "{failure}");
        assert!(line(&report, budget).contains("**missed**"), "{}", report.table);
    }
}

#[test]
fn a_time_or_a_wish_that_is_missed_is_told_and_passes() {
    for (budget, measured) in [(&RESTART, 3.3), (&budgets::SHIP, 18_000.0), (&budgets::HOUR_DELTA[0], 0.72)] {
        let report = report(&[budget.bench], &[budget], &[(budget, measured)]);
        assert_eq!(report.failures, [""; 0]);
        assert!(line(&report, budget).contains("| 1.1"), "{}", report.table);
        assert!(line(&report, budget).contains("(over)"), "{}", report.table);
    }
}

#[test]
fn a_row_that_is_lacking_fails_if_its_bench_was_to_run() {
    let all = [&CUT, &FULL_V2_COMPLETE, &RESTART];
    let report = report(&["mainnet"], &all, &[(&CUT, 0.02)]);
    let [failure] = &report.failures[..] else { panic!("{:?}", report.failures) };
    assert!(failure.contains(FULL_V2_COMPLETE.work) && failure.contains("the bench mainnet"), "{failure}");
}

#[test]
fn what_cannot_be_compared_fails() {
    let report = report(&["sync"], &[&SYNC], &[(&SYNC, f64::NAN)]);
    assert_eq!(report.failures.len(), 2, "{:?}", report.failures); // it is no row, and lacking
}

#[test]
fn rows_come_in_the_order_of_the_budgets_and_those_of_no_budget_last() {
    let all = [&CUT, &SYNC, &MEMORY];
    let measured = [(&PROOFS, 1.0), (&MEMORY, 300.0), (&CUT, 0.02), (&MEMORY, 310.0), (&SYNC, 1.2)];
    let report = report(&["mainnet", "sync", "restart"], &all, &measured);
    let works: Vec<&str> = report.table.lines().skip(2).filter_map(|line| line.split(" | ").next()).collect();
    assert_eq!(works, [&CUT, &SYNC, &MEMORY, &PROOFS].map(|budget| format!("| {}", budget.work)));
    assert!(line(&report, &MEMORY).contains("310"), "the newest counts:\n{}", report.table);
}

#[test]
fn every_budget_has_a_work_and_a_bench_of_its_own() {
    let works: BTreeSet<&str> = ORDER.iter().map(|budget| budget.work).collect();
    assert_eq!(works.len(), ORDER.len(), "two rows of one name");
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    for budget in ORDER {
        let file = benches.join(budget.bench).with_extension("rs");
        assert!(file.exists(), "nobody measures {:?}", budget.work);
    }
}
