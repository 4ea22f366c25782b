//! The writer: groups, hands on in order, sits out a full disk, stops cleanly, forgets in the background.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rgsd::gossip::{Direction, Fact, UnixMs};
use rgsd::journal::{
    AppendError, Attachment, CollectorId, Draft, Entry, Identity, Journal, JournalId, Pace, Reader, Seq, Term, Writer,
};
use tokio::sync::mpsc;

use crate::contract::{Sqlite, Store};
use crate::entries;
use crate::unsigned::{announcement, draft, epoch, node, policy, scid, update};

/// A journal in memory that fails when told to.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// How many entries each append brought.
    groups: Vec<usize>,
    full: bool,
    broken: bool,
    /// Appends that found it full.
    refused: usize,
}

impl Fake {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("no panic while locked"))
    }
}

impl Reader for Fake {
    fn read(&self, after: Seq, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()> {
        let entries = self.change(|state| state.entries.clone());
        let _ = entries.into_iter().filter(|entry| entry.seq > after).try_for_each(each);
        Ok(())
    }

    fn numbers(&self, bound: Seq) -> anyhow::Result<Vec<Seq>> {
        Ok(self.change(|state| state.entries.iter().map(|entry| entry.seq).filter(|seq| *seq < bound).collect()))
    }
}

impl Journal for Fake {
    fn identity(&self) -> Identity {
        Identity {
            journal: JournalId([0; 16]),
            collector: CollectorId([0; 16]),
            attachment: Attachment::Alone,
            epoch_offset_s: 1,
        }
    }

    fn last_epoch(&self) -> Option<u32> {
        None
    }

    fn last_seq(&self) -> Seq {
        self.change(|state| state.entries.last().map_or(Seq(0), |entry| entry.seq))
    }

    fn append(&mut self, drafts: &[Draft]) -> Result<Seq, AppendError> {
        let first = Seq(self.last_seq().0 + 1);
        self.change(|state| {
            if state.broken {
                return Err(AppendError::Other(anyhow!("the disk fell off")));
            }
            if state.full {
                state.refused += 1;
                return Err(AppendError::Full("no room".into()));
            }
            state.groups.push(drafts.len());
            state.entries.extend((first.0..).zip(drafts).map(|(seq, draft)| draft.clone().numbered(Seq(seq))));
            Ok(first)
        })
    }

    fn adopt(&mut self, entries: &[Entry]) -> Result<(), AppendError> {
        self.change(|state| {
            if state.full {
                state.refused += 1;
                return Err(AppendError::Full("no room".into()));
            }
            state.entries.extend_from_slice(entries);
            Ok(())
        })
    }

    fn identify(&mut self, _: Identity) -> Result<(), AppendError> {
        Ok(())
    }

    fn unoffered(&self, _: usize) -> anyhow::Result<Vec<(i64, Vec<u8>)>> {
        Ok(Vec::new())
    }

    fn offered(&mut self, _: &[i64]) -> Result<(), AppendError> {
        Ok(())
    }

    fn forget(&mut self, seqs: &[Seq]) -> Result<usize, AppendError> {
        self.change(|state| state.entries.retain(|entry| !seqs.contains(&entry.seq)));
        Ok(seqs.len())
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(self.clone()))
    }
}

fn nth(n: u32) -> Draft {
    draft(u64::from(n), Fact::SyncCompleted { peer: node(n) })
}

fn expected(count: u32) -> Vec<Entry> {
    (0..count).map(|n| nth(n).numbered(Seq(u64::from(n) + 1))).collect()
}

/// Waits for milliseconds where the service waits for seconds.
fn brisk() -> Pace {
    Pace {
        hold: Duration::from_millis(5),
        retry_first: Duration::from_millis(1),
        retry_most: Duration::from_millis(4),
        ..Pace::default()
    }
}

async fn receive(commits: &mut mpsc::Receiver<Vec<Entry>>, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(commits.recv().await.expect("the writer goes on"));
    }
    entries
}

#[tokio::test]
async fn hands_on_in_order_what_is_durable() {
    let store = Sqlite::new();
    let (writer, drafts, mut commits) = Writer::spawn(store.open(), brisk()).expect("started");
    let status = writer.status();
    let sending = tokio::spawn(async move {
        for n in 0..5_000 {
            drafts.send(nth(n)).await.expect("taken");
        }
    });
    let mut received = Vec::new();
    while received.len() < 5_000 {
        received.extend(commits.recv().await.expect("a commit"));
        assert!(status.borrow().last_seq >= received.last().expect("never an empty one").seq);
    }
    sending.await.expect("sent");
    writer.stop().await.expect("clean");
    assert_eq!(received, expected(5_000));
    assert_eq!(entries(&*store.open(), 0), expected(5_000));
}

#[tokio::test]
async fn groups_what_comes_together_and_holds_nothing_for_long() {
    let fake = Fake::default();
    let pace = Pace { hold: Duration::from_millis(100), ..Pace::default() };
    let (writer, drafts, mut commits) = Writer::spawn(Box::new(fake.clone()), pace).expect("started");
    for n in 0..4_000 {
        drafts.try_send(nth(n)).expect("room in the queue");
    }
    receive(&mut commits, 4_000).await;
    let groups = fake.change(|state| std::mem::take(&mut state.groups));
    assert!(groups.len() <= 5, "{groups:?}");

    let sent = Instant::now();
    drafts.send(nth(4_000)).await.expect("taken");
    drafts.send(nth(4_001)).await.expect("taken");
    receive(&mut commits, 2).await;
    let took = sent.elapsed();
    assert!(took >= Duration::from_millis(95), "they shared a commit: {took:?}");
    assert_eq!(fake.change(|state| state.groups.clone()), [2]);
    writer.stop().await.expect("clean");
}

#[tokio::test]
async fn sits_out_a_full_disk() {
    let fake = Fake::default();
    let (writer, drafts, mut commits) = Writer::spawn(Box::new(fake.clone()), brisk()).expect("started");
    let mut status = writer.status();
    drafts.send(nth(0)).await.expect("taken");
    receive(&mut commits, 1).await;

    fake.change(|state| state.full = true);
    for n in 1..100 {
        drafts.send(nth(n)).await.expect("taken");
    }
    status.wait_for(|status| status.storage_full.is_some()).await.expect("it says so");
    assert_eq!(status.borrow().last_seq, Seq(1));
    while fake.change(|state| state.refused) < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(commits.try_recv().is_err(), "nothing is handed on that is not durable");

    fake.change(|state| state.full = false);
    status.wait_for(|status| status.storage_full.is_none()).await.expect("it says so");
    assert_eq!(receive(&mut commits, 99).await, expected(100)[1..]);
    writer.stop().await.expect("clean");
    assert_eq!(entries(&fake, 0), expected(100));
}

#[tokio::test]
async fn a_stop_commits_all_that_was_taken() {
    let fake = Fake::default();
    let pace = Pace { hold: Duration::from_millis(20), group: 10, burst: 10, ..Pace::default() };
    let (writer, drafts, mut commits) = Writer::spawn(Box::new(fake.clone()), pace).expect("started");
    for n in 0..500 {
        drafts.try_send(nth(n)).expect("room in the queue");
    }
    let receiving = tokio::spawn(async move {
        let mut received = Vec::new();
        while let Some(commit) = commits.recv().await {
            received.extend(commit);
        }
        received
    });
    writer.stop().await.expect("clean");
    assert!(drafts.send(nth(500)).await.is_err(), "taken after the stop");
    assert_eq!(entries(&fake, 0), expected(500));
    assert_eq!(receiving.await.expect("received"), expected(500));
}

#[tokio::test]
async fn a_stop_on_a_full_disk_says_what_was_lost() {
    let fake = Fake::default();
    fake.change(|state| state.full = true);
    let pace = Pace { retry_first: Duration::from_secs(600), ..brisk() };
    let (writer, drafts, _commits) = Writer::spawn(Box::new(fake), pace).expect("started");
    drafts.send(nth(0)).await.expect("taken");
    writer.status().wait_for(|status| status.storage_full.is_some()).await.expect("it says so");
    let error = writer.stop().await.expect_err("not written").to_string();
    assert!(error.contains("1 accepted entries"), "{error}");
}

#[tokio::test]
async fn another_failure_ends_it_with_its_reason() {
    let fake = Fake::default();
    fake.change(|state| state.broken = true);
    let (mut writer, drafts, _commits) = Writer::spawn(Box::new(fake), brisk()).expect("started");
    drafts.send(nth(0)).await.expect("taken");
    assert_eq!(writer.ended().await.expect_err("broken").to_string(), "the disk fell off");
}

#[tokio::test]
async fn journals_though_nobody_listens() {
    let fake = Fake::default();
    let (writer, drafts, commits) = Writer::spawn(Box::new(fake.clone()), brisk()).expect("started");
    drop(commits);
    for n in 0..100 {
        drafts.send(nth(n)).await.expect("taken");
    }
    writer.stop().await.expect("clean");
    assert_eq!(entries(&fake, 0), expected(100));
}

#[tokio::test]
async fn forgets_in_the_background() {
    const DAY: u64 = 24 * 3600;
    let store = Sqlite::new();
    let mut journal = store.open();
    let channel = Fact::Channel { announcement: announcement(scid(1), [1, 2], &[]), capacity_sat: None };
    let repeat = |n: u32| Fact::Update(update(scid(1), Direction::OneToTwo, n, &policy(n)));
    let mut old = vec![draft(DAY, channel)];
    old.extend((1..=3_000).map(|n| draft(DAY, repeat(n))));
    old.extend([epoch(DAY as u32), epoch(50 * DAY as u32)]);
    journal.append(&old).expect("room");

    let (writer, drafts, mut commits) = Writer::spawn(journal, brisk()).expect("started");
    let mut status = writer.status();
    writer.retainer().retain(UnixMs(50 * DAY * 1_000), Duration::from_secs(30 * DAY));
    for n in 4_000..4_100 {
        drafts.send(draft(50 * DAY, repeat(n))).await.expect("taken");
    }
    receive(&mut commits, 100).await;
    status.wait_for(|status| status.forgotten == 2_999).await.expect("all but the last old update");
    writer.stop().await.expect("clean");
    let left: Vec<u64> = entries(&*store.open(), 0).iter().map(|entry| entry.seq.0).collect();
    assert_eq!(left[..4], [1, 3_001, 3_002, 3_003]);
    assert_eq!(left.len(), 104);
}

/// Entries as another collector numbered them: its journal has forgotten every third.
fn copied(from: u32, count: u32) -> Vec<Entry> {
    let kept = (from..from + count).filter(|n| n % 3 != 0);
    kept.map(|n| nth(n).numbered(Seq(u64::from(n) + 1))).collect()
}

#[tokio::test]
async fn copies_what_another_numbered_and_goes_on_from_there() {
    let store = Sqlite::new();
    let (writer, drafts, mut commits) = Writer::spawn(store.open(), brisk()).expect("started");
    let mut all = Vec::new();
    for batch in [copied(0, 1_000), copied(1_000, 11)] {
        writer.copies().send(batch.clone()).await.expect("taken");
        assert_eq!(commits.recv().await.expect("a commit"), batch);
        all.extend(batch);
    }
    let last = writer.status().borrow().last_seq;
    assert_eq!(last, all[all.len() - 1].seq);
    let identity = Identity {
        journal: JournalId([0; 16]),
        collector: CollectorId([7; 16]),
        attachment: Attachment::Writing(Term(7)),
        epoch_offset_s: 23,
    };
    writer.notes().identify(identity).await.expect("noted");
    drafts.send(nth(5)).await.expect("taken");
    let own = nth(5).numbered(Seq(last.0 + 1));
    assert_eq!(receive(&mut commits, 1).await, std::slice::from_ref(&own));
    writer.stop().await.expect("clean");
    all.push(own);
    let journal = store.open();
    assert_eq!(entries(&*journal, 0), all);
    let now = journal.identity();
    assert_eq!(now, Identity { journal: now.journal, ..identity });
}

#[tokio::test]
async fn a_full_disk_keeps_copies_waiting_too() {
    let fake = Fake::default();
    fake.change(|state| state.full = true);
    let (writer, _drafts, mut commits) = Writer::spawn(Box::new(fake.clone()), brisk()).expect("started");
    writer.copies().send(copied(0, 10)).await.expect("taken");
    while fake.change(|state| state.refused) < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(writer.status().borrow().storage_full.is_some());
    fake.change(|state| state.full = false);
    assert_eq!(commits.recv().await.expect("a commit"), copied(0, 10));
    writer.stop().await.expect("clean");
}
