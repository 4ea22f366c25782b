//! placeholder
use crate::staleness::report::Report;
pub(super) fn table(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap_or_default()
}
