//! Reads what `/metrics` answers as strictly as the format is described (Prometheus, "Text-based format"), and more: a
//! family has its HELP and TYPE once and before its samples, which follow one another; a histogram adds up.

use std::collections::{BTreeMap, BTreeSet};

/// A sample's labels, by their names.
pub type Labels = BTreeMap<String, String>;

/// All that is said of one metric.
#[derive(Default, Debug)]
pub struct Family {
    pub help: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// By name, which for histograms has an ending, and labels.
    pub samples: BTreeMap<(String, Labels), f64>,
}

/// All metrics, by their names.
#[derive(Default, Debug)]
pub struct Exposition(pub BTreeMap<String, Family>);

impl Exposition {
    /// Reads an answer; panics where that breaks a rule.
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends, too");
        let mut families = BTreeMap::<String, Family>::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let (what, rest) = comment.split_once(' ').unwrap_or_else(|| panic!("a bare comment: {line}"));
                let (name, said) = rest.split_once(' ').unwrap_or_else(|| panic!("nothing is said: {line}"));
                assert!(is_name(name), "{line}");
                if current != name {
                    assert!(!families.contains_key(name), "what belongs together is apart: {line}");
                    current = name.to_owned();
                }
                let family = families.entry(name.to_owned()).or_default();
                assert!(family.samples.is_empty(), "it comes first: {line}");
                let place = match what {
                    "HELP" => &mut family.help,
                    "TYPE" => &mut family.kind,
                    _ => panic!("neither HELP nor TYPE: {line}"),
                };
                assert!(place.is_empty() && !said.is_empty(), "said once, in words: {line}");
                *place = said.to_owned();
            } else {
                let family = families.get_mut(&current).unwrap_or_else(|| panic!("of no family: {line}"));
                let (name, labels, value) = sample(line);
                assert!(!family.help.is_empty() && !family.kind.is_empty(), "unexplained: {line}");
                let ending = name.strip_prefix(&*current).unwrap_or_else(|| panic!("of another family: {line}"));
                match &*family.kind {
                    "counter" => assert!(ending.is_empty() && value >= 0.0, "{line}"),
                    "gauge" => assert!(ending.is_empty(), "{line}"),
                    "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&ending), "{line}"),
                    _ => panic!("an unknown type: {line}"),
                }
                assert_eq!(labels.contains_key("le"), ending == "_bucket", "{line}");
                assert!(family.samples.insert((name, labels), value).is_none(), "said twice: {line}");
            }
        }
        let exposition = Self(families);
        exposition.0.iter().filter(|(_, family)| family.kind == "histogram").for_each(|(name, f)| adds_up(name, f));
        exposition
    }

    /// The value of one sample.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let family = ["", "_bucket", "_sum", "_count"].iter().find_map(|end| self.0.get(name.strip_suffix(end)?))?;
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        family.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// All samples of a name, whose labels have these among them, added up.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |of: &Labels| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|said| said == value));
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples.filter(|((of, with), _)| of == name && fits(with)).map(|(_, value)| value).sum()
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `name{label="value",…} value`.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label), "{line}");
            let (value, after) = quoted(after).unwrap_or_else(|| panic!("no end of a label's value: {line}"));
            assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line}");
            match after.as_bytes().first() {
                Some(b',') => rest = &after[1..],
                Some(b'}') => {
                    rest = &after[1..];
                    break;
                }
                _ => panic!("no end of the labels: {line}"),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
}

/// Up to the closing quotes, what is escaped told plainly; and what follows them.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            (_, char) => value.push(char),
        }
    }
}

fn adds_up(name: &str, family: &Family) {
    let without_le = |labels: &Labels| {
        let mut labels = labels.clone();
        labels.remove("le");
        labels
    };
    let series: BTreeSet<Labels> = family.samples.keys().map(|(_, labels)| without_le(labels)).collect();
    for labels in series {
        let buckets = family.samples.iter().filter(|((_, of), _)| of.contains_key("le") && without_le(of) == labels);
        let bound = |labels: &Labels| labels["le"].parse::<f64>().expect("a bound");
        let mut buckets: Vec<(f64, f64)> = buckets.map(|((_, of), count)| (bound(of), *count)).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{name} {labels:?} does not grow");
        let count = family.samples.get(&(format!("{name}_count"), labels.clone()));
        assert_eq!(buckets.last(), count.map(|count| (f64::INFINITY, *count)).as_ref(), "{name} {labels:?}");
        assert!(family.samples.contains_key(&(format!("{name}_sum"), labels.clone())), "{name} {labels:?}");
    }
}
