//! What the benches share.

#![allow(dead_code)] // Each bench uses its part of it.

pub mod budgets;
pub mod checks;
pub mod process;
pub mod report;
pub mod service;
pub mod shape;
pub mod table;
pub mod talking;
pub mod turns;
#[path = "../../tests/support/unsigned.rs"]
pub mod unsigned;
pub mod week;
