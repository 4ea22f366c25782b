//! What `rgsd` answers: its own choice, its own contents, its own bytes, from a history that has been told entries.

use std::cell::RefCell;
use std::rc::Rc;

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use rgsd::history::{History, View};
use rgsd::journal::{Entry, Epoch, Seq};
use rgsd::snapshot::{Choice, Contents, LeftOut, Matter, Mode, Version, choose, delta, encode, reachable};

pub use rgsd::snapshot::Grid;

use crate::DAY;

/// A host with a history.
pub struct Server {
    history: History,
    grid: Grid,
    /// What was made of the served epoch; emptied by the next one.
    made: RefCell<Made>,
}

#[derive(Default)]
struct Made {
    /// The times of the epochs with which a delta can begin.
    since: Option<Rc<[u32]>>,
    bodies: Vec<(Choice, Version, Rc<[u8]>)>,
}

/// What a wallet is given.
#[derive(Clone)]
pub struct Answer {
    pub choice: Choice,
    pub bytes: Rc<[u8]>,
}

impl Server {
    pub fn new(grid: Grid) -> Self {
        Self { history: History::new(), grid, made: RefCell::default() }
    }

    /// Starts anew, with as much of a journal as it knew.
    pub fn restart(&mut self, grid: Grid, journal: &[Entry]) {
        let known = self.last_seq();
        *self = Self::new(grid);
        journal.iter().take_while(|entry| entry.seq <= known).for_each(|entry| self.learn(entry));
    }

    pub fn learn(&mut self, entry: &Entry) {
        let epoch = self.history.last_epoch().copied();
        self.history.apply(entry);
        if epoch != self.history.last_epoch().copied() {
            self.made.take();
        }
    }

    pub fn last_seq(&self) -> Seq {
        self.history.last_seq()
    }

    /// Those that it knows, newest last.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = &Epoch> + ExactSizeIterator {
        self.history.epochs()
    }

    /// The one that it serves.
    pub fn epoch(&self) -> Option<&Epoch> {
        self.history.last_epoch()
    }

    /// What a wallet gets at `now` whose last sync was `last_sync`; `None` before the first epoch.
    pub fn answer(&self, last_sync: u32, version: Version, now: u32) -> Option<Answer> {
        let epoch = self.epoch()?;
        let mut made = self.made.borrow_mut();
        let since = made.since.get_or_insert_with(|| reachable(epoch, self.epochs()).into()).clone();
        let choice = choose(last_sync.into(), epoch.timestamp, &since, Some(self.grid), now, Mode::Delta);
        let known = made.bodies.iter().find(|(made_for, of, _)| (*made_for, *of) == (choice, version));
        let bytes =
            known.map_or_else(|| bytes(&self.contents(epoch, choice), version), |(_, _, bytes)| bytes.clone());
        if known.is_none() {
            made.bodies.push((choice, version, bytes.clone()));
        }
        Some(Answer { choice, bytes })
    }

    /// Whether what it serves is more than 14 days old: the client has no use for that, and says so.
    pub fn is_served_too_late(&self, now: u32) -> bool {
        self.epoch().is_some_and(|epoch| now > epoch.timestamp.saturating_add(14 * DAY))
    }

    /// The view that it serves.
    pub fn view(&self) -> Option<View> {
        self.history.view(self.epoch()?)
    }

    /// What a wallet gets that starts afresh at a known epoch.
    pub fn full(&self, timestamp: u32, version: Version) -> Option<Rc<[u8]>> {
        let epoch = self.known(timestamp)?;
        Some(bytes(&self.contents(epoch, Choice::Full), version))
    }

    fn known(&self, timestamp: u32) -> Option<&Epoch> {
        self.epochs().rev().find(|epoch| epoch.timestamp == timestamp)
    }

    fn contents(&self, epoch: &Epoch, choice: Choice) -> Contents {
        let view = || self.history.view(epoch).expect("a known epoch");
        match choice {
            Choice::Full => Contents::full(&view()),
            Choice::Returning => {
                let matter = Matter::of(&self.history, epoch).expect("a known epoch");
                Contents::full(&matter.view).with_departed(&matter.departed)
            }
            Choice::Nothing { timestamp } => Contents::nothing(timestamp),
            Choice::Delta { since } => {
                let since = self.known(since).expect("only known ones are chosen");
                delta(&self.history.span(since, epoch).expect("an earlier one"), &LeftOut::default())
            }
        }
    }
}

fn bytes(contents: &Contents, version: Version) -> Rc<[u8]> {
    let chain = ChainHash::using_genesis_block_const(Network::Bitcoin);
    encode(contents, chain, version).expect("a small network").into()
}
