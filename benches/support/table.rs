//! What a bench says at its end: rows that `make bench` gathers into one table, ready for the README.

use std::time::Duration;

/// Prints a row: what was measured, how much was allowed, how much it took, and the one by the other. A budget that
/// is missed is only said: another machine, or a busy one, has other times.
pub fn row(work: &str, budget: &str, measured: &str, share: f64) {
    let missed = if share > 1.0 { " **missed**" } else { "" };
    println!("| {work} | {budget} | {measured} | {share:.2}{missed} |");
}

/// A row about time.
pub fn time_row(work: &str, budget: Duration, measured: Duration) {
    let measured_text = format!("{measured:.1?}");
    row(work, &format!("{budget:.0?}"), &measured_text, measured.as_secs_f64() / budget.as_secs_f64());
}

/// A row about bytes.
pub fn bytes_row(work: &str, budget_mb: f64, measured: usize) {
    let measured_mb = measured as f64 / 1e6;
    row(work, &format!("{budget_mb} MB"), &format!("{measured_mb:.3} MB"), measured_mb / budget_mb);
}
