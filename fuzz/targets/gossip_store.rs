//! Bytes as a `gossip_store`: whatever is read can be written, and is read again as the same.

#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;
use rgsd::recording::store::{Reader, Writer};
use rgsd::recording::{Found, Record};

fuzz_target!(|data: &[u8]| {
    read_and_write(data);
    read_and_write(&support::mended(data));
});

fn read_and_write(data: &[u8]) {
    let Ok(reader) = Reader::new(data) else { return };
    let mut last = 0;
    let mut records = Vec::new();
    for located in reader {
        let located = located.expect("memory has no errors");
        assert!(located.offset >= last && located.offset <= data.len() as u64, "places ascend within the input");
        last = located.offset;
        if let Found::Record(record) = located.found {
            records.push(expressible(record));
        }
    }
    let mut writer = Writer::new(Vec::new()).expect("room");
    let written: Vec<Record> = records.into_iter().filter(|record| writer.write(record).is_ok()).collect();
    let again = Reader::new(&writer.get_ref()[..]).expect("our own version");
    let again: Vec<Record> = again
        .map(|located| match located.expect("memory has no errors").found {
            Found::Record(record) => record,
            Found::Damage(damage) => panic!("we wrote what is damaged: {damage}"),
        })
        .collect();
    assert_eq!(written, again);
}

/// Without what only older versions can say.
fn expressible(mut record: Record) -> Record {
    record.flags.ratelimit = false;
    record.flags.zombie = false;
    record
}
