//! What a recording may be packed in: gzip, xz, zstd and bzip2, recognised by their first bytes.
//!
//! Promises that unpacking takes little more memory than [`MEMORY_AT_MOST`] whatever the file asks for, that streams
//! joined end to end are unpacked one after the other, and that an error of the packing can be told from one of the
//! disk ([`PackingDamaged`]).

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// How much an unpacker may keep of what it has unpacked: the highest presets of xz and zstd take 64 MiB and 128 MiB.
pub(super) const MEMORY_AT_MOST: u64 = 1 << ZSTD_WINDOW_LOG;
const ZSTD_WINDOW_LOG: u32 = 27;

/// How much is unpacked at a time. Unpackers that meet damage say nothing of what they unpacked just before: it is
/// lost.
pub(super) const STEP: usize = 4 << 10;

/// Enough to tell one packing from another.
pub(super) const HEAD: usize = 6;

/// How a recording is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    Gzip,
    Xz,
    Zstd,
    Bzip2,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packing::Gzip => "gzip",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
            Packing::Bzip2 => "bzip2",
        })
    }
}

/// What is wrong with the packing; it comes inside an [`io::Error`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum PackingDamaged {
    #[error("it is cut off")]
    CutOff,
    #[error("{0}")]
    Wrong(String),
}

impl Packing {
    /// The packing that begins with these bytes.
    pub(super) fn of(head: &[u8]) -> Option<Packing> {
        match head {
            [0x1f, 0x8b, ..] => Some(Packing::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            // Parallel packers begin with a frame to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Packing::Bzip2),
            _ => None,
        }
    }

    /// Its name, as its tool has it.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Xz => "xz",
            Packing::Zstd => "zstd",
            Packing::Bzip2 => "bzip2",
        }
    }

    /// What is in the packing, as a stream whose errors are those of the disk or [`PackingDamaged`].
    pub(super) fn unpack(self, packed: impl BufRead + Send + 'static) -> io::Result<impl Read + Send> {
        let decoder: Box<dyn Read + Send> = match self {
            Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
            Packing::Xz => {
                let stream = Stream::new_stream_decoder(MEMORY_AT_MOST, CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
            }
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Unpacked { decoder, packing: self })
    }
}

/// How many times its packed size a recording may have, beyond [`ALLOWANCE`]: signatures are half of all gossip, and no
/// packing makes them smaller, so that what goes far beyond is made to fill memory.
const TIMES_AT_MOST: u64 = 250;
const ALLOWANCE: u64 = 64 << 20;

/// What a packing gives, as long as that is believable.
pub(super) struct Believable<R> {
    stream: R,
    packing: Packing,
    /// How many bytes were unpacked, and from how many.
    unpacked: u64,
    consumed: Arc<AtomicU64>,
}

impl<R> Believable<R> {
    pub fn new(stream: R, packing: Packing, consumed: Arc<AtomicU64>) -> Self {
        Self { stream, packing, unpacked: 0, consumed }
    }
}

impl<R: Read> Read for Believable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.unpacked += read as u64;
        let most = self.consumed.load(Ordering::Relaxed).saturating_mul(TIMES_AT_MOST).saturating_add(ALLOWANCE);
        if self.unpacked > most {
            let reason = format!("{}: it becomes more than {TIMES_AT_MOST} times as large", self.packing.name());
            return Err(io::Error::new(ErrorKind::InvalidData, PackingDamaged::Wrong(reason)));
        }
        Ok(read)
    }
}

struct Unpacked<R> {
    decoder: R,
    packing: Packing,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = buffer.len().min(STEP);
        self.decoder.read(&mut buffer[..step]).map_err(|error| explain(error, self.packing))
    }
}

/// Only the system's own errors have its number; all others come from the decoder.
fn explain(error: io::Error, packing: Packing) -> io::Error {
    let kind = error.kind();
    if error.raw_os_error().is_some() || kind == ErrorKind::Interrupted {
        return error;
    }
    let damaged = match kind {
        ErrorKind::UnexpectedEof => PackingDamaged::CutOff,
        _ => PackingDamaged::Wrong(format!("{}: {error}", packing.name())),
    };
    io::Error::new(kind, damaged)
}
