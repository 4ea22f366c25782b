//! The stretch of a stream that a reader looks at: it can look ahead before it decides how far to go on.
//!
//! Owns the buffer and how the stream ended. Promises to hold [`BUFFER`] bytes and no more, to move each byte a
//! bounded number of times, and to tell a recording that is cut short from one whose packing is damaged and from a
//! disk that does not answer.

use std::io::{self, ErrorKind, Read};

use super::Damage;
use super::packing::PackingDamaged;

/// How much is read at once, and the most that a reader can look ahead.
pub(super) const BUFFER: usize = 256 << 10;

/// See the module's head.
pub(super) struct Window<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What was read and not yet passed is `buffer[from..to]`.
    from: usize,
    to: usize,
    /// Where `from` is in the stream.
    offset: u64,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Clone)]
enum End {
    Whole,
    /// The packing around it was cut off.
    Torn,
    /// The packing around it is damaged.
    Packing(String),
}

impl<R: Read> Window<R> {
    pub fn new(source: R) -> Self {
        Self { source, buffer: vec![0; BUFFER].into(), from: 0, to: 0, offset: 0, end: None }
    }

    /// Where [`Window::bytes`] begin, in bytes from the start of the stream.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What is held at the moment; see [`Window::look`].
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// Makes `count` bytes available, if the stream has so many; says how many of them there are.
    pub fn look(&mut self, count: usize) -> io::Result<usize> {
        debug_assert!(count <= BUFFER);
        if self.to - self.from < count && self.end.is_none() {
            self.fill(count)?;
        }
        Ok(count.min(self.to - self.from))
    }

    /// Goes on by `count` bytes, which must be held.
    pub fn pass(&mut self, count: usize) {
        debug_assert!(count <= self.to - self.from);
        self.from += count;
        self.offset += count as u64;
    }

    /// Reads and drops all that is left; says how much that was.
    pub fn pass_all(&mut self) -> io::Result<u64> {
        let begin = self.offset;
        while self.look(1)? > 0 {
            self.pass(self.bytes().len());
        }
        Ok(self.offset - begin)
    }

    /// What is wrong with the end of the stream, `bytes` of which are no whole record: nothing if there are none and
    /// it ended as it should.
    pub fn damage(&self, bytes: u64) -> Option<Damage> {
        match &self.end {
            Some(End::Packing(reason)) => Some(Damage::Packing(reason.clone())),
            Some(End::Whole) | None if bytes == 0 => None,
            _ => Some(Damage::TornTail { bytes }),
        }
    }

    fn fill(&mut self, count: usize) -> io::Result<()> {
        if self.from + count > self.buffer.len() {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        while self.to - self.from < count && self.end.is_none() {
            match self.source.read(&mut self.buffer[self.to..]) {
                Ok(0) => self.end = Some(End::Whole),
                Ok(read) => self.to += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.end = Some(End::of(error)?),
            }
        }
        Ok(())
    }
}

impl End {
    /// What an error says of the recording; the error itself, if it is about something else.
    fn of(error: io::Error) -> io::Result<End> {
        let packing = error.get_ref().and_then(|inner| inner.downcast_ref::<PackingDamaged>());
        match packing {
            Some(PackingDamaged::CutOff) => Ok(End::Torn),
            Some(damaged) => Ok(End::Packing(damaged.to_string())),
            None if error.kind() == ErrorKind::UnexpectedEof => Ok(End::Torn),
            None => Err(error),
        }
    }
}
