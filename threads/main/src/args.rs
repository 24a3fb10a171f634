//! The flags, each of which can also be given by an environment variable and in the settings file.
//!
//! [`Flags`] is the one source of names and descriptions: help, man page, completions, the example of a settings file and the
//! table of the guide are made from it (`reference.rs`).

mod command_line;
mod help;
#[cfg(test)]
mod reference;

use std::borrow::Cow;

use argh::{ArgsInfo, FlagInfoKind, FromArgs};

pub use command_line::{parse, Command, Given, Instruction, InstructionKind, Question};

/// Version and commit of the program.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("P2POOL_COMMIT"), ")");

/// Environment variables with names of their own, and their flags. The variable of any other flag is `P2POOL_`, then the flag
/// in capitals.
const VARIABLES: [(&str, &str); 5] = [
    ("PAYOUT_ADDRESS", "address"),
    ("BITCOIN_RPC_HOST", "rpc-host"),
    ("BITCOIN_RPC_USER", "rpc-user"),
    ("BITCOIN_RPC_PASSWORD", "rpc-password"),
    ("LOG_LEVEL", "log-level"),
];
/// Start of the names of the other variables.
pub const VARIABLE_PREFIX: &str = "P2POOL_";

/// Flags that belong together.
#[derive(Debug)]
pub struct Group {
    pub name: &'static str,
    pub about: &'static str,
    /// The first flag; the group ends where the next begins.
    first: &'static str,
}

/// All groups, in the order of [`Flags`].
pub const GROUPS: [Group; 8] = [
    Group { name: "miners", about: "who is paid, and how miners connect", first: "address" },
    Group { name: "bitcoind", about: "the Bitcoin network and node", first: "network" },
    Group { name: "network", about: "how other nodes reach this one", first: "p2p-port" },
    Group { name: "tor", about: "peers through a proxy", first: "proxy" },
    Group { name: "peers", about: "which nodes this one connects to", first: "bootnodes" },
    Group { name: "web", about: "dashboard, API and metrics", first: "web-bind" },
    Group { name: "files", about: "settings, data and log", first: "config" },
    Group { name: "testing", about: "for tests on regtest and custom signets", first: "share-period" },
];

/// A node of a decentralised Bitcoin mining pool.
#[derive(FromArgs, ArgsInfo, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// payout address of this node's miners: any standard address of the network (required)
    #[argh(option, arg_name = "address")]
    pub address: Option<String>,
    /// TCP port for miners and browsers (default 3333; 0 takes a free one)
    #[argh(option, arg_name = "port")]
    pub stratum_port: Option<String>,
    /// IP address to listen on for miners (default: all addresses)
    #[argh(option, arg_name = "address")]
    pub stratum_bind: Option<String>,
    /// difficulty a new miner starts with (default 100000)
    #[argh(option, arg_name = "number")]
    pub start_difficulty: Option<String>,
    /// most miners connected at once (default 1000)
    #[argh(option, arg_name = "count")]
    pub max_sessions: Option<String>,
    /// seconds without valid work after which miners are disconnected and refused, so that they use their backup pools, 0 or 45
    /// to 86400; 0 means never (default 90)
    #[argh(option, arg_name = "seconds")]
    pub no_work_timeout: Option<String>,
    /// text in the coinbase of blocks found by this node, at most 20 ASCII characters (default none)
    #[argh(option, arg_name = "text")]
    pub coinbase_tag: Option<String>,
    /// payouts per block that this node votes for: 48, 146, 366 or 1000 (default: what its miners' firmware supports)
    #[argh(option, arg_name = "count")]
    pub coinbase_outputs: Option<String>,
    /// bitcoin network: mainnet, testnet3, testnet4, signet or regtest (default mainnet)
    #[argh(option, arg_name = "name")]
    pub network: Option<String>,
    /// host name or address of bitcoind (default 127.0.0.1)
    #[argh(option, arg_name = "host")]
    pub rpc_host: Option<String>,
    /// RPC port of bitcoind (default per network: 8332, 18332, 48332, 38332, 18443)
    #[argh(option, arg_name = "port")]
    pub rpc_port: Option<String>,
    /// RPC user of bitcoind, with a password; without both the cookie is used
    #[argh(option, arg_name = "name")]
    pub rpc_user: Option<String>,
    /// RPC password of bitcoind; prefer BITCOIN_RPC_PASSWORD, because other users can see command lines
    #[argh(option, arg_name = "password")]
    pub rpc_password: Option<String>,
    /// cookie file of bitcoind (default: search the usual places)
    #[argh(option, arg_name = "file")]
    pub rpc_cookie_file: Option<String>,
    /// block challenge of a custom signet in hex, 51 for one that needs no signature (default: the public signet's)
    #[argh(option, arg_name = "hex")]
    pub signet_challenge: Option<String>,
    /// TCP port for peers (default 9171)
    #[argh(option, arg_name = "port")]
    pub p2p_port: Option<String>,
    /// addresses to listen on for peers, separated by commas, each IP or IP:PORT (default all, IPv4 and IPv6, with -p2p-port;
    /// 127.0.0.1 with -proxy)
    #[argh(option, arg_name = "list")]
    pub p2p_bind: Option<String>,
    /// accept no connections of peers (default false)
    #[argh(option, arg_name = "true|false")]
    pub no_listen: Option<String>,
    /// addresses at which peers reach this node, separated by commas, each IP or IP:PORT (default: found out)
    #[argh(option, arg_name = "list")]
    pub external_address: Option<String>,
    /// ask the router for a port by UPnP (default true, false with -proxy and on regtest)
    #[argh(option, arg_name = "true|false")]
    pub upnp: Option<String>,
    /// SOCKS5 proxy, HOST:PORT, for all connections to peers, and for names; for Tor 127.0.0.1:9050 (default none)
    #[argh(option, arg_name = "address")]
    pub proxy: Option<String>,
    /// the only kind of peers' addresses to dial through the proxy: ip or onion (default both)
    #[argh(option, arg_name = "kind")]
    pub onlynet: Option<String>,
    /// address of the hidden service that leads to this node's port for peers, NAME.onion or NAME.onion:PORT (default none)
    #[argh(option, arg_name = "address")]
    pub onion_address: Option<String>,
    /// peers to start from besides the built-in ones, separated by commas, each /ip4/.../tcp/.../p2p/...; none at all if empty
    #[argh(option, arg_name = "list")]
    pub bootnodes: Option<String>,
    /// peers to stay connected to, separated by commas, each HOST:PORT; never banned (default none)
    #[argh(option, arg_name = "list")]
    pub add_peer: Option<String>,
    /// look for peers on the local network (default true, false with -proxy)
    #[argh(option, arg_name = "true|false")]
    pub mdns: Option<String>,
    /// serve DHT queries and relay for others even if this node is not known to be reachable (default false)
    #[argh(option, arg_name = "true|false")]
    pub dht_server: Option<String>,
    /// most peers that connect to this node, 0 to 80 (default 80)
    #[argh(option, arg_name = "count")]
    pub max_inbound: Option<String>,
    /// peers that this node connects to by itself, 0 to 40 (default 10); bootnodes, added peers and the local network count, and are
    /// dialled beyond it
    #[argh(option, arg_name = "count")]
    pub max_outbound: Option<String>,
    /// upload of responses to peers on the Internet in Mbit/s, 1 to 10000 (default 5)
    #[argh(option, arg_name = "number")]
    pub max_upload: Option<String>,
    /// chain: main, mini for small miners, or the name of a private pool; only nodes with the same name connect to each other (default main)
    #[argh(option, arg_name = "name")]
    pub chain_name: Option<String>,
    /// address and port of the dashboard, as 127.0.0.1:8080, or off (default: the miners' port)
    #[argh(option, arg_name = "address:port")]
    pub web_bind: Option<String>,
    /// host names, separated by commas, that browsers may use besides this machine's IP addresses and own name
    /// (default none)
    #[argh(option, arg_name = "list")]
    pub web_hosts: Option<String>,
    /// settings file (default: p2pool.toml in the data directory, else /etc/p2pool/p2pool.toml)
    #[argh(option, arg_name = "file")]
    pub config: Option<String>,
    /// data directory, with one subdirectory per sharechain (default .p2pool)
    #[argh(option, arg_name = "directory")]
    pub data_dir: Option<String>,
    /// log level: error, warn, info, debug or trace (default info)
    #[argh(option, arg_name = "level")]
    pub log_level: Option<String>,
    /// print name, version and commit, and exit
    #[argh(switch)]
    pub version: bool,
    /// seconds between shares, 1 to 30, for tests on regtest and custom signets (default 30)
    #[argh(option, arg_name = "seconds")]
    pub share_period: Option<String>,
    /// shares in the payout window, 1 to 8640, for tests on regtest and custom signets (default 8640)
    #[argh(option, arg_name = "shares")]
    pub payout_window: Option<String>,
    /// shares in the difficulty window, 6 to 72, for tests on regtest and custom signets (default 72)
    #[argh(option, arg_name = "shares")]
    pub retarget_window: Option<String>,
    /// block height from which version 255 of the rules may begin, for tests on regtest and custom signets (default none)
    #[argh(option, arg_name = "height")]
    pub activation_height: Option<String>,
    /// newest version of the rules that this node knows, 2 or 255, for tests on regtest and custom signets (default 255 with
    /// -activation-height, 2 without)
    #[argh(option, arg_name = "version")]
    pub rules_version: Option<String>,
}

/// Returns the values as [`Flags`].
pub fn flags_of(values: &Given) -> Flags {
    let words: Vec<String> = values.iter().flat_map(|(flag, value)| [format!("--{flag}"), value.clone()]).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Flags::from_args(&["p2pool"], &words).expect("the names are those of the fields, and each has a value")
}

/// What is known of one flag.
#[derive(Clone, Copy, Debug)]
pub struct FlagInfo {
    /// Name without dash.
    pub name: &'static str,
    /// Placeholder of its value; `None` if it takes none.
    pub value: Option<&'static str>,
    /// What it means.
    pub about: &'static str,
}

impl FlagInfo {
    /// Returns whether its value is true or false.
    fn is_boolean(self) -> bool {
        self.value == Some("true|false")
    }

    /// Returns the name of its environment variable.
    pub fn variable(self) -> Cow<'static, str> {
        match VARIABLES.iter().find(|(_, flag)| *flag == self.name) {
            Some((variable, _)) => Cow::Borrowed(variable),
            None => Cow::Owned(self.prefixed_variable()),
        }
    }

    /// Returns the name that its environment variable has by the rule, which is understood even if it has one of its own.
    pub fn prefixed_variable(self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Returns the settings: all flags that take a value.
pub fn settings() -> impl Iterator<Item = FlagInfo> {
    all().filter(|flag| flag.value.is_some())
}

/// Returns all flags but `-help` in the order of the help.
pub fn all() -> impl Iterator<Item = FlagInfo> {
    Flags::get_args_info().flags.iter().filter(|flag| flag.long != "--help").map(|flag| FlagInfo {
        name: flag.long.trim_start_matches('-'),
        value: match flag.kind {
            FlagInfoKind::Switch => None,
            FlagInfoKind::Option { arg_name } => Some(arg_name),
        },
        about: flag.description,
    })
}

/// Returns the flag of this name.
pub fn find(name: &str) -> Option<FlagInfo> {
    all().find(|flag| flag.name == name)
}

/// Returns the name that is most similar to `given`.
pub fn nearest<N: AsRef<str>>(given: &str, names: impl Iterator<Item = N>) -> Option<N> {
    names.min_by_key(|name| strsim::damerau_levenshtein(given, name.as_ref()))
}

impl Group {
    /// Returns its flags.
    pub fn flags(&self) -> Vec<FlagInfo> {
        let starts_other =
            |flag: &FlagInfo| GROUPS.iter().any(|group| group.first == flag.name && group.name != self.name);
        all().skip_while(|flag| flag.name != self.first).take_while(|flag| !starts_other(flag)).collect()
    }
}
