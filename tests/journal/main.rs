//! The journal: what every store promises, what the SQLite file adds, what survives a kill, how the writer groups
//! and waits; how PostgreSQL is connected to, and the archive in it.

mod archive;
mod connecting;
mod contract;
mod kill;
#[path = "../support/postgres.rs"]
mod postgres;
mod props;
mod shipping;
mod sqlite;
mod tls;
#[path = "../support/unsigned.rs"]
mod unsigned;
mod writer;

use std::ops::ControlFlow;

use rgsd::journal::{Entry, Reader, Seq};

/// All entries after `after`.
fn entries(reader: &(impl Reader + ?Sized), after: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    let read = reader.read(Seq(after), &mut |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    });
    read.expect("readable");
    entries
}
