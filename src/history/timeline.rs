//! One value through time, compactly: the newest version in place, older ones in a store that all timelines of a
//! kind share. Time is counted in epochs: a version holds from the first epoch that contains it.

/// An epoch's number: its place among all epochs that the history has taken.
pub(super) type Ordinal = u32;

/// No place: the end of a chain.
const NONE: u32 = u32::MAX;

/// A value, from the epoch `since` until the next version's.
#[derive(Clone, Debug)]
pub(super) struct Version<T> {
    /// The first epoch that contains it.
    pub since: Ordinal,
    /// Where the version before it is.
    older: u32,
    pub value: T,
}

/// The versions of one value.
#[derive(Clone, Debug)]
pub(super) struct Timeline<T> {
    newest: Option<Version<T>>,
}

/// The older versions of many timelines. Places that were given up are used again.
#[derive(Debug)]
pub(super) struct Past<T> {
    slots: Vec<Slot<T>>,
    /// The first place of the chain of free ones.
    free: u32,
    used: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Used(Version<T>),
    Free { next: u32 },
}

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self { newest: None }
    }
}

impl<T> Default for Past<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: NONE, used: 0 }
    }
}

impl<T> Timeline<T> {
    pub fn newest(&self) -> Option<&Version<T>> {
        self.newest.as_ref()
    }

    pub fn newest_mut(&mut self) -> Option<&mut Version<T>> {
        self.newest.as_mut()
    }

    /// The value at an epoch; `None` before the first version.
    pub fn at<'a>(&'a self, past: &'a Past<T>, epoch: Ordinal) -> Option<&'a T> {
        self.versions(past).find(|version| version.since <= epoch).map(|version| &version.value)
    }

    /// The versions, newest first.
    pub fn versions<'a>(&'a self, past: &'a Past<T>) -> impl Iterator<Item = &'a Version<T>> {
        std::iter::successors(self.newest.as_ref(), |version| past.get(version.older))
    }

    /// Sets the value from the epoch `since` on; a version that began there, too, is replaced.
    pub fn set(&mut self, past: &mut Past<T>, since: Ordinal, value: T) {
        let older = match self.newest.take() {
            Some(newest) if newest.since == since => newest.older,
            Some(newest) => past.put(newest),
            None => NONE,
        };
        self.newest = Some(Version { since, older, value });
    }

    /// Gives up the versions that had been superseded at the epoch `oldest`.
    pub fn forget_before(&mut self, past: &mut Past<T>, oldest: Ordinal) {
        let Some(newest) = &mut self.newest else { return };
        if newest.since <= oldest {
            past.free_chain(std::mem::replace(&mut newest.older, NONE));
            return;
        }
        let mut place = newest.older;
        while let Some(version) = past.get_mut(place) {
            place = version.older;
            if version.since <= oldest {
                version.older = NONE;
                past.free_chain(place);
                return;
            }
        }
    }

    /// Gives up all versions.
    pub fn clear(&mut self, past: &mut Past<T>) {
        if let Some(newest) = self.newest.take() {
            past.free_chain(newest.older);
        }
    }
}

impl<T> Past<T> {
    /// How many versions it holds.
    pub fn len(&self) -> usize {
        self.used
    }

    fn get(&self, place: u32) -> Option<&Version<T>> {
        match self.slots.get(place as usize) {
            Some(Slot::Used(version)) => Some(version),
            _ => None,
        }
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Version<T>> {
        match self.slots.get_mut(place as usize) {
            Some(Slot::Used(version)) => Some(version),
            _ => None,
        }
    }

    fn put(&mut self, version: Version<T>) -> u32 {
        self.used += 1;
        let place = self.free;
        match self.slots.get_mut(place as usize) {
            Some(slot) => {
                if let Slot::Free { next } = *slot {
                    self.free = next;
                }
                *slot = Slot::Used(version);
                place
            }
            None => {
                self.slots.push(Slot::Used(version));
                // Memory ends long before 2^32 versions of 40 bytes.
                self.slots.len() as u32 - 1
            }
        }
    }

    fn free_chain(&mut self, mut place: u32) {
        while let Some(slot @ Slot::Used(_)) = self.slots.get_mut(place as usize) {
            let Slot::Used(version) = std::mem::replace(slot, Slot::Free { next: self.free }) else { return };
            self.free = place;
            self.used -= 1;
            place = version.older;
        }
    }
}
