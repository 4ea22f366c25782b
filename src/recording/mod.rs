//! Recorded gossip: reading what others and we have recorded, and writing it.
//!
//! Owns the formats. From a [`source::Source`], [`format::open`] makes what is in it. A recording's bytes become
//! [`Record`]s, whatever the format, each with its place in the file; what cannot be read becomes [`Damage`] with its
//! place and its reason, and reading goes on. Promises that no input makes a reader panic, loop, or hold more than a
//! fixed amount; and that what [`store`] writes, Core Lightning's own tools read.

pub mod arrange;
pub mod format;
pub mod gsp;
mod keeper;
mod packing;
mod record;
pub mod source;
mod spool;
pub mod store;
mod tape;
mod window;

pub use arrange::{Arrangement, Damaged, Survey};
pub use format::{Content, Format, Reading, open, read, read_unpacked};
pub use keeper::{Counts, Keeper};
pub use packing::Packing;
pub use record::{Body, Damage, Flags, Found, Located, Record};
pub use source::{Source, Unpacked};
pub use spool::{News, Script, Told};
pub use tape::Tape;

#[cfg(test)]
mod tests;
