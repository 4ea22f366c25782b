//! Where the bytes go: each part of a snapshot, raw and as a server would send it compressed.
//!
//! Each part is gathered and compressed on its own, so compressed parts do not add up to the compressed total.

use std::io::Write;

use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;

use crate::snapshot::Decoded;
use crate::snapshot::decode::Part;

/// Bytes that are compressed once and sent many times are worth some effort; at these levels the snapshot of mainnet
/// takes some tenths of a second each. (The next ones take a second to save 2 %, for gzip, and several for 6 %.)
const GZIP: u32 = 6;
const BROTLI: i32 = 9;
const ZSTD: i32 = 15;
/// Brotli's window: 2²² bytes, as it is by default.
const BROTLI_WINDOW: i32 = 22;

/// Bytes by part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Budget {
    /// Magic, version, chain, timestamp, default features.
    pub header: Sizes,
    /// Their number, and 33 bytes each.
    pub node_ids: Sizes,
    /// Addresses, features, additional data.
    pub node_details: Sizes,
    pub announcements: Sizes,
    /// The defaults among them.
    pub updates: Sizes,
    /// The whole file, with whatever comes after the snapshot's end.
    pub total: Sizes,
}

impl Budget {
    /// The rows of the table.
    pub(super) fn rows(&self) -> [(&'static str, Sizes); 6] {
        [
            ("header", self.header),
            ("node ids", self.node_ids),
            ("node details", self.node_details),
            ("announcements", self.announcements),
            ("updates", self.updates),
            ("total", self.total),
        ]
    }
}

/// How many bytes something takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Sizes {
    pub raw: usize,
    pub gzip: usize,
    pub brotli: usize,
    pub zstd: usize,
}

/// Says how many bytes these take compressed.
type Codec = fn(&[u8]) -> anyhow::Result<usize>;

/// Compresses everything, on all cores.
pub(super) fn measure(decoded: &Decoded<'_>, whole: &[u8]) -> anyhow::Result<Budget> {
    let parts = Part::ALL.map(|part| decoded.part(part));
    let pieces: Vec<&[u8]> = std::iter::once(whole).chain(parts.iter().map(AsRef::as_ref)).collect();
    let codecs: [Codec; 3] = [brotli, zstd, gzip]; // the slowest first
    let jobs: Vec<(Codec, &[u8])> =
        codecs.iter().flat_map(|codec| pieces.iter().map(move |bytes| (*codec, *bytes))).collect();
    let compress = |(codec, bytes): (Codec, &[u8])| {
        // Nothing takes nothing: that a container has a head of its own is no news of the snapshot.
        if bytes.is_empty() { Ok(0) } else { codec(bytes) }
    };
    let sizes: Vec<usize> = jobs.into_par_iter().with_max_len(1).map(compress).collect::<anyhow::Result<_>>()?;
    let of = |piece: usize| Sizes {
        raw: pieces[piece].len(),
        brotli: sizes[piece],
        zstd: sizes[piece + pieces.len()],
        gzip: sizes[piece + 2 * pieces.len()],
    };
    let part = |part: Part| of(1 + part as usize);
    Ok(Budget {
        header: part(Part::Header),
        node_ids: part(Part::NodeIds),
        node_details: part(Part::NodeDetails),
        announcements: part(Part::Announcements),
        updates: part(Part::Updates),
        total: of(0),
    })
}

fn gzip(bytes: &[u8]) -> anyhow::Result<usize> {
    let mut out = flate2::write::GzEncoder::new(Counter(0), flate2::Compression::new(GZIP));
    out.write_all(bytes).and_then(|()| out.finish()).map(|counter| counter.0).context("gzip failed")
}

fn brotli(bytes: &[u8]) -> anyhow::Result<usize> {
    let params = brotli::enc::BrotliEncoderParams {
        quality: BROTLI,
        lgwin: BROTLI_WINDOW,
        size_hint: bytes.len(),
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut Counter(0), &params).context("brotli failed")
}

fn zstd(bytes: &[u8]) -> anyhow::Result<usize> {
    zstd::bulk::compress(bytes, ZSTD).map(|packed| packed.len()).context("zstd failed")
}

/// Counts what is written.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
