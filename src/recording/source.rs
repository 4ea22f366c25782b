//! Where a recording's bytes come from: a file or standard input, unpacked if they are packed.
//!
//! Owns the command line's word for it (`-` is standard input) and the count of what was read. What the bytes are is
//! found by looking at them, never by the file's name. Promises that errors name the file.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};

use super::packing::{self, Packing};
use super::window::BUFFER;

/// What a user names as a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    File(PathBuf),
    /// Named `-`.
    Stdin,
}

/// Bytes, unpacked as they are read.
pub struct Unpacked {
    pub stream: Box<dyn BufRead + Send>,
    /// `None`: not packed.
    pub packing: Option<Packing>,
    /// Of the file as it lies there, in bytes; `None` where that cannot be known.
    pub size: Option<u64>,
    /// How many bytes of the file as it lies there were read so far.
    pub consumed: Arc<AtomicU64>,
}

impl Source {
    /// Opens it and looks at its first bytes. Errors name the source.
    pub fn open(&self) -> anyhow::Result<Unpacked> {
        self.try_open().with_context(|| format!("cannot read {self}"))
    }

    fn try_open(&self) -> anyhow::Result<Unpacked> {
        let path = match self {
            Source::Stdin => return Ok(unpack(io::stdin(), None)?),
            Source::File(path) => path,
        };
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        ensure!(!metadata.is_dir(), "it is a directory");
        let size = metadata.is_file().then_some(metadata.len());
        Ok(unpack(file, size)?)
    }
}

impl Unpacked {
    /// Looks at the first bytes of `raw`, and unpacks it if they are a packing's.
    pub fn new(raw: impl Read + Send + 'static) -> io::Result<Self> {
        unpack(raw, None)
    }

    /// The first `count` bytes, or as many as there are; they are still there to be read.
    pub fn peek(&mut self, count: usize) -> Vec<u8> {
        let stream = std::mem::replace(&mut self.stream, Box::new(io::empty()));
        let (head, stream) = peek(stream, count);
        self.stream = Box::new(stream);
        head
    }
}

impl From<OsString> for Source {
    fn from(name: OsString) -> Self {
        if name == "-" { Source::Stdin } else { Source::File(name.into()) }
    }
}

impl From<String> for Source {
    fn from(name: String) -> Self {
        OsString::from(name).into()
    }
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(name.to_owned().into())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Stdin => f.write_str("standard input"),
        }
    }
}

/// Looks at the first bytes of `raw`, and unpacks it if they are a packing's.
pub(super) fn unpack(raw: impl Read + Send + 'static, size: Option<u64>) -> io::Result<Unpacked> {
    let consumed = Arc::new(AtomicU64::new(0));
    let counted = Counted { raw, count: consumed.clone() };
    let (head, raw) = peek(BufReader::with_capacity(BUFFER, counted), packing::HEAD);
    let packing = Packing::of(&head);
    let stream: Box<dyn BufRead + Send> = match packing {
        Some(packing) => Box::new(BufReader::with_capacity(BUFFER, packing.unpack(raw)?)),
        None => Box::new(raw),
    };
    Ok(Unpacked { stream, packing, size, consumed })
}

/// The first `count` bytes of a stream, or as many as it has, and the stream as it was. An error is met again by
/// whoever reads on.
pub(super) fn peek<R: BufRead>(mut stream: R, count: usize) -> (Vec<u8>, impl BufRead + use<R>) {
    let mut head = Vec::with_capacity(count);
    let end = (&mut stream).take(count as u64).read_to_end(&mut head).err();
    (head.clone(), Cursor::new(head).chain(Failing { error: end }).chain(stream))
}

/// Gives its error, once.
struct Failing {
    error: Option<io::Error>,
}

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.error.take().map_or(Ok(0), Err)
    }
}

impl BufRead for Failing {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.error.take().map_or(Ok(&[]), Err)
    }

    fn consume(&mut self, _: usize) {}
}

struct Counted<R> {
    raw: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.raw.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
