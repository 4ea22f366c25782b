//! Small files written here, and every way of spoiling them.

use proptest::prelude::*;

use super::*;
use crate::gossip::UnixMs;
use crate::synth::{Network, NetworkSpec, Topology};

fn read(bytes: &[u8]) -> Vec<(u64, Found)> {
    let found = Reader::new(bytes).expect("the magic");
    found.map(|item| item.expect("a slice has no errors")).map(|Located { offset, found }| (offset, found)).collect()
}

fn length(len: usize) -> Vec<u8> {
    match len {
        0..0xfd => vec![len as u8],
        _ => [&[0xfd], &(len as u16).to_be_bytes()[..]].concat(),
    }
}

fn file(messages: &[Vec<u8>]) -> Vec<u8> {
    let parts = messages.iter().map(|message| [length(message.len()), message.clone()].concat());
    [MAGIC.to_vec(), parts.collect::<Vec<_>>().concat()].concat()
}

fn lost(bytes: usize) -> Found {
    Found::Damage(Damage::Lost { bytes: bytes as u64 })
}

#[test]
fn messages_come_with_their_own_timestamps() {
    let network =
        Network::new(&Topology::generate(20, 3), NetworkSpec::default(), UnixMs(1_700_000_000_000)).unwrap();
    let messages: Vec<Vec<u8>> = network.dump().iter().map(|message| message.to_vec()).collect();
    let found = read(&file(&messages));
    assert_eq!(found.len(), messages.len());
    let mut expected: Vec<u32> = network.nodes().iter().map(|node| node.timestamp).collect();
    expected.extend(network.channels().iter().flat_map(|channel| [channel.timestamps[0], channel.timestamps[1], 0]));
    let mut timestamps = Vec::new();
    for ((_, found), message) in found.into_iter().zip(messages) {
        let Found::Record(Record { body: Body::Message(read), timestamp, flags }) = found else {
            panic!("{found:?}")
        };
        assert_eq!((&read[..], flags), (&message[..], Flags::default()));
        timestamps.push(timestamp);
    }
    expected.retain(|timestamp| timestamps.contains(timestamp));
    timestamps.sort_unstable();
    expected.sort_unstable();
    assert_eq!(timestamps, expected);
}

#[test]
fn other_types_are_unknown_and_no_type_is_damage() {
    let found = read(&file(&[vec![16, 5, 0], vec![1], vec![], vec![1, 0]]));
    let unknown = |found: &Found| matches!(found, Found::Record(Record { body: Body::Unknown(_), .. }));
    assert!(unknown(&found[0].1), "{found:?}");
    assert_eq!(found[1], (8, Found::Damage(Damage::NoType { len: 1 })));
    assert_eq!(found[2], (10, Found::Damage(Damage::NoType { len: 0 })));
    assert!(matches!(found[3..], [(11, Found::Record(_))]), "{found:?}");
}

#[test]
fn a_length_that_is_longer_than_it_need_be_is_read() {
    let message = [1, 1, 5];
    for length in [&[3][..], &[0xfd, 0, 3], &[0xfe, 0, 0, 0, 3], &[0xff, 0, 0, 0, 0, 0, 0, 0, 3]] {
        let found = read(&[MAGIC, length, &message].concat());
        assert!(matches!(&found[..], [(4, Found::Record(_))]), "{found:?}");
    }
}

#[test]
fn a_length_that_cannot_be_loses_the_rest() {
    let good = [3, 1, 1, 5];
    for length in [&[0xfe, 0, 1, 0, 0][..], &[0xff; 9]] {
        let rest = [length, &[7; 1_000_000]].concat();
        let found = read(&[MAGIC, &good[..], &rest].concat());
        assert_eq!(found[1..], [(8, lost(rest.len()))]);
    }
}

#[test]
fn a_torn_tail_is_said_wherever_it_is_torn() {
    let messages = [vec![1, 1, 5], vec![1; 300], vec![1, 2]];
    let (bytes, starts) = (file(&messages), [4, 8, 311, 314]);
    for end in 4..=bytes.len() {
        let found = read(&bytes[..end]);
        let count = starts.iter().filter(|&&start| start <= end).count() - 1;
        assert!(found[..count].iter().all(|(_, found)| matches!(found, Found::Record(_))));
        let left = (end - starts[count]) as u64;
        let torn = (starts[count] as u64, Found::Damage(Damage::TornTail { bytes: left }));
        assert_eq!(found[count..], if left > 0 { vec![torn] } else { vec![] }, "torn at {end}");
    }
}

#[test]
fn another_version_is_refused() {
    assert!(Reader::new(&b"GSP\x02"[..]).is_err());
    assert!(Reader::new(&b"GS"[..]).is_err());
}

proptest! {
    #[test]
    fn messages_are_read_as_written(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 2..600), 0..10),
    ) {
        let read: Vec<Vec<u8>> = read(&file(&messages)).into_iter().map(|(_, found)| match found {
            Found::Record(Record { body: Body::Message(message) | Body::Unknown(message), .. }) => message.into(),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn arbitrary_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let found = read(&[MAGIC, &bytes[..]].concat());
        prop_assert!(found.len() <= bytes.len());
    }
}
