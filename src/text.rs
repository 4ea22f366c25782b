//! What several rooms need of words: a text that must not be printed, the word that was probably meant, numbers, times
//! and tables for people.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{CellAlignment, Table, presets};

/// Text that must not be printed: it has no `Display`, and its `Debug` is blank.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A number with a comma before every three digits.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = (digits.len() - 1) % 3 + 1;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index >= first && (index - first).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Unix seconds as a date and time of UTC (RFC 3339).
pub fn rfc_3339(unix_s: u32) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_s.into())).to_string()
}

/// A time in the largest unit that gives a whole number, as [`humantime`] reads it; a day is 24h.
pub fn time(time: Duration) -> String {
    const HOUR_S: u64 = 3600;
    let seconds = time.as_secs();
    if time.subsec_nanos() != 0 || seconds == 0 {
        return humantime::format_duration(time).to_string();
    }
    let (size, unit) = match seconds {
        _ if seconds.is_multiple_of(24 * HOUR_S) && seconds > 24 * HOUR_S => (24 * HOUR_S, "d"),
        _ if seconds.is_multiple_of(HOUR_S) => (HOUR_S, "h"),
        _ if seconds.is_multiple_of(60) => (60, "m"),
        _ => (1, "s"),
    };
    format!("{}{unit}", seconds / size)
}

/// Rows in columns that are two spaces apart and without lines: the first to the left, the others to the right.
pub fn columns(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_cell_alignment(if index == 0 { CellAlignment::Left } else { CellAlignment::Right });
    }
    table.trim_fmt()
}

/// The known word that was probably meant: a slip of the finger away, or the same without its section.
pub fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    known
        .map(|known| {
            let other = known.to_lowercase();
            let section = other.strip_suffix(folded.as_str()).is_some_and(|rest| rest.ends_with('.'))
                || other.strip_prefix(folded.as_str()).is_some_and(|rest| rest.starts_with('.'));
            let slips = if section { 1 } else { strsim::damerau_levenshtein(&folded, &other) };
            (slips, known)
        })
        .filter(|(slips, known)| *slips <= (known.len() / 4).clamp(1, 3))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}

/// Finds a word in a short list; the error says what was expected, and what was probably meant.
pub fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let expected = match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("expected {} or {last}", rest.join(", ")),
        _ => format!("expected {}", words.join("")),
    };
    Err(match near(text, words.into_iter()) {
        Some(word) => format!("{expected}; did you mean {word}?"),
        None => expected,
    })
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped_by_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (7_123_456, "7,123,456")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
