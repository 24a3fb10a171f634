//! A node on a host of its own, with a miner, and what it has used over all its runs.

use std::fmt;
use std::time::{Duration, Instant};

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::internet::Host;
use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::namespaces::{forward_port, ForwardedPort};
use p2pool_test_functional::network::start;
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::{Options, Pool};
use serde_json::Value;

/// Lowest difficulty of sessions, as a password.
const EASIEST: &str = "d=0.00001";
/// Connections that a node needs to count as connected.
const ENOUGH: f64 = 4.0;
/// A node that runs for this long is looked at.
const GROWN_UP: Duration = Duration::from_secs(120);
/// Ticks of a processor's time per second.
const TICKS_PER_S: f64 = 100.0;

/// Bytes from and to peers, and seconds of a processor.
#[derive(Clone, Copy, Default)]
pub struct Used {
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub cpu_s: f64,
}

pub struct Member {
    // Dropped in this order.
    miner: Option<Miner>,
    node: Pool,
    _bitcoind: ForwardedPort,
    host: Host,
    network: u8,
    pub is_public: bool,
    started: Instant,
    down_since: Option<Instant>,
    is_waiting: bool,
    /// Time from the start of a process to enough connections: of the first, and of later ones.
    pub first_connected: Option<Duration>,
    pub connected_again: Vec<Duration>,
    /// Numbers of connections and resident bytes, from time to time.
    pub connections: Vec<f64>,
    pub resident: Vec<u64>,
    used: Used,
    /// Of the running process, what does not count.
    base: Used,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.is_public { "public" } else { "home" };
        write!(f, "node {} ({place}, {})", self.network, self.host.address)
    }
}

impl Member {
    /// Starts a node that shares a bitcoind with others.
    pub fn start(
        network: u8,
        host: Host,
        is_public: bool,
        bitcoind: &Bitcoind,
        period: u32,
        bootnodes: &[String],
    ) -> Self {
        let port = forward_port(host.namespace.clone(), bitcoind.rpc_port());
        let mut flags = vec![format!("-share-period={period}"), "-log-level=debug".to_owned()];
        if !bootnodes.is_empty() {
            flags.push(format!("-bootnodes={}", bootnodes.join(",")));
        }
        let address = payees::p2tr_address(Chain::OpTrueSignet, network.into());
        let started = Instant::now();
        let node = host.inside(|| start(bitcoind, Options { address, flags, environment: Vec::new() }, &[]));
        Self {
            miner: None,
            node,
            _bitcoind: port,
            host,
            network,
            is_public,
            started,
            down_since: None,
            is_waiting: true,
            first_connected: None,
            connected_again: Vec::new(),
            connections: Vec::new(),
            resident: Vec::new(),
            used: Used::default(),
            base: Used::default(),
        }
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    pub fn down_since(&self) -> Option<Instant> {
        self.down_since
    }

    /// Returns its multiaddress on the internet.
    pub fn address(&self) -> String {
        self.node.p2p_address().replace("127.0.0.1", &self.host.address.to_string())
    }

    pub fn id(&self) -> String {
        self.address().rsplit('/').next().unwrap_or_default().to_owned()
    }

    pub fn ip(&self) -> String {
        self.host.address.to_string()
    }

    pub fn log(&self) -> String {
        self.node.log()
    }

    pub fn shares(&self) -> Vec<Value> {
        self.node.shares()
    }

    pub fn status(&self) -> Option<Value> {
        self.host.inside(|| self.node.api("/api/v1/status"))
    }

    pub fn tip(&self) -> Option<String> {
        self.status()?["tip_hash"].as_str().map(str::to_owned)
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.host.inside(|| self.node.metric(name))
    }

    /// Says how far its chain is.
    pub fn progress(&self) -> String {
        let height = self.metric("p2pool_sharechain_height").unwrap_or_default();
        let uncles = self.metric("p2pool_sharechain_uncles").unwrap_or_default();
        format!(
            "share height {height}, {uncles} uncles, {} connections of {self}",
            self.connections.last().unwrap_or(&0.0)
        )
    }

    /// Notes when a process that was started has enough connections.
    pub fn look(&mut self) {
        let is_running = self.down_since.is_none();
        if is_running && self.is_waiting && self.metric("p2pool_peers_connected").is_some_and(|count| count >= ENOUGH) {
            self.is_waiting = false;
            match self.first_connected {
                None => self.first_connected = Some(self.started.elapsed()),
                Some(_) => self.connected_again.push(self.started.elapsed()),
            }
        }
    }

    /// Notes its connections and memory.
    pub fn sample(&mut self) {
        if self.down_since.is_none() && self.started.elapsed() >= GROWN_UP {
            self.connections.extend(self.metric("p2pool_peers_connected"));
            self.note_memory();
        }
    }

    fn note_memory(&mut self) {
        let (private, files) = self.node.resident_bytes();
        self.resident.push(private + files);
    }

    /// Begins to mine and to count what it uses.
    pub fn begin(&mut self, hash_rate: u64) {
        let pace = Settings { hash_rate_max: Some(hash_rate), ..settings(&self.node.address(), "worker") };
        self.miner = Some(self.host.inside(|| Miner::start(Settings { password: EASIEST.to_owned(), ..pace })));
        self.base = self.counters();
    }

    /// Ends mining and counting.
    pub fn end(&mut self) {
        self.miner = None;
        self.count();
        self.note_memory();
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        if self.down_since.is_none() {
            self.count();
            self.node.kill();
            self.down_since = Some(Instant::now());
        }
    }

    /// Starts it again.
    pub fn launch(&mut self) {
        self.started = Instant::now();
        self.down_since = None;
        self.is_waiting = true;
        self.base = Used::default();
        let Self { host, node, .. } = self;
        host.inside(|| node.launch());
    }

    /// What it has used while it counted.
    pub fn used(&self) -> Used {
        self.used
    }

    fn count(&mut self) {
        let (now, base) = (self.counters(), self.base);
        self.used.bytes_in += (now.bytes_in - base.bytes_in).max(0.0);
        self.used.bytes_out += (now.bytes_out - base.bytes_out).max(0.0);
        self.used.cpu_s += now.cpu_s - base.cpu_s;
    }

    /// What the running process has used.
    fn counters(&self) -> Used {
        let bytes = |direction: &str| {
            self.metric(&format!("p2pool_p2p_bytes_total{{direction=\"{direction}\"}}")).unwrap_or_default()
        };
        Used { bytes_in: bytes("in"), bytes_out: bytes("out"), cpu_s: self.cpu_s().unwrap_or_default() }
    }

    fn cpu_s(&self) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.node.process_id())).ok()?;
        // After the program's name, which may contain spaces: state, and so on; the 12th and 13th are user and system time.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((user + system) / TICKS_PER_S)
    }
}
