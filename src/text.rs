//! What several rooms need of words: a text that must not be printed, and the word that was probably meant.

use std::fmt;

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
