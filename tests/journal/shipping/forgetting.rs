//! Retention: what the journal forgets, the archive forgets as well, day by day, and nothing that is current.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rgsd::gossip::{Clock, Direction, Fact, UnixMs};
use rgsd::journal::{Draft, Entry, Seq};
use tempfile::TempDir;

use super::props::{BEGINNING_S, Shipping, archived, eventually, eventually_told, journaled, times};
use crate::postgres::Cluster;
use crate::unsigned::{announcement, draft, epoch, policy, scid, update};

const DAY_S: u64 = 86_400;
const DAYS: u64 = 14;
/// The one of which nothing new is heard after the first day.
const QUIET: u64 = 7;

/// A clock that is set by hand.
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

/// A day in which one channel changes its fee every hour.
fn day(day: u64) -> Vec<Draft> {
    let midnight = BEGINNING_S / DAY_S * DAY_S + day * DAY_S;
    let said = |n: u64, at: u64| {
        draft(at, Fact::Update(update(scid(n), Direction::OneToTwo, at as u32, &policy(at as u32))))
    };
    let mut drafts = Vec::new();
    if day == 0 {
        for n in [1, QUIET] {
            let announcement = announcement(scid(n), [n as u32, n as u32 + 1], &[]);
            drafts.push(draft(midnight, Fact::Channel { announcement, capacity_sat: Some(1) }));
        }
        drafts.push(said(QUIET, midnight + 1));
    }
    drafts.extend((0..24).map(|hour| said(1, midnight + hour * 3600 + 60)));
    drafts.push(epoch((midnight + 86_000) as u32));
    drafts
}

fn numbers(entries: &[Entry]) -> BTreeSet<Seq> {
    entries.iter().map(|entry| entry.seq).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_forgets_the_days_that_the_journal_has_forgotten() {
    let database = Cluster::shared().database();
    let home = TempDir::new().expect("a directory");
    let now_ms = (BEGINNING_S / DAY_S + DAYS) * DAY_S * 1_000;
    let clock = Arc::new(SetClock(AtomicU64::new(now_ms)));
    let shipping = Shipping::start_at(home.path(), &database.url, times(), Arc::clone(&clock) as _).await;
    for n in 0..DAYS {
        for draft in day(n) {
            shipping.drafts.send(draft).await.expect("taken");
        }
        let last = 3 + (n + 1) * 25;
        eventually("the day is shipped", || shipping.health.borrow().last_seq == Some(Seq(last))).await;
    }
    let whole = archived(&database.url).await;

    shipping.forget(clock.now());
    let forgotten = (DAYS - 9) * 25;
    eventually("the journal has forgotten", || shipping.status.borrow().forgotten >= forgotten).await;
    clock.0.fetch_add(Duration::from_secs(2 * 3600).as_millis() as u64, Ordering::SeqCst);
    let fewer = async || archived(&database.url).await.len() < whole.len() - forgotten as usize / 2;
    eventually_told("the archive forgets", fewer).await;
    shipping.caught_up().await;
    shipping.stop().await;

    let (archive, journal) = (archived(&database.url).await, journaled(home.path()));
    assert!(numbers(&journal).is_subset(&numbers(&archive)), "something current is gone");
    let old = UnixMs(now_ms - 9 * DAY_S * 1_000);
    let is_old = |entry: &&Entry| entry.seen < old;
    let of = |entries: &[Entry]| entries.iter().filter(is_old).cloned().collect::<Vec<_>>();
    assert_eq!(of(&archive), of(&journal));
    let about_the_quiet = |entry: &Entry| match &entry.event {
        rgsd::journal::Event::Fact(Fact::Update(update)) => update.scid() == scid(QUIET),
        _ => false,
    };
    assert!(archive.iter().any(about_the_quiet), "what is current stays, however old it is");
}
