//! The commands and their flags. The flags that set keys are made from [`config::KEYS`], so that a new key needs
//! nothing here. Usage errors are clap's, with exit code 2.

mod recorder;
mod tuner;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bitcoin::Network;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use crate::config::{self, Config, Flags, KEYS, Key, Loaded, LogFormat, Shape, Shown};
use crate::gossip::check::Signatures;
use crate::health::Question;
use crate::journal::Graph;
use crate::recording;
use crate::replay::{Asked, Terms, times};
use crate::snapshot::Interval;
use crate::source::Source;

pub use self::recorder::RecordCommand;
pub use self::tuner::TuneOptions;

/// A Rapid Gossip Sync server: collects Lightning gossip, and serves wallets fresh snapshots of it.
#[derive(Parser, Debug)]
#[command(name = "rgsd", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Collect, record, snapshot and serve: the main job
    Serve(ConfigFlags),
    /// Run the same service on a synthetic network of its own: no peers, no bitcoind, nothing to set up
    Demo(DemoOptions),
    /// Live gossip, or what a journal holds of it, to recordings that can be replayed
    Record(RecordCommand),
    /// Recorded gossip into a journal and snapshots, on the recording's own clock
    Replay(ReplayOptions),
    /// Which sync interval stops fee_insufficient, and what it costs: from a journal or recordings, as table and charts
    #[command(after_help = tuner::HELP)]
    Tune(TuneOptions),
    /// Print the effective configuration, with each value's origin and secrets masked
    Config(ConfigCommand),
    /// Ask the service of this configuration whether it is alive: exit code 0, or 1 and a sentence
    Health(HealthCommand),
    /// Print what is in a snapshot: counts, and where the bytes go
    #[command(after_help = INSPECT_HELP)]
    Inspect(InspectOptions),
    /// Compare two full snapshots, of whatever servers, or recordings: channels, policies, node details
    #[command(after_help = DIFF_HELP)]
    Diff(DiffOptions),
}

const INSPECT_HELP: &str = "\
A URL may be a snapshot's (it ends in a number, or in a number and .bin), the base URL that wallets are configured with
(/0 is appended), or a server's alone (/v2/snapshot/0 is asked for, then /snapshot/0).

--json: source, unpacked_from, version, chain, chain_hash, timestamp, time, age_s, channels, channels_with_capacity, nodes,
nodes_with_details, nodes_without_details, node_reminders, updates, updates_full, updates_incremental, updates_reminder,
disabled_directions, disabled_channels, additional_data_bytes, trailing_bytes, and bytes: header, node_ids, node_details,
announcements, updates and total, with raw, gzip, brotli and zstd each.

Exit code: 0; 1 if it cannot be read, or is no snapshot.";

const DIFF_HELP: &str = "\
A URL may be a snapshot's (it ends in a number, or in a number and .bin), the base URL that wallets are configured with
(/0 is appended), or a server's alone (/v2/snapshot/0 is asked for, then /snapshot/0).

A recording is replayed as `rgsd replay` does it, up to the time of the snapshot that it is compared with, or to --at.

Version 1 has neither capacities nor node details: they are compared if both sides can tell them. Timestamps, versions and
sizes are shown, and make no difference.

--json: a and b (source, format, version, chain, timestamp, time, bytes, channels, nodes, policies), identical, compared
(capacities, node_details), channels_only_in_a, channels_only_in_b, channels_changed, policies_changed, nodes_changed;
each change is a field, from and to.

Exit code: 0 if there is no difference, 1 if there is one, 2 if there is trouble.";

/// `rgsd inspect`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct InspectOptions {
    /// A file, - for standard input, or an http:// or https:// URL
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: Source,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `rgsd diff`.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct DiffOptions {
    /// A snapshot or a recording: a file, - for standard input, or an http:// or https:// URL
    #[arg(value_name = "A")]
    pub a: Source,
    /// The same; what is different there
    #[arg(value_name = "B")]
    pub b: Source,
    /// Print JSON, with every difference
    #[arg(long, conflicts_with = "all")]
    pub json: bool,
    /// Print every difference, rather than the first 20
    #[arg(long)]
    pub all: bool,
    /// When to look at a recording: unix seconds or 2026-02-03T12:00:00Z [default: the other side's time, or the end]
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    pub at: Option<u32>,
    #[command(flatten)]
    pub terms: TermOptions,
}

/// `rgsd demo`: the size of the synthetic network.
#[derive(Args, Clone, PartialEq, Debug)]
pub struct DemoOptions {
    /// How many channels the network has
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=300_000))]
    pub channels: u32,
    /// How many fee changes a second
    #[arg(long, default_value_t = 20, value_name = "RATE")]
    pub updates_per_second: u32,
    /// How often to cut a snapshot: a multiple of 10 s that divides 24 h
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = config::parse_interval)]
    pub interval: Interval,
    /// The HTTP address
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// When to end by itself; without it, Ctrl-C ends it
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Shape the network after a Core Lightning GOSSMAP_COMPRESSv1 file
    #[arg(long, value_name = "FILE")]
    pub topology: Option<PathBuf>,
    /// What is logged
    #[arg(long, default_value = "warn", value_name = "FILTER", value_parser = config::parse_log)]
    pub log: String,
}

/// `rgsd replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayOptions {
    /// gossip_store, GSP and GOSSMAP_COMPRESSv1 files, compressed or not; - is standard input
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<recording::Source>,
    /// Where the journal and the snapshots go: a directory that is not there yet, or empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// When to cut a snapshot: unix seconds or 2026-02-03T12:00:00Z; may be given several times [default: at the end]
    #[arg(long, value_name = "TIME", value_parser = times::parse, conflicts_with = "every")]
    pub at: Vec<u32>,
    /// Cut snapshots as often as this
    #[arg(long, value_name = "TIME", value_parser = times::parse_every)]
    pub every: Option<Duration>,
    /// The first of them [default: the first multiple within the recording]
    #[arg(long, value_name = "TIME", value_parser = times::parse, requires = "every")]
    pub from: Option<u32>,
    /// The last of them [default: the recording's end]
    #[arg(long, value_name = "TIME", value_parser = times::parse, requires = "every")]
    pub to: Option<u32>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub terms: TermOptions,
}

impl ReplayOptions {
    /// When snapshots are asked for.
    pub fn asked(&self) -> Asked {
        Asked { at: self.at.clone(), every: self.every, from: self.from, to: self.to }
    }
}

/// How recordings are judged.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Recordings")]
pub struct TermOptions {
    /// Take the recorder's word for the signatures instead of checking them
    #[arg(long)]
    pub trust: bool,
    /// End with an error at the first record that is damaged or badly signed
    #[arg(long)]
    pub strict: bool,
    /// Whose gossip it is: bitcoin, testnet, signet or regtest
    #[arg(long, value_name = "NETWORK", default_value = "bitcoin", value_parser = config::parse_network)]
    pub network: Network,
    /// Which channels there are: routable or complete
    #[arg(long, value_name = "GRAPH", default_value = "routable", value_parser = config::parse_graph)]
    pub graph: Graph,
}

impl TermOptions {
    pub fn terms(&self) -> Terms {
        Terms {
            network: self.network,
            graph: self.graph,
            retention: Config::default().retention,
            signatures: if self.trust { Signatures::Trusted } else { Signatures::Checked },
            strict: self.strict,
        }
    }
}

/// `rgsd config`.
#[derive(Args, Debug)]
pub struct ConfigCommand {
    #[command(flatten)]
    pub flags: ConfigFlags,
    /// Print JSON
    #[arg(long, conflicts_with = "check")]
    pub json: bool,
    /// Connect to everything once: one line each, and a failure's exit code if any fails
    #[arg(long)]
    pub check: bool,
}

/// `rgsd health`.
#[derive(Args, Debug)]
pub struct HealthCommand {
    #[command(flatten)]
    pub flags: ConfigFlags,
    /// Ask whether wallets get a snapshot, rather than whether it is alive
    #[arg(long)]
    pub ready: bool,
}

impl HealthCommand {
    pub fn question(&self) -> Question {
        if self.ready { Question::Ready } else { Question::Alive }
    }
}

/// `--config`, and a flag for each key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigFlags(pub Flags);

impl Args for ConfigFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file =
            Arg::new("config").long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf)).help(
                format!("The configuration file [env: RGSD_CONFIG] [default: {} if present]", config::DEFAULT_FILE),
            );
        command.next_help_heading("Settings").arg(file).args(KEYS.iter().map(argument))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn argument(key: &Key) -> Arg {
    let help = format!("{} [env: {}]", key.about, key.variable());
    let argument = Arg::new(key.name).long(key.flag()).value_name(key.value).help(help);
    match key.shape {
        Shape::One => argument.action(ArgAction::Set),
        Shape::List => argument.action(ArgAction::Append),
        // With an = only: `--replica serve` would be two words.
        Shape::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = KEYS.iter().filter_map(|key| {
            let texts = matches.get_many::<String>(key.name)?;
            Some((key.name, texts.cloned().collect()))
        });
        Ok(Self(Flags { file: matches.get_one("config").cloned(), values: values.collect() }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl ConfigCommand {
    /// Prints to standard output.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = config::load(&self.flags.0)?;
        if self.check {
            let findings = config::check(&loaded.config).await;
            print(&findings.iter().map(finding).collect::<String>())?;
            return Ok(ExitCode::from(u8::from(findings.iter().any(|finding| finding.outcome.is_err()))));
        }
        print(&if self.json { as_json(&loaded)? } else { as_toml(&loaded) })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Sets up the log: to standard error, so that standard output stays the command's own.
pub fn start_log(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    // The migrations' own lines at "info" would greet every start; whoever wants them can name them.
    let filter = format!("refinery_core=warn,{filter}");
    let filter = tracing_subscriber::EnvFilter::builder().parse(filter).context("log filter")?;
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

fn finding(finding: &config::Finding) -> String {
    match &finding.outcome {
        Ok(good) => format!("ok      {}: {good}\n", finding.what),
        Err(bad) => format!("FAILED  {}: {bad}\n", finding.what),
    }
}

/// A TOML file that says the same, each line with its origin.
fn as_toml(loaded: &Loaded) -> String {
    let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
    let lines = loaded.settings().map(|(key, shown, origin)| match shown {
        Shown::Unset => format!("# {} is not set\n", key.name),
        Shown::One(text) if key.shape == Shape::Switch => format!("{} = {text}  # {origin}\n", key.name),
        Shown::One(text) => format!("{} = {}  # {origin}\n", key.name, quoted(&text)),
        Shown::Many(texts) => {
            let items: String = texts.iter().map(|text| format!("  {},\n", quoted(text))).collect();
            format!("{} = [  # {origin}\n{items}]\n", key.name)
        }
    });
    lines.collect()
}

fn as_json(loaded: &Loaded) -> anyhow::Result<String> {
    let settings = loaded.settings().map(|(key, shown, origin)| {
        (key.name.to_owned(), serde_json::json!({ "value": shown, "origin": origin.to_string() }))
    });
    let settings: serde_json::Map<_, _> = settings.collect();
    Ok(serde_json::to_string_pretty(&settings)? + "\n")
}

/// Prints, and takes a reader that went away (`rgsd config | head -1`) for a normal end.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn flags(line: &[&str]) -> Flags {
        match Cli::try_parse_from(["rgsd", "serve"].iter().chain(line)).unwrap().command {
            Command::Serve(flags) => flags.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_key_is_a_flag_and_lists_repeat() {
        let all: Vec<String> = KEYS.iter().map(|key| format!("--{}=x", key.flag())).collect();
        let all = flags(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(all.values.len(), KEYS.len());

        let flags = flags(&["--config", "f.toml", "--peers", "a,b", "--bitcoind-rest-url", "u", "--peers=c"]);
        assert_eq!(flags.file, Some(PathBuf::from("f.toml")));
        assert_eq!(flags.values["peers"], ["a,b", "c"]);
        assert_eq!(flags.values["bitcoind.rest_url"], ["u"]);
        assert_eq!(flags.values.len(), 2);
    }

    #[test]
    fn a_switch_needs_no_value() {
        for (line, said) in [("--replica", "true"), ("--replica=true", "true"), ("--replica=false", "false")] {
            assert_eq!(flags(&[line]).values["replica"], [said], "{line}");
        }
        assert!(!flags(&[]).values.contains_key("replica"));
        assert!(Cli::try_parse_from(["rgsd", "serve", "--replica", "false"]).is_err(), "a word of its own");
    }

    #[test]
    fn usage_errors_end_with_code_2() {
        for line in [
            ["serve", "--listne=x"],
            ["serve", "extra"],
            ["demo", "--interval=7s"],
            ["demo", "--channels=0"],
            ["demo", "--log=inof"],
            ["record", "--duration=1h"],
            ["dance", "now"],
        ] {
            assert_eq!(Cli::try_parse_from(["rgsd"].iter().chain(&line)).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn the_demo_has_the_defaults_of_the_contract() {
        let Command::Demo(options) = Cli::try_parse_from(["rgsd", "demo"]).unwrap().command else {
            panic!("not the demo");
        };
        assert_eq!((options.channels, options.updates_per_second), (2000, 20));
        assert_eq!((options.interval.secs(), options.duration), (10, None));
        assert_eq!((options.listen.to_string().as_str(), options.topology), ("127.0.0.1:3000", None));
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let environment = Nothing;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rgsd.toml");
        let given = flags(&["--bitcoind-rest-url=http://h:1", "--data-dir=a \"b\" \\c", "--interval=10m"]);
        let loaded = config::load_from(&given, &environment, &file).unwrap();
        std::fs::write(&file, as_toml(&loaded)).unwrap();
        assert_eq!(config::load_from(&Flags::default(), &environment, &file).unwrap().config, loaded.config);

        let json: serde_json::Value = serde_json::from_str(&as_json(&loaded).unwrap()).unwrap();
        assert_eq!(json["interval"], serde_json::json!({ "value": "10m", "origin": "--interval" }));
        assert_eq!(json["listen"]["origin"], "default");
        assert_eq!(json["peers"]["value"].as_array().map(Vec::len), Some(4));
    }

    struct Nothing;

    impl config::Environment for Nothing {
        fn variables(&self) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
            Vec::new()
        }
    }
}
