//! What every journal promises, run on each store.

use std::ops::ControlFlow;
use std::path::PathBuf;

use bitcoin::Network;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rgsd::gossip::{Fact, UnixMs};
use rgsd::journal::{
    AppendError, Attachment, CollectorId, Draft, Entry, Identity, Journal, JournalId, Seq, SqliteJournal, Term,
    is_epoch_offset_s, read_ahead, read_ahead_for_two,
};
use tempfile::TempDir;

use crate::entries;
use crate::unsigned::{draft, epoch, node, one_of_each};

/// A store that holds one journal, which may be opened again and again.
pub trait Store {
    fn new() -> Self;
    fn open(&self) -> Box<dyn Journal>;
}

pub struct Sqlite(TempDir);

impl Sqlite {
    pub fn data_dir(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn journal(&self) -> anyhow::Result<SqliteJournal> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        SqliteJournal::open(&self.data_dir(), Network::Regtest, UnixMs(1_700_000_000_000), &mut rng)
    }
}

impl Store for Sqlite {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn open(&self) -> Box<dyn Journal> {
        Box::new(self.journal().expect("opens"))
    }
}

macro_rules! contract {
    ($store:ty: $($test:ident)*) => {
        $(#[test]
        fn $test() {
            super::$test(<$store>::new());
        })*
    };
}

mod sqlite {
    use super::{Sqlite, Store};
    contract!(Sqlite: keeps_who_it_is gives_back_what_it_took numbers_without_gaps takes_all_or_nothing
        refuses_epochs_that_go_back adopts_what_is_numbered
        reads_in_part forgets_but_never_a_number reads_while_it_is_written reads_ahead);
}

fn syncs(count: u32) -> Vec<Draft> {
    (0..count).map(|n| draft(u64::from(n), Fact::SyncCompleted { peer: node(n) })).collect()
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

fn keeps_who_it_is(store: impl Store) {
    let journal = store.open();
    let identity = journal.identity();
    assert!(is_epoch_offset_s(identity.epoch_offset_s), "{identity:?}");
    assert_eq!(identity.attachment, Attachment::Alone);
    assert_eq!(journal.last_seq(), Seq(0));
    drop(journal);
    let mut again = store.open();
    assert_eq!(again.identity(), identity);
    for attachment in
        [Attachment::Writing(Term(1)), Attachment::Following, Attachment::Writing(Term(u32::MAX.into()))]
    {
        let other = Identity { collector: CollectorId([9; 16]), attachment, epoch_offset_s: 59, ..identity };
        again.identify(Identity { journal: JournalId([1; 16]), ..other }).expect("room");
        drop(again);
        again = store.open();
        assert_eq!(again.identity(), other, "the journal's id stays");
    }
}

fn gives_back_what_it_took(store: impl Store) {
    let drafts = one_of_each();
    let expected: Vec<Entry> = (1..).map(Seq).zip(drafts.clone()).map(|(seq, draft)| draft.numbered(seq)).collect();
    let mut journal = store.open();
    journal.append(&drafts).expect("room");
    assert_eq!(entries(&*journal, 0), expected);
    drop(journal);
    assert_eq!(entries(&*store.open(), 0), expected);
}

fn numbers_without_gaps(store: impl Store) {
    let mut journal = store.open();
    assert_eq!(journal.append(&syncs(3)).expect("room"), Seq(1));
    assert_eq!(journal.append(&[]).expect("room"), Seq(4));
    assert_eq!(journal.append(&syncs(2)).expect("room"), Seq(4));
    assert_eq!(journal.last_seq(), Seq(5));
    drop(journal);
    let mut again = store.open();
    assert_eq!(again.last_seq(), Seq(5));
    assert_eq!(again.append(&syncs(1)).expect("room"), Seq(6));
    assert_eq!(numbers(&entries(&*again, 0)), [1, 2, 3, 4, 5, 6]);
}

fn takes_all_or_nothing(store: impl Store) {
    let mut journal = store.open();
    let mut drafts = syncs(10);
    drafts.extend([epoch(100), epoch(100)]);
    journal.append(&drafts).expect_err("two epochs at once");
    assert_eq!(journal.last_seq(), Seq(0));
    assert_eq!(entries(&*journal, 0), []);
    journal.append(&drafts[..11]).expect("the first epoch was not taken before");
}

fn refuses_epochs_that_go_back(store: impl Store) {
    store.open().append(&[epoch(100)]).expect("the first");
    let mut journal = store.open();
    for (given, taken) in [(99, false), (100, false), (101, true), (101, false), (u32::MAX, true)] {
        match journal.append(&[epoch(given)]) {
            Ok(_) => assert!(taken, "{given}"),
            Err(AppendError::EpochNotNewer { given: named, .. }) => assert!(!taken && named == given, "{given}"),
            Err(error) => panic!("{error}"),
        }
    }
}

fn adopts_what_is_numbered(store: impl Store) {
    let numbered = |seqs: &[u64], drafts: Vec<Draft>| -> Vec<Entry> {
        seqs.iter().zip(drafts).map(|(seq, draft)| draft.numbered(Seq(*seq))).collect()
    };
    let mut journal = store.open();
    let mut all = numbered(&[3, 4, 9], vec![syncs(1).remove(0), epoch(100), epoch(101)]);
    journal.adopt(&all).expect("room");
    assert_eq!(journal.last_seq(), Seq(9));
    for (seqs, drafts) in [(&[9][..], syncs(1)), (&[10, 10], syncs(2)), (&[12, 11], syncs(2)), (&[1], syncs(1))] {
        let refused = journal.adopt(&numbered(seqs, drafts));
        assert!(matches!(refused, Err(AppendError::SeqNotNewer { .. })), "{seqs:?}: {refused:?}");
    }
    let refused = journal.adopt(&numbered(&[10, 11], vec![epoch(102), epoch(102)]));
    assert!(matches!(refused, Err(AppendError::EpochNotNewer { last: 102, given: 102 })), "{refused:?}");
    drop(journal);
    let mut again = store.open();
    assert_eq!((entries(&*again, 0), again.last_seq()), (all.clone(), Seq(9)));
    assert_eq!(again.append(&[epoch(102)]).expect("room"), Seq(10));
    all.extend(numbered(&[10], vec![epoch(102)]));
    assert_eq!(entries(&*again, 0), all);
}

fn reads_in_part(store: impl Store) {
    let mut journal = store.open();
    // More than one reading step of any store.
    journal.append(&syncs(25_000)).expect("room");
    assert_eq!(numbers(&entries(&*journal, 24_998)), [24_999, 25_000]);
    assert_eq!(entries(&*journal, 25_000), []);
    assert_eq!(numbers(&entries(&*journal, 0)), Vec::from_iter(1..=25_000));
    let mut count = 0;
    let read = journal.read(Seq(0), &mut |_| {
        count += 1;
        if count < 12_345 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    read.expect("readable");
    assert_eq!(count, 12_345);
}

fn forgets_but_never_a_number(store: impl Store) {
    let mut journal = store.open();
    journal.append(&syncs(5)).expect("room");
    let forgotten = journal.forget(&[Seq(2), Seq(4), Seq(5), Seq(17)]).expect("room");
    assert_eq!(forgotten, 2, "not the last one, and none that is not there");
    drop(journal);
    let mut again = store.open();
    assert_eq!(numbers(&entries(&*again, 0)), [1, 3, 5]);
    assert_eq!(again.append(&syncs(1)).expect("room"), Seq(6));
    assert_eq!(again.numbers(Seq(6)).expect("readable"), [Seq(1), Seq(3), Seq(5)]);
    assert_eq!(again.numbers(Seq(3)).expect("readable"), [Seq(1)]);
    assert_eq!(again.forget(&[Seq(1), Seq(3), Seq(5)]).expect("room"), 3);
    drop(again);
    assert_eq!(store.open().last_seq(), Seq(6));
}

fn reads_while_it_is_written(store: impl Store) {
    let mut journal = store.open();
    journal.append(&syncs(1_000)).expect("room");
    let reader = journal.reader().expect("a reader");
    let reading = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 3_000 {
            seen = entries(&*reader, 0).iter().fold(0, |last, entry| {
                assert_eq!(entry.seq.0, last + 1);
                entry.seq.0
            });
        }
    });
    for _ in 0..20 {
        journal.append(&syncs(100)).expect("room");
    }
    reading.join().expect("read all, in order");
}

fn reads_ahead(store: impl Store) {
    let mut journal = store.open();
    for count in [0, 1, 511, 600, 20_000] {
        journal.append(&syncs(count)).expect("room");
        let (mut last, mut read) = (0, 0);
        let mut reader = journal.reader().expect("a reader");
        read_ahead(&mut *reader, Seq(0), |entry| {
            assert_eq!(entry.seq.0, last + 1);
            (last, read) = (entry.seq.0, read + 1);
        })
        .expect("readable");
        assert_eq!((Seq(last), read), (journal.last_seq(), last));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let users = (|entry: &Entry| one.push(entry.seq.0), |entry: &Entry| two.push(entry.seq.0));
        read_ahead_for_two(&mut *reader, Seq(0), users.0, users.1).expect("readable");
        assert!(one.into_iter().eq(1..=last) && two.into_iter().eq(1..=last), "both get every entry, in order");
    }
    read_ahead(&mut *journal.reader().expect("a reader"), journal.last_seq(), |_| panic!("after the last"))
        .expect("empty");
}
