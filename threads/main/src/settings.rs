//! Resolves what was given ([`sources`]) to a checked [`Config`]. Pure: files are read and looked up by function arguments.

mod bootnodes;
mod chain;
mod error;
mod file;
mod listeners;
mod network;
mod payout;
mod rpc;
mod sources;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use log::LevelFilter;
use p2pool_core::config::{Config, WebBind};
use p2pool_core::params::ChainParams;
use p2pool_core::share::CoinbaseTag;
use p2pool_core::work::NoWorkTimeout;

use crate::args::Flags;
pub use error::SettingsError;
pub use file::read as read_file;
#[cfg(test)]
pub use file::{parse as parse_file, Content};
pub use network::peer_multiaddr;
pub use sources::{merge, Environment, Sources};

/// Default of `-start-difficulty`: a 1.2 TH/s miner submits once in 6 minutes, until vardiff adjusts it.
const START_DIFFICULTY_DEFAULT: f64 = 100_000.0;
/// Range of `-start-difficulty`: from vardiff's minimum to far more than any miner needs.
const START_DIFFICULTY_RANGE: RangeInclusive<f64> = 0.00001..=1e12;
/// Default of `-max-sessions`.
const SESSIONS_DEFAULT: usize = 1_000;
/// Maximum of `-max-sessions`, set by the memory of a small computer. The four bytes of extranonce per session and the
/// file descriptors of a process allow more.
const SESSIONS_MAX: usize = 20_000;
/// Default and maximum of `-max-inbound`. The network thread leaves twenty of its hundred connections to outbound ones.
const INBOUND_MAX: usize = 80;
/// Default of `-max-outbound`: ten as in bitcoind, two of them unlisted.
const OUTBOUND_DEFAULT: usize = 10;
/// Maximum of `-max-outbound`: inbound slots of other nodes are scarce.
const OUTBOUND_MAX: usize = 40;
/// Default of `-max-upload`: half of a slow home line's upload.
const MAX_UPLOAD_DEFAULT_MBIT: u64 = 5;
/// Range of `-max-upload`.
const MAX_UPLOAD_RANGE_MBIT: RangeInclusive<u64> = 1..=10_000;
const BYTES_PER_MBIT: u64 = 125_000;
/// Default of `-no-work-timeout`: longer than an ordinary restart of bitcoind.
const NO_WORK_TIMEOUT_DEFAULT_S: u32 = 90;
/// Range of `-no-work-timeout` besides 0. On a quiet chain bitcoind confirms its template after 30 s, or 40 s if the first
/// request fails.
const NO_WORK_TIMEOUT_RANGE_S: RangeInclusive<u32> = 45..=86_400;
/// Default of `-p2p-port`.
const P2P_PORT_DEFAULT: u16 = 9171;
/// Default of `-data-dir`.
const DATA_DIR_DEFAULT: &str = ".p2pool";

/// Settings of a node.
#[derive(Debug)]
pub struct Settings {
    /// Settings of the threads.
    pub config: Config,
    /// Log level of this program's own crates.
    pub log_level: LevelFilter,
}

/// Settings of the commands that need only the sharechain's place.
#[derive(Debug)]
pub struct ExportSettings {
    /// Parameters of the sharechain.
    pub params: ChainParams,
    /// Data directory of this sharechain.
    pub chain_dir: PathBuf,
    /// Log level of this program's own crates.
    pub log_level: LevelFilter,
}

/// Returns a number within a range, or the default if the flag is absent.
fn number<T>(
    flag: &'static str,
    value: &Option<String>,
    default: T,
    range: RangeInclusive<T>,
) -> Result<T, SettingsError>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = value else { return Ok(default) };
    match text.trim().parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(SettingsError::wrong(flag, text, format!("give a number from {} to {}", range.start(), range.end()))),
    }
}

/// Returns true or false, or the default if the flag is absent.
fn boolean(flag: &'static str, value: &Option<String>, default: bool) -> Result<bool, SettingsError> {
    match value.as_deref() {
        None => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(SettingsError::wrong(flag, other, "give true or false")),
    }
}

/// Resolves the settings that `p2pool export` and the questions to a running node need.
///
/// # Errors
/// Says in one line which setting is wrong and what would be right.
pub fn resolve_export(flags: &Flags) -> Result<ExportSettings, SettingsError> {
    let params = chain::resolve(flags)?;
    let data_dir = flags.data_dir.as_deref().unwrap_or(DATA_DIR_DEFAULT);
    if data_dir.is_empty() {
        return Err(SettingsError::wrong("-data-dir", "", "name a directory, or leave it out"));
    }
    let chain_dir = Path::new(data_dir).join(format!("{}-{}", params.network, params.chain_id().prefix()));
    Ok(ExportSettings { params, chain_dir, log_level: log_level(flags)? })
}

/// Resolves the settings of a node. The user's home directory, and `exists`, which says whether a file exists at a path, serve
/// to find bitcoind's cookie.
///
/// # Errors
/// Says in one line which setting is wrong, or which two contradict each other, and what would be right.
pub fn resolve(flags: &Flags, home: Option<&Path>, exists: &dyn Fn(&Path) -> bool) -> Result<Settings, SettingsError> {
    let ExportSettings { params, chain_dir, log_level } = resolve_export(flags)?;
    let (payout_address, payout_script) = payout::resolve(flags, params.network)?;
    let is_public_pool = params == ChainParams::standard(params.network);
    let built_in = if is_public_pool { bootnodes::built_in(params.network) } else { Vec::new() };
    let rpc_host = rpc::host(flags)?;
    let listeners = listeners::resolve(flags)?;
    let p2p_port = number("-p2p-port", &flags.p2p_port, P2P_PORT_DEFAULT, 0..=u16::MAX)?;
    let network = network::resolve(flags, p2p_port, params.network)?;
    let config = Config {
        payout_script,
        payout_address,
        coinbase_tag: coinbase_tag(flags)?,
        outputs_vote: outputs_vote(flags, &params)?,
        rpc_port: rpc::port(flags, params.network)?,
        rpc_auth: rpc::auth(flags, home, params.network, &rpc_host, exists)?,
        rpc_host,
        stratum_bind: listeners.stratum_bind,
        stratum_port: listeners.stratum_port,
        start_difficulty: number(
            "-start-difficulty",
            &flags.start_difficulty,
            START_DIFFICULTY_DEFAULT,
            START_DIFFICULTY_RANGE,
        )?,
        max_sessions: number("-max-sessions", &flags.max_sessions, SESSIONS_DEFAULT, 1..=SESSIONS_MAX)?,
        no_work_timeout: no_work_timeout(flags)?,
        web_bind: listeners.web_bind,
        web_hosts: listeners::web_hosts(flags)?,
        p2p_port,
        p2p_bind: network.bind,
        external_addresses: network.external,
        added_peers: network.added_peers,
        proxy: network.proxy,
        bootnodes: bootnodes::resolve(flags, &built_in)?,
        mdns: network.mdns,
        upnp: network.upnp,
        dht_server: boolean("-dht-server", &flags.dht_server, false)?,
        max_inbound: number("-max-inbound", &flags.max_inbound, INBOUND_MAX, 0..=INBOUND_MAX)?,
        max_outbound: number("-max-outbound", &flags.max_outbound, OUTBOUND_DEFAULT, 0..=OUTBOUND_MAX)?,
        max_upload_per_s: BYTES_PER_MBIT
            * number("-max-upload", &flags.max_upload, MAX_UPLOAD_DEFAULT_MBIT, MAX_UPLOAD_RANGE_MBIT)?,
        params,
        chain_dir,
    };
    check_ports(&config)?;
    Ok(Settings { config, log_level })
}

/// Returns how long miners may be without work.
fn no_work_timeout(flags: &Flags) -> Result<NoWorkTimeout, SettingsError> {
    let Some(text) = &flags.no_work_timeout else { return Ok(NoWorkTimeout::from_s(NO_WORK_TIMEOUT_DEFAULT_S)) };
    let range = NO_WORK_TIMEOUT_RANGE_S;
    match text.trim().parse() {
        Ok(seconds) if seconds == 0 || range.contains(&seconds) => Ok(NoWorkTimeout::from_s(seconds)),
        _ => {
            let hint = format!("give seconds from {} to {}, or 0 for never", range.start(), range.end());
            Err(SettingsError::wrong("-no-work-timeout", text, hint))
        }
    }
}

fn coinbase_tag(flags: &Flags) -> Result<CoinbaseTag, SettingsError> {
    let text = flags.coinbase_tag.as_deref().unwrap_or_default();
    CoinbaseTag::new(text.as_bytes()).map_err(|error| SettingsError::wrong("-coinbase-tag", text, error.to_string()))
}

/// Returns the class of payout outputs that the operator chose.
fn outputs_vote(flags: &Flags, params: &ChainParams) -> Result<Option<u8>, SettingsError> {
    let Some(text) = &flags.coinbase_outputs else { return Ok(None) };
    let outputs: Option<u32> = text.trim().parse().ok();
    let class = params.payout_outputs.iter().zip(0..).find(|(max, _)| Some(**max) == outputs);
    class.map(|(_, class)| Some(class)).ok_or_else(|| {
        let hint = "give 48, 146, 366 or 1000, or leave it out to follow the firmware of your miners";
        SettingsError::wrong("-coinbase-outputs", text, hint)
    })
}

fn log_level(flags: &Flags) -> Result<LevelFilter, SettingsError> {
    let Some(text) = &flags.log_level else { return Ok(LevelFilter::Info) };
    match text.parse() {
        Ok(LevelFilter::Off) | Err(_) => {
            Err(SettingsError::wrong("-log-level", text, "give error, warn, info, debug or trace"))
        }
        Ok(level) => Ok(level),
    }
}

/// Checks that no port is used twice, neither by two listeners nor by one and a bitcoind on this machine.
fn check_ports(config: &Config) -> Result<(), SettingsError> {
    let stratum = config.stratum_port;
    if stratum != 0 && stratum == config.p2p_port {
        return Err(SettingsError::SamePort { one: "-stratum-port", other: "-p2p-port", port: stratum });
    }
    let web = match config.web_bind {
        WebBind::Own(address) => address.port(),
        WebBind::MinersPort | WebBind::Off => 0,
    };
    if web != 0 && web == config.p2p_port {
        return Err(SettingsError::SamePort { one: "-web-bind", other: "-p2p-port", port: web });
    }
    if rpc::is_this_machine(&config.rpc_host) {
        for (name, port) in [("-stratum-port", stratum), ("-web-bind", web), ("-p2p-port", config.p2p_port)] {
            if port == config.rpc_port {
                return Err(SettingsError::SamePort { one: name, other: "bitcoind's -rpc-port", port });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
