//! Settings of a node, resolved and checked once at start.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::params::ChainParams;
use crate::share::{CoinbaseTag, PayoutScript};
use crate::work::NoWorkTimeout;

/// All settings of a node. Each thread is opened with all of them and reads what it needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Parameters of the sharechain.
    pub params: ChainParams,
    /// Script that blocks pay this node's miners to.
    pub payout_script: PayoutScript,
    /// Address of `payout_script`, as the operator wrote it.
    pub payout_address: String,
    /// Operator's text in the coinbase of blocks found by this node.
    pub coinbase_tag: CoinbaseTag,
    /// The class of payout outputs that shares of this node vote for; `None` for what its miners' firmware bears.
    pub outputs_vote: Option<u8>,
    /// Host name or IP address of bitcoind.
    pub rpc_host: String,
    /// RPC port of bitcoind.
    pub rpc_port: u16,
    /// Credentials for bitcoind.
    pub rpc_auth: RpcAuth,
    /// IP address to listen on for miners; `None` for all.
    pub stratum_bind: Option<IpAddr>,
    /// TCP port for miners; 0 lets the system choose.
    pub stratum_port: u16,
    /// Difficulty that a new session starts with.
    pub start_difficulty: f64,
    /// Most miners connected at once.
    pub max_sessions: usize,
    /// How long miners may be without valid work before they are disconnected.
    pub no_work_timeout: NoWorkTimeout,
    /// Where browsers connect.
    pub web_bind: WebBind,
    /// Host names that browsers may use besides IP addresses, `localhost` and the machine's own name.
    pub web_hosts: Vec<String>,
    /// TCP port for peers, on all addresses; 0 lets the system choose.
    pub p2p_port: u16,
    /// Where to listen for peers: `None` for all addresses and `p2p_port`, an empty list for nowhere.
    pub p2p_bind: Option<Vec<SocketAddr>>,
    /// Addresses at which peers reach this node, as multiaddrs without a peer id.
    pub external_addresses: Vec<String>,
    /// Peers to stay connected to, as multiaddrs without a peer id.
    pub added_peers: Vec<String>,
    /// SOCKS5 proxy through which peers are dialled, and nothing beside it.
    pub proxy: Option<Proxy>,
    /// Peers to start from, as multiaddrs that end in `/p2p/<peer id>`.
    pub bootnodes: Vec<String>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether to ask the router for a port by UPnP.
    pub upnp: bool,
    /// Whether to serve DHT queries even if this node is not known to be reachable.
    pub dht_server: bool,
    /// Most peers that may have connected to this node; at most as many as the network thread allows.
    pub max_inbound: usize,
    /// Connections that this node makes by itself, beside those to bootnodes and to peers on the local network.
    pub max_outbound: usize,
    /// Bytes per second of responses to peers on the Internet, after a burst.
    pub max_upload_per_s: u64,
    /// Data directory of this sharechain: store, found blocks, identity, history.
    pub chain_dir: PathBuf,
}

/// Where the dashboard, the API and the metrics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebBind {
    /// On the miners' port.
    MinersPort,
    /// On an address and port of its own; port 0 lets the system choose.
    Own(SocketAddr),
    /// Nowhere.
    Off,
}

/// A SOCKS5 proxy, such as Tor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`.
    pub address: String,
    /// The only kind of addresses that is dialled; `None` for both.
    pub only: Option<AddressKind>,
}

/// Kinds of addresses of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// IP addresses, and names that stand for them.
    Ip,
    /// Tor's hidden services.
    Onion,
}

/// Credentials for bitcoind.
#[derive(Clone)]
pub enum RpcAuth {
    /// Files in which bitcoind may leave its cookie. bitcoind writes a new cookie at each start, so they are read again
    /// whenever it rejects the last one.
    CookieFiles(Vec<PathBuf>),
    /// User name and password; the password is never logged.
    UserPassword { user: String, password: String },
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
