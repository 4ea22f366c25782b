//! `rgsd record`: two commands under one name, for what either gives is the same.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ConfigFlags, start_log};
use crate::config::{self, KEYS, LogFormat};
use crate::record::{self, Export, Live, Rotation, Target};
use crate::replay::times;

/// `rgsd record`.
#[derive(Args, Debug)]
pub struct RecordCommand {
    /// The directory of the recordings, each a gossip_store named by its start; with --from-journal, a file that is not
    /// there yet, or - for standard output
    #[arg(long, value_name = "DIR|FILE")]
    out: OsString,
    /// Begin a new file when one has this size; all that is current stands at its start, and never makes up more than
    /// half of it
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = record::parse_size)]
    rotate_size: u64,
    /// Begin a new file whenever the clock shows a multiple of this, such as 1d for midnight UTC [default: never]
    #[arg(long, value_name = "TIME", value_parser = record::parse_time)]
    rotate_every: Option<Duration>,
    /// When to end by itself; without it, Ctrl-C or SIGTERM ends it
    #[arg(long, value_name = "TIME", value_parser = record::parse_time)]
    duration: Option<Duration>,
    /// Export the journal in this data_dir, whose service may be running, instead of listening to peers
    #[arg(
        long,
        value_name = "DATA_DIR",
        conflicts_with_all = ["rotate_size", "rotate_every", "duration", "config"],
        conflicts_with_all = KEYS.iter().map(|key| key.name),
    )]
    from_journal: Option<PathBuf>,
    /// Begin with what was current at this time: unix seconds or 2026-02-03T12:00:00Z [default: the journal's start]
    #[arg(long, value_name = "TIME", value_parser = times::parse, requires = "from_journal")]
    from: Option<u32>,
    /// End with what was accepted by this time [default: the journal's end]
    #[arg(long, value_name = "TIME", value_parser = times::parse, requires = "from_journal")]
    to: Option<u32>,
    #[command(flatten)]
    flags: ConfigFlags,
}

impl RecordCommand {
    /// Starts the log, and records.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { out, rotate_size, rotate_every, duration, from_journal, from, to, flags } = self;
        if let Some(data_dir) = from_journal {
            start_log("warn", LogFormat::Text)?;
            return record::export(Export { data_dir, out: Target::from(out), from, to }).await;
        }
        let Target::File(out) = Target::from(out) else {
            anyhow::bail!("--out - is for --from-journal: live gossip is recorded to a directory");
        };
        let config = config::load(&flags.0)?.config;
        start_log(&config.log, config.log_format)?;
        record::live(Live { out, rotation: Rotation { size: rotate_size, every: rotate_every }, duration }, config)
            .await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn record(line: &[&str]) -> Result<RecordCommand, clap::Error> {
        match Cli::try_parse_from(["rgsd", "record", "--out=o"].iter().chain(line))?.command {
            Command::Record(command) => Ok(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_recorder_is_configured_as_the_service_is() {
        let command = record(&["--peers=a", "--rotate-size=64MiB", "--rotate-every=1d", "--duration=1h"]).unwrap();
        assert_eq!(command.flags.0.values["peers"], ["a"]);
        assert_eq!((command.rotate_size, command.rotate_every), (64 << 20, Some(Duration::from_secs(86_400))));
        assert_eq!((command.duration, command.from_journal), (Some(Duration::from_secs(3600)), None));
        let Rotation { size, every } = Rotation::default();
        let plain = record(&[]).unwrap();
        assert_eq!((plain.rotate_size, plain.rotate_every), (size, every));
    }

    #[test]
    fn what_has_no_meaning_for_an_export_is_refused() {
        let journal = "--from-journal=d";
        let command = record(&[journal, "--from=2026-02-03T00:00:00Z", "--to", "1770076801"]).unwrap();
        assert_eq!((command.from, command.to), (Some(1_770_076_800), Some(1_770_076_801)));
        for flag in
            ["--rotate-size=1MB", "--rotate-every=1d", "--duration=1h", "--config=f", "--peers=a", "--replica"]
        {
            assert_eq!(record(&[journal, flag]).unwrap_err().exit_code(), 2, "{flag}");
        }
        for flag in ["--from=1", "--to=1", "--rotate-size=0", "--rotate-size=1TB", "--rotate-every=1ms"] {
            assert_eq!(record(&[flag]).unwrap_err().exit_code(), 2, "{flag}");
        }
    }
}
