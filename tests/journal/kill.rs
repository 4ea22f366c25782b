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
const KILLS: u64 = 30;

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

#[test]
fn a_kill_loses_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let mut last = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(env::current_exe().expect("this binary"))
            .args(["--exact", "kill::victim", "--nocapture"])
            .env(DATA_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        // The first kills meet the creation of the file, later ones the appending.
        if kill >= 10 {
            lines.next().expect("a first commit").expect("a line");
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
        child.kill().expect("killed");
        child.wait().expect("waited");
        let committed = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
        let committed: u64 = committed.max().unwrap_or(last);

        let journal = open(dir.path());
        assert!(journal.last_seq() >= Seq(committed), "{committed} was committed, {:?} is there", journal.last_seq());
        for (seq, entry) in (last + 1..).zip(entries(&journal, last)) {
            assert_eq!(entry, nth(seq).numbered(Seq(seq)));
        }
        last = journal.last_seq().0;
    }
    assert_eq!(entries(&open(dir.path()), 0).len() as u64, last);
    assert!(last > 1_000, "only {last} entries in {KILLS} runs");
}
