//! Files made by hand, in every version.

use bitcoin::hex::FromHex;

use super::*;

const MESSAGE: &[u8] = &[1, 2, 7, 7, 7];

fn file(version: u8, records: &[Vec<u8>]) -> Vec<u8> {
    [&[version], &records.concat()[..]].concat()
}

/// The flags of one good record, and nothing else.
fn flags_of(version: u8, flags: u16) -> Flags {
    // A second record, since the last one may be torn.
    let bytes = file(version, &[raw(flags, 9, MESSAGE), raw(0x2000, 9, MESSAGE)]);
    match &read(&bytes)[..] {
        [(1, Found::Record(record)), (18, Found::Record(_))] => {
            assert_eq!((record.timestamp, &record.body), (9, &Body::Message(MESSAGE.into())));
            record.flags
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_version_has_its_flags() {
    for version in 9..=16 {
        let completed = if version >= 15 { 0x2000 } else { 0 };
        let none = Flags::default();
        assert_eq!(flags_of(version, completed), none, "version {version}");
        assert_eq!(flags_of(version, completed | 0x8000), Flags { deleted: true, ..none });
        assert_eq!(flags_of(version, completed | 0x4000), Flags { push: true, ..none });
        assert_eq!(flags_of(version, completed | 0x0800), Flags { dying: true, ..none });
        assert_eq!(flags_of(version, 0x2000), Flags { ratelimit: version <= 14, ..none }, "version {version}");
        let zombie = version == 12 || version == 13;
        assert_eq!(flags_of(version, completed | 0x1000), Flags { zombie, ..none }, "version {version}");
        assert_eq!(flags_of(version, completed | 0x07ff), none, "bits without a meaning are ignored");
    }
}

#[test]
fn a_version_that_is_not_known_is_named() {
    for version in (0..=8).chain(17..=255) {
        let Err(error) = Reader::new(&[version, 0x20, 0][..]) else { panic!("version {version} is read") };
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        let name = format!("version {}.{} is not known", version / 32, version % 32);
        assert!(error.to_string().contains(&name) && error.to_string().contains("9 to 16"), "{error}");
    }
    assert!(Reader::new(&[][..]).is_err_and(|error| error.to_string().contains("empty")));
}

#[test]
fn a_file_with_nothing_but_its_version_is_good() {
    (9..=16).for_each(|version| assert_eq!(read(&[version]), []));
}

fn message(kind: u16, parts: &[&[u8]]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &parts.concat()].concat()
}

#[test]
fn each_type_is_read_as_the_table_has_it() {
    const SCID: &[u8] = &[0, 0, 103, 0, 0, 2, 0, 1];
    let scid = ShortChannelId::new(103, 2, 1);
    let uuid = [0xab; 32];
    let hundred = 100u64.to_be_bytes();
    let table = [
        (message(256, &[]), Body::Message([1, 0].into())),
        (message(257, &[&[5]]), Body::Message([1, 1, 5].into())),
        (message(258, &[&[5]]), Body::Message([1, 2, 5].into())),
        (message(259, &[&[5]]), Body::Unknown([1, 3, 5].into())),
        (message(4101, &[&hundred]), Body::Amount { capacity_sat: 100 }),
        (message(4102, &[&[5]]), Body::Private([16, 6, 5].into())),
        (message(4103, &[SCID]), Body::Closed(scid)),
        (message(4104, &[&[5]]), Body::Private([16, 8, 5].into())),
        (message(4105, &[&hundred]), Body::Ended { offset: 100, uuid: None }),
        (message(4105, &[&hundred, &uuid]), Body::Ended { offset: 100, uuid: Some(uuid) }),
        (message(4106, &[SCID, &[0, 0, 1, 0]]), Body::Dying { scid, deadline_height: 256 }),
        (message(4107, &[&uuid]), Body::Uuid(uuid)),
        (message(54_007, &[&hundred]), Body::Time(UnixMs(100))),
        (message(54_009, &[SCID, &hundred]), Body::Proof { scid, capacity_sat: 100 }),
    ];
    for (message, body) in table {
        let bytes = file(16, &[raw(0x2000, 3, &message)]);
        let record = Record { flags: Flags::default(), timestamp: 3, body };
        assert_eq!(read(&bytes), [(1, Found::Record(record.clone()))]);
        assert_eq!(write(&[record]), bytes);
    }
}

#[test]
fn a_record_of_the_wrong_length_is_damage_and_the_next_is_read() {
    for kind in [4101, 4103, 4105, 4106, 4107, 54_007, 54_009] {
        for len in (2..44).filter(|&len| !body::plausible(kind, len)) {
            let bytes = file(16, &[raw(0x2000, 3, &message(kind, &[&vec![0; len - 2]])), raw(0x2000, 9, MESSAGE)]);
            let found = read(&bytes);
            assert_eq!(found[0], (1, Found::Damage(Damage::Length { kind, len })));
            assert!(matches!(found[1..], [(at, Found::Record(_))] if at == 13 + len as u64), "{found:?}");
        }
    }
}

#[test]
fn a_record_without_a_type_is_damage_and_the_next_is_read() {
    for len in [0, 1] {
        let bytes = file(16, &[raw(0x2000, 3, &[0, 0][..len]), raw(0x2000, 9, MESSAGE)]);
        let found = read(&bytes);
        assert_eq!(found[0], (1, Found::Damage(Damage::NoType { len })));
        assert!(matches!(found[1..], [(at, Found::Record(_))] if at == 13 + len as u64), "{found:?}");
    }
}

#[test]
fn what_version_16_cannot_say_is_dropped_and_all_else_kept() {
    let old = file(12, &[raw(0xf000, 3, MESSAGE), raw(0x2800, 3, MESSAGE)]);
    let records: Vec<Record> = read(&old)
        .into_iter()
        .map(|(_, found)| match found {
            Found::Record(record) => record,
            Found::Damage(damage) => panic!("{damage}"),
        })
        .collect();
    assert!(records[0].flags.ratelimit && records[0].flags.zombie);
    assert_eq!(write(&records), file(16, &[raw(0xe000, 3, MESSAGE), raw(0x2800, 3, MESSAGE)]));
}

#[test]
fn a_checksum_is_crc_32c_from_the_timestamp_on() {
    // The check value of the algorithm; and what Core Lightning wrote in 2021 for this update of mainnet.
    assert_eq!(checksum(0, b"123456789"), 0xe306_9283);
    let update = "01025996b1cc2a6c6dbea17888a55d5a12f60eb7ef560f4681d675d466c6ce05fe9857860ca2289e6d2399d9b7bc\
                  dc6e41dc4e6234a16bd39a4d43dc4c310bf80cbe6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6\
                  1900000000000a95730004d500016119a4df0101002800000000000003e8000003e800000001000000000f75d320";
    let update = Vec::from_hex(update).expect("hexadecimal");
    assert_eq!(checksum(1_629_070_559, &update), 0x3d20_d617);
}
