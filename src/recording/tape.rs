//! Facts become a recording: a `gossip_store` in which each record stands after the time at which it was accepted.
//!
//! Promises that what it has handed on ends with a whole record, and that a replay takes what is on it for what it was:
//! where a channel took another one's place, the other one's closing comes first, because a replay, which has no chain
//! to ask, would let the first one stay. No record says that a channel was reopened: all of it is told again.

use std::io::{self, Write};

use super::keeper::{Keeper, Place, channel_records, node_record, record, update_record};
use super::store::Writer;
use super::{Body, Record};
use crate::gossip::{Fact, UnixMs};

/// How much is gathered at most before it is handed on.
const GATHERED: usize = 1 << 20;

/// See the module's head.
pub struct Tape<W> {
    out: W,
    gathered: Writer<Vec<u8>>,
    /// What was last said of the time; it never goes back.
    time: UnixMs,
    handed_on: u64,
}

impl<W: Write> Tape<W> {
    /// Begins a recording; nothing is handed on yet.
    pub fn new(out: W, uuid: [u8; 32]) -> io::Result<Self> {
        let mut gathered = Writer::new(Vec::new())?;
        gathered.write(&record(0, Body::Uuid(uuid)))?;
        Ok(Self { out, gathered, time: UnixMs(0), handed_on: 0 })
    }

    /// Tells all that is current at a time.
    pub fn tell_state(&mut self, at: UnixMs, keeper: &Keeper) -> io::Result<()> {
        self.tell_time(at)?;
        keeper.records().try_for_each(|record| self.put(&record))
    }

    /// Tells a fact that was accepted at `seen`, unless it says nothing of the network; `keeper`, which knows all that
    /// came before it, learns it.
    pub fn tell(&mut self, keeper: &mut Keeper, seen: UnixMs, fact: Fact) -> io::Result<()> {
        if !matches!(fact, Fact::SyncCompleted { .. } | Fact::PossibleSplice { .. } | Fact::Block(_)) {
            self.tell_time(seen)?;
        }
        let seen_s = seen.secs();
        match &fact {
            Fact::Channel { announcement, capacity_sat } => {
                let (scid, place) = (announcement.scid(), keeper.place_of(announcement, *capacity_sat));
                if place == Place::TakesOver {
                    self.put(&record(seen_s, Body::Closed(scid)))?;
                }
                for record in channel_records(seen_s, announcement, *capacity_sat) {
                    self.put(&record)?;
                }
                if let (Place::Proves, Some(capacity_sat)) = (place, *capacity_sat) {
                    self.put(&record(seen_s, Body::Proof { scid, capacity_sat }))?;
                }
            }
            Fact::Update(update) => self.put(&update_record(update))?,
            Fact::Node(node) => self.put(&node_record(node))?,
            Fact::Proof { scid, capacity_sat } => {
                self.put(&record(seen_s, Body::Proof { scid: *scid, capacity_sat: *capacity_sat }))?;
            }
            Fact::Closed { scid, .. } => self.put(&record(seen_s, Body::Closed(*scid)))?,
            Fact::Reopened { scid } => keeper.records_of_spent(*scid).try_for_each(|record| self.put(&record))?,
            Fact::PossibleSplice { .. } | Fact::Block(_) | Fact::SyncCompleted { .. } => {} // see above
        }
        keeper.take(seen, fact);
        Ok(())
    }

    /// Hands on what was gathered. After an error the last record may be cut short:
    /// [`handed_on`](Self::handed_on) says where it begins.
    pub fn hand_on(&mut self) -> io::Result<()> {
        let gathered = self.gathered.get_mut();
        self.out.write_all(gathered)?;
        self.handed_on += gathered.len() as u64;
        gathered.clear();
        self.out.flush()
    }

    /// How many bytes the recording has, those included that were not handed on yet.
    pub fn bytes(&self) -> u64 {
        self.gathered.bytes()
    }

    /// How many bytes, all of them whole records, are where they belong.
    pub fn handed_on(&self) -> u64 {
        self.handed_on
    }

    pub fn get_ref(&self) -> &W {
        &self.out
    }

    pub fn into_inner(self) -> W {
        self.out
    }

    fn tell_time(&mut self, time: UnixMs) -> io::Result<()> {
        if time > self.time {
            self.time = time;
            self.put(&record(0, Body::Time(time)))?;
        }
        Ok(())
    }

    fn put(&mut self, record: &Record) -> io::Result<()> {
        self.gathered.write(record)?;
        if self.gathered.get_ref().len() >= GATHERED { self.hand_on() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
