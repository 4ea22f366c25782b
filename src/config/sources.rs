//! Where settings come from: the file, the environment, the flags. Gathers texts, and judges only their keys.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, Shape};
use crate::text::near;

/// What every variable's name begins with.
const PREFIX: &str = "RGSD_";
/// The variable that names the file; not a key, as a file cannot name itself.
const FILE_VARIABLE: &str = "RGSD_CONFIG";

/// What the command line said, unjudged.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// By the name of the key: the values given, at least one.
    pub values: BTreeMap<&'static str, Vec<String>>,
}

/// Only which keys are set: a value may hold a password.
impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.values.keys().copied().collect();
        f.debug_struct("Flags").field("file", &self.file).field("keys", &keys).finish()
    }
}

/// The variables that a process was started with.
pub trait Environment {
    /// All of them, names and values.
    fn variables(&self) -> Vec<(OsString, OsString)>;
}

/// The real environment.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        std::env::vars_os().collect()
    }
}

/// Where a value is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// What was said for one key, and where.
pub(super) struct Said {
    /// One text, or any number for a list.
    pub texts: Vec<String>,
    pub origin: Origin,
}

/// By the name of the key: the last word on it.
type Gathered = BTreeMap<&'static str, Said>;

/// Reads all sources, each overriding the one before.
pub(super) fn gather(
    flags: &Flags,
    environment: &dyn Environment,
    default_file: &Path,
    mistakes: &mut Vec<String>,
) -> Gathered {
    let (variables, file_variable) = read_variables(environment, mistakes);
    let named = flags.file.clone().map(|path| (path, "--config"));
    let named = named.or(file_variable.map(|path| (path, FILE_VARIABLE)));

    let mut gathered = read_file(named, default_file, mistakes);
    gathered.extend(variables);
    for key in KEYS {
        if let Some(texts) = flags.values.get(key.name) {
            let origin = Origin::Flag(key.flag());
            let texts = texts.iter().flat_map(|text| split(key, text)).collect();
            gathered.insert(key.name, Said { texts, origin });
        }
    }
    gathered
}

/// A list is written with commas where there is no other way.
fn split(key: &Key, text: &str) -> Vec<String> {
    if key.shape != Shape::List {
        return vec![text.to_owned()];
    }
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn read_variables(environment: &dyn Environment, mistakes: &mut Vec<String>) -> (Gathered, Option<PathBuf>) {
    let mut gathered = Gathered::new();
    let mut file = None;
    let mut variables = environment.variables();
    variables.sort();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if name == FILE_VARIABLE {
            file = (!value.is_empty()).then(|| PathBuf::from(value));
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
            let advice = meant(name, KEYS.iter().map(Key::variable).chain([FILE_VARIABLE.to_owned()]));
            mistakes.push(format!("the variable {name} is set but names no key; {advice}"));
            continue;
        };
        match value.to_str() {
            Some("") => {}
            Some(text) => {
                let said = Said { texts: split(key, text), origin: Origin::Variable(name.to_owned()) };
                gathered.insert(key.name, said);
            }
            None => mistakes.push(format!("the variable {name} is not UTF-8")),
        }
    }
    (gathered, file)
}

/// Reads the named file, or the default one if it exists.
fn read_file(named: Option<(PathBuf, &str)>, default_file: &Path, mistakes: &mut Vec<String>) -> Gathered {
    let path = named.as_ref().map_or(default_file, |(path, _)| path);
    match (std::fs::read_to_string(path), &named) {
        (Ok(text), _) => parse_file(path, &text, mistakes),
        (Err(error), None) if error.kind() == io::ErrorKind::NotFound => Gathered::new(),
        (Err(error), Some((_, by))) if error.kind() == io::ErrorKind::NotFound => {
            mistakes.push(format!("there is no file {}, which {by} names", path.display()));
            Gathered::new()
        }
        (Err(error), _) => {
            mistakes.push(format!("the configuration file {} cannot be read: {error}", path.display()));
            Gathered::new()
        }
    }
}

fn parse_file(path: &Path, text: &str, mistakes: &mut Vec<String>) -> Gathered {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut broken = BTreeSet::new();
    for error in errors {
        let line = line(error.span().map_or(0, |span| span.start));
        // `message`, not `Display`: the latter quotes the line, which may hold a secret.
        mistakes.push(format!("{} line {line} is not TOML: {}", path.display(), error.message()));
        broken.insert(line);
    }

    let mut leaves = Vec::new();
    flatten("", table.get_ref(), &mut leaves);
    leaves.sort_by_key(|(_, at, _)| *at);

    let mut gathered = Gathered::new();
    for (name, at, value) in leaves {
        let line = line(at);
        if broken.contains(&line) {
            continue;
        }
        let origin = Origin::File { path: path.to_owned(), line };
        match find(&name).ok_or_else(|| meant(&name, KEYS.iter().map(|key| key.name.to_owned()))) {
            Err(advice) => mistakes.push(format!("{name} ({origin}) is not a key; {advice}")),
            Ok(key) => match texts(key, value) {
                Some(texts) => drop(gathered.insert(key.name, Said { texts, origin })),
                None if key.shape == Shape::List => {
                    mistakes.push(format!("{name} ({origin}): expected a list of strings"))
                }
                None => mistakes.push(format!("{name} ({origin}): expected one value, not a list")),
            },
        }
    }
    gathered
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// A key in the file, where it stands, and its value.
type Leaf<'a> = (String, usize, &'a DeValue<'a>);

/// Names the values of nested tables with dots.
fn flatten<'a>(prefix: &str, table: &'a DeTable<'a>, leaves: &mut Vec<Leaf<'a>>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => flatten(&format!("{name}."), table, leaves),
            leaf => leaves.push((name, key.span().start, leaf)),
        }
    }
}

/// The texts of a value in the file, or `None` if it has the wrong shape.
fn texts(key: &Key, value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(items) if key.shape == Shape::List => {
            items.iter().map(|item| scalar(item.get_ref())).collect()
        }
        value => scalar(value).map(|text| split(key, &text)),
    }
}

/// A single value as text: what it should be is for the key to judge.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The advice that follows an unknown name.
fn meant(name: &str, known: impl Iterator<Item = String>) -> String {
    let known: Vec<String> = known.collect();
    match near(name, known.iter().map(String::as_str)) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("the keys are: {}", known.join(", ")),
    }
}
