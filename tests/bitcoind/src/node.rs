//! Starts, calls and kills one bitcoind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Block, BlockHash};
use serde_json::{json, Value};
use tempfile::TempDir;

use crate::coins::anyone_can_spend_address;
use crate::{bitcoind_exe, wait_for, wait_until, Port, RpcClient, RpcError};

/// Timeout until its RPC server responds. A start takes a second or two, on a busy machine more.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Number of starts, each with other ports, since another process may take one.
const START_ATTEMPTS_MAX: usize = 5;
/// Timeout of everything that needs messages between two nodes.
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
/// Hashes tried for one block: a signet block takes some five million, so this is never reached.
const MINING_TRIES_MAX: i32 = i32::MAX;

/// Which chain a node is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every second hash is a block.
    Regtest,
    /// A signet of its own whose challenge is `OP_TRUE`: no signature needed, about five million hashes a block.
    OpTrueSignet,
}

impl Chain {
    /// bitcoind's name of the chain, also of the folder inside the data directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regtest => "regtest",
            Self::OpTrueSignet => "signet",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Regtest => &["-regtest"],
            Self::OpTrueSignet => &["-signet", "-signetchallenge=51"],
        }
    }
}

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    pub chain: Chain,
    /// Whether it takes connections of other nodes.
    pub listen: bool,
    /// Further arguments, such as `-acceptnonstdtxn=1`.
    pub arguments: Vec<String>,
}

/// A running bitcoind in a data directory of its own; killed and its folder removed when dropped.
#[derive(Debug)]
pub struct Bitcoind {
    options: Options,
    environment: Vec<(String, String)>,
    folder: TempDir,
    rpc_port: Port,
    p2p_port: Port,
    child: Option<Child>,
    client: RpcClient,
}

impl Bitcoind {
    /// Starts a node that accepts only RPC connections.
    pub fn start(chain: Chain) -> Self {
        Self::start_with(Options { chain, listen: false, arguments: Vec::new() })
    }

    /// Starts a node and waits until it responds.
    pub fn start_with(options: Options) -> Self {
        Self::start_in(options, Vec::new())
    }

    /// As [`Self::start_with`], with these environment variables besides the test's.
    pub fn start_in(options: Options, environment: Vec<(String, String)>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("p2pool-bitcoind-")
            .tempdir()
            .unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let client = RpcClient::new(0, PathBuf::new());
        let (rpc_port, p2p_port) = (Port::reserve(), Port::reserve());
        let mut node = Self { options, environment, folder, rpc_port, p2p_port, child: None, client };
        let mut failures = Vec::new();
        for _ in 0..START_ATTEMPTS_MAX {
            node.client = RpcClient::new(node.rpc_port(), node.cookie_file());
            match node.try_launch() {
                Ok(()) => return node,
                Err(failure) => failures.push(failure),
            }
            (node.rpc_port, node.p2p_port) = (Port::reserve(), Port::reserve());
        }
        panic!("bitcoind does not start: {failures:#?}");
    }

    /// Starts the killed node again, with the same ports and data, and waits until it responds.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "this bitcoind is running");
        if let Err(failure) = self.try_launch() {
            panic!("bitcoind does not start again: {failure}");
        }
    }

    /// Further arguments for the next start.
    pub fn arguments_mut(&mut self) -> &mut Vec<String> {
        &mut self.options.arguments
    }

    /// Kills the node without warning (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, so killing may fail. Waiting works either way.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Ends the node in good order (`stop`), so that nothing it knows is lost, and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// Ends the node in good order and waits for its end.
    pub fn stop(&mut self) {
        self.call("stop", json!([]));
        if let Some(mut child) = self.child.take() {
            drop(child.wait());
        }
    }

    /// Has the node write to disk what a kill would make it forget, its newest blocks among it.
    pub fn flush(&self) {
        // Core does so before it counts the coins.
        self.call("gettxoutsetinfo", json!(["none"]));
    }

    /// Calls an RPC method with `params`, a JSON array.
    pub fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.client.call(method, &params)
    }

    /// As [`Self::rpc`], for calls that cannot fail in the test at hand.
    #[track_caller]
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.rpc(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// A client for a thread that outlives a borrow of this node.
    pub fn client(&self) -> RpcClient {
        self.client.clone()
    }

    /// The chain.
    pub fn chain(&self) -> Chain {
        self.options.chain
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The file with the RPC credentials. Each start writes new ones.
    pub fn cookie_file(&self) -> PathBuf {
        self.data_dir().join(self.options.chain.name()).join(".cookie")
    }

    /// The port of its RPC.
    pub fn rpc_port(&self) -> u16 {
        self.rpc_port.number()
    }

    /// The port where it takes connections, if it does.
    pub fn p2p_port(&self) -> u16 {
        self.p2p_port.number()
    }

    /// Mines `count` blocks whose coinbases anyone can spend (see [`anyone_can_spend_address`]).
    #[track_caller]
    pub fn mine(&self, count: u32) -> Vec<BlockHash> {
        let address = anyone_can_spend_address(self.options.chain).to_string();
        let hashes = self.call("generatetoaddress", json!([count, address, MINING_TRIES_MAX]));
        let hashes: Vec<BlockHash> = hashes.as_array().into_iter().flatten().map(parse_hash).collect();
        assert_eq!(hashes.len(), count as usize, "blocks mined");
        hashes
    }

    /// Height of the best block.
    pub fn height(&self) -> u32 {
        let count = self.call("getblockcount", json!([]));
        count.as_u64().and_then(|count| count.try_into().ok()).unwrap_or_else(|| panic!("not a height: {count}"))
    }

    /// Hash of the best block.
    pub fn tip(&self) -> BlockHash {
        parse_hash(&self.call("getbestblockhash", json!([])))
    }

    /// The hash of the best chain's block at `height`.
    pub fn block_hash(&self, height: u32) -> BlockHash {
        parse_hash(&self.call("getblockhash", json!([height])))
    }

    /// A whole block.
    #[track_caller]
    pub fn block(&self, hash: &BlockHash) -> Block {
        let hex = self.call("getblock", json!([hash.to_string(), 0]));
        deserialize_hex(hex.as_str().unwrap_or_default()).unwrap_or_else(|error| panic!("block {hash}: {error}"))
    }

    /// Connects this node to another, which must listen, and waits until each has the other's version.
    pub fn connect_to(&self, other: &Self) {
        let address = format!("127.0.0.1:{}", other.p2p_port());
        self.call("addnode", json!([address, "onetry"]));
        for node in [self, other] {
            wait_until("two bitcoinds to greet each other", PEER_TIMEOUT, || {
                let peers = node.call("getpeerinfo", json!([]));
                peers.as_array().is_some_and(|peers| peers.iter().any(|peer| peer["version"] != 0))
            });
        }
    }

    /// Waits until this node's best block is the other's.
    pub fn sync_with(&self, other: &Self) {
        wait_until("two bitcoinds to agree on the best block", PEER_TIMEOUT, || self.tip() == other.tip());
    }

    /// The last lines that the node wrote to its log.
    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.data_dir().join("output.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn try_launch(&mut self) -> Result<(), String> {
        // A cookie of the last run would be taken for this one's.
        drop(std::fs::remove_file(self.cookie_file()));
        let output = self.data_dir().join("output.log");
        let open = || File::options().create(true).append(true).open(&output);
        let (stdout, stderr) = match (open(), open()) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(error), _) | (_, Err(error)) => return Err(format!("{}: {error}", output.display())),
        };
        let child = Command::new(bitcoind_exe())
            .args(self.options.chain.arguments())
            .arg(format!("-datadir={}", self.data_dir().display()))
            .arg(format!("-rpcport={}", self.rpc_port()))
            .args(match self.options.listen {
                true => vec![format!("-bind=127.0.0.1:{}", self.p2p_port()), "-listenonion=0".to_owned()],
                false => vec!["-listen=0".to_owned()],
            })
            .args(["-server=1", "-printtoconsole=1", "-logtimemicros=1", "-dnsseed=0", "-fixedseeds=0"])
            .args(&self.options.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("{}: {error}", bitcoind_exe().display()))?;
        let child = self.child.insert(child);
        let client = &self.client;
        let ended = wait_for("bitcoind's RPC", START_TIMEOUT, || match child.try_wait() {
            Ok(Some(status)) => Some(Err(status)),
            _ => client.call("getblockcount", &json!([])).ok().map(|_| Ok(())),
        });
        ended.map_err(|status| {
            self.child = None;
            format!("it ended with {status}:\n{}", self.log_tail())
        })
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("bitcoind's folder is kept: {}", self.folder.path().display());
        }
    }
}

/// Parses a block hash of an RPC response.
fn parse_hash(value: &Value) -> BlockHash {
    let hash = value.as_str().and_then(|hex| hex.parse().ok());
    hash.unwrap_or_else(|| panic!("not a block hash: {value}"))
}
