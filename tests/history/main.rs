//! The history: stories of single channels, and properties over random ones, of retention as well.

mod model;
mod properties;
mod retention;
mod spans;
mod stories;
#[path = "../support/unsigned.rs"]
mod unsigned;
