//! A decentralised Bitcoin mining pool node.

mod args;
mod export;
mod folder;
mod logging;
mod node;
mod settings;
mod shutdown;
mod signals;
mod status_line;
mod threads;
mod wiring;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use args::{Command, Flags};
use settings::Environment;

/// Exit status for a command line or setting that is wrong.
const STATUS_USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match args::parse(&words) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Run(flags)) => mine(&flags),
        Ok(Command::Export(flags)) => export(&flags),
        Err(error) => refuse(&error),
    }
}

fn mine(flags: &Flags) -> ExitCode {
    let config = match settings::resolve(flags, &environment(), &|path| path.is_file()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    logging::start(config.log_level);
    end(node::run(&config))
}

fn export(flags: &Flags) -> ExitCode {
    let settings = match settings::resolve_chain(flags, &environment()) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    logging::start(settings.log_level);
    end(export::run(&settings))
}

fn environment() -> Environment {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

/// Prints to standard output, where a closed pipe is no failure of ours.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One line, before logging has begun.
fn refuse(error: &dyn Error) -> ExitCode {
    eprintln!("p2pool: {error}");
    ExitCode::from(STATUS_USAGE)
}

fn end<E: Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
