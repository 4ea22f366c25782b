//! Random histories, and random wallets that live through them. What fails is shrunk; it then belongs into `shrunk`.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};
use rgsd::gossip::{Direction, Policy, ShortChannelId};
use rgsd::journal::Graph;
use rgsd::snapshot::Version;
use rgsd_wallets::life::{Lived, live};
use rgsd_wallets::patterns::{Act, Forgets, Habits, Pruning, Request, USUAL};
use rgsd_wallets::script::{Channel, Script, Setup, Step, What};
use rgsd_wallets::wallet::LastSync;
use rgsd_wallets::world::Host;
use rgsd_wallets::{DAY, HOUR, MINUTE};

const NODES: u32 = 8;
const CAPACITY_SAT: u64 = 1_000;

/// How many wallets live through a script, at most.
const WALLETS: usize = 24;

/// How long a failure is shrunk.
const SHRINK_FOR_MS: u32 = 120_000;

/// How many scripts a run has.
fn scripts() -> u32 {
    if std::env::var_os("SOAK").is_some() { 20_000 } else { 300 }
}

const POLICY: Policy = Policy {
    htlc_minimum_msat: 1,
    htlc_maximum_msat: 1_000 * CAPACITY_SAT,
    fee_base_msat: 0,
    fee_proportional_millionths: 0,
    cltv_expiry_delta: 40,
    enabled: true,
};

/// First all channels are announced, and most of them speak; then anything happens.
fn script() -> impl Strategy<Value = Script> {
    (vec(channel(), 1..=30), setup(), vec((pause(), what()), 0..160)).prop_map(|(channels, setup, steps)| {
        let channels: Vec<Channel> = (0..).zip(channels).map(|(place, channel)| at(place, channel)).collect();
        let first = (0..channels.len()).flat_map(|channel| {
            let update = |direction| What::Update { channel, direction, policy: POLICY, age_s: 0 };
            let proven = channel % 4 != 0;
            [What::Announce { channel, proven }].into_iter().chain(Direction::BOTH.map(update))
        });
        let first = first.map(|what| Step { after_s: 1, what });
        let steps = steps.into_iter().map(|(after_s, what)| Step { after_s, what });
        Script { steps: first.chain(steps).collect(), channels, setup }
    })
}

/// One end, how far it is to the other, a feature, a block.
fn channel() -> impl Strategy<Value = (u32, u32, u8, u32)> {
    (0..NODES, 1..NODES, 0..3u8, 0..1000u32)
}

fn at(place: u32, (one, further, feature, block): (u32, u32, u8, u32)) -> Channel {
    let other = (one + further) % NODES;
    Channel {
        scid: ShortChannelId::new(800_000 + block, place, 0),
        nodes: [one.min(other), one.max(other)],
        feature,
        capacity_sat: CAPACITY_SAT,
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    let intervals = select(vec![10, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY]);
    let graph = prop_oneof![3 => Just(Graph::Routable), 1 => Just(Graph::Complete)];
    (intervals, graph).prop_map(|(interval_s, graph)| Setup { interval_s, graph })
}

/// Mostly hours; now and then a while in which nothing happens.
fn pause() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 1..MINUTE, 4 => 1..6 * HOUR, 4 => 6 * HOUR..2 * DAY, 1 => 2 * DAY..15 * DAY]
}

fn what() -> impl Strategy<Value = What> {
    let channel = || 0..30usize;
    prop_oneof![
        24 => (channel(), direction(), policy(), age()).prop_map(|(channel, direction, policy, age_s)| {
            What::Update { channel, direction, policy, age_s }
        }),
        4 => (channel(), direction(), DAY..40 * DAY).prop_map(|(channel, direction, for_s)| {
            What::Silence { channel, direction, for_s }
        }),
        4 => channel().prop_map(|channel| What::Close { channel }),
        3 => channel().prop_map(|channel| What::Reopen { channel }),
        2 => (channel(), any::<bool>()).prop_map(|(channel, proven)| What::Announce { channel, proven }),
        2 => channel().prop_map(|channel| What::Prove { channel }),
        8 => (0..NODES, 1..4u8, 0..3u8).prop_map(|(node, feature, address)| What::Node { node, feature, address }),
        1 => setup().prop_map(What::Restart),
        1 => select(vec![3, 28, 59]).prop_map(|offset_s| What::Takeover { offset_s }),
        1 => prop_oneof![HOUR..DAY, Just(3 * DAY), 5 * DAY..8 * DAY].prop_map(|for_s| What::Stall { for_s }),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    select(Direction::BOTH.to_vec())
}

/// Few values, so that old ones come back.
fn policy() -> impl Strategy<Value = Policy> {
    let maximum = select(vec![1_000 * CAPACITY_SAT, 900 * CAPACITY_SAT, 1_001 * CAPACITY_SAT]);
    let enabled = prop_oneof![3 => Just(true), 1 => Just(false)];
    (0..2u64, maximum, 0..3u32, 0..3u32, 40..42u16, enabled).prop_map(
        |(
            htlc_minimum_msat,
            htlc_maximum_msat,
            fee_base_msat,
            fee_proportional_millionths,
            cltv_expiry_delta,
            on,
        )| {
            Policy {
                htlc_minimum_msat,
                htlc_maximum_msat,
                fee_base_msat,
                fee_proportional_millionths,
                cltv_expiry_delta,
                enabled: on,
            }
        },
    )
}

/// How old an update is when it arrives; some are ahead.
fn age() -> impl Strategy<Value = i32> {
    let day = DAY as i32;
    prop_oneof![6 => Just(0), 2 => 0..HOUR as i32, 1 => 0..14 * day, 1 => -day..0]
}

fn habits(act: impl Strategy<Value = Act>) -> impl Strategy<Value = Habits> {
    let last_sync = select(vec![LastSync::InGraph, LastSync::Returned]);
    let pruning = select(vec![Pruning::Hourly, Pruning::Hourly, Pruning::AfterSyncs]);
    (last_sync, pruning, vec(act, 1..40)).prop_map(|(last_sync, pruning, acts)| Habits { last_sync, pruning, acts })
}

/// Mostly the usual.
fn request() -> impl Strategy<Value = Request> + Clone {
    let version = prop_oneof![6 => Just(Version::V2), 1 => Just(Version::V1)];
    let host = prop_oneof![6 => Just(Host::Writer), 1 => select(Host::ALL.to_vec())];
    (version, host).prop_map(|(version, host)| Request { version, host })
}

fn act() -> impl Strategy<Value = Act> {
    let forgets = select(vec![Forgets::Everything, Forgets::Time, Forgets::Graph]);
    prop_oneof![
        14 => act_of_a_lucky_one(request()),
        2 => (request(), 0..1000u16).prop_map(|(request, per_mille)| Act::CutShort { request, per_mille }),
        1 => select(vec![Version::V1, Version::V2]).prop_map(|version| Act::Elsewhere { version }),
        1 => (0..30usize).prop_map(|channel| Act::Lose { channel }),
        1 => (0..3usize, forgets).prop_map(|(ago, forgets)| Act::Crash { ago, forgets }),
    ]
}

/// It syncs, now and then or steadily, and waits.
fn act_of_a_lucky_one(request: impl Strategy<Value = Request> + Clone) -> impl Strategy<Value = Act> {
    let pause =
        prop_oneof![2 => 1..HOUR, 3 => HOUR..DAY, 3 => DAY..5 * DAY, 1 => 5 * DAY..16 * DAY, 1 => Just(30 * DAY)];
    let every = vec![10, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, DAY, 5 * DAY, 6 * DAY, 13 * DAY];
    let steadily = (select(every), 1..12u32, request.clone());
    prop_oneof![
        2 => pause.prop_map(|for_s| Act::Wait { for_s }),
        2 => request.prop_map(Act::Sync),
        3 => steadily.prop_map(|(every_s, times, request)| Act::Syncs { every_s, times, request }),
    ]
}

/// Lets random wallets live through random scripts, and tells how many syncs they read, and how many of these were
/// judged.
fn run(habits: impl Strategy<Value = Habits>) -> (u32, u32) {
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: u32::MAX,
        max_shrink_time: SHRINK_FOR_MS,
        ..ProptestConfig::with_cases(scripts())
    };
    let (wallets, syncs) = (Cell::new(0), Cell::new((0, 0)));
    // Wallets come first: they are shrunk first, to the one that fails.
    let cases = (vec(habits, 1..=WALLETS), script());
    let outcome = TestRunner::new(config).run(&cases, |(habits, script)| {
        wallets.set(wallets.get() + habits.len());
        for Lived { tally, .. } in live(&script, &habits).map_err(TestCaseError::fail)? {
            let (read, judged) = syncs.get();
            syncs.set((read + tally.syncs, judged + tally.judged));
        }
        Ok(())
    });
    let (wallets, (read, judged)) = (wallets.get(), syncs.get());
    println!("{wallets} wallets read {read} snapshots; held against a fresh wallet: {judged}");
    match outcome {
        Ok(()) => (read, judged),
        Err(TestError::Fail(reason, (habits, script))) => panic!("{reason}\n{}\n{habits:?}", in_lines(&script)),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// A step a line; without the first ones, which are always the same.
fn in_lines(script: &Script) -> String {
    let channels = script.channels.iter().map(|channel| format!("{channel:?}"));
    let steps = script.steps.iter().skip(3 * script.channels.len()).map(|step| format!("{step:?}"));
    let lines: Vec<String> = channels.chain([format!("{:?}", script.setup)]).chain(steps).collect();
    lines.join("\n")
}

#[test]
fn wallets_to_which_nothing_happens_are_always_whole() {
    let (read, judged) = run(habits(act_of_a_lucky_one(Just(USUAL))));
    assert_eq!(read, judged);
}

#[test]
fn every_wallet_is_whole_after_every_sync() {
    let (read, judged) = run(habits(act()));
    assert!(judged > read / 2, "{judged} of {read}");
}
