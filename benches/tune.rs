//! `rgsd tune` on a mainnet-size week: nine intervals, 2,000 payments each, by the real program on a journal (see
//! `support/week.rs`), once: it takes minutes, and is not worth repeating for the sake of a mean. Prints the program's own
//! answer, too; `TUNE_OUT` names a directory for its charts.
//!
//! The shape is drawn at random, or read from the file that `BENCH_TOPOLOGY` names (Core Lightning's compressed map).

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use rgsd::gossip::UnixMs;
use tempfile::TempDir;

use support::{budgets, week};

/// The first second of February 2026: the same week every time.
const END: UnixMs = UnixMs(1_769_904_000_000);

fn main() {
    let folder = TempDir::new().expect("a directory");
    let started = Instant::now();
    let entries = week::journal(folder.path(), END);
    println!("a week of {entries} entries, made in {:.0?}", started.elapsed());
    let out = std::env::var_os("TUNE_OUT").map_or_else(|| folder.path().to_owned(), PathBuf::from);
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_rgsd"))
        .env_clear()
        .args(["tune", "--journal"])
        .arg(folder.path())
        .arg("--out")
        .arg(out)
        .output()
        .expect("the program");
    let took = started.elapsed();
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "it answers");
    budgets::TUNE.took(took);
}
