//! The settings of a node, resolved and checked once at start, as plain data.

use std::fmt;
use std::path::PathBuf;

use crate::params::ChainParams;
use crate::share::{CoinbaseTag, PayoutScript};

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain this node is on.
    pub params: ChainParams,
    /// Where this node's miners are paid.
    pub payout_script: PayoutScript,
    /// The same as the operator wrote it.
    pub payout_address: String,
    /// The operator's text in coinbases.
    pub coinbase_tag: CoinbaseTag,
    /// How to reach bitcoind.
    pub rpc: RpcConfig,
    /// The port for miners.
    pub stratum: StratumConfig,
    /// The dashboard and API, on the miners' port.
    pub web: WebConfig,
    /// The network of nodes.
    pub p2p: P2pConfig,
    /// This chain's own folder: store, found blocks, identity.
    pub chain_dir: PathBuf,
    /// What to log.
    pub log_level: log::LevelFilter,
}

/// How to reach bitcoind.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who we are to it.
    pub auth: RpcAuth,
}

/// Credentials for bitcoind.
#[derive(Clone)]
pub enum RpcAuth {
    /// Where bitcoind may write them: the first file that can be read counts. Read anew whenever bitcoind refuses the
    /// last ones, for it writes new ones at each start, and may be started long after this node.
    CookieFiles(Vec<PathBuf>),
    /// Fixed.
    UserPassword {
        /// Name.
        user: String,
        /// Never logged.
        password: String,
    },
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CookieFiles(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "cookie file {}", paths.join(" or "))
            }
            Self::UserPassword { user, .. } => write!(f, "user {user}, password hidden"),
        }
    }
}

/// The port for miners.
#[derive(Clone, Debug)]
pub struct StratumConfig {
    /// TCP port, on all addresses.
    pub port: u16,
    /// Difficulty a new session starts with.
    pub start_difficulty: f64,
    /// Sessions at once.
    pub sessions_max: usize,
}

/// The dashboard and API.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Names this node answers to besides IP addresses, `localhost` and the machine's own.
    pub host_names: Vec<String>,
}

/// The network of nodes.
#[derive(Clone, Debug)]
pub struct P2pConfig {
    /// TCP port, on all addresses.
    pub port: u16,
    /// Nodes to start from, as multiaddrs ending in `/p2p/<peer id>`.
    pub bootnodes: Vec<String>,
    /// Whether to look for nodes on the local network.
    pub mdns: bool,
    /// Whether to answer others' questions in the DHT even when not known to be reachable.
    pub dht_server: bool,
}
