//! What the benches share.

#![allow(dead_code)] // Each bench uses its part of it.

pub mod checks;
pub mod process;
pub mod service;
pub mod table;
pub mod talking;
#[path = "../../tests/support/unsigned.rs"]
pub mod unsigned;
pub mod week;
