//! How much of the network a wallet would pay too little for: the share of directions, by their channels' capacity, whose
//! fee as it was told is below the fee in force.
//!
//! Fees are compared for one amount, [`REFERENCE_MSAT`], because of two fees with a base and a rate each may be the
//! lower one for some amounts and the higher one for others. A direction counts where the wallet was told that it is
//! enabled, and its channel is still open: without one there is no fee in force.

use crate::gossip::Policy;

/// The payment for which fees are compared: 100,000 sat.
pub const REFERENCE_MSAT: u64 = 100_000_000;

/// How much of the network is stale. Amounts are of capacity: one that has two directions counts twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Share {
    /// Of directions whose fee as told is below the one in force.
    pub stale_sat: u64,
    /// Of all that count.
    pub all_sat: u64,
}

impl Share {
    /// Counts a direction. `weight_sat` is its channel's [`weight_sat`].
    pub fn count(&mut self, weight_sat: u64, told: &Policy, in_force: &Policy) {
        if told.enabled {
            self.all_sat = self.all_sat.saturating_add(weight_sat);
            let stale_sat = if is_below(told, in_force) { weight_sat } else { 0 };
            self.stale_sat = self.stale_sat.saturating_add(stale_sat);
        }
    }

    /// From 0 to 1; 0 where nothing counts.
    pub fn value(&self) -> f64 {
        if self.all_sat == 0 { 0.0 } else { self.stale_sat as f64 / self.all_sat as f64 }
    }
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.stale_sat = self.stale_sat.saturating_add(other.stale_sat);
        self.all_sat = self.all_sat.saturating_add(other.all_sat);
    }
}

/// What a direction charges for forwarding an amount (BOLT 7, "HTLC Fees"); saturates.
pub fn fee_msat(policy: &Policy, amount_msat: u64) -> u64 {
    let proportional = u128::from(amount_msat) * u128::from(policy.fee_proportional_millionths) / 1_000_000;
    u64::try_from(proportional).unwrap_or(u64::MAX).saturating_add(policy.fee_base_msat.into())
}

/// Whether who goes by `told` pays too little for the reference payment.
pub fn is_below(told: &Policy, in_force: &Policy) -> bool {
    fee_msat(told, REFERENCE_MSAT) < fee_msat(in_force, REFERENCE_MSAT)
}

/// How much a channel counts: its capacity or, where that is not proven, the most that either direction forwards.
pub fn weight_sat(capacity_sat: Option<u64>, policies: [&Policy; 2]) -> u64 {
    let most_msat = policies.map(|policy| policy.htlc_maximum_msat);
    capacity_sat.unwrap_or(most_msat[0].max(most_msat[1]) / 1_000)
}
