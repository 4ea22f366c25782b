//! Bytes as a recording of any format in any packing, put in order: times ascend, and what is told can be read back.

#![no_main]

mod support;

use libfuzzer_sys::fuzz_target;
use rgsd::recording::{Arrangement, Content, read};

fuzz_target!(|data: &[u8]| {
    arrange(data);
    arrange(&support::mended(data));
});

fn arrange(data: &[u8]) {
    let Ok(reading) = read(std::io::Cursor::new(data.to_vec())) else { return };
    let Content::Records(records) = reading.content else { return };
    let mut arrangement = Arrangement::new(false);
    if arrangement.add("fuzz", records).is_err() {
        return;
    }
    let (script, surveys) = arrangement.finish().expect("memory has room");
    assert_eq!(surveys.len(), 1);
    let mut last = None;
    for told in script {
        let told = told.expect("it was just written");
        assert!(last <= Some(told.seen), "times ascend");
        last = Some(told.seen);
    }
}
