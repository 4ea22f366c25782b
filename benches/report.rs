//! Prints the table of what benches have measured, and fails where they missed what must hold on any machine, or have not
//! measured what they should. `make bench-report` runs the benches first, and names them here; their rows are in the
//! file that `BENCH_ROWS` names. Part of no plain `cargo bench`.

mod support;

use std::process::ExitCode;

use support::budgets::ORDER;
use support::report::Report;

fn main() -> ExitCode {
    // Cargo adds flags.
    let benches: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let rows = std::env::var_os("BENCH_ROWS").map(|file| std::fs::read_to_string(file).unwrap_or_default());
    let Some(rows) = rows else {
        eprintln!("`make bench-report` runs the benches, and prints what they have measured.");
        return ExitCode::FAILURE;
    };
    let report = Report::of(&ORDER, &rows, &benches);
    println!("{}", report.table);
    report.failures.iter().for_each(|failure| eprintln!("{failure}"));
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
