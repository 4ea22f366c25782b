//! `kill -9` at any moment loses no committed entry, and never leaves a journal that the next start refuses.
//!
//! The victim is this test binary, started again: it appends, and prints the number of each commit once it is
//! durable. Whatever was printed must be there afterwards.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bitcoin::Network;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rgsd::gossip::{Direction, Fact, UnixMs};
use rgsd::journal::{Draft, Journal, Seq, SqliteJournal};
use tempfile::TempDir;

use crate::entries;
use crate::unsigned::{draft, epoch, policy, scid, update};

const DATA_DIR: &str = "RGSD_TEST_KILL_DATA_DIR";
const KILLS: usize = 25;

/// What the entry `seq` says, in every run.
fn nth(seq: u64) -> Draft {
    if seq.is_multiple_of(50) {
        return epoch(seq as u32);
    }
    draft(seq, Fact::Update(update(scid(seq), Direction::OneToTwo, seq as u32, &policy(seq as u32))))
}

fn open(data_dir: &Path) -> SqliteJournal {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    SqliteJournal::open(data_dir, Network::Regtest, UnixMs(0), &mut rng).expect("a start is never refused")
}

/// Appends until it is killed. Does nothing unless it was started as a victim.
#[test]
fn victim() {
    let Some(data_dir) = env::var_os(DATA_DIR) else { return };
    let mut journal = open(Path::new(&data_dir));
    let mut rng = ChaCha20Rng::seed_from_u64(journal.last_seq().0);
    loop {
        let next = journal.last_seq().0 + 1;
        let drafts: Vec<Draft> = (next..next + rng.random_range(1..200)).map(nth).collect();
        journal.append(&drafts).expect("room");
        // Past the test harness, which holds back what a test prints.
        writeln!(std::io::stderr(), "committed {}", journal.last_seq().0).expect("the parent listens");
    }
}

/// Starts a victim in `data_dir`, and kills it at a random moment: after its first commit, or at any time. Returns
/// the last commit that it told of.
fn start_and_kill(data_dir: &Path, after_commit: bool, rng: &mut ChaCha20Rng) -> Option<u64> {
    let mut child = Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", "kill::victim", "--nocapture"])
        .env(DATA_DIR, data_dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    if after_commit {
        lines.next().expect("a first commit").expect("a line");
    }
    std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
    child.kill().expect("killed");
    child.wait().expect("waited");
    // The last line may have been cut short.
    let committed = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
    committed.max()
}

/// Checks that all is there that was `committed`, and as it was told; returns the last entry's number.
fn check(data_dir: &Path, after: u64, committed: Option<u64>) -> u64 {
    let journal = open(data_dir);
    let last = journal.last_seq();
    assert!(last >= Seq(committed.unwrap_or(after)), "{committed:?} was committed, {last:?} is there");
    let found = entries(&journal, after);
    assert_eq!(found.len() as u64, last.0 - after, "no gap");
    for (seq, entry) in (after + 1..).zip(found) {
        assert_eq!(entry, nth(seq).numbered(Seq(seq)));
    }
    last.0
}

#[test]
fn a_kill_loses_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let mut last = 0;
    for _ in 0..KILLS {
        let committed = start_and_kill(dir.path(), true, &mut rng);
        last = check(dir.path(), last, committed);
    }
    assert_eq!(check(dir.path(), 0, None), last);
    assert!(last > 1_000, "only {last} entries in {KILLS} runs");
}

#[test]
fn a_kill_while_the_file_is_created_leaves_a_usable_one() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    for _ in 0..KILLS {
        let dir = TempDir::new().expect("a temporary directory");
        let committed = start_and_kill(dir.path(), false, &mut rng);
        check(dir.path(), 0, committed);
    }
}
