//! Small maps written here, every way of spoiling them, and the real one where it is at hand.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Writes BigSize integers (BOLT 1).
fn big_size(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &number in numbers {
        match number {
            0..0xfd => bytes.push(number as u8),
            0xfd..0x1_0000 => bytes.extend([&[0xfd], &(number as u16).to_be_bytes()[..]].concat()),
            0x1_0000..0x1_0000_0000 => bytes.extend([&[0xfe], &(number as u32).to_be_bytes()[..]].concat()),
            _ => bytes.extend([&[0xff], &number.to_be_bytes()[..]].concat()),
        }
    }
    bytes
}

/// Two channels, 0–1 and 0–2; direction 1 of the second is disabled.
fn numbers() -> Vec<u64> {
    [
        &[2, 0, 0, 1, 2][..],                 // channels, ends
        &[3, 4],                              // disabled, end of the list
        &[2, 20_000, 5_000_000_000, 1, 0],    // capacity
        &[2, 0, 1000, 1, 1, 1, 0],            // minimum
        &[3, 0, 1, 7_000_000, 0, 1, 2, 0],    // maximum
        &[2, 0, u32::MAX.into(), 0, 1, 0, 0], // base
        &[2, 1, 300, 0, 1, 1, 0],             // proportional
        &[3, 0, 40, 144, 1, 2, 1, 0],         // cltv
    ]
    .concat()
}

fn plain(numbers: &[u64]) -> Vec<u8> {
    [&MAGIC[..], &big_size(numbers)].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    format!("{:#}", read(bytes).unwrap_err())
}

/// The refusal of the map with `wrong` in the place of the number at `at`.
fn refusal_with(at: usize, wrong: u64) -> String {
    let mut numbers = numbers();
    numbers[at] = wrong;
    refusal(&gzip(&plain(&numbers)))
}

#[test]
fn a_map_is_read_as_written() {
    let topology = read(&gzip(&plain(&numbers()))[..]).unwrap();
    let policy = |minimum, maximum, base, proportional, cltv, enabled| Policy {
        htlc_minimum_msat: minimum,
        htlc_maximum_msat: maximum,
        fee_base_msat: base,
        fee_proportional_millionths: proportional,
        cltv_expiry_delta: cltv,
        enabled,
    };
    let expected = Topology {
        nodes: 3,
        channels: vec![
            TopologyChannel {
                nodes: [0, 1],
                capacity_sat: 5_000_000_000,
                policies: [
                    policy(1000, 5_000_000_000_000, 0, 1, 40, true),
                    policy(1000, 4_950_000_000_000, u32::MAX, 300, 144, true),
                ],
            },
            TopologyChannel {
                nodes: [0, 2],
                capacity_sat: 20_000,
                policies: [policy(1000, 7_000_000, 0, 300, 40, true), policy(0, 20_000_000, 0, 1, 0, false)],
            },
        ],
    };
    assert_eq!(topology, expected);
}

#[test]
fn what_is_no_map_is_refused_in_one_sentence() {
    let map = plain(&numbers());
    assert!(refusal(b"hello, I am text").contains("not a gzip file"));
    assert!(refusal(b"").contains("not a gzip file"));
    assert!(refusal(&gzip(b"GOSSMAP_COMPRESSv2\0...")).contains("not a GOSSMAP_COMPRESSv1 map"));
    assert!(refusal(&gzip(&[&map[..], &[0]].concat())).contains("goes on"));
    assert!(refusal(&gzip(&[&MAGIC[..], &[0xfd, 0, 2]].concat())).contains("shortest form"));

    assert!(refusal_with(0, u64::MAX).contains("claims 18446744073709551615 channels"));
    assert!(refusal_with(1, 1 << 40).contains("first node 0 is 1099511627776"));
    assert!(refusal_with(3, 0).contains("node 0 at both ends"));
    assert!(refusal_with(7, 1000).contains("capacity claims 1000 values for 2 items"));
    assert!(refusal_with(9, u64::MAX).contains("capacity 1 is"));
    assert!(refusal_with(10, 2).contains("names value 2, but there are 2"));
    let open = [vec![1, 0, 1], vec![0; 100]].concat();
    assert!(refusal(&gzip(&plain(&open))).contains("does not end"));
}

#[test]
fn a_map_torn_anywhere_is_refused() {
    let map = plain(&numbers());
    for end in 0..map.len() {
        assert!(read(&gzip(&map[..end])[..]).is_err(), "cut at {end}");
    }
    let wrapped = gzip(&map);
    let whole = read(&wrapped[..]).unwrap();
    for end in 0..wrapped.len() {
        assert!(read(&wrapped[..end]).is_err(), "gzip cut at {end}");
    }
    for at in 0..wrapped.len() {
        let mut spoiled = wrapped.clone();
        spoiled[at] ^= 0x40;
        // Some bits mean nothing: the header's date, and what fills up the last byte before the checksum.
        assert!(read(&spoiled[..]).map_or(true, |topology| topology == whole), "bit flipped in byte {at}");
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = [&MAGIC[..], &big_size(&[MAX_CHANNELS]), &vec![0; 3 << 20]].concat();
    assert!(refusal(&gzip(&bomb)).contains("node 0 at both ends"));
}
