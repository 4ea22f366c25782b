//! Which interval is recommended, and in which words, whatever chance made of the rows.

use super::*;

const PAYMENTS: u32 = 2_000;

/// An interval at which so many payments fail.
fn row(interval_s: u64, failed: u32) -> Row {
    let mut fates = Fates { succeeded: PAYMENTS - failed, ..Fates::default() };
    fates.failed[Cause::FeeInsufficient as usize] = failed;
    let times_a_day = 86_400.0 / interval_s as f64;
    Row {
        interval_s,
        outcome: Outcome::of(&[fates], &[10_000]),
        stale_fees: StaleFees { mean: 0.0, over_time: Vec::new() },
        cost: CostRow {
            requests_a_wallet_a_day: times_a_day,
            full_bytes_a_wallet_a_day: 1e6 * times_a_day,
            delta_bytes_a_wallet_a_day: 1e3 * times_a_day.sqrt(),
            server_cpu_s_an_hour: times_a_day,
        },
    }
}

fn recommended(failed: &[(u64, u32)]) -> Recommendation {
    let rows: Vec<Row> = failed.iter().map(|(interval_s, failed)| row(*interval_s, *failed)).collect();
    Recommendation::of(&rows).expect("there are rows")
}

#[test]
fn the_longest_interval_that_keeps_95_percent_of_what_the_shortest_saves_is_taken() {
    let this = recommended(&[(10, 20), (60, 21), (600, 24), (3_600, 40), (86_400, 120)]);
    assert_eq!((this.interval_s, this.benefit.map(percent).as_deref()), (600, Some("96 %")));
    assert_eq!(
        this.sentence,
        "10m: 96 % of the benefit of 10s at 1.7 % of its bytes and requests, with deltas 13 % of its bytes (1.2 % of payments fail; \
         1.0 % at 10s, 6.0 % at 24h)"
    );
    let this = recommended(&[(10, 20), (600, 26), (86_400, 120)]);
    assert_eq!(this.interval_s, 10, "94 % is not enough");
    assert!(
        this.sentence.starts_with("10s: every longer interval loses over 5 % of its benefit"),
        "{}",
        this.sentence
    );
}

#[test]
fn chance_may_favour_a_longer_interval_but_nobody_is_promised_more_than_all() {
    let this = recommended(&[(10, 20), (60, 27), (600, 15), (3_600, 130), (86_400, 120)]);
    assert_eq!((this.interval_s, this.benefit.map(percent).as_deref()), (600, Some("105 %")));
    assert!(this.sentence.starts_with("10m: 100 % of the benefit of 10s at"), "{}", this.sentence);
}

#[test]
fn where_payments_tell_nothing_apart_the_sentence_says_so() {
    // Nothing saved, less than chance saves, and the wrong way round.
    for [short, long] in [[20, 20], [20, 30], [120, 20]] {
        let this = recommended(&[(10, short), (86_400, long)]);
        assert_eq!((this.interval_s, this.benefit), (86_400, None));
        let told = "24h: 2,000 payments do not tell it from 10s (";
        assert!(this.sentence.starts_with(told) && this.sentence.contains("--payments"), "{}", this.sentence);
    }
    let this = recommended(&[(10, 0), (86_400, 0)]);
    assert!(
        this.sentence.starts_with("24h: none of 2,000 payments fails even there; take more --payments or"),
        "{}",
        this.sentence
    );
    let alone = recommended(&[(600, 20)]);
    assert_eq!(alone.sentence, "10m: 1.0 % of payments fail; name more --intervals to compare it with");
}
