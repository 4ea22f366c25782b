//! Bytes as a compressed map: what is read has its nodes in their range.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rgsd::synth::Topology;

fuzz_target!(|data: &[u8]| {
    if let Ok(topology) = Topology::read_unpacked_gossmap(data) {
        let within = |node: &u32| *node < topology.nodes;
        assert!(topology.channels.iter().all(|channel| channel.nodes.iter().all(within)));
    }
});
