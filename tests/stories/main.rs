//! Stories of the whole service, told from outside: real TCP, BOLT 8, HTTP and SQLite, a synthetic network around it,
//! and the official client as the judge of what wallets get.
//!
//! Nothing waits for an interval to pass: in process, the clock is moved by hand. The real binary, whose clock is the
//! machine's, is started where its process matters: kills, signals, errors, the demo.

mod archive;
mod ci;
mod closings;
mod collecting;
mod completeness;
mod crowds;
mod deltas;
mod deploying;
#[path = "../support/exposition.rs"]
mod exposition;
mod goldens;
mod gossmap;
mod hostility;
mod inspecting;
mod mistakes;
mod observing;
mod outages;
mod page;
mod pairs;
#[path = "../support/postgres.rs"]
mod postgres;
mod processes;
mod proving;
mod proxying;
mod publishing;
mod recording;
mod replaying;
mod restarts;
mod support;
mod tuning;
mod uploads;
