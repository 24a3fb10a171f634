//! Log lines: one event, one line, on standard error.

use std::io::Write as _;

use env_logger::fmt::Formatter;
use env_logger::Builder;
use log::{Level, LevelFilter, Record};

use crate::threads::panic_message;

/// How a line starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Time and level, for people and files.
    Plain,
    /// A priority that systemd's journal understands and cuts off; it has a clock of its own.
    Journal,
}

/// Starts logging. Our own crates log at `level`; others only what they warn of, for they might print
/// requests with credentials.
pub fn start(level: LevelFilter) {
    let style = style();
    Builder::new()
        .filter_level(level.min(LevelFilter::Warn))
        .filter_module("p2pool", level)
        .format(move |out, record| match style {
            Style::Plain => plain(out, record, level),
            Style::Journal => journal(out, record),
        })
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        log::error!("thread {name} panicked at {place}: {}", panic_message(panic.payload()));
    }));
}

fn plain(out: &mut Formatter, record: &Record<'_>, level: LevelFilter) -> std::io::Result<()> {
    let level_style = out.default_level_style(record.level());
    // Whoever wants all the details also wants to know how long things took.
    let time = if level >= LevelFilter::Debug { out.timestamp_micros() } else { out.timestamp_seconds() };
    let (target, text) = (short_target(record.target()), one_line(&record.args().to_string()));
    writeln!(out, "{time} {level_style}{:<5}{level_style:#} {target} {text}", record.level())
}

fn journal(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let (target, text) = (short_target(record.target()), one_line(&record.args().to_string()));
    writeln!(out, "<{}>{target} {text}", priority(record.level()))
}

/// The journal's style if standard error is the journal's own stream: the variable alone is inherited by all
/// children, also by those whose output goes elsewhere (sd-daemon(3), systemd.exec(5)).
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

/// syslog's number for a level (RFC 5424, section 6.2.1).
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// `p2pool_chain::store` is `chain`, the binary's own `p2pool::node` is `main`.
fn short_target(target: &str) -> &str {
    match target.split("::").next().unwrap_or(target) {
        "p2pool" => "main",
        other => other.strip_prefix("p2pool_").unwrap_or(other),
    }
}

/// Escapes control characters: a miner's name or an error of bitcoind must not write lines of its own.
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
    fn targets_name_the_thread() {
        for (target, short) in [
            ("p2pool", "main"),
            ("p2pool::node", "main"),
            ("p2pool_chain::store::lmdb", "chain"),
            ("p2pool_rpc", "rpc"),
            ("ureq::unversioned", "ureq"),
        ] {
            assert_eq!(short_target(target), short);
        }
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        assert_eq!(one_line("worker a\n<3>main all is lost\x1b[2J"), "worker a\\n<3>main all is lost\\u{1b}[2J");
        assert_eq!(one_line("plain, caf\u{e9}"), "plain, caf\u{e9}");
    }

    #[test]
    fn priorities_are_syslogs() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        assert_eq!(levels.map(priority), [3, 4, 6, 7, 7]);
    }
}
