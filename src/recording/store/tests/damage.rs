//! Every way of spoiling a file. What is left whole is read, and the damage told where it is.

use super::*;

fn damage(offset: usize, damage: Damage) -> (u64, Found) {
    (offset as u64, Found::Damage(damage))
}

/// What is found in an undamaged file.
fn whole(records: &[Record]) -> Vec<(u64, Found)> {
    let starts = starts(records);
    starts.iter().map(|&start| start as u64).zip(records.iter().cloned().map(Found::Record)).collect()
}

fn known_records(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Record>> {
    let known = records().prop_filter("a type of the table", |record| !matches!(record.body, Body::Unknown(_)));
    proptest::collection::vec(known, count)
}

fn update(timestamp: u32) -> Record {
    let message: Vec<u8> = [1, 2].into_iter().chain(0..134).collect();
    Record { flags: Flags::default(), timestamp, body: Body::Message(message.into()) }
}

fn amount(capacity_sat: u64) -> Record {
    Record { flags: Flags::default(), timestamp: 0, body: Body::Amount { capacity_sat } }
}

#[test]
fn a_torn_tail_is_said_wherever_it_is_torn() {
    let records = [update(5), amount(6), amount(0), update(7)];
    let (bytes, starts, whole) = (write(&records), starts(&records), whole(&records));
    for end in 1..=bytes.len() {
        let count = starts.iter().filter(|&&start| start <= end).count() - 1;
        let mut expected = whole[..count].to_vec();
        let left = end - starts[count];
        if left > 0 {
            expected.push(damage(starts[count], Damage::TornTail { bytes: left as u64 }));
        }
        assert_eq!(read(&bytes[..end]), expected, "torn at {end}");
    }
}

proptest! {
    #[test]
    fn one_flipped_bit_costs_one_record(
        records in known_records(1..8), which in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, starts) = (write(&records), starts(&records));
        let which = which.index(records.len());
        let (start, size) = (starts[which], starts[which + 1] - starts[which]);
        let (bit, last) = (bit.index(8 * size), which + 1 == records.len());
        bytes[start + bit / 8] ^= 0x80 >> (bit % 8);
        let grown = bytes[start + 2..start + 4] > *((size - HEADER) as u16).to_be_bytes().as_slice();
        let (len, torn) = (size - HEADER, Damage::TornTail { bytes: size as u64 });
        let in_its_place = match bit {
            0 | 1 | 3..16 => None,
            2 => Some(if last { torn } else { Damage::Incomplete }),
            16..32 if last && grown => Some(torn),
            16..32 => Some(Damage::Lost { bytes: size as u64 }),
            _ => Some(Damage::Checksum),
        };
        let mut expected = whole(&records);
        match in_its_place {
            Some(damage) => expected[which].1 = Found::Damage(damage),
            None => {
                let Found::Record(record) = &mut expected[which].1 else { unreachable!("undamaged") };
                let flags = &mut record.flags;
                match bit {
                    0 => flags.deleted ^= true,
                    1 => flags.push ^= true,
                    4 => flags.dying ^= true,
                    _ => {}
                }
            }
        }
        prop_assert_eq!(read(&bytes), expected, "bit {} of a message of {} bytes", bit, len);
    }

    /// Zeros, garbage or nothing in the place of any stretch, or garbage put in between.
    #[test]
    fn what_is_left_whole_is_found_whatever_happened_to_the_rest(
        records in known_records(1..12),
        cut in any::<[prop::sample::Index; 2]>(),
        filling in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            (0..200usize).prop_map(|zeros| vec![0; zeros]),
        ],
    ) {
        let (bytes, starts) = (write(&records), starts(&records));
        let mut cut = cut.map(|at| 1 + at.index(bytes.len()));
        cut.sort_unstable();
        let [from, to] = cut;
        let spoilt = [&bytes[..from], &filling, &bytes[to..]].concat();
        let grown = filling.len() as u64;
        let left_whole = whole(&records).into_iter().zip(starts.windows(2)).filter_map(|((at, found), ends)| {
            match (ends[1] <= from, ends[0] >= to) {
                (true, _) => Some((at, found)),
                (_, true) => Some((at - (to - from) as u64 + grown, found)),
                _ => None,
            }
        });
        let expected: Vec<(u64, Found)> = left_whole.collect();
        let found = read(&spoilt);
        let kept: Vec<_> = found.iter().filter(|(_, found)| matches!(found, Found::Record(_))).cloned().collect();
        // What stands in the hole may happen to be what stood there.
        for record in &expected {
            prop_assert!(kept.contains(record), "{:?} is not in {:?}", record, found);
        }
        prop_assert!(kept.len() <= expected.len() + 2 || filling.iter().all(|&byte| byte == 0), "{:?}", found);
        prop_assert!(found.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn arbitrary_bytes_are_read_to_their_end(
        version in 9..=16u8, bytes in proptest::collection::vec(any::<u8>(), 0..4000),
    ) {
        let bytes = [&[version], &bytes[..]].concat();
        let mut reader = Reader::new(&bytes[..]).unwrap();
        reader.by_ref().for_each(|item| drop(item.expect("a slice has no errors")));
        prop_assert_eq!(reader.place(), bytes.len() as u64);
    }
}

#[test]
fn the_bytes_that_were_lost_are_counted() {
    let records = [update(5), update(6), amount(7), update(8)];
    let (bytes, starts, whole) = (write(&records), starts(&records), whole(&records));

    let mut hole = bytes.clone();
    hole[starts[1] + 30..starts[2] + 5].fill(0);
    let lost = Damage::Lost { bytes: (starts[3] - starts[1]) as u64 };
    assert_eq!(read(&hole), [whole[0].clone(), damage(starts[1], lost), whole[3].clone()]);

    let garbage = [&bytes[..starts[1]], b"some garbage", &bytes[starts[1]..]].concat();
    let found = read(&garbage);
    assert_eq!(found[1], damage(starts[1], Damage::Lost { bytes: 12 }));
    assert_eq!(found[2], (starts[1] as u64 + 12, whole[1].1.clone()));
    assert_eq!(found.len(), 5);

    let zeros = [&bytes[..], &[0; 4096]].concat();
    assert_eq!(read(&zeros)[4], damage(bytes.len(), Damage::Lost { bytes: 4096 }));
}

#[test]
fn a_type_that_is_not_known_is_found_where_the_bad_record_says() {
    let odd = Record { flags: Flags::default(), timestamp: 4, body: Body::Unknown([200, 1, 7].into()) };
    let records = [update(5), odd, update(6)];
    let (mut bytes, starts, mut expected) = (write(&records), starts(&records), whole(&records));
    bytes[starts[0] + 50] ^= 1;
    expected[0] = damage(starts[0], Damage::Checksum);
    assert_eq!(read(&bytes), expected);
}

#[test]
fn a_last_record_that_was_not_completed_is_a_torn_tail() {
    for version in [15, 16] {
        let good = raw(0x2000, 5, &[1, 2, 3]);
        let open = raw(0, 5, &[1, 2, 3]);
        let torn = [damage(16, Damage::TornTail { bytes: 15 })];
        assert_eq!(read(&[&[version], &good[..], &open].concat())[1..], torn);
        // Its message may not be there yet, either.
        let mut empty = open.clone();
        empty[HEADER..].fill(0);
        assert_eq!(read(&[&[version], &good[..], &empty].concat())[1..], torn);
        let found = read(&[&[version], &good[..], &open, &good].concat());
        assert_eq!(found[1], damage(16, Damage::Incomplete));
        assert!(matches!(found[2], (31, Found::Record(_))));
    }
}

/// Each header claims a message of nearly 64 KiB, and the next begins where this one's message does.
#[test]
fn hostile_bytes_cost_no_more_than_they_pay_for_and_hide_nothing() {
    let header = [0x20, 0, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2];
    let hostile = header.repeat((6 << 20) / header.len());
    let records: Vec<Record> = (0..50).map(update).collect();
    let bytes = [&[16], &hostile[..], &write(&records)[1..]].concat();
    let mut reader = Reader::new(&bytes[..]).unwrap();
    let found: Vec<Located> = reader.by_ref().map(|item| item.expect("a slice has no errors")).collect();
    assert!(reader.checksummed() < (4 << 20) + 8 * bytes.len() as u64, "{}", reader.checksummed());
    assert!(reader.checksummed() > 30 << 20, "the hostile bytes were not: {}", reader.checksummed());
    let kept = found.iter().filter(|item| matches!(item.found, Found::Record(_))).count();
    assert!(kept >= 49, "{kept} of 50 records were found behind the hostile bytes");
}
