//! Bytes as a snapshot: an error names a place within the input.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rgsd::snapshot::decode;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = decode(data) {
        assert!(error.at <= data.len(), "{error}");
    }
});
