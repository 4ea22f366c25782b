//! The differences for people: both sides, a summary, and the first differences.

use std::time::Duration;

use serde_json::Value;

use super::compare::{Change, ChannelChange, LoneChannel, NodeChange, PolicyChange};
use super::{About, Outcome};
use crate::gossip::ShortChannelId;
use crate::text::{columns, grouped};
use bitcoin::hex::DisplayHex;

/// All of it, with at most so many differences.
pub(super) fn text(outcome: &Outcome, most: usize) -> String {
    let mut text =
        format!("A  {}\nB  {}\n\n{}\n\n{}\n", outcome.a.source, outcome.b.source, sides(outcome), summary(outcome));
    if !outcome.differences.compared.node_details {
        text += "\nCapacities and node details are not compared: version 1 has none.\n";
    }
    if outcome.identical {
        return text + "\nNo difference.\n";
    }
    let lines = lines(outcome);
    let shown = lines.len().min(most);
    text.push('\n');
    for line in &lines[..shown] {
        text += &format!("{line}\n");
    }
    if shown < lines.len() {
        text += &format!("… and {} more; --all prints every one\n", grouped(lines.len() - shown));
    }
    text
}

fn sides(outcome: &Outcome) -> String {
    let (a, b) = (&outcome.a, &outcome.b);
    let row = |what: &str, values: [String; 3]| std::iter::once(what.to_owned()).chain(values).collect::<Vec<_>>();
    let number = |what: &str, value: fn(&About) -> Option<usize>| {
        let [from, to] = [value(a), value(b)];
        let shown = |value: Option<usize>| value.map_or_else(|| "-".to_owned(), grouped);
        let moved = from.zip(to).map(|(from, to)| match from.abs_diff(to) {
            0 => "same".to_owned(),
            by => format!("{}{}", if to > from { "+" } else { "-" }, grouped(by)),
        });
        row(what, [shown(from), shown(to), moved.unwrap_or_default()])
    };
    let version = |about: &About| about.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    columns([
        row("", ["A".to_owned(), "B".to_owned(), String::new()]),
        row("timestamp", [a.time.clone(), b.time.clone(), later(a.timestamp, b.timestamp)]),
        row("version", [version(a), version(b), String::new()]),
        number("bytes", |about| about.bytes),
        number("channels", |about| Some(about.channels)),
        number("nodes", |about| Some(about.nodes)),
        number("policies", |about| Some(about.policies)),
    ])
}

fn later(from: u32, to: u32) -> String {
    let time = humantime::format_duration(Duration::from_secs(from.abs_diff(to).into()));
    match to.cmp(&from) {
        std::cmp::Ordering::Equal => "same".to_owned(),
        std::cmp::Ordering::Greater => format!("{time} later"),
        std::cmp::Ordering::Less => format!("{time} earlier"),
    }
}

fn summary(outcome: &Outcome) -> String {
    let differences = &outcome.differences;
    let rows = [
        ("channels only in A", differences.channels_only_in_a.len()),
        ("channels only in B", differences.channels_only_in_b.len()),
        ("channels that differ", differences.channels_changed.len()),
        ("policies that differ", differences.policies_changed.len()),
        ("nodes whose details differ", differences.nodes_changed.len()),
    ];
    columns(rows.map(|(what, count)| vec![what.to_owned(), grouped(count)]))
}

/// One line a difference: channels by their scids, then nodes by their ids.
fn lines(outcome: &Outcome) -> Vec<String> {
    let differences = &outcome.differences;
    let only_a = differences.channels_only_in_a.iter().map(|channel| (channel.scid, lone("-", channel)));
    let only_b = differences.channels_only_in_b.iter().map(|channel| (channel.scid, lone("+", channel)));
    let channels = differences.channels_changed.iter().map(|change| (change.scid, channel(change)));
    let policies = differences.policies_changed.iter().map(|change| (change.scid, policy(change)));
    let mut by_scid: Vec<(ShortChannelId, String)> = only_a.chain(only_b).chain(channels).chain(policies).collect();
    by_scid.sort_by_key(|(scid, _)| *scid); // stable: a channel comes before its policies
    by_scid.into_iter().map(|(_, line)| line).chain(differences.nodes_changed.iter().map(node)).collect()
}

fn lone(sign: &str, channel: &LoneChannel) -> String {
    let capacity = channel.capacity_sat.map(|sat| format!("  {sat} sat"));
    let [one, two] = [channel.node_id_1, channel.node_id_2].map(|id| id.as_slice().to_lower_hex_string());
    format!("{sign} {}{}  {one} {two}", channel.scid, capacity.unwrap_or_default())
}

fn channel(change: &ChannelChange) -> String {
    format!("~ {}  {}", change.scid, changes(&change.changes))
}

fn policy(change: &PolicyChange) -> String {
    format!("~ {}/{}  {}", change.scid, change.direction, changes(&change.changes))
}

fn node(change: &NodeChange) -> String {
    format!("~ {}  {}", change.node_id.as_slice().as_hex(), changes(&change.changes))
}

fn changes(changes: &[Change]) -> String {
    let one = |change: &Change| format!("{} {} -> {}", change.field, value(&change.from), value(&change.to));
    changes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "untold".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(self::value).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
