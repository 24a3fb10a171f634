//! A node of a decentralised Bitcoin mining pool.

mod args;
mod daemon;
mod data_dir;
mod error;
mod export;
mod logging;
mod memory;
mod service_manager;
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

/// Exit status for a wrong command line or setting.
const STATUS_USAGE: u8 = 2;

fn main() -> ExitCode {
    memory::return_large_blocks();
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match args::parse(&words) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Run(flags)) => run(&flags),
        Ok(Command::Export(flags)) => export(&flags),
        Err(error) => usage_error(&error),
    }
}

fn run(flags: &Flags) -> ExitCode {
    match settings::resolve(flags, &environment(), &|path| path.is_file()) {
        Ok(settings) => {
            logging::start(settings.log_level);
            exit_code(daemon::run(settings.config))
        }
        Err(error) => usage_error(&error),
    }
}

fn export(flags: &Flags) -> ExitCode {
    match settings::resolve_export(flags, &environment()) {
        Ok(settings) => {
            logging::start(settings.log_level);
            exit_code(export::run(&settings))
        }
        Err(error) => usage_error(&error),
    }
}

fn environment() -> Environment {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints an error from before logging has started.
fn usage_error(error: &dyn Error) -> ExitCode {
    eprintln!("p2pool: {error}");
    ExitCode::from(STATUS_USAGE)
}

fn exit_code<E: Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
