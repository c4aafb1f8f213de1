//! Arguments in, exit code out.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use facteur::admin::alias;
use facteur::admin::ban;
use facteur::admin::cli::Cli;
use facteur::admin::cli::Command;
use facteur::admin::cli::ConfigCommand;
use facteur::admin::cli::QueueCommand;
use facteur::admin::commands;
use facteur::admin::control::Request;
use facteur::admin::explain;
use facteur::admin::mailbox;
use facteur::admin::try_out::TryOut;
use facteur::daemon;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(file) => serve(&file.config, None),
        Command::Try(args) => match TryOut::prepare(args) {
            Ok(tried) => serve(&tried.config(), Some(Arc::new(tried))),
            Err(error) => {
                commands::complain(error);
                ExitCode::from(commands::EX_DATAERR)
            }
        },
        Command::Check { config, strict } => commands::check(&config.config, strict),
        Command::Password => commands::password(),
        Command::Queue(QueueCommand::List { config, json }) => commands::queue_list(&config.config, json),
        Command::Queue(QueueCommand::Flush(file)) => commands::request(&file.config, &Request::QueueFlush),
        Command::Alias(command) => alias::run(&command),
        Command::Ban(command) => ban::run(&command),
        Command::Explain(command) => explain::run(&command),
        Command::Config(ConfigCommand::Defaults) => commands::config_defaults(),
        Command::Mailbox(command) => mailbox::run(&command),
    }
}

/// Runs the server until a signal ends it.
fn serve(file: &Path, tried: Option<Arc<TryOut>>) -> ExitCode {
    let config = match commands::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match daemon::run(config, tried) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ daemon::StartError::Config(_)) => {
            commands::complain(format_args!("{}: {error}", file.display()));
            ExitCode::from(commands::EX_CONFIG)
        }
        Err(error @ daemon::StartError::Machine(_)) => {
            commands::complain(error);
            ExitCode::from(commands::EX_UNAVAILABLE)
        }
    }
}
