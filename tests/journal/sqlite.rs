//! The SQLite file: what is refused at start and how it is said, and what a full disk does.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use bitcoin::Network;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rgsd::gossip::{Direction, Fact, UnixMs};
use rgsd::journal::{
    AppendError, Attachment, Draft, Event, Extent, Identity, Journal, Reader, Seq, SqliteJournal, Term, read_ahead,
};
use rusqlite::Connection;

use crate::contract::{Sqlite, Store};
use crate::entries;
use crate::unsigned::{draft, epoch, one_of_each, policy, scid, update};

fn file(store: &Sqlite) -> PathBuf {
    store.data_dir().join("journal.sqlite")
}

fn updates(count: u32) -> Vec<Draft> {
    let update = |n| Fact::Update(update(scid(n), Direction::OneToTwo, 1, &policy(1)));
    (0..count).map(|n| draft(1, update(n.into()))).collect()
}

/// The one sentence with which the journal is refused.
fn refusal(store: &Sqlite) -> String {
    let sentence = format!("{:#}", store.journal().expect_err("refused"));
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

#[track_caller]
fn assert_says(sentence: &str, parts: &[&str]) {
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in {sentence:?}");
    }
}

/// Puts a new journal's content in order, in one file.
fn filled(count: u32) -> Sqlite {
    let store = Sqlite::new();
    store.open().append(&updates(count)).expect("room");
    store
}

#[test]
fn names_the_network_it_holds() {
    let store = filled(1);
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let other = SqliteJournal::open(&store.data_dir(), Network::Bitcoin, UnixMs(0), &mut rng).expect_err("refused");
    assert_says(&format!("{other:#}"), &["journal.sqlite", "regtest", "bitcoin", "set network"]);
}

#[test]
fn refuses_a_newer_version_of_the_tables() {
    let store = filled(1);
    let add = "INSERT INTO refinery_schema_history SELECT 99, 'later', applied_on, checksum FROM refinery_schema_history LIMIT 1";
    Connection::open(file(&store)).and_then(|connection| connection.execute(add, [])).expect("written");
    assert_says(&refusal(&store), &["journal.sqlite", "newer rgsd", "99", "run that rgsd"]);
}

#[test]
fn refuses_what_is_no_journal() {
    let store = Sqlite::new();
    fs::create_dir_all(store.data_dir()).expect("created");
    fs::write(
        file(&store),
        b"notes of mine, long enough to be a database's header, and then some more words. ".repeat(9),
    )
    .expect("written");
    assert_says(&refusal(&store), &["journal.sqlite", "not a journal", "move it away"]);

    fs::remove_file(file(&store)).expect("removed");
    Connection::open(file(&store)).and_then(|other| other.execute_batch("CREATE TABLE mine (x)")).expect("written");
    assert_says(&refusal(&store), &["journal.sqlite", "another program", "data_dir"]);
}

#[test]
fn refuses_a_truncated_file() {
    let store = filled(2_000);
    let whole = fs::metadata(file(&store)).expect("there").len();
    fs::OpenOptions::new().write(true).open(file(&store)).and_then(|file| file.set_len(whole / 2)).expect("cut");
    assert_says(&refusal(&store), &["journal.sqlite", "damaged", "back-up", "full sync"]);
}

#[test]
fn refuses_a_last_entry_that_makes_no_sense() {
    let store = filled(10);
    let spoil = "UPDATE entry SET body = x'0102' WHERE seq = 10";
    Connection::open(file(&store)).and_then(|connection| connection.execute(spoil, [])).expect("written");
    assert_says(&refusal(&store), &["journal.sqlite", "entry 10", "back-up"]);
}

#[test]
fn refuses_migrations_that_make_no_sense() {
    let store = filled(10);
    let spoil = "UPDATE refinery_schema_history SET version = version - 2, applied_on = 'yesterday'";
    Connection::open(file(&store)).and_then(|connection| connection.execute(spoil, [])).expect("written");
    assert_says(&refusal(&store), &["journal.sqlite", "migrations", "back-up"]);
}

#[test]
fn tells_of_damage_that_it_meets_while_reading() {
    let store = filled(5_000);
    let length = fs::metadata(file(&store)).expect("there").len();
    let mut raw = fs::OpenOptions::new().write(true).open(file(&store)).expect("opened");
    raw.seek(SeekFrom::Start(length / 2 / 4096 * 4096)).expect("there");
    raw.write_all(&[0xee; 4096]).expect("written");
    let journal = store.journal().expect("neither its head nor its end is damaged");
    let error = journal.read(Seq(0), &mut |_| ControlFlow::Continue(())).expect_err("damaged");
    assert_says(&format!("{error:#}"), &["journal.sqlite", "damaged", "back-up", "full sync"]);
    let mut reader = journal.reader().expect("a reader");
    let ahead = read_ahead(&mut *reader, Seq(0), |_| {}).expect_err("damaged");
    assert_eq!(format!("{ahead:#}"), format!("{error:#}"));
}

#[test]
fn is_one_process_alone() {
    let store = filled(1);
    let journal = store.open();
    assert_says(&refusal(&store), &["another rgsd", "data_dir"]);
    drop(journal);
    store.open();
}

#[test]
fn names_a_directory_that_it_cannot_have() {
    let store = Sqlite::new();
    fs::write(store.data_dir(), b"a file where the directory should be").expect("written");
    assert_says(&refusal(&store), &["cannot create the data directory", "data", "data_dir"]);
}

#[test]
fn goes_on_where_its_creation_was_broken_off() {
    let store = Sqlite::new();
    fs::create_dir_all(store.data_dir()).expect("created");
    let connection = Connection::open(file(&store)).expect("opened");
    store.open();
    connection.execute_batch("DELETE FROM meta").expect("as if it had not come to that");
    let mut journal = store.open();
    journal.append(&updates(1)).expect("room");
    drop(journal);
    connection.execute_batch("DELETE FROM meta").expect("deleted");
    assert_says(&refusal(&store), &["journal.sqlite", "damaged", "no id"]);
}

#[test]
fn takes_nothing_while_it_is_full_and_everything_later() {
    let store = Sqlite::new();
    let mut journal = store.journal().expect("opens");
    journal.limit_pages(60).expect("limited");
    let drafts = updates(100);
    let mut taken = 0;
    let full = loop {
        match journal.append(&drafts) {
            Ok(_) => taken += 100,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full(_)), "{full}");
    assert!(taken > 0);
    for _ in 0..3 {
        assert!(matches!(journal.append(&drafts), Err(AppendError::Full(_))));
        assert_eq!(journal.last_seq(), Seq(taken));
    }
    assert_eq!(entries(&journal, 0).len() as u64, taken);
    journal.limit_pages(600).expect("room again");
    assert_eq!(journal.append(&drafts).expect("room"), Seq(taken + 1));
    drop(journal);
    assert_eq!(entries(&*store.open(), 0).len() as u64, taken + 100);
}

#[test]
fn draws_its_own_id_and_offset() {
    let draw = |seed| {
        let store = Sqlite::new();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let journal = SqliteJournal::open(&store.data_dir(), Network::Signet, UnixMs(0), &mut rng).expect("opens");
        (journal.identity().journal.0, journal.identity().epoch_offset_s)
    };
    let mut drawn: Vec<_> = (0..5).map(draw).collect();
    drawn.sort_unstable();
    drawn.dedup_by_key(|(id, _)| *id);
    assert_eq!(drawn.len(), 5);
}

#[test]
fn is_compact() {
    let store = Sqlite::new();
    let mut journal = store.journal().expect("opens");
    journal.append(&updates(20_000)).expect("room");
    journal.append(&[epoch(1)]).expect("room");
    drop(journal);
    let bytes = fs::metadata(file(&store)).expect("there").len();
    assert!(bytes / 20_000 < 138 + 24, "{bytes} bytes for 20,000 updates of 138 bytes each");
}

#[test]
fn is_cut_back_to_where_a_term_ended_and_keeps_the_messages_to_offer() {
    let store = filled(100);
    let mut journal = store.journal().expect("opens");
    let writing = Identity { attachment: Attachment::Writing(Term(3)), ..journal.identity() };
    journal.identify(writing).expect("room");
    journal.append(&[epoch(100)]).expect("room");
    let messages = one_of_each();
    journal.append(&messages).expect("room");
    assert_eq!(journal.cut(Seq(101)).expect("cut"), messages.len());
    assert_eq!((journal.last_seq(), journal.last_epoch()), (Seq(101), Some(100)));
    assert_eq!(journal.identity(), Identity { attachment: Attachment::Following, ..writing });

    let facts = messages.iter().filter_map(|draft| match &draft.event {
        Event::Fact(fact) => fact.message().map(<[u8]>::to_vec),
        Event::Epoch { .. } => None,
    });
    let facts: Vec<Vec<u8>> = facts.collect();
    drop(journal);
    let mut journal = store.journal().expect("opens");
    let first = journal.unoffered(2).expect("readable");
    assert_eq!(first.iter().map(|(_, message)| message.clone()).collect::<Vec<_>>(), facts[..2]);
    journal.offered(&[first[0].0, first[1].0]).expect("room");
    let rest: Vec<Vec<u8>> =
        journal.unoffered(99).expect("readable").into_iter().map(|(_, message)| message).collect();
    assert_eq!(rest, facts[2..]);

    journal.append(&[epoch(101)]).expect("the epochs after the first are forgotten");
    assert_eq!(journal.cut(Seq(40)).expect("cut"), 62);
    assert_eq!(entries(&journal, 0).len(), 40);
    assert_eq!(journal.append(&[epoch(1)]).expect("no epoch is left"), Seq(41));
}

#[test]
fn a_journal_of_the_first_version_goes_on() {
    let store = filled(3);
    let before = store.journal().expect("opens").identity();
    let undo = "ALTER TABLE meta DROP COLUMN collector; ALTER TABLE meta DROP COLUMN attachment;
        ALTER TABLE meta DROP COLUMN term; DROP TABLE unoffered; DELETE FROM refinery_schema_history WHERE version = 2";
    Connection::open(file(&store)).and_then(|connection| connection.execute_batch(undo)).expect("written");
    let journal = store.journal().expect("opens");
    let after = journal.identity();
    assert_ne!(after.collector, before.collector, "drawn anew");
    assert_eq!(Identity { collector: before.collector, ..after }, before);
    assert_eq!(entries(&journal, 0).len(), 3);
    drop(journal);
    assert_eq!(store.journal().expect("opens").identity(), after);
}

#[test]
fn is_read_beside_its_service_without_a_lock() {
    let store = Sqlite::new();
    let mut journal = store.open();
    journal.append(&one_of_each()).expect("room");
    let beside = SqliteJournal::beside(&store.data_dir()).expect("it can be read");
    let last = one_of_each().len() as u64;
    let extent = Extent {
        span: (UnixMs(1_700_000_000_000), UnixMs(1_700_003_617_000)),
        last_seq: Seq(last),
        epochs: vec![(Seq(last - 1), 1_700_000_017), (Seq(last), 1_700_003_617)],
    };
    assert_eq!(beside.extent(), &extent);
    assert_eq!(entries(&beside, 0), entries(&*journal, 0));
    journal.append(&updates(3)).expect("the writer is not held up");
    assert_eq!(entries(&beside, last).len(), 3);
    drop(journal);
    assert_eq!(entries(&SqliteJournal::beside(&store.data_dir()).expect("it is closed"), 0).len() as u64, last + 3);
}

#[test]
fn what_cannot_be_read_beside_a_service_is_said() {
    let refusal = |store: &Sqlite| match SqliteJournal::beside(&store.data_dir()) {
        Ok(_) => panic!("not refused"),
        Err(refusal) => format!("{refusal:#}"),
    };
    let store = Sqlite::new();
    assert_says(&refusal(&store), &["there is no journal in", "data_dir"]);
    assert!(!file(&store).exists());
    drop(store.open());
    assert_says(&refusal(&store), &["journal.sqlite is empty"]);
    let store = filled(1);
    let add = "INSERT INTO refinery_schema_history SELECT 99, 'later', applied_on, checksum FROM refinery_schema_history LIMIT 1";
    Connection::open(file(&store)).and_then(|connection| connection.execute(add, [])).expect("written");
    assert_says(&refusal(&store), &["journal.sqlite", "newer rgsd", "99"]);
    let store = filled(1);
    Connection::open(file(&store)).and_then(|it| it.pragma_update(None, "application_id", 7)).expect("written");
    assert_says(&refusal(&store), &["journal.sqlite is a database of another program"]);
    let store = filled(1);
    fs::write(file(&store), "no database at all, but long enough to be looked at").expect("written");
    assert_says(&refusal(&store), &["journal.sqlite", "damaged or not a journal"]);
}
