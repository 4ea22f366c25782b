//! Recordings written here, by the writer and by hand, in every version, and every way of spoiling them.

mod damage;
mod versions;

use proptest::prelude::*;

use super::*;
use crate::gossip::{ShortChannelId, UnixMs};
use crate::recording::{Body, Damage, Flags, Found, Located, Record};

/// All that is found, with its offset.
pub(super) fn read(bytes: &[u8]) -> Vec<(u64, Found)> {
    let found = Reader::new(bytes).expect("a known version");
    found.map(|item| item.expect("a slice has no errors")).map(|Located { offset, found }| (offset, found)).collect()
}

pub(super) fn write(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).expect("a vector takes all");
    records.iter().for_each(|record| writer.write(record).expect("a record that can be written"));
    assert_eq!(writer.bytes(), writer.get_ref().len() as u64);
    writer.into_inner()
}

/// Where each record begins, and where the last ends.
pub(super) fn starts(records: &[Record]) -> Vec<usize> {
    (0..=records.len()).map(|count| write(&records[..count]).len()).collect()
}

fn opaque(kinds: impl Strategy<Value = u16>) -> impl Strategy<Value = Box<[u8]>> {
    let rest = proptest::collection::vec(any::<u8>(), 0..40);
    (kinds, rest).prop_map(|(kind, rest)| [&kind.to_be_bytes(), &rest[..]].concat().into())
}

/// A record as it stands in the file.
pub(super) fn raw(flags: u16, timestamp: u32, message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("a short message").to_be_bytes();
    let crc = crc32c::crc32c_append(timestamp, message).to_be_bytes();
    [&flags.to_be_bytes()[..], &len, &crc, &timestamp.to_be_bytes(), message].concat()
}

fn unknown_kinds() -> impl Strategy<Value = u16> {
    any::<u16>().prop_filter("a type of the table", |kind| !matches!(kind, 256..=258 | 4101..=4107 | 54_007 | 54_009))
}

fn bodies() -> impl Strategy<Value = Body> {
    let scid = || any::<u64>().prop_map(ShortChannelId);
    prop_oneof![
        4 => opaque(256..=258u16).prop_map(Body::Message),
        2 => any::<u64>().prop_map(|capacity_sat| Body::Amount { capacity_sat }),
        1 => scid().prop_map(Body::Closed),
        1 => (scid(), any::<u32>()).prop_map(|(scid, deadline_height)| Body::Dying { scid, deadline_height }),
        1 => (any::<u64>(), any::<Option<[u8; 32]>>()).prop_map(|(offset, uuid)| Body::Ended { offset, uuid }),
        1 => any::<[u8; 32]>().prop_map(Body::Uuid),
        1 => opaque(prop_oneof![Just(4102u16), Just(4104)]).prop_map(Body::Private),
        1 => any::<u64>().prop_map(|time| Body::Time(UnixMs(time))),
        1 => (scid(), any::<u64>()).prop_map(|(scid, capacity_sat)| Body::Proof { scid, capacity_sat }),
        1 => opaque(unknown_kinds()).prop_map(Body::Unknown),
    ]
}

/// Any record that version 16 can express.
pub(super) fn records() -> impl Strategy<Value = Record> {
    let flags = any::<[bool; 3]>();
    (flags, any::<u32>(), bodies()).prop_map(|([deleted, push, dying], timestamp, body)| {
        let flags = Flags { deleted, push, dying, ..Flags::default() };
        Record { flags, timestamp, body }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_written_again_byte_for_byte(
        records in proptest::collection::vec(records(), 0..30),
    ) {
        let bytes = write(&records);
        let found = read(&bytes);
        let offsets: Vec<usize> = found.iter().map(|(offset, _)| *offset as usize).collect();
        prop_assert_eq!(&offsets, &starts(&records)[..records.len()]);
        let back: Vec<Record> = found.into_iter().map(|(_, found)| match found {
            Found::Record(record) => record,
            Found::Damage(damage) => panic!("{damage}"),
        }).collect();
        prop_assert_eq!(&back, &records);
        prop_assert_eq!(write(&back), bytes);
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_and_nothing_of_it_written() {
    let message = |len: usize| Record {
        flags: Flags::default(),
        timestamp: 1,
        body: Body::Message([&[1, 0][..], &vec![7; len - 2]].concat().into()),
    };
    let mut writer = Writer::new(Vec::new()).unwrap();
    let error = writer.write(&message(65_536)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("65536 bytes"), "{error}");
    assert_eq!(writer.get_ref(), &[16]);
    writer.write(&message(65_535)).unwrap();
    assert_eq!(read(writer.get_ref()), [(1, Found::Record(message(65_535)))]);
}

#[test]
fn a_body_is_not_written_as_something_that_it_is_not() {
    let amount: Box<[u8]> = [&4101u16.to_be_bytes()[..], &[0; 8]].concat().into();
    let lies = [
        Body::Message(amount.clone()),
        Body::Private(amount.clone()),
        Body::Unknown(amount),
        Body::Unknown([1, 0, 5].into()),
        Body::Private([1, 0, 5].into()),
        Body::Message([1, 3, 5].into()),
        Body::Message([].into()),
        Body::Unknown([1].into()),
    ];
    let mut writer = Writer::new(Vec::new()).unwrap();
    for body in lies {
        let record = Record { flags: Flags::default(), timestamp: 0, body };
        assert_eq!(writer.write(&record).unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{record:?}");
    }
    assert_eq!(writer.into_inner(), [16]);
}
