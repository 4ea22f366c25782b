//! Recordings as they come: from files and pipes, packed and unpacked, whole, torn, damaged, and something else.

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use super::format::{Content, Format, Reading};
use super::*;
use crate::synth::Topology;

const PACKINGS: [Packing; 4] = [Packing::Gzip, Packing::Xz, Packing::Zstd, Packing::Bzip2];

fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    match packing {
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(drop))
        }
        Packing::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(&mut packed, 1);
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(drop))
        }
        // Streamed, so that the frame names its window.
        Packing::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(&mut packed, 1).expect("a zstd encoder");
            encoder.include_checksum(true).expect("as its tool does");
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(drop))
        }
        Packing::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(&mut packed, bzip2::Compression::fast());
            encoder.write_all(bytes).and_then(|()| encoder.finish().map(drop))
        }
    }
    .expect("a vector takes all");
    packed
}

/// Messages that no packing makes much smaller.
fn records(count: u32) -> Vec<Record> {
    let message = |i: u32| -> Box<[u8]> {
        let noise = (0..20u32).flat_map(|k| (i * 20 + k).wrapping_mul(2_654_435_761).to_be_bytes());
        [1, 2].into_iter().chain(noise).collect()
    };
    let record = |i| Record { flags: Flags::default(), timestamp: i, body: Body::Message(message(i)) };
    (0..count).map(record).collect()
}

fn store_of(records: &[Record]) -> Vec<u8> {
    let mut writer = store::Writer::new(Vec::new()).expect("a vector takes all");
    records.iter().for_each(|record| writer.write(record).expect("a good record"));
    writer.into_inner()
}

/// Gives its bytes one by one, now and then interrupted, as a pipe may.
struct Trickle(Cursor<Vec<u8>>, bool);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..1]) }
    }
}

fn open(raw: impl Read + Send + 'static) -> anyhow::Result<Reading> {
    format::read(raw)
}

fn found(reading: Reading) -> Vec<Located> {
    let Content::Records(records) = reading.content else { panic!("a map") };
    records.map(|item| item.expect("no disk is involved")).collect()
}

/// The records, and what follows them, which must be damage.
fn split(found: Vec<Located>) -> (Vec<Record>, Vec<Damage>) {
    let mut records = Vec::new();
    let mut damages = Vec::new();
    for item in found {
        match item.found {
            Found::Record(record) => {
                assert_eq!(damages, [], "a record behind damage");
                records.push(record);
            }
            Found::Damage(damage) => damages.push(damage),
        }
    }
    (records, damages)
}

fn refusal(bytes: &[u8]) -> String {
    match open(Cursor::new(bytes.to_vec())) {
        Ok(reading) => panic!("read as {}", reading.format),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn each_packing_is_found_by_its_content_even_byte_by_byte() {
    let records = records(30);
    let plain = store_of(&records);
    let packed = PACKINGS.map(|packing| (Some(packing), pack(packing, &plain)));
    for (packing, bytes) in [(None, plain.clone())].into_iter().chain(packed) {
        let size = bytes.len() as u64;
        let reading = open(Trickle(Cursor::new(bytes), false)).expect("a recording");
        assert_eq!((reading.format, reading.packing), (Format::Store { version: 16 }, packing));
        let consumed = reading.consumed.clone();
        assert_eq!(split(found(reading)), (records.clone(), vec![]), "{packing:?}");
        assert_eq!(consumed.load(Ordering::Relaxed), size, "{packing:?}");
    }
}

#[test]
fn streams_joined_end_to_end_are_one_recording() {
    let records = records(30);
    let plain = store_of(&records);
    for packing in PACKINGS {
        let (one, two) = plain.split_at(plain.len() / 2);
        let joined = [pack(packing, one), pack(packing, two)].concat();
        let reading = open(Cursor::new(joined)).expect("a recording");
        assert_eq!(split(found(reading)), (records.clone(), vec![]), "{packing:?}");
    }
}

#[test]
fn a_packing_that_is_cut_off_anywhere_is_read_as_far_as_it_goes() {
    let records = records(10);
    let plain = store_of(&records);
    for packing in PACKINGS {
        let packed = pack(packing, &plain);
        let mut most = 0;
        for end in 0..packed.len() {
            let Ok(reading) = open(Cursor::new(packed[..end].to_vec())) else {
                assert_eq!(most, 0, "{packing:?} cut at {end}: nothing is read of more than before");
                continue;
            };
            let (read, damages) = split(found(reading));
            assert_eq!(read, records[..read.len()], "{packing:?} cut at {end}");
            assert!(matches!(damages[..], [Damage::TornTail { .. }]), "{packing:?} cut at {end}: {damages:?}");
            assert!(read.len() >= most, "{packing:?} cut at {end}");
            most = read.len();
        }
        assert!(most >= 9, "{packing:?}: {most} records before the last cut");
    }
}

#[test]
fn a_damaged_packing_is_said_and_nothing_is_made_up() {
    let records = records(100);
    let plain = store_of(&records);
    for packing in PACKINGS {
        let packed = pack(packing, &plain);
        let mut said = 0;
        for at in (0..packed.len()).step_by(23) {
            let mut spoilt = packed.clone();
            spoilt[at] ^= 0x10;
            let Ok(reading) = open(Cursor::new(spoilt)) else { continue };
            for item in found(reading) {
                match item.found {
                    // No checksum covers the flags.
                    Found::Record(Record { body, timestamp, .. }) => {
                        let same = |record: &&Record| record.body == body && record.timestamp == timestamp;
                        assert!(records.iter().any(|record| same(&record)), "{packing:?} spoilt at {at}");
                    }
                    Found::Damage(Damage::Packing(reason)) => {
                        assert!(reason.starts_with(packing.name()), "{reason}");
                        said += 1;
                    }
                    Found::Damage(_) => {}
                }
            }
        }
        // The rest of the flips leaves not one byte to be read: those are refused.
        assert!(said > 10 || packing == Packing::Bzip2, "{packing:?}: said {said} times");
    }
}

#[test]
fn damage_behind_good_records_leaves_them_good() {
    let records = records(20_000);
    let plain = store_of(&records);
    for packing in PACKINGS {
        let mut packed = pack(packing, &plain);
        let late = packed.len() * 9 / 10;
        packed[late..late + 100].fill(0x55);
        let reading = open(Cursor::new(packed)).expect("its beginning is good");
        let found = found(reading);
        let good =
            found.iter().zip(&records).take_while(|(at, good)| at.found == Found::Record((*good).clone())).count();
        assert!(good > 5_000, "{packing:?}: {good} records");
        assert!(matches!(found[..], [.., Located { found: Found::Damage(Damage::Packing(_)), .. }]), "{packing:?}");
    }
}

#[test]
fn something_behind_the_packing_is_damage() {
    let plain = store_of(&records(200));
    for packing in PACKINGS {
        let packed = [pack(packing, &plain), b"something else".to_vec()].concat();
        let (read, damages) = split(found(open(Cursor::new(packed)).expect("a recording")));
        let most_at_a_time = packing::STEP / 90 + 1;
        assert!(read.len() >= 200 - most_at_a_time, "{packing:?}: {} records", read.len());
        assert!(matches!(damages[..], [Damage::Packing(_)]), "{packing:?}: {damages:?}");
    }
}

/// An xz file that asks for a dictionary of this size: `size` is the format's code for it.
fn xz_with_dictionary(size: u8, bytes: &[u8]) -> Vec<u8> {
    let mut xz = pack(Packing::Xz, bytes);
    // The first block's header, behind the 12 bytes of the stream's: its own size, flags, LZMA2's id, one byte of
    // properties, which is the dictionary's size, and in the end a CRC-32.
    let end = 12 + 4 * (usize::from(xz[12]) + 1);
    assert_eq!(xz[14..16], [0x21, 1], "LZMA2 with one byte");
    xz[16] = size;
    let mut crc = flate2::Crc::new();
    crc.update(&xz[12..end - 4]);
    xz[end - 4..end].copy_from_slice(&crc.sum().to_le_bytes());
    xz
}

fn zstd_with_window(log: u8, bytes: &[u8]) -> Vec<u8> {
    let mut zstd = pack(Packing::Zstd, bytes);
    assert_eq!(zstd[4] & 0xe0, 0, "a frame that names its window");
    zstd[5] = (log - 10) << 3;
    zstd
}

#[test]
fn a_packing_that_asks_for_gigabytes_is_refused_and_the_highest_presets_are_not() {
    let plain = store_of(&records(3));
    // 4 GiB and 2 GiB.
    for (name, packed) in [("xz", xz_with_dictionary(40, &plain)), ("zstd", zstd_with_window(31, &plain))] {
        let said = refusal(&packed);
        assert!(said.contains(name) && said.contains("memory"), "{said}");
    }
    // 64 MiB and 128 MiB.
    for packed in [xz_with_dictionary(28, &plain), zstd_with_window(27, &plain)] {
        assert_eq!(found(open(Cursor::new(packed)).expect("a recording")).len(), 3);
    }
}

#[test]
fn a_packing_that_becomes_hundreds_of_times_as_large_is_damaged() {
    let message = |fill: u8| [&[0xfd, 0x40, 0, 1, 2][..], &vec![fill; 0x4000 - 2]].concat();
    let bytes = [gsp::MAGIC.to_vec(), message(7).repeat(6 << 10)].concat(); // 96 MiB
    for packing in [Packing::Xz, Packing::Zstd] {
        let packed = pack(packing, &bytes);
        let (read, damages) = split(found(open(Cursor::new(packed)).expect("it begins well")));
        assert!((3 << 10..6 << 10).contains(&read.len()), "{packing:?}: {} messages", read.len());
        let [Damage::Packing(reason)] = &damages[..] else { panic!("{damages:?}") };
        assert!(reason.contains("250 times"), "{reason}");
    }
}

#[test]
fn what_is_no_recording_is_named() {
    let said = |bytes: &[u8], words: &[&str]| {
        let refusal = refusal(bytes);
        words.iter().for_each(|word| assert!(refusal.contains(word), "{word:?} is missing: {refusal}"));
        assert!(!refusal.contains('\n'), "{refusal}");
    };
    said(b"", &["empty"]);
    said(b"LDK\x02....", &["RGS snapshot", "rgsd inspect"]);
    said(b"LDK\x01....", &["RGS snapshot", "rgsd inspect"]);
    said(b"SQLite format 3\0....", &["SQLite", "rgsd record --from-journal"]);
    said(&[17, 0x20, 0, 0, 10], &["version 0.17", "9 to 16"]);
    said(&[0x20, 0x20, 0, 0, 10], &["version 1.0"]);
    said(
        b"{\"channels\": []}",
        &["gossip_store (versions 9 to 16)", "GSP", "GOSSMAP_COMPRESSv1", "xz", "{\\\"channels"],
    );
    said(b"\n<!DOCTYPE html>", &["in no format that is known"]);
    said(&pack(Packing::Gzip, b""), &["empty"]);
    for packing in PACKINGS {
        said(&pack(packing, b"hello"), &["in no format that is known"]);
        said(&pack(packing, &pack(Packing::Gzip, b"hello")), &["more than once"]);
    }
}

#[test]
fn gsp_and_maps_are_recognised_in_any_packing() {
    let gsp = [gsp::MAGIC, &[3, 1, 2, 5][..]].concat();
    // No channels; six tables without a value.
    let map = [&b"GOSSMAP_COMPRESSv1\0"[..], &[0; 8]].concat();
    for packing in PACKINGS {
        let reading = open(Cursor::new(pack(packing, &gsp))).expect("a recording");
        assert_eq!(reading.format, Format::Gsp);
        assert_eq!(found(reading).len(), 1);
        let reading = open(Cursor::new(pack(packing, &map))).expect("a map");
        assert_eq!(reading.format, Format::Map);
        assert!(matches!(reading.content, Content::Map(map) if map == Topology::default()));
    }
}

#[test]
fn an_error_of_the_disk_is_an_error_and_the_end() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            // EIO
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let plain = store_of(&records(3000));
    let packed = PACKINGS.map(|packing| pack(packing, &plain));
    for bytes in [plain].into_iter().chain(packed) {
        let half = bytes.len() / 2;
        let reading = open(Cursor::new(bytes).take(half as u64).chain(Broken)).expect("a good beginning");
        let Content::Records(records) = reading.content else { panic!("a map") };
        let items: Vec<_> = records.collect();
        let (last, others) = items.split_last().expect("an error at least");
        assert_eq!(last.as_ref().expect_err("the disk's").raw_os_error(), Some(5));
        assert!(others.iter().all(|item| matches!(item, Ok(Located { found: Found::Record(_), .. }))));
    }
}

#[test]
fn errors_name_the_file() {
    let refusal = |name: &str| {
        let source: source::Source = name.parse().expect("any name will do");
        format::open(&source).map(|reading| reading.format).expect_err("no recording").to_string()
    };
    assert_eq!(refusal("/nowhere/at-all.store"), "cannot read /nowhere/at-all.store");
    let dir = tempfile::tempdir().expect("a directory");
    let name = dir.path().to_str().expect("text");
    let source = source::Source::File(dir.path().into());
    let said = format!("{:#}", source.open().map(|opened| opened.size).expect_err("a directory"));
    assert_eq!(said, format!("cannot read {name}: it is a directory"));
}

#[test]
fn a_file_is_opened_with_its_size() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("recording");
    let bytes = store_of(&records(100));
    std::fs::write(&path, &bytes).expect("written");
    let reading = format::open(&source::Source::from(path.into_os_string())).expect("a recording");
    assert_eq!(reading.size, Some(bytes.len() as u64));
    assert_eq!(split(found(reading)), (records(100), vec![]));
}

/// This test runs itself once more, with a pipe as its standard input.
#[test]
fn a_dash_is_standard_input() {
    const PIPED: &str = "RGSD_TEST_STANDARD_INPUT";
    if std::env::var_os(PIPED).is_some() {
        let reading = format::open(&"-".parse().expect("a name")).expect("a recording");
        assert_eq!(reading.size, None);
        assert_eq!(split(found(reading)), (records(100), vec![]));
        println!("read all");
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "recording::tests::a_dash_is_standard_input", "--nocapture"])
        .env(PIPED, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(&pack(Packing::Zstd, &store_of(&records(100)))).expect("written");
    drop(pipe);
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("read all"));
}
