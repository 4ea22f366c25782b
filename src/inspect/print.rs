//! The report for people.

use std::time::Duration;

use super::Report;
use super::sizes::Sizes;
use crate::text::{columns, grouped};

/// All of it, in lines of at most some hundred characters (but for the source's name).
pub(super) fn text(report: &Report) -> String {
    let mut text = format!("{}\n\n", source(report));
    for (what, said) in facts(report) {
        text += &format!("{what:<11}{said}\n");
    }
    text += &format!("\n{}\n", table(report));
    for note in notes(report) {
        text += &format!("\n{note}\n");
    }
    text
}

fn source(report: &Report) -> String {
    let unpacked = report.unpacked_from.as_ref().map(|packing| format!(" (unpacked from {packing})"));
    format!("{}{}", report.source, unpacked.unwrap_or_default())
}

fn facts(report: &Report) -> [(&'static str, String); 6] {
    let chain = report.chain.clone().unwrap_or_else(|| format!("unknown: {}", report.chain_hash));
    let reminders = match report.node_reminders {
        0 => String::new(),
        some => format!("; {} reminders", grouped(some)),
    };
    [
        ("version", report.version.to_string()),
        ("chain", chain),
        ("timestamp", format!("{} ({}), {}", report.time, report.timestamp, age(report.age_s))),
        (
            "channels",
            format!("{}, {} of them with capacity", grouped(report.channels), grouped(report.channels_with_capacity)),
        ),
        (
            "nodes",
            format!(
                "{}: {} with details, {} without{reminders}",
                grouped(report.nodes),
                grouped(report.nodes_with_details),
                grouped(report.nodes_without_details),
            ),
        ),
        (
            "updates",
            format!(
                "{}: {} full, {} incremental, {} reminders; {} disabled directions, {} disabled channels",
                grouped(report.updates),
                grouped(report.updates_full),
                grouped(report.updates_incremental),
                grouped(report.updates_reminder),
                grouped(report.disabled_directions),
                grouped(report.disabled_channels),
            ),
        ),
    ]
}

fn age(age_s: i64) -> String {
    let time = humantime::format_duration(Duration::from_secs(age_s.unsigned_abs()));
    if age_s < 0 { format!("{time} from now") } else { format!("{time} ago") }
}

fn table(report: &Report) -> String {
    let total = report.bytes.total.raw;
    let header = ["where the bytes go", "raw", "share", "gzip", "brotli", "zstd"].map(str::to_owned);
    let mut rows = vec![header.to_vec()];
    for (what, Sizes { raw, gzip, brotli, zstd }) in report.bytes.rows() {
        let share = 100.0 * raw as f64 / total as f64; // a snapshot is never empty
        let share = format!("{share:.1} %");
        rows.push(vec![what.to_owned(), grouped(raw), share, grouped(gzip), grouped(brotli), grouped(zstd)]);
    }
    columns(rows)
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if report.trailing_bytes > 0 {
        let end = report.bytes.total.raw - report.trailing_bytes;
        notes.push(format!(
            "The snapshot ends at byte {end}; official clients pass over the {} bytes after it.",
            grouped(report.trailing_bytes),
        ));
    }
    if report.additional_data_bytes > 0 {
        let bytes = grouped(report.additional_data_bytes);
        notes.push(format!("{bytes} bytes are additional data, which official clients pass over."));
    }
    notes
}
