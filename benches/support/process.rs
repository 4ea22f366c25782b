//! What Linux says of a process.

use std::time::Duration;

/// Resident memory of this process, in MB.
pub fn resident_mb() -> u64 {
    memory_mb("self", "VmRSS:")
}

/// A line of `/proc/<process>/status`, in MB. Where there is none, nothing is measured, which must not look like little.
pub fn memory_mb(process: &str, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux, and the process runs");
    let kilobytes =
        status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("memory is told of") * 1024 / 1_000_000 // what Linux calls kB are 1,024 bytes
}

/// The processors' time that this process has used.
pub fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 = stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
