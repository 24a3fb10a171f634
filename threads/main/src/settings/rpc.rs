//! How to reach bitcoind.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use p2pool_core::config::{RpcAuth, RpcConfig};
use p2pool_core::params::Network;

use super::{given, number, Environment, Given, SettingsError};
use crate::args::Flags;

/// `-rpc-host` unless given.
const RPC_HOST_DEFAULT: &str = "127.0.0.1";
/// Longest host name (RFC 1035).
const HOST_LEN_MAX: usize = 253;
/// Where packages and appliances keep bitcoind's folder, beside `~/.bitcoin`: its own service unit and Debian's
/// habit, a user `bitcoin`, Umbrel, myNode, RaspiBolt.
const BITCOIN_DIRS: [&str; 6] = [
    "/var/lib/bitcoind",
    "/var/lib/bitcoin",
    "/home/bitcoin/.bitcoin",
    "/home/umbrel/umbrel/app-data/bitcoin/data/bitcoin",
    "/mnt/hdd/mynode/bitcoin",
    "/data/bitcoin",
];

/// bitcoind's RPC port unless told otherwise.
const fn port_default(network: Network) -> u16 {
    match network {
        Network::Mainnet => 8332,
        Network::Testnet3 => 18332,
        Network::Testnet4 => 48332,
        Network::Signet => 38332,
        Network::Regtest => 18443,
    }
}

/// The subfolder bitcoind keeps a network in. All signets share one name, whatever their challenge.
const fn network_dir(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "",
        Network::Testnet3 => "testnet3",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}

/// Host, port and credentials.
pub fn resolve(
    flags: &Flags,
    environment: &Environment,
    network: Network,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<RpcConfig, SettingsError> {
    let host = match given("-rpc-host", flags.rpc_host.as_ref(), environment, "BITCOIN_RPC_HOST") {
        None => RPC_HOST_DEFAULT.to_owned(),
        Some(given) => host(&given)?,
    };
    let port = number("-rpc-port", flags.rpc_port.as_ref(), port_default(network), 1..=u16::MAX)?;
    let auth = match user_and_password(flags, environment)? {
        Some(auth) => auth,
        None => cookie(flags, environment, network, &host, exists)?,
    };
    Ok(RpcConfig { host, port, auth })
}

/// A name or address alone: scheme, port and path are common mistakes and told apart. IPv6 loses its brackets.
fn host(given: &Given<'_>) -> Result<String, SettingsError> {
    let text = given.text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if text.contains('/') {
        return Err(SettingsError::wrong(
            given.name,
            text,
            "give a host name or address alone, without http:// or path",
        ));
    }
    if text.contains(':') {
        return Err(SettingsError::wrong(given.name, text, "the port goes into -rpc-port"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > HOST_LEN_MAX || !text.bytes().all(allowed) {
        return Err(SettingsError::wrong(given.name, text, "give a host name or address, as 127.0.0.1"));
    }
    Ok(text.to_owned())
}

/// Whether a host is certainly this machine.
pub fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Fixed credentials, if any are given.
fn user_and_password(flags: &Flags, environment: &Environment) -> Result<Option<RpcAuth>, SettingsError> {
    let user = given("-rpc-user", flags.rpc_user.as_ref(), environment, "BITCOIN_RPC_USER");
    let password = given("-rpc-password", flags.rpc_password.as_ref(), environment, "BITCOIN_RPC_PASSWORD");
    match (user, password) {
        (None, None) => Ok(None),
        (Some(user), None) => Err(SettingsError::HalfCredentials { given: user.name, missing: "-rpc-password" }),
        (None, Some(password)) => Err(SettingsError::HalfCredentials { given: password.name, missing: "-rpc-user" }),
        (_, Some(password)) if flags.rpc_cookie_file.is_some() => {
            Err(SettingsError::PasswordAndCookie { password: password.name })
        }
        (_, Some(password)) if password.text.is_empty() => Err(SettingsError::EmptyPassword(password.name)),
        (Some(user), Some(_)) if user.text.is_empty() || user.text.contains(':') => {
            Err(SettingsError::wrong(user.name, user.text, "give a name without a colon"))
        }
        (Some(user), Some(password)) => {
            Ok(Some(RpcAuth::UserPassword { user: user.text.to_owned(), password: password.text.to_owned() }))
        }
    }
}

/// The cookie file: the one given, else all the usual places, for bitcoind may be started after this node. But one on
/// another machine writes no cookie here: unless a volume is shared, and then there is one already.
fn cookie(
    flags: &Flags,
    environment: &Environment,
    network: Network,
    host: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<RpcAuth, SettingsError> {
    if let Some(file) = &flags.rpc_cookie_file {
        return if file.is_empty() {
            Err(SettingsError::wrong("-rpc-cookie-file", file, "name a file, or leave it out to have it looked for"))
        } else {
            Ok(RpcAuth::CookieFiles(vec![PathBuf::from(file)]))
        };
    }
    let home = environment.get("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(home).join(".bitcoin"));
    let dirs = home.into_iter().chain(BITCOIN_DIRS.iter().map(PathBuf::from));
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
