//! Host, port and credentials of bitcoind.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use p2pool_core::config::RpcAuth;
use p2pool_core::params::Network;

use super::error::is_quoted;
use super::{number, SettingsError};
use crate::args::Flags;

/// Default of `-rpc-host`.
const RPC_HOST_DEFAULT: &str = "127.0.0.1";
/// Longest host name in bytes (RFC 1035).
const HOST_LEN_MAX: usize = 253;
/// Data directories of bitcoind in packages and appliances, besides `~/.bitcoin`: bitcoind's own service unit, Debian,
/// a user `bitcoin`, Umbrel, myNode, RaspiBolt.
const BITCOIN_DIRS: [&str; 6] = [
    "/var/lib/bitcoind",
    "/var/lib/bitcoin",
    "/home/bitcoin/.bitcoin",
    "/home/umbrel/umbrel/app-data/bitcoin/data/bitcoin",
    "/mnt/hdd/mynode/bitcoin",
    "/data/bitcoin",
];

/// Default of bitcoind's RPC port.
const fn port_default(network: Network) -> u16 {
    match network {
        Network::Mainnet => 8332,
        Network::Testnet3 => 18332,
        Network::Testnet4 => 48332,
        Network::Signet => 38332,
        Network::Regtest => 18443,
    }
}

/// Subdirectory of bitcoind's data directory for a network; the same for all signets.
const fn network_dir(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "",
        other => other.name(),
    }
}

/// Returns bitcoind's RPC port.
pub fn port(flags: &Flags, network: Network) -> Result<u16, SettingsError> {
    number("-rpc-port", &flags.rpc_port, port_default(network), 1..=u16::MAX)
}

/// Returns bitcoind's host: a name or an address, IPv6 without brackets. Errors distinguish scheme, port and path because
/// these mistakes are common.
pub fn host(flags: &Flags) -> Result<String, SettingsError> {
    let text = flags.rpc_host.as_deref().unwrap_or(RPC_HOST_DEFAULT).trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let hint = if text.contains('/') {
        "give a host name or address alone, without http:// or path"
    } else if text.contains(':') {
        "the port goes into -rpc-port"
    } else if text.is_empty() || text.len() > HOST_LEN_MAX || !text.bytes().all(allowed) {
        "give a host name or address, as 127.0.0.1"
    } else {
        return Ok(text.to_owned());
    };
    Err(SettingsError::wrong("-rpc-host", text, hint))
}

/// Returns whether a host is certainly this machine.
pub fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns bitcoind's credentials: user and password if they are given, else cookie files.
pub fn auth(
    flags: &Flags,
    home: Option<&Path>,
    network: Network,
    host: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<RpcAuth, SettingsError> {
    match (flags.rpc_user.as_deref(), flags.rpc_password.as_deref()) {
        (None, None) => cookie(flags, home, network, host, exists),
        (Some(_), None) => Err(SettingsError::HalfCredentials { given: "-rpc-user", missing: "-rpc-password" }),
        (None, Some(_)) => Err(SettingsError::HalfCredentials { given: "-rpc-password", missing: "-rpc-user" }),
        (_, Some(_)) if flags.rpc_cookie_file.is_some() => Err(SettingsError::PasswordAndCookie),
        (_, Some("")) => Err(SettingsError::EmptyPassword),
        (Some(user), Some(_)) if user.is_empty() || user.contains(':') || is_quoted(user) => {
            // After a colon may be the password.
            let shown = user.split_inclusive(':').next().unwrap_or_default();
            Err(SettingsError::wrong("-rpc-user", shown, "give a name without a colon"))
        }
        (Some(user), Some(password)) => {
            Ok(RpcAuth::UserPassword { user: user.to_owned(), password: password.to_owned() })
        }
    }
}

/// Returns the cookie file given, else all usual places, because bitcoind may be started after this node. A bitcoind on
/// another machine leaves no cookie here, unless it shares a volume, and then the cookie exists already.
fn cookie(
    flags: &Flags,
    home: Option<&Path>,
    network: Network,
    host: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<RpcAuth, SettingsError> {
    match flags.rpc_cookie_file.as_deref() {
        Some("") => {
            let hint = "name a file, or leave it out to search the usual places";
            return Err(SettingsError::wrong("-rpc-cookie-file", "", hint));
        }
        Some(file) => return Ok(RpcAuth::CookieFiles(vec![PathBuf::from(file)])),
        None => {}
    }
    let dirs = home.map(|home| home.join(".bitcoin")).into_iter().chain(BITCOIN_DIRS.iter().map(PathBuf::from));
    let files: Vec<PathBuf> = dirs.map(|dir| cookie_in(&dir, network)).collect();
    if is_this_machine(host) || files.iter().any(|path| exists(path)) {
        Ok(RpcAuth::CookieFiles(files))
    } else {
        Err(SettingsError::NoCredentials { host: host.to_owned() })
    }
}

fn cookie_in(bitcoin_dir: &Path, network: Network) -> PathBuf {
    bitcoin_dir.join(network_dir(network)).join(".cookie")
}
