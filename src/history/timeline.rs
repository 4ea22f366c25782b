//! One value through time, compactly: the newest version in place, older ones in a list that all timelines of a
//! kind share. Time is counted in epochs: a version holds from the first epoch that contains it.
//!
//! The shared list only grows. From time to time it is written anew with what is still needed, each timeline's
//! versions side by side, so that looking back walks through memory in order.

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

/// The older versions of many timelines.
#[derive(Debug)]
pub(super) struct Past<T> {
    versions: Vec<Version<T>>,
}

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self { newest: None }
    }
}

impl<T> Default for Past<T> {
    fn default() -> Self {
        Self { versions: Vec::new() }
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

    /// The versions from one epoch to another, newest first: the last of them holds at `from`, unless the value has no
    /// version that old.
    pub fn between<'a>(
        &'a self,
        past: &'a Past<T>,
        from: Ordinal,
        to: Ordinal,
    ) -> impl Iterator<Item = &'a Version<T>> {
        let first = self.versions(past).find(|version| version.since <= to);
        // The one beyond the last is not looked at: that would be a cache miss for each timeline.
        std::iter::successors(first, move |version| past.get(version.older).filter(|_| version.since > from))
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

    /// Moves from one shared list to another, leaving behind what had been superseded at the epoch `oldest`.
    pub fn move_on(&mut self, from: &Past<T>, to: &mut Past<T>, oldest: Ordinal)
    where
        T: Clone,
    {
        let Some(newest) = &mut self.newest else { return };
        let mut version: &Version<T> = newest;
        let first = to.versions.len();
        while version.since > oldest
            && let Some(older) = from.get(version.older)
        {
            // The next one that moves, if there is one, goes to the next place.
            let next = to.versions.len() as u32 + 1;
            to.put(Version { older: next, ..older.clone() });
            version = older;
        }
        newest.older = if to.versions.len() > first { first as u32 } else { NONE };
        if let Some(last) = to.versions.get_mut(first..).and_then(<[_]>::last_mut) {
            last.older = NONE;
        }
    }
}

impl<T> Past<T> {
    /// How many versions it holds, needed or not.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// An empty one that will grow to about the size of this one.
    pub fn successor(&self) -> Self {
        Self { versions: Vec::with_capacity(self.versions.len()) }
    }

    fn get(&self, place: u32) -> Option<&Version<T>> {
        self.versions.get(place as usize)
    }

    /// Memory ends long before 2^32 versions of some 40 bytes.
    fn put(&mut self, version: Version<T>) -> u32 {
        self.versions.push(version);
        self.versions.len() as u32 - 1
    }
}
