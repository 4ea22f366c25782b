//! Where `inspect` and `diff` read from: a file, standard input, or any server of snapshots.
//!
//! Owns how a word of the command line becomes bytes. Files and standard input are opened as recordings are, because
//! they may be some. Promises that no more than [`Limits::bytes`] are ever held of a snapshot, packed or unpacked, and
//! that an error names the source.

mod url;

use std::fmt;
use std::io::{BufRead, Cursor, Read};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Url;

use crate::recording::{self, Packing, Unpacked};

/// What the user named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A file, or `-`.
    Local(recording::Source),
    /// `http://` or `https://`: a snapshot, or the base URL that wallets are configured with.
    Url(Url),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)));
        match text {
            "" => Err("expected a file, - or a URL".to_owned()),
            url if is_url => Url::parse(url).map(Self::Url).map_err(|error| format!("no URL: {error}")),
            local => Ok(Self::Local(local.to_owned().into())),
        }
    }
}

/// As in messages; a URL's password is not shown.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(source) => source.fmt(f),
            Self::Url(url) => url::shown(url).fmt(f),
        }
    }
}

/// What a source may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    /// How long a server may take to be connected to, and to send anything.
    pub silence: Duration,
    /// How long a server may take in all.
    pub patience: Duration,
}

/// Some fifty times as much as a snapshot of mainnet takes.
pub const LIMITS: Limits =
    Limits { bytes: 256 << 20, silence: Duration::from_secs(30), patience: Duration::from_secs(600) };

/// A source that was found, and is unpacked as it is read.
pub struct Found {
    /// What was found: the source, or the URL at which it was.
    pub name: String,
    pub unpacked: Unpacked,
}

/// Finds a source: opens the file, or fetches what the server has.
pub async fn find(source: &Source, limits: Limits) -> anyhow::Result<Found> {
    match source {
        Source::Url(url) => {
            let (name, bytes) = url::fetch(url, limits).await?;
            let unpacked = Unpacked::new(Cursor::new(bytes)).with_context(|| name.clone())?;
            Ok(Found { name, unpacked })
        }
        Source::Local(source) => {
            let (name, source) = (source.to_string(), source.clone());
            let opened = tokio::task::spawn_blocking(move || source.open()).await;
            Ok(Found { name, unpacked: opened.context("the reader failed")?? })
        }
    }
}

impl Found {
    /// Whether it is a snapshot, by its first bytes.
    pub fn is_snapshot(&mut self) -> bool {
        self.unpacked.peek(SNAPSHOT.len()).starts_with(SNAPSHOT)
    }

    /// Reads all of it, if that is at most `most` bytes.
    pub fn read(self, most: usize) -> anyhow::Result<Opened> {
        let Self { name, unpacked } = self;
        let packed = unpacked.packing;
        let bytes = read(unpacked.stream, most).with_context(|| match packed {
            Some(packing) => format!("cannot read {name} (packed as {packing})"),
            None => format!("cannot read {name}"),
        })?;
        Ok(Opened { name, bytes, packed })
    }
}

/// With what every snapshot begins.
const SNAPSHOT: &[u8] = b"LDK";

/// The bytes of a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// What was read: the source, or the URL at which it was found.
    pub name: String,
    pub bytes: Vec<u8>,
    /// As what it was packed, if it was. Offsets are those of the unpacked bytes.
    pub packed: Option<Packing>,
}

impl Opened {
    /// The name as in messages about offsets in `bytes`.
    pub fn place(&self) -> String {
        let packed = self.packed.map(|packing| format!(" (unpacked from {packing})"));
        format!("{}{}", self.name, packed.unwrap_or_default())
    }
}

/// Reads to the end; an error if that is too far.
fn read(stream: impl BufRead, most: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(most as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() <= most, too_large(most));
    Ok(bytes)
}

fn too_large(most: usize) -> String {
    match most >> 20 {
        0 => format!("it is larger than {most} bytes, which no snapshot is"),
        mib => format!("it is larger than {mib} MiB, which no snapshot is"),
    }
}

#[cfg(test)]
mod tests;
