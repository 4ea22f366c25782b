//! `rgsd tune`: which sync interval stops `fee_insufficient`, and what it costs.

#![cfg_attr(not(test), expect(dead_code))] // what calls them comes with the command

mod chart;
mod print;
mod words;

#[cfg(test)]
mod tests;
