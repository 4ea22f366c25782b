//! The table of README's "How fast": what was measured, in the order of the budgets, and what of it fails.

use super::table::{Budget, Row};

/// What became of all that was to be measured.
pub struct Report {
    /// Markdown.
    pub table: String,
    /// A sentence for each row that is missed on any machine, and for each that is lacking. Nothing else fails.
    pub failures: Vec<String>,
}

impl Report {
    /// Of these rows, as `BENCH_ROWS` has them, after these benches have run.
    pub fn of(order: &[&Budget], rows: &str, benches: &[String]) -> Self {
        let (rows, mut failures) = read(rows);
        let due = order.iter().filter(|budget| benches.iter().any(|bench| bench == budget.bench));
        let lacking = due.filter(|budget| !rows.iter().any(|row| row.work == budget.work));
        failures.extend(lacking.map(|budget| {
            format!("Lacking: \"{}\", which the bench {} has not measured.", budget.work, budget.bench)
        }));
        failures.extend(
            rows.iter().filter(|row| row.is_missed()).map(|row| {
                format!("Missed: \"{}\" came to {}; the budget is {}.", row.work, row.measured, row.budget)
            }),
        );
        Self { table: table(order, rows), failures }
    }
}

/// The newest row of each work, and what could not be read.
fn read(text: &str) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut failures) = (Vec::<Row>::new(), Vec::new());
    for line in text.lines() {
        match serde_json::from_str::<Row>(line) {
            Ok(row) => {
                rows.retain(|older| older.work != row.work);
                rows.push(row);
            }
            Err(error) => failures.push(format!("This is not a row ({error}): {line}")),
        }
    }
    (rows, failures)
}

fn table(order: &[&Budget], mut rows: Vec<Row>) -> String {
    let place = |row: &Row| order.iter().position(|budget| budget.work == row.work).unwrap_or(order.len());
    rows.sort_by_key(place);
    let head = ["| work | budget | measured | share of the budget |", "|---|---|---|---|"].map(str::to_owned);
    let lines = head.into_iter().chain(rows.iter().map(Row::line));
    lines.map(|line| line + "\n").collect()
}
