//! That no other choice of defaults, nor of what to say of a change, would give fewer bytes.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::tests::size;
use super::*;
use crate::gossip::{Direction, ShortChannelId};
use crate::snapshot::contents::Contents;
use crate::snapshot::testing::*;

fn bytes(defaults: &Defaults, what: What) -> usize {
    let update = ToldUpdate { scid: ShortChannelId(1), direction: Direction::OneToTwo, what };
    size(|out| defaults.update(&update, out))
}

fn any_changed() -> impl Strategy<Value = Changed> {
    any::<[bool; 6]>().prop_map(|[enabled, cltv, minimum, maximum, base, proportional]| Changed {
        enabled,
        cltv_expiry_delta: cltv,
        htlc_minimum_msat: minimum,
        htlc_maximum_msat: maximum,
        fee_base_msat: base,
        fee_proportional_millionths: proportional,
    })
}

proptest! {
    #![proptest_config(Config { cases: 32, ..Config::default() })]

    /// The fields do not depend on one another, so each is tried alone.
    #[test]
    fn no_other_default_is_smaller(view in views()) {
        let updates = Contents::full(&view).updates;
        let with = |defaults: &Defaults| size(|out| updates.iter().for_each(|update| defaults.update(update, out)));
        let chosen = with(&Defaults::of(&updates));
        for policy in view.channels.iter().flat_map(|channel| &channel.policies) {
            let others = [
                Defaults { cltv_expiry_delta: policy.cltv_expiry_delta, ..Defaults::of(&updates) },
                Defaults { htlc_minimum_msat: policy.htlc_minimum_msat, ..Defaults::of(&updates) },
                Defaults { fee_base_msat: policy.fee_base_msat, ..Defaults::of(&updates) },
                Defaults { fee_proportional_millionths: policy.fee_proportional_millionths, ..Defaults::of(&updates) },
                Defaults { htlc_maximum_msat: policy.htlc_maximum_msat, ..Defaults::of(&updates) },
            ];
            prop_assert!(others.iter().all(|other| with(other) >= chosen));
        }
    }

    #[test]
    fn a_change_takes_no_more_than_the_whole(view in views(), changed in any_changed()) {
        let updates = Contents::full(&view).updates;
        let defaults = Defaults::of(&updates);
        for update in &updates {
            let What::Whole(policy) = update.what else { continue };
            let parts = bytes(&defaults, What::Parts(policy, changed));
            prop_assert_eq!(parts, bytes(&defaults, What::Whole(policy)).min(1 + len(flags(changed))));
        }
    }
}

#[test]
fn what_is_not_said_takes_a_byte() {
    let defaults = Defaults::of(&[]);
    for (what, flags) in [
        (What::Reminder { enabled: true }, 0b1000_0000),
        (What::Reminder { enabled: false }, 0b1000_0010),
        (What::Gone, 0b1000_0010),
    ] {
        let update = ToldUpdate { scid: ShortChannelId(1), direction: Direction::OneToTwo, what };
        let mut out = Out::with_capacity(1);
        defaults.update(&update, &mut out);
        assert_eq!(out.0, [flags]);
    }
}
