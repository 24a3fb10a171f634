//! A node of a decentralised Bitcoin mining pool.

mod args;
mod ask;
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
use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use log::LevelFilter;

use args::{Command, Given};
use settings::{Environment, SettingsError, Sources};

/// Exit status for a wrong command line or setting.
const STATUS_USAGE: u8 = 2;

fn main() -> ExitCode {
    memory::return_large_blocks();
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match args::parse(&words) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Run(given)) => with_settings(&given, run),
        Ok(Command::Export(given)) => with_settings(&given, export),
        Ok(Command::Ask { question, given, as_json }) => {
            with_settings(&given, |sources| ask_with(sources, |chain_dir| ask::run(question, as_json, chain_dir)))
        }
        Ok(Command::Instruct { instruction, hours, given, as_json }) => with_settings(&given, |sources| {
            ask_with(sources, |chain_dir| ask::instruct(&instruction, hours, as_json, chain_dir))
        }),
        Err(error) => usage_error(&error),
    }
}

/// Calls what asks the running node, with its directory.
fn ask_with(sources: &Sources, ask: impl FnOnce(&Path) -> ExitCode) -> Result<ExitCode, SettingsError> {
    let settings = settings::resolve_export(&sources.flags)?;
    for warning in &sources.warnings {
        eprintln!("p2pool: {warning}");
    }
    Ok(ask(&settings.chain_dir))
}

/// Calls a command with the settings from all sources, and reports an error in them.
fn with_settings(given: &Given, command: impl FnOnce(&Sources) -> Result<ExitCode, SettingsError>) -> ExitCode {
    match settings::merge(given, &environment(), &settings::read_file) {
        Ok(sources) => command(&sources).unwrap_or_else(|error| usage_error(&error.message(&sources))),
        Err(error) => usage_error(&error),
    }
}

fn run(sources: &Sources) -> Result<ExitCode, SettingsError> {
    let home = home();
    let settings = settings::resolve(&sources.flags, home.as_deref(), &|path| path.is_file())?;
    start_logging(settings.log_level, sources);
    Ok(exit_code(daemon::run(settings.config, sources.file.as_deref(), home.as_deref())))
}

fn export(sources: &Sources) -> Result<ExitCode, SettingsError> {
    let settings = settings::resolve_export(&sources.flags)?;
    start_logging(settings.log_level, sources);
    Ok(exit_code(export::run(&settings)))
}

fn start_logging(level: LevelFilter, sources: &Sources) {
    logging::start(level);
    for warning in &sources.warnings {
        log::warn!("{warning}");
    }
}

fn environment() -> Environment {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

/// Returns the user's home directory; a service may have none.
fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints an error from before logging has started.
fn usage_error(error: &dyn Display) -> ExitCode {
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
