//! The updates of a snapshot: the defaults, and of each direction what differs from them, or what changed.

use std::cmp::Reverse;

use super::{Out, count};
use crate::gossip::Policy;
use crate::history::Changed;
use crate::snapshot::contents::{ToldUpdate, What};

/// Flags of an update that say which fields follow; the lowest two bits are direction and "disabled".
pub(in crate::snapshot) const INCREMENTAL: u8 = 1 << 7;
pub(in crate::snapshot) const CLTV: u8 = 1 << 6;
pub(in crate::snapshot) const MINIMUM: u8 = 1 << 5;
pub(in crate::snapshot) const BASE: u8 = 1 << 4;
pub(in crate::snapshot) const PROPORTIONAL: u8 = 1 << 3;
pub(in crate::snapshot) const MAXIMUM: u8 = 1 << 2;
pub(in crate::snapshot) const DISABLED: u8 = 1 << 1;

pub(super) fn write(updates: &[ToldUpdate], out: &mut Out) {
    out.u32(count(updates.len()));
    if updates.is_empty() {
        return;
    }
    let defaults = Defaults::of(updates);
    out.u16(defaults.cltv_expiry_delta);
    out.u64(defaults.htlc_minimum_msat);
    out.u32(defaults.fee_base_msat);
    out.u32(defaults.fee_proportional_millionths);
    out.u64(defaults.htlc_maximum_msat);
    let mut previous_scid = 0;
    for update in updates {
        out.big_size(update.scid.0 - previous_scid); // in ascending order
        previous_scid = update.scid.0;
        defaults.update(update, out);
    }
}

/// The values that an update need not say.
struct Defaults {
    cltv_expiry_delta: u16,
    htlc_minimum_msat: u64,
    fee_base_msat: u32,
    fee_proportional_millionths: u32,
    htlc_maximum_msat: u64,
}

impl Defaults {
    /// Every field's most frequent value: a field takes the same bytes whatever its value.
    fn of(updates: &[ToldUpdate]) -> Self {
        Self {
            cltv_expiry_delta: most_frequent(updates, |p| p.cltv_expiry_delta),
            htlc_minimum_msat: most_frequent(updates, |p| p.htlc_minimum_msat),
            fee_base_msat: most_frequent(updates, |p| p.fee_base_msat),
            fee_proportional_millionths: most_frequent(updates, |p| p.fee_proportional_millionths),
            htlc_maximum_msat: most_frequent(updates, |p| p.htlc_maximum_msat),
        }
    }

    fn update(&self, update: &ToldUpdate, out: &mut Out) {
        let direction = update.direction as u8;
        match update.what {
            What::Whole(policy) => fields(direction | self.differing(&policy), &policy, out),
            What::Parts(policy, changed) => {
                let (whole, parts) = (self.differing(&policy), INCREMENTAL | flags(changed));
                let shorter = if len(whole) < len(parts) { whole } else { parts };
                fields(direction | shorter, &policy, out);
            }
            What::Reminder { enabled } => out.u8(direction | INCREMENTAL | if enabled { 0 } else { DISABLED }),
            What::Gone => out.u8(direction | INCREMENTAL | DISABLED),
        }
    }

    /// The flags of the fields in which a policy is not as the defaults say.
    fn differing(&self, policy: &Policy) -> u8 {
        flags(Changed {
            enabled: false,
            cltv_expiry_delta: policy.cltv_expiry_delta != self.cltv_expiry_delta,
            htlc_minimum_msat: policy.htlc_minimum_msat != self.htlc_minimum_msat,
            htlc_maximum_msat: policy.htlc_maximum_msat != self.htlc_maximum_msat,
            fee_base_msat: policy.fee_base_msat != self.fee_base_msat,
            fee_proportional_millionths: policy.fee_proportional_millionths != self.fee_proportional_millionths,
        })
    }
}

/// The flags of fields that are to be told; whether a direction is enabled, every update tells.
fn flags(fields: Changed) -> u8 {
    let flag = |told: bool, flag: u8| if told { flag } else { 0 };
    flag(fields.cltv_expiry_delta, CLTV)
        | flag(fields.htlc_minimum_msat, MINIMUM)
        | flag(fields.fee_base_msat, BASE)
        | flag(fields.fee_proportional_millionths, PROPORTIONAL)
        | flag(fields.htlc_maximum_msat, MAXIMUM)
}

/// How many bytes the fields take that these flags announce.
fn len(flags: u8) -> usize {
    let len = |flag: u8, bytes: usize| if flags & flag != 0 { bytes } else { 0 };
    len(CLTV, 2) + len(MINIMUM, 8) + len(BASE, 4) + len(PROPORTIONAL, 4) + len(MAXIMUM, 8)
}

/// Writes the flags, and of the policy what they announce.
fn fields(flags: u8, policy: &Policy, out: &mut Out) {
    out.u8(flags | if policy.enabled { 0 } else { DISABLED });
    if flags & CLTV != 0 {
        out.u16(policy.cltv_expiry_delta);
    }
    if flags & MINIMUM != 0 {
        out.u64(policy.htlc_minimum_msat);
    }
    if flags & BASE != 0 {
        out.u32(policy.fee_base_msat);
    }
    if flags & PROPORTIONAL != 0 {
        out.u32(policy.fee_proportional_millionths);
    }
    if flags & MAXIMUM != 0 {
        out.u64(policy.htlc_maximum_msat);
    }
}

/// The lowest of the values that occur most often.
fn most_frequent<T: Ord + Copy + Default>(updates: &[ToldUpdate], field: impl Fn(&Policy) -> T) -> T {
    let policy = |update: &ToldUpdate| match update.what {
        What::Whole(policy) | What::Parts(policy, _) => Some(field(&policy)),
        What::Reminder { .. } | What::Gone => None,
    };
    let mut values: Vec<T> = updates.iter().filter_map(policy).collect();
    values.sort_unstable();
    let runs = values.chunk_by(|a, b| a == b).map(|run| (run.len(), Reverse(run[0])));
    runs.max().map_or_else(T::default, |(_, Reverse(value))| value)
}

#[cfg(test)]
mod tests;
