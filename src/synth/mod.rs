//! A deterministic synthetic Lightning network: keys, signed gossip, a chain behind bitcoind's REST paths, and peers.
//!
//! The demo, the benches and the tests run on it: real bytes over real sockets, so that the service cannot tell it
//! from the real network. A [`Topology`] is the shape, a [`Network`] gives it keys and signatures, a [`Chain`] funds
//! its channels, and [`peer::Peer`]s tell of it. All of it follows from a seed and a clock that are passed in.
//!
//! Everything here is public knowledge to whoever knows the seed: it must never hold anything of value.

pub mod chain;
pub mod gossmap;
mod harmonic;
mod keys;
mod network;
pub mod noise;
pub mod peer;
mod place;
mod shape;
mod topology;
mod traffic;
mod wire;

pub use chain::{BadBlock, Chain, ChainServer, Mode, Requests, Spending};
pub use network::{Channel, Network, NetworkSpec, Node};
pub use peer::{Behaviour, Peer, PeerHandle, Store};
pub use topology::{Topology, TopologyChannel};
