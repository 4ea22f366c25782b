//! Text as a request's path: the same for any number of slashes in a row.

#![no_main]

use bitcoin::Network;
use libfuzzer_sys::fuzz_target;
use rgsd::http::route;

fuzz_target!(|path: &str| {
    let doubled = path.replace('/', "//");
    assert_eq!(route(path, Network::Bitcoin), route(&doubled, Network::Bitcoin));
});
