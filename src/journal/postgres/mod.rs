//! The archive's PostgreSQL: how it is named, and how it is connected to.

mod connect;
pub mod dsn;
mod explain;
mod uri;
mod wire;

pub use connect::{ConnectError, Settings, connect};
pub use dsn::DatabaseUrl;
pub use wire::Wire;
