//! The operator's commands: what `p2pool ban` and the like send over the Unix socket, and browsers cannot.
//!
//! They are POST requests. The relay passes on nothing but GET and HEAD, and writes the requests that it passes on itself, with
//! [`FORWARDED_HOST`](crate::relay::FORWARDED_HOST); the server refuses a command with that host, although there can be none.
//! All of a command is in the request's target: there is no body to read.

use log::LevelFilter;
use p2pool_channels::{CommandRefused, OperatorSender};
use p2pool_core::operator::{OperatorCommand, BAN_HOURS};
use serde::Serialize;

use crate::site::{error, json, Reply};

/// Longest target of a command: its path, and a multiaddr.
const TARGET_LEN_MAX: usize = 512;

/// The body of the response to a command.
#[derive(Serialize)]
struct Done<'a> {
    /// What will be done, or is.
    done: &'a str,
}

/// Responds to a command.
pub fn reply(target: &str, network: &OperatorSender) -> Reply {
    if target.len() > TARGET_LEN_MAX {
        return error(414, "the command is too long");
    }
    let Some(command) = Command::parse(target) else { return error(404, "unknown command") };
    let result = match &command {
        Command::Network(command) => network.send(command),
        Command::LogLevel(level) => set_log_level(level),
    };
    match result {
        Ok(done) => json(200, &Done { done: &done }),
        Err(refused) => {
            let code = match refused {
                CommandRefused::Wrong(_) => 400,
                CommandRefused::NotFound(_) => 404,
                CommandRefused::Busy(_) => 503,
            };
            error(code, &refused.to_string())
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Network(OperatorCommand),
    LogLevel(String),
}

impl Command {
    /// Reads `/command/NAME?value=WORD`, for a ban with `&hours=NUMBER`. Words are not encoded: none has a special character.
    fn parse(target: &str) -> Option<Self> {
        let (name, query) = target.strip_prefix("/command/")?.split_once("?value=")?;
        let (value, hours) = match query.split_once("&hours=") {
            Some((value, hours)) if name == "ban" => (value, hours.parse().ok()?),
            Some(_) => return None,
            None => (query, BAN_HOURS),
        };
        let value = value.to_owned();
        Some(match name {
            "ban" => Self::Network(OperatorCommand::Ban { subject: value, hours }),
            "unban" => Self::Network(OperatorCommand::Unban { subject: value }),
            "connect" => Self::Network(OperatorCommand::Connect { address: value }),
            "disconnect" => Self::Network(OperatorCommand::Disconnect { peer: value }),
            "log-level" => Self::LogLevel(value),
            _ => return None,
        })
    }
}

/// Sets the level of this program's log until it ends.
fn set_log_level(level: &str) -> Result<String, CommandRefused> {
    let wrong = || CommandRefused::Wrong(format!("{level:?} is no log level: error, warn, info, debug or trace"));
    let level = level.parse::<LevelFilter>().ok().filter(|level| *level != LevelFilter::Off).ok_or_else(wrong)?;
    let before = log::max_level();
    // The line is wanted at the more talkative of both.
    log::set_max_level(level.max(before));
    log::info!("log level changed from {} to {}: by the operator", name(before), name(level));
    log::set_max_level(level);
    Ok(format!("the log level is {} until the next start", name(level)))
}

fn name(level: LevelFilter) -> String {
    level.to_string().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_path_with_a_value() {
        let network = |command| Some(Command::Network(command));
        let (subject, address) = ("2001:db8::/64".to_owned(), "/ip4/8.8.8.8/tcp/9171".to_owned());
        for (target, expected) in [
            ("/command/ban?value=2001:db8::/64", network(OperatorCommand::Ban { subject: subject.clone(), hours: 24 })),
            (
                "/command/ban?value=2001:db8::/64&hours=1",
                network(OperatorCommand::Ban { subject: subject.clone(), hours: 1 }),
            ),
            ("/command/unban?value=2001:db8::/64", network(OperatorCommand::Unban { subject })),
            ("/command/connect?value=/ip4/8.8.8.8/tcp/9171", network(OperatorCommand::Connect { address })),
            ("/command/disconnect?value=12D3", network(OperatorCommand::Disconnect { peer: "12D3".to_owned() })),
            ("/command/log-level?value=debug", Some(Command::LogLevel("debug".to_owned()))),
            ("/command/ban", None),
            ("/command/ban?value=8.8.8.8&hours=many", None),
            ("/command/ban?value=8.8.8.8&hours=-1", None),
            ("/command/unban?value=8.8.8.8&hours=1", None),
            ("/command/mine?value=1", None),
            ("/api/v1/status", None),
        ] {
            assert_eq!(Command::parse(target), expected, "{target}");
        }
    }
}
