//! Log lines on standard error, one per event.

use std::io::Write as _;

use env_logger::fmt::Formatter;
use env_logger::Builder;
use log::{Level, LevelFilter, Record};

use crate::threads::panic_message;

/// Format of the start of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Time and level.
    Plain,
    /// Priority as systemd's journal reads it; the journal adds the time.
    Journal,
}

/// Starts logging. Crates of this program log at `level`, others at `warn` at most: they might log requests with
/// credentials. `log::set_max_level` changes the level later.
pub fn start(level: LevelFilter) {
    let style = style();
    Builder::new()
        .filter_level(LevelFilter::Warn)
        .filter_module("p2pool", LevelFilter::Trace)
        // Its errors are what peers did wrong, one line for each frame.
        .filter_module("yamux", LevelFilter::Off)
        .format(move |out, record| write_line(out, record, style))
        .init();
    log::set_max_level(level);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let location = panic.location().map_or_else(|| "unknown location".to_owned(), ToString::to_string);
        log::error!("thread {name} panicked at {location}: {}", panic_message(panic.payload()));
    }));
}

fn write_line(out: &mut Formatter, record: &Record<'_>, style: Style) -> std::io::Result<()> {
    let (target, text) = (short_target(record.target()), one_line(&record.args().to_string()));
    match style {
        Style::Journal => writeln!(out, "<{}>{target} {text}", priority(record.level())),
        Style::Plain => {
            let color = out.default_level_style(record.level());
            // Debug logs serve to measure durations too.
            let is_precise = log::max_level() >= LevelFilter::Debug;
            let time = if is_precise { out.timestamp_micros() } else { out.timestamp_seconds() };
            writeln!(out, "{time} {color}{:<5}{color:#} {target} {text}", record.level())
        }
    }
}

/// Returns the journal's style if standard error is the journal's stream. The variable alone is not enough: child
/// processes inherit it even if their output goes elsewhere (sd-daemon(3), systemd.exec(5)).
fn style() -> Style {
    let stderr = rustix::fs::fstat(std::io::stderr()).ok();
    let is_journal = std::env::var("JOURNAL_STREAM").ok().zip(stderr).is_some_and(|(variable, stderr)| {
        let mut parts = variable.split(':').map(str::parse::<u64>);
        parts.next() == Some(Ok(stderr.st_dev)) && parts.next() == Some(Ok(stderr.st_ino))
    });
    if is_journal {
        Style::Journal
    } else {
        Style::Plain
    }
}

/// Returns syslog's severity for a level (RFC 5424, section 6.2.1).
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Shortens `p2pool_chain::store` to `chain`, and the binary's own `p2pool::daemon` to `main`.
fn short_target(target: &str) -> &str {
    match target.split("::").next().unwrap_or(target) {
        "p2pool" => "main",
        other => other.strip_prefix("p2pool_").unwrap_or(other),
    }
}

/// Escapes control characters: a worker name or an error of bitcoind must not forge log lines.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_shortened_to_the_thread() {
        for (target, short) in [
            ("p2pool", "main"),
            ("p2pool::daemon", "main"),
            ("p2pool_chain::store::lmdb", "chain"),
            ("p2pool_rpc", "rpc"),
            ("ureq::unversioned", "ureq"),
        ] {
            assert_eq!(short_target(target), short);
        }
    }

    #[test]
    fn a_message_cannot_forge_a_log_line() {
        assert_eq!(one_line("worker a\n<3>main all is lost\x1b[2J"), "worker a\\n<3>main all is lost\\u{1b}[2J");
        assert_eq!(one_line("plain, caf\u{e9}"), "plain, caf\u{e9}");
    }

    #[test]
    fn priorities_are_those_of_syslog() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        assert_eq!(levels.map(priority), [3, 4, 6, 7, 7]);
    }
}
