//! Which shape the synthetic network has: that of the file which `BENCH_TOPOLOGY` names (Core Lightning's compressed
//! map), or one that is drawn.

use std::path::PathBuf;

use rgsd::synth::Topology;

const CHANNELS: usize = 51_000;

pub fn topology(seed: u64) -> Topology {
    match file() {
        Some(path) => Topology::open(&path).expect("a map"),
        None => Topology::generate(CHANNELS, seed),
    }
}

/// Which it is, as the table says it.
pub fn name() -> String {
    let name = file().and_then(|path| Some(path.file_name()?.to_string_lossy().split('.').next()?.to_owned()));
    name.unwrap_or_else(|| "a drawn shape".to_owned())
}

fn file() -> Option<PathBuf> {
    std::env::var_os("BENCH_TOPOLOGY").filter(|path| !path.is_empty()).map(PathBuf::from)
}
