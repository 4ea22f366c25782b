//! Which time an entry is told with, and which part of a journal is asked for.

use proptest::prelude::*;

use super::*;
use crate::gossip::{Closing, Fact, ShortChannelId};
use crate::journal::{Graph, Rules};

fn entry(seq: u64, seen: u64, event: Event) -> Entry {
    Entry { seq: Seq(seq), seen: UnixMs(seen), event }
}

fn closing() -> Event {
    Event::Fact(Fact::Closed { scid: ShortChannelId(1), reason: Closing::Silent })
}

fn epoch(timestamp: u32) -> Event {
    Event::Epoch { timestamp, rules: Rules { version: 1, graph: Graph::Routable } }
}

#[test]
fn an_entry_stays_on_its_side_of_an_epoch() {
    let mut times = Times::new(&[(Seq(3), 100), (Seq(6), 200)]);
    // Accepted just after the epoch's second, and journaled before the epoch; and the other way round.
    let seen = [(1, 99_000), (2, 100_040), (4, 99_990), (5, 150_000), (7, 200_500)];
    let told = seen.map(|(seq, seen)| times.of(&entry(seq, seen, closing())).0);
    assert_eq!(told, [99_000, 100_000, 100_001, 150_000, 200_500]);
}

proptest! {
    #[test]
    fn told_times_never_go_back_and_are_divided_by_the_epochs(
        script in proptest::collection::vec((0..2_000u64, proptest::option::weighted(0.2, 1..200u32)), 1..60),
    ) {
        // A journal's epochs ascend, whatever its clock did.
        let (mut last, mut entries) = (0, Vec::new());
        for ((seen, step), seq) in script.into_iter().zip(1..) {
            last += step.unwrap_or(0);
            entries.push(entry(seq, seen * 10, if step.is_some() { epoch(last) } else { closing() }));
        }
        let epochs: Vec<(Seq, u32)> = entries.iter().filter_map(|entry| match entry.event {
            Event::Epoch { timestamp, .. } => Some((entry.seq, timestamp)),
            Event::Fact(_) => None,
        }).collect();
        let mut times = Times::new(&epochs);
        let mut before = UnixMs(0);
        for entry in entries.iter().filter(|entry| matches!(entry.event, Event::Fact(_))) {
            let told = times.of(entry);
            prop_assert!(told >= before);
            before = told;
            for (seq, timestamp) in &epochs {
                prop_assert_eq!(entry.seq < *seq, told <= ms(*timestamp));
            }
        }
    }
}

#[test]
fn a_range_without_entries_is_an_error_that_says_what_there_is() {
    let extent = Extent { span: (UnixMs(1_000_500), UnixMs(2_000_500)), last_seq: Seq(9), epochs: Vec::new() };
    let check = |from, to| {
        let asked = Export { data_dir: "data".into(), out: Target::Stdout, from, to };
        asked.check_range(&extent).map_err(|error| error.to_string())
    };
    for (from, to) in [(None, None), (Some(1000), Some(2000)), (Some(2000), None), (None, Some(9999))] {
        assert_eq!(check(from, to), Ok(()), "{from:?} {to:?}");
    }
    for (from, to) in [(Some(999), None), (Some(2001), None), (None, Some(999)), (Some(1500), Some(1500))] {
        let error = check(from, to).unwrap_err();
        assert!(error.contains("the journal has 1970-01-01T00:16:40Z to 1970-01-01T00:33:20Z"), "{error}");
    }
}
