//! The promise, held against stories by name and against random ones.

mod patterns;
mod random;
mod rhythms;
mod shrunk;
mod stories;
mod tale;
