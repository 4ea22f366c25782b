//! Room 5: HTTP. What wallets, operators and their tools ask for, and what they get.
//!
//! Owns the routes, the answers' headers and the listening socket. Promises that every number is answered with a
//! snapshot once there is one, that a length is always declared, and that a body never changes under way: it is a
//! handle to immutable bytes. Makes no snapshot and decides nothing about them: that is the desk's.

mod answer;
mod path;
mod server;
mod status;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bitcoin::Network;

use crate::gossip::Clock;
use crate::snapshot::Desk;

pub use path::{Ask, Route, route};
pub use server::{bind, serve};
pub use status::{
    ArchiveStatus, EpochStatus, JournalStatus, MessageCounts, PeerStatus, ProofStatus, Status, StatusSource,
    UploadStatus,
};

/// What the answers are made from. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub network: Network,
    pub desk: Arc<Desk>,
    pub clock: Arc<dyn Clock>,
    pub status: Arc<dyn StatusSource>,
}
