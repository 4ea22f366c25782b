//! Parse, set up the log, dispatch; nothing else.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rgsd::cli::{Cli, Command, DiffOptions, start_log};
use rgsd::config::{self, LogFormat};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_bug));
    run(Cli::parse()).unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let outcome = runtime.block_on(dispatch(cli.command));
    // A name that is being looked up cannot be cancelled; it must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(flags) => {
            let config = config::load(&flags.0)?.config;
            start_log(&config.log, config.log_format)?;
            rgsd::serve::run(config).await?;
        }
        Command::Demo(options) => {
            start_log(&options.log, LogFormat::Text)?;
            rgsd::demo::run(options).await?;
        }
        Command::Record(command) => command.run().await?,
        Command::Replay(options) => {
            start_log("warn", LogFormat::Text)?;
            rgsd::replay::run(options).await?;
        }
        Command::Tune(options) => {
            start_log("warn", LogFormat::Text)?;
            rgsd::tune::run(options).await?;
        }
        Command::Config(command) => return command.run().await,
        Command::Health(command) => {
            let config = config::load(&command.flags.0)?.config;
            rgsd::health::ask(config.listen, command.question(), config.tls.is_some()).await?;
        }
        Command::Inspect(options) => rgsd::inspect::run(options).await?,
        Command::Diff(options) => return Ok(diff(options).await),
    }
    Ok(ExitCode::SUCCESS)
}

/// As diff(1) has it: 0 is the same, 1 is different, 2 is trouble.
async fn diff(options: DiffOptions) -> ExitCode {
    match rgsd::diff::run(options).await {
        Ok(same) => ExitCode::from(u8::from(!same)),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// One sentence on standard error; if that is gone, nobody is listening.
fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "rgsd: {sentence}");
}

/// A panic, in a sentence: in the log if there is one by then.
fn report_bug(bug: &PanicHookInfo<'_>) {
    let place = bug.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let what = bug.payload_as_str().unwrap_or("no reason given");
    let sentence = format!("a bug at {place}: {what}; please report it");
    if tracing::dispatcher::has_been_set() { tracing::error!("{sentence}") } else { complain(&sentence) }
}
