//! Room 5: HTTP. What wallets, operators and their tools ask for, and what they get.
//!
//! Owns the routes, the answers' headers and the listening socket. Promises that every number is answered with a
//! snapshot once there is one, that a length is always declared, and that a body never changes under way: it is a
//! handle to immutable bytes. Makes no snapshot and decides nothing about them: that is the desk's.

mod answer;
mod conditions;
mod connections;
pub mod metrics;
mod negotiate;
mod page;
mod path;
mod sending;
mod server;
mod status;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bitcoin::Network;

use crate::gossip::Clock;
use crate::snapshot::Desk;

pub use metrics::Metrics;
pub use path::{Ask, Route, route};
pub use server::{bind, serve};
pub use status::{
    ArchiveStatus, BodySizes, EncodedSizes, EpochStatus, FeeStatus, JournalStatus, MessageCounts, Metered,
    PeerStatus, ProofStatus, RecentSnapshot, SnapshotSizes, StaleFeeStatus, StaleFeesByAge, Status, StatusSource,
    UploadStatus,
};
pub use tls::{Tls, TlsFiles};

/// What the answers are made from.
pub struct App {
    pub network: Network,
    pub desk: Arc<Desk>,
    pub clock: Arc<dyn Clock>,
    pub status: Arc<dyn StatusSource>,
    pub metrics: Arc<Metrics>,
}
