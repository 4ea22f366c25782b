//! Which format a recording has, found by its first bytes; and the way from a [`Source`] to what is in it.
//!
//! Promises that what is no recording is refused in one sentence that says what it may be, before anything else of it
//! is read.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, bail};

use super::packing::{Believable, Packing};
use super::source::{Source, Unpacked};
use super::window::BUFFER;
use super::{Located, gsp, store};
use crate::synth::{Topology, gossmap};

/// The formats that are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Core Lightning's `gossip_store`.
    Store { version: u8 },
    /// The lnresearch topology dataset's.
    Gsp,
    /// Core Lightning's compressed topology: no messages, but the shape of a network.
    Map,
}

/// An open recording.
pub struct Reading {
    pub format: Format,
    /// `None`: not packed.
    pub packing: Option<Packing>,
    /// Of the file as it lies there, in bytes; `None` where that cannot be known.
    pub size: Option<u64>,
    /// How many bytes of the file as it lies there were read so far.
    pub consumed: Arc<AtomicU64>,
    pub content: Content,
}

/// What is in a recording.
pub enum Content {
    /// Read as the iterator goes on, which ends after the first error of the disk.
    Records(Records),
    /// To be signed by a [`Network`](crate::synth::Network).
    Map(Topology),
}

pub type Records = Box<dyn Iterator<Item = io::Result<Located>> + Send>;

/// Opens a recording of any format. Errors name the source; for what is no recording, they say what it may be.
pub fn open(source: &Source) -> anyhow::Result<Reading> {
    let opened = source.open()?;
    read_unpacked(opened).with_context(|| format!("cannot read {source}"))
}

/// The same for bytes from anywhere.
pub fn read(raw: impl Read + Send + 'static) -> anyhow::Result<Reading> {
    read_unpacked(Unpacked::new(raw)?)
}

/// The same for bytes that are being unpacked.
pub fn read_unpacked(mut unpacked: Unpacked) -> anyhow::Result<Reading> {
    let head = unpacked.peek(HEAD);
    let Unpacked { mut stream, packing, size, consumed } = unpacked;
    if head.is_empty() {
        stream.fill_buf()?;
    }
    let format = recognise(&head)?;
    if let Some(packing) = packing {
        let believable = Believable::new(stream, packing, consumed.clone());
        stream = Box::new(BufReader::with_capacity(BUFFER, believable));
    }
    let content = match format {
        Format::Store { .. } => Content::Records(Box::new(store::Reader::new(stream)?)),
        Format::Gsp => Content::Records(Box::new(gsp::Reader::new(stream)?)),
        Format::Map => Content::Map(Topology::read_unpacked_gossmap(stream)?),
    };
    Ok(Reading { format, packing, size, consumed, content })
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Store { version } => write!(f, "gossip_store version {version}"),
            Format::Gsp => f.write_str("GSP"),
            Format::Map => f.write_str("GOSSMAP_COMPRESSv1"),
        }
    }
}

/// Enough to tell one format from another.
const HEAD: usize = gossmap::MAGIC.len();

fn recognise(head: &[u8]) -> anyhow::Result<Format> {
    let first = head.first().copied().unwrap_or_default();
    match head {
        [] => bail!("it is empty"),
        _ if head.starts_with(gossmap::MAGIC) => return Ok(Format::Map),
        _ if head.starts_with(gsp::MAGIC) => return Ok(Format::Gsp),
        [b'L', b'D', b'K', 1 | 2, ..] => {
            bail!("it is an RGS snapshot, not a recording; `rgsd inspect` shows what is in it")
        }
        _ if head.starts_with(b"SQLite format 3\0") => {
            bail!("it is an SQLite database; if it is a journal, `rgsd record --from-journal` exports recordings")
        }
        _ if Packing::of(head).is_some() => bail!("it is packed more than once; unpack it once"),
        _ if is_text(head) => {}
        _ if store::VERSIONS.contains(&first) => return Ok(Format::Store { version: first }),
        _ if may_be_store(head) => bail!(store::UnknownVersion(first)),
        _ => {}
    }
    bail!(
        "it is in no format that is known, which are gossip_store (versions {} to {}), GSP and GOSSMAP_COMPRESSv1, \
         plain or in gzip, xz, zstd or bzip2; it begins with {}",
        store::VERSIONS.start(),
        store::VERSIONS.end(),
        head.escape_ascii()
    );
}

/// A gossip_store has a zero among its first bytes: half of its first record's flags mean nothing.
fn is_text(head: &[u8]) -> bool {
    head.len() > 1 && head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// Whether this could be the version byte and the first record's flags of a gossip_store.
fn may_be_store(head: &[u8]) -> bool {
    matches!(head, [0..=0x3f, flags, 0, ..] if flags & 0x07 == 0)
}
