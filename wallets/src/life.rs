//! Wallets living through a script, all at the same time: whoever is due acts, and after every sync is judged.

use std::collections::HashMap;
use std::rc::Rc;

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use rgsd::snapshot::{Contents, Version};

use crate::oracle::{Past, Picture, Sync, difference, is_promised};
use crate::patterns::{Act, Forgets, Habits, Pruning, Request};
use crate::script::Script;
use crate::unsigned::node;
use crate::wallet::{LastSync, Read, Saved, Wallet};
use crate::world::{Host, World};
use crate::{DAY, HOUR, START};

/// How many earlier states a wallet has on its disk.
const SAVED: usize = 3;

/// What a wallet's life came to.
#[derive(Clone, Debug)]
pub struct Lived {
    pub tally: Tally,
    /// What it knew in the end.
    pub picture: Picture,
}

/// How a wallet's syncs went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Snapshots that were read to their end.
    pub syncs: u32,
    /// Of these, those that were held against a fresh wallet's.
    pub judged: u32,
    /// The fewest channels that were routable after a sync.
    pub fewest: usize,
}

/// Lets wallets with these habits live through a script. What comes back is what became of each, or
/// how the first one that does not hold what a fresh one holds differs.
pub fn live(script: &Script, habits: &[Habits]) -> Result<Vec<Lived>, String> {
    let mut world = World::new(script.clone());
    let mut fresh = Fresh::new();
    let mut citizens: Vec<Citizen> = habits.iter().map(Citizen::new).collect();
    while let Some(next) = citizens.iter_mut().filter(|citizen| citizen.due().is_some()).min_by_key(|one| one.due()) {
        next.act(&mut world, &mut fresh)?;
    }
    let lived = citizens.iter().map(|one| Lived { tally: one.tally, picture: Picture::of(one.wallet.graph()) });
    Ok(lived.collect())
}

/// The graphs of wallets that start afresh, by epoch and version.
struct Fresh {
    pictures: HashMap<(u32, u8), Rc<Picture>>,
    /// Emptied before each start: the client reserves room for a whole network whenever it begins a new graph.
    wallet: Wallet,
}

impl Fresh {
    fn new() -> Self {
        Self { pictures: HashMap::new(), wallet: Wallet::new(LastSync::Returned) }
    }

    /// What a wallet holds that starts with the epoch's full snapshot at `now`; `None` where nobody knows the epoch.
    fn at(&mut self, world: &World, host: Host, sync: Sync, now: u32) -> Option<Rc<Picture>> {
        // Nothing in it is old enough to be pruned: it is the same at any time.
        let lasts = now <= sync.epoch.saturating_add(7 * DAY);
        let key = (sync.epoch, sync.version as u8);
        if let Some(picture) = self.pictures.get(&key).filter(|_| lasts) {
            return Some(picture.clone());
        }
        let full = |host| world.server(host).full(sync.epoch, sync.version);
        let bytes = full(host).or_else(|| full(Host::Writer))?;
        self.wallet.prune(u32::MAX);
        assert_eq!(Picture::of(self.wallet.graph()), Picture::default(), "everything is too old at the end of time");
        self.wallet.read(&bytes, now);
        let picture = Rc::new(Picture::of(self.wallet.graph()));
        self.pictures.insert(key, picture.clone());
        Some(picture)
    }
}

/// A wallet, and how far it is in its life.
struct Citizen<'a> {
    habits: &'a Habits,
    wallet: Wallet,
    past: Past,
    now: u32,
    /// The next act, and how often it was done already.
    next: (usize, u32),
    /// Its states before the last syncs, newest last.
    saved: Vec<(Saved, Past)>,
    saves: bool,
    tally: Tally,
}

impl<'a> Citizen<'a> {
    fn new(habits: &'a Habits) -> Self {
        Self {
            habits,
            wallet: Wallet::new(habits.last_sync),
            past: Past::default(),
            now: START,
            next: (0, 0),
            saved: Vec::new(),
            saves: habits.acts.iter().any(|act| matches!(act, Act::Crash { .. })),
            tally: Tally { syncs: 0, judged: 0, fewest: usize::MAX },
        }
    }

    /// When it acts next; `None` after the last act.
    fn due(&self) -> Option<u32> {
        let after_s = match self.habits.acts.get(self.next.0)? {
            Act::Wait { for_s } => *for_s,
            Act::Syncs { every_s, .. } => *every_s,
            _ => 0,
        };
        Some(self.now.saturating_add(after_s))
    }

    fn act(&mut self, world: &mut World, fresh: &mut Fresh) -> Result<(), String> {
        let (Some(now), Some(act)) = (self.due(), self.habits.acts.get(self.next.0).copied()) else { return Ok(()) };
        let (at, done) = self.next;
        let repeats = matches!(act, Act::Syncs { times, .. } if done + 1 < times);
        self.next = if repeats { (at, done + 1) } else { (at + 1, 0) };
        world.advance(now);
        self.now = now;
        if self.habits.pruning == Pruning::Hourly {
            self.wallet.prune(now - now % HOUR);
            self.past.pruned(now - now % HOUR);
        }
        match act {
            Act::Wait { .. } => {}
            Act::Syncs { times: 0, .. } => {}
            Act::Sync(request) | Act::Syncs { request, .. } => self.sync(request, world, fresh)?,
            Act::CutShort { request, per_mille } => self.sync_partly(request, per_mille, world),
            Act::Elsewhere { version } => self.sync_elsewhere(version, world),
            Act::Lose { channel } => {
                let channels = world.channels();
                let channel = &channels[channel % channels.len()];
                self.past.lost(channel.scid.0, channel.nodes.map(node), self.wallet.last_sync());
                self.wallet.lose(channel.scid.0);
            }
            Act::Crash { ago, forgets } => self.crash(ago, forgets),
        }
        Ok(())
    }

    fn sync(&mut self, request: Request, world: &World, fresh: &mut Fresh) -> Result<(), String> {
        let Request { version, host } = request;
        let asked = self.wallet.last_sync();
        let Some(answer) = world.server(host).answer(asked, version, self.now) else { return Ok(()) };
        self.save();
        let complaint = match self.wallet.read(&answer.bytes, self.now) {
            Read::Failed if world.server(host).is_served_too_late(self.now) => None,
            Read::Failed => Some("the client refuses it".to_owned()),
            Read::Whole { timestamp, pruned } => {
                if asked == 0 {
                    self.past.starts_afresh();
                }
                let sync = Sync { epoch: timestamp, version };
                self.past.read(sync);
                if pruned {
                    self.past.pruned(self.now);
                }
                self.judge(sync, host, world, fresh)
            }
        };
        complaint.map_or(Ok(()), |complaint| {
            let Habits { last_sync, pruning, acts } = self.habits;
            let (day, second) = ((self.now - START) / DAY, (self.now - START) % DAY);
            Err(format!(
                "day {day}, second {second} ({}): {version:?} from {host:?}, asked with {asked}, got {:?}:\n{complaint}\n\
                 by a wallet with {last_sync:?}, {pruning:?}, {acts:?}",
                self.now, answer.choice
            ))
        })
    }

    /// Holds the graph against a fresh wallet's, if the promise says anything of this sync.
    fn judge(&mut self, sync: Sync, host: Host, world: &World, fresh: &mut Fresh) -> Option<String> {
        let picture = Picture::of(self.wallet.graph());
        self.tally.syncs += 1;
        self.tally.fewest = self.tally.fewest.min(picture.routable());
        let fresh = fresh.at(world, host, sync, self.now).filter(|_| is_promised(&self.past, sync))?;
        self.tally.judged += 1;
        difference(&picture, &fresh, &self.past, sync, |scid| world.was_proven_late(scid))
    }

    /// The connection is lost on the way.
    fn sync_partly(&mut self, Request { version, host }: Request, per_mille: u16, world: &World) {
        let Some(answer) = world.server(host).answer(self.wallet.last_sync(), version, self.now) else { return };
        let len = answer.bytes.len() * usize::from(per_mille.min(999)) / 1000;
        let Some(epoch) = world.server(host).epoch().map(|epoch| epoch.timestamp) else { return };
        self.save();
        self.past.read_partly(Sync { epoch, version });
        self.wallet.read(&answer.bytes[..len], self.now);
    }

    /// What the other server tells is true: the whole network as of an epoch of ours, under the full hour before
    /// or after it.
    fn sync_elsewhere(&mut self, version: Version, world: &World) {
        let Some(view) = world.server(Host::Writer).view() else { return };
        let before = view.epoch.timestamp - view.epoch.timestamp % HOUR;
        let timestamp = if before + HOUR <= self.now { before + HOUR } else { before };
        let contents = Contents { timestamp, ..Contents::full(&view) };
        let chain = ChainHash::using_genesis_block_const(Network::Bitcoin);
        let bytes = rgsd::snapshot::encode(&contents, chain, version).expect("a small network");
        self.save();
        self.past.read(Sync { epoch: timestamp.max(view.epoch.timestamp), version });
        self.wallet.read(&bytes, self.now);
    }

    fn crash(&mut self, ago: usize, forgets: Forgets) {
        let Some(at) = self.saved.len().checked_sub(1 + ago) else { return };
        let (saved, past) = self.saved[at].clone();
        match forgets {
            Forgets::Everything => {
                self.wallet.load(&saved);
                self.past = past;
            }
            Forgets::Time => {
                let (before, now) = (self.wallet.last_sync(), self.wallet.save());
                self.wallet.load(&saved);
                let last_sync = self.wallet.last_sync();
                self.wallet.load(&now);
                self.wallet.ask_with(last_sync);
                self.past.asks_with(last_sync, before);
            }
            Forgets::Graph => {
                self.past.lost_graph(self.wallet.last_sync());
                self.wallet.load_graph_only(&saved);
            }
        }
        self.saved.truncate(at);
    }

    fn save(&mut self) {
        if self.saves {
            if self.saved.len() == SAVED {
                self.saved.remove(0);
            }
            self.saved.push((self.wallet.save(), self.past.clone()));
        }
    }
}
