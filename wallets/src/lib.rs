//! The proof that wallets are whole (design 4.4, "The promise, and its test"): the official client, on an injected
//! clock, syncs with `rgsd`'s snapshots through weeks of a small network's life, and after every sync its graph is held
//! against that of a wallet that starts afresh at the same epoch.
//!
//! - [`script`]: what happens: to channels and nodes, and to the server;
//! - [`world`]: a script being played: the journal, the writer and its epochs, replicas that lag;
//! - [`server`]: what `rgsd` answers to a wallet, by its own rules;
//! - [`wallet`]: the official client with what an app does to it: prunes, saves, crashes, loses a channel;
//! - [`patterns`]: when a wallet syncs, and what goes wrong meanwhile;
//! - [`oracle`]: whether two graphs route alike, and the few things that may differ, each with its reason;
//! - [`life`]: all of it put together: wallets living through a script.
//!
//! The tests are in `tests/promise`: stories by name, and random scripts and patterns. Nothing here reads a clock.

pub mod life;
pub mod oracle;
pub mod patterns;
pub mod script;
pub mod server;
pub mod wallet;
pub mod world;

#[path = "../../tests/support/unsigned.rs"]
mod unsigned;

pub use unsigned::node;

/// In seconds.
pub const MINUTE: u32 = 60;
/// In seconds.
pub const HOUR: u32 = 60 * MINUTE;
/// In seconds.
pub const DAY: u32 = 24 * HOUR;

/// When every script begins: a midnight, in unix seconds.
pub const START: u32 = 1_700_006_400;
