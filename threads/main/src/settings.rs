//! From flags and environment to a checked [`Config`]: pure, so that every rule here has a test.

mod chain;
mod error;
mod nodes;
mod payout;
mod rpc;
mod web;

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use log::LevelFilter;
use p2pool_core::config::{Config, P2pConfig, StratumConfig, WebConfig};
use p2pool_core::params::ChainParams;
use p2pool_core::share::CoinbaseTag;

use crate::args::Flags;
pub use error::SettingsError;

/// `-stratum-port` unless given.
const STRATUM_PORT_DEFAULT: u16 = 3333;
/// `-start-difficulty` unless given: an answer every 6 minutes from 1.2 TH/s, until vardiff has seen some.
const START_DIFFICULTY_DEFAULT: f64 = 100_000.0;
/// Start difficulties that make sense: vardiff's floor, and far more than any machine needs.
const START_DIFFICULTY_RANGE: std::ops::RangeInclusive<f64> = 0.00001..=1e12;
/// `-max-sessions` unless given.
const SESSIONS_DEFAULT: usize = 1_000;
/// `-max-sessions` at most: the four bytes of extranonce that tell sessions apart and the descriptors of a
/// process both allow more; memory of a small computer does not.
const SESSIONS_MAX: usize = 20_000;
/// `-p2p-port` unless given.
const P2P_PORT_DEFAULT: u16 = 9171;
/// `-data-dir` unless given.
const DATA_DIR_DEFAULT: &str = ".p2pool";

/// The process's environment, or a test's.
pub type Environment = HashMap<String, String>;

/// A setting and where it was read, for error lines.
struct Given<'a> {
    /// `-flag` or `VARIABLE`.
    name: &'static str,
    text: &'a str,
}

/// The variable if it is set and not empty (appliances set all they know, many of them empty), else the flag.
fn given<'a>(
    flag_name: &'static str,
    flag: Option<&'a String>,
    environment: &'a Environment,
    variable: &'static str,
) -> Option<Given<'a>> {
    let from_environment = environment.get(variable).filter(|text| !text.is_empty());
    from_environment
        .map(|text| Given { name: variable, text })
        .or_else(|| flag.map(|text| Given { name: flag_name, text }))
}

/// A number within bounds, or the default when the flag is absent.
fn number<T>(
    name: &'static str,
    flag: Option<&String>,
    default: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, SettingsError>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = flag else { return Ok(default) };
    match text.trim().parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(SettingsError::wrong(name, text, format!("give a number from {} to {}", range.start(), range.end()))),
    }
}

/// True or false, or the default when the flag is absent.
fn boolean(name: &'static str, flag: Option<&String>, default: bool) -> Result<bool, SettingsError> {
    match flag.map(String::as_str) {
        None => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(SettingsError::wrong(name, other, "give true or false")),
    }
}

/// The chain and where it is kept: all that `p2pool export` needs.
#[derive(Debug)]
pub struct ChainSettings {
    /// The chain this node is on.
    pub params: ChainParams,
    /// This chain's own folder.
    pub chain_dir: PathBuf,
    /// What to log.
    pub log_level: LevelFilter,
}

/// Resolves what says which chain this is and where it is kept.
///
/// # Errors
/// Says in one line which setting is wrong and what would be right.
pub fn resolve_chain(flags: &Flags, environment: &Environment) -> Result<ChainSettings, SettingsError> {
    let params = chain::resolve(flags)?;
    let data_dir = match given("-data-dir", flags.data_dir.as_ref(), environment, "P2POOL_DATA_DIR") {
        None => PathBuf::from(DATA_DIR_DEFAULT),
        Some(Given { name, text: "" }) => return Err(SettingsError::wrong(name, "", "name a folder, or leave it out")),
        Some(data_dir) => PathBuf::from(data_dir.text),
    };
    let chain_dir = data_dir.join(format!("{}-{}", params.network, params.chain_id().prefix()));
    Ok(ChainSettings { params, chain_dir, log_level: log_level(flags, environment)? })
}

/// Resolves everything.
///
/// `exists` says whether there is a file at a path; it serves to find bitcoind's cookie.
///
/// # Errors
/// Says in one line which setting is wrong, or which two contradict each other, and what would be right.
pub fn resolve(
    flags: &Flags,
    environment: &Environment,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<Config, SettingsError> {
    let ChainSettings { params, chain_dir, log_level } = resolve_chain(flags, environment)?;
    let (payout_address, payout_script) = payout::resolve(flags, environment, params.network)?;
    let is_for_everybody = params == ChainParams::standard(params.network);
    let built_in = if is_for_everybody { nodes::built_in(params.network) } else { &[] };
    let config = Config {
        coinbase_tag: coinbase_tag(flags)?,
        rpc: rpc::resolve(flags, environment, params.network, exists)?,
        stratum: StratumConfig {
            port: number("-stratum-port", flags.stratum_port.as_ref(), STRATUM_PORT_DEFAULT, 0..=u16::MAX)?,
            start_difficulty: number(
                "-start-difficulty",
                flags.start_difficulty.as_ref(),
                START_DIFFICULTY_DEFAULT,
                START_DIFFICULTY_RANGE,
            )?,
            sessions_max: number("-max-sessions", flags.max_sessions.as_ref(), SESSIONS_DEFAULT, 1..=SESSIONS_MAX)?,
        },
        web: WebConfig { host_names: web::host_names(flags)? },
        p2p: P2pConfig {
            port: number("-p2p-port", flags.p2p_port.as_ref(), P2P_PORT_DEFAULT, 0..=u16::MAX)?,
            bootnodes: nodes::bootnodes(flags, environment, built_in)?,
            mdns: boolean("-mdns", flags.mdns.as_ref(), true)?,
            dht_server: boolean("-dht-server", flags.dht_server.as_ref(), false)?,
        },
        params,
        payout_script,
        payout_address,
        chain_dir,
        log_level,
    };
    refuse_shared_ports(&config)?;
    Ok(config)
}

fn coinbase_tag(flags: &Flags) -> Result<CoinbaseTag, SettingsError> {
    let text = flags.coinbase_tag.as_deref().unwrap_or_default();
    CoinbaseTag::new(text.as_bytes()).map_err(|error| SettingsError::wrong("-coinbase-tag", text, error.to_string()))
}

fn log_level(flags: &Flags, environment: &Environment) -> Result<LevelFilter, SettingsError> {
    let Some(Given { name, text }) = given("-log-level", flags.log_level.as_ref(), environment, "LOG_LEVEL") else {
        return Ok(LevelFilter::Info);
    };
    match text.parse() {
        Ok(LevelFilter::Off) | Err(_) => {
            Err(SettingsError::wrong(name, text, "give error, warn, info, debug or trace"))
        }
        Ok(level) => Ok(level),
    }
}

/// Two listeners cannot have one port, and bitcoind on this machine has its own.
fn refuse_shared_ports(config: &Config) -> Result<(), SettingsError> {
    let stratum = config.stratum.port;
    if stratum != 0 && stratum == config.p2p.port {
        return Err(SettingsError::SamePort { one: "-stratum-port", other: "-p2p-port", port: stratum });
    }
    if rpc::is_this_machine(&config.rpc.host) {
        for (name, port) in [("-stratum-port", stratum), ("-p2p-port", config.p2p.port)] {
            if port == config.rpc.port {
                return Err(SettingsError::SamePort { one: name, other: "bitcoind's -rpc-port", port });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
