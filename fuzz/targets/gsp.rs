//! Bytes as a file of the lnresearch dataset.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rgsd::recording::gsp::Reader;

fuzz_target!(|data: &[u8]| {
    let Ok(reader) = Reader::new(data) else { return };
    let mut last = 0;
    for located in reader {
        let located = located.expect("memory has no errors");
        assert!(located.offset >= last && located.offset <= data.len() as u64, "places ascend within the input");
        last = located.offset;
    }
});
