//! A node's HTTP threads on a port of their own, with the sharechain of the test vectors.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bitcoin::hex::FromHex as _;
use p2pool_channels::{BrowserConnection, CommandRefused, InboxFull, OperatorSender};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::operator::OperatorCommand;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::payouts::Window;
use p2pool_core::share::{PayoutScript, Share};
use p2pool_core::sharechain::{next_share, Tree};
use p2pool_core::status::{
    BanKind, BanStatus, ChainStatus, Direction, FirmwareStatus, MinerStatus, MinersStatus, PeerStatus, PeersStatus,
    Rejections, Route,
};
use p2pool_core::stratum::NamedAddress;
use p2pool_core::sync::SyncState;
use p2pool_core::units::{Sats, UnixTime};
use p2pool_core::work::{make_job, Finder, Job, JobId, NextBlock, Template};
use p2pool_http::{Http, Sources, StopHandle};
use serde::Deserialize;
use serde_json::Value;

use crate::client::{get, Response};

/// Longer than two sample intervals.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Name of the sharechain's file.
pub const STORE_FILE: &str = "sharechain";
/// A host name that the configuration allows.
pub const CONFIGURED_NAME: &str = "pool.example.org";

#[derive(Deserialize)]
struct Recorded {
    params: Params,
    scripts: Vec<String>,
    shares: Vec<RecordedShare>,
}

#[derive(Deserialize)]
struct Params {
    chain_name: String,
    share_period_s: u32,
    retarget_window: u32,
    payout_window: u32,
}

#[derive(Deserialize)]
pub struct RecordedShare {
    pub id: String,
    raw: String,
    pub payouts: Vec<(usize, u64)>,
}

/// The sharechain of the test vectors, with the payouts computed by the model of the rules.
pub struct Recording {
    pub params: ChainParams,
    pub scripts: Vec<PayoutScript>,
    pub shares: Vec<RecordedShare>,
}

impl Recording {
    pub fn read() -> Self {
        let Recorded { params, scripts, shares } = serde_json::from_str(&vectors("chain.json")).unwrap();
        let params = ChainParams {
            chain_name: params.chain_name,
            share_period_s: params.share_period_s,
            retarget_window: params.retarget_window,
            payout_window: params.payout_window,
            ..ChainParams::standard(Network::Regtest)
        };
        let scripts =
            scripts.iter().map(|script| PayoutScript::new(&Vec::from_hex(script).unwrap()).unwrap()).collect();
        Self { params, scripts, shares }
    }

    /// Returns the tree of all shares, including those that were not accepted at once.
    pub fn tree(&self) -> Tree {
        let mut tree = self.empty_tree();
        let mut shares: Vec<Share> =
            self.shares.iter().map(|share| Share::decode(&Vec::from_hex(&share.raw).unwrap()).unwrap()).collect();
        // Parents first.
        shares.sort_by_key(|share| share.info.share_height);
        for share in shares {
            tree.restore(Arc::new(share), true);
        }
        tree
    }

    /// Returns the empty tree.
    pub fn empty_tree(&self) -> Tree {
        Tree::new(Arc::new(self.params.clone()))
    }
}

fn vectors(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// Makes a job on the tree's tip, from a template recorded from bitcoind.
pub fn job(tree: &Tree, script: PayoutScript, template_time: UnixTime) -> Arc<Job> {
    job_with_value(None, tree, script, template_time)
}

/// Makes a job whose coinbase has this value, if given.
pub fn job_with_value(value: Option<Sats>, tree: &Tree, script: PayoutScript, template_time: UnixTime) -> Arc<Job> {
    let mut template = Template::from_json(&vectors("templates/regtest-transactions.json"), Network::Regtest).unwrap();
    template.cur_time = template_time;
    template.coinbase_value = value.unwrap_or(template.coinbase_value);
    let block = NextBlock { height: template.height, bits: template.bits };
    let facts = next_share(&mut tree.snapshot(), block, now(), &Finder::new(script));
    let mut window = Window::new(tree.params());
    window.move_to(facts.parent, template.bits, tree).unwrap();
    let payouts = |value| window.payouts(value, script, facts.outputs_class);
    Arc::new(make_job(JobId(1), tree.params(), &Arc::new(template), &facts, now(), payouts).unwrap())
}

pub fn miner(worker: &str, hashes_per_s: f64) -> MinerStatus {
    MinerStatus {
        worker: worker.into(),
        user_agent: "bitaxe/BM1370".into(),
        connected_since: now().minus(100),
        difficulty: 1_024.0,
        hashes_per_s,
        accepted: 7,
        rejected: Rejections { stale: 2, duplicate: 1, ..Rejections::default() },
        last_share: Some(now().minus(5)),
        best_difficulty: 12_345.5,
        credited: 7_168.0,
        silent_s: None,
        named_address: NamedAddress::None,
        coinbase_too_large: false,
    }
}

pub fn peer(id: &str, direction: Direction, latency_us: Option<u64>) -> PeerStatus {
    PeerStatus {
        id: id.into(),
        address: "/ip4/10.0.0.1/tcp/9171".into(),
        direction,
        route: Route::Direct,
        latency_us,
        connected_since: now().minus(60),
        agent: "p2pool/0.1.0".into(),
        is_added: false,
    }
}

pub fn ban(subject: &str, kind: BanKind, reason: &str, remaining_s: u32) -> BanStatus {
    BanStatus { subject: subject.to_owned(), kind, reason: reason.to_owned(), until: now().plus(remaining_s) }
}

/// The HTTP threads, and a thread that accepts connections in place of the stratum thread.
pub struct Node {
    pub address: SocketAddr,
    pub sources: Sources,
    pub recording: Recording,
    pub chain_dir: PathBuf,
    /// The operator's commands for the network thread.
    pub commands: Receiver<OperatorCommand>,
    stop: Option<StopHandle>,
    stop_accepting: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _folder: Option<tempfile::TempDir>,
}

impl Node {
    /// Starts a node with a sharechain, a fresh job, two miners and two peers.
    pub fn start() -> Self {
        let recording = Recording::read();
        let tree = Arc::new(recording.tree());
        let job = job(&tree, recording.scripts[0], now());
        let node = Self::start_with(recording, tree, Some(job));
        node.sources.metrics.template_time_s.set(now().0.into());
        let miners = vec![miner("garage.1", 1e12), miner("<img src=x onerror=alert(1)>", 5e11)];
        let part = |name, outputs_class, work_percent| FirmwareStatus { name, outputs_class, work_percent };
        let firmware = vec![part("bitaxe", 1, 99.5), part("unknown firmware", 0, 0.5)];
        node.sources.miners.store(Arc::new(MinersStatus { time: now(), miners, firmware, ..MinersStatus::default() }));
        let peers =
            vec![peer("12D3KooWA", Direction::Outbound, Some(900)), peer("12D3KooWB", Direction::Inbound, None)];
        node.sources.peers.store(Arc::new(PeersStatus {
            our_id: "12D3KooWC".to_owned(),
            peers,
            bans: vec![
                ban("12D3KooWD", BanKind::Banned, "gave a false chain", 86_000),
                ban("203.0.113.7", BanKind::Graylisted, "ban score 60", 330),
            ],
            ..PeersStatus::default()
        }));
        node
    }

    /// Starts a node without shares, job, miners and peers.
    pub fn start_empty() -> Self {
        let recording = Recording::read();
        let tree = Arc::new(Tree::new(Arc::new(recording.params.clone())));
        Self::start_with(recording, tree, None)
    }

    fn start_with(recording: Recording, tree: Arc<Tree>, job: Option<Arc<Job>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = ChainStatus {
            job,
            deferred: 1,
            unverified: 2,
            outputs_vote: 1,
            ..ChainStatus::new(tree, SyncState::Synced)
        };
        let mut node = Self::start_in(folder.path(), recording, chain);
        node._folder = Some(folder);
        node
    }

    /// Starts a node in a folder that outlives it.
    pub fn start_in(chain_dir: &Path, recording: Recording, chain: ChainStatus) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, commands) = channel();
        let operator = OperatorSender::new(move |command| {
            sender.send(command.clone()).unwrap();
            match command {
                OperatorCommand::Unban { .. } => Err(CommandRefused::NotFound("it is not banned".to_owned())),
                OperatorCommand::Connect { .. } => Err(CommandRefused::Wrong("it is no multiaddr".to_owned())),
                OperatorCommand::Disconnect { .. } => Err(InboxFull.into()),
                OperatorCommand::Ban { .. } => Ok("it is banned".to_owned()),
            }
        });
        let sources = Sources {
            metrics: Arc::new(Metrics::default()),
            chain: Arc::new(ArcSwap::from_pointee(chain)),
            miners: Arc::default(),
            peers: Arc::default(),
            bitcoind: Arc::default(),
            blocks: Arc::default(),
            own_blocks: Arc::default(),
            submission: Arc::default(),
            tracked: Arc::default(),
            operator,
            store_file: chain_dir.join(STORE_FILE),
        };
        let config = Config {
            payout_script: recording.scripts[0],
            payout_address: recording.scripts[0].to_address(recording.params.network),
            stratum_port: address.port(),
            p2p_port: 9171,
            web_hosts: vec![CONFIGURED_NAME.to_owned()],
            ..Config::for_tests(recording.params.clone(), chain_dir)
        };
        let http = Http::open(Arc::new(config), sources.clone()).unwrap();
        let (stop, handle) = (http.stop_handle(), http.relay_handle());
        let Http { relay, server, .. } = http;
        let stop_accepting = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop_accepting);
        let accept = move || {
            while let Ok((socket, peer)) = listener.accept() {
                if is_stopped.load(Ordering::Acquire) {
                    return;
                }
                socket.set_nonblocking(true).unwrap();
                // The stratum thread would close it instead of waiting.
                let mut connection = BrowserConnection { socket, peer };
                while let Err(back) = handle.try_send(connection) {
                    connection = back;
                    std::thread::yield_now();
                }
            }
        };
        let threads = vec![
            std::thread::spawn(accept),
            std::thread::spawn(move || relay.run().unwrap()),
            std::thread::spawn(move || server.run().unwrap()),
        ];
        let chain_dir = chain_dir.to_owned();
        Self {
            address,
            sources,
            recording,
            chain_dir,
            commands,
            stop: Some(stop),
            stop_accepting,
            threads,
            _folder: None,
        }
    }

    pub fn get(&self, path: &str) -> Response {
        get(self.address, path)
    }

    /// Returns the JSON document at a path.
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")), "{path}");
        response.json()
    }

    /// Returns the value of a metric, with its labels as in the exposition format.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.get("/metrics");
        let mut lines = metrics.text().lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Changes the published sharechain.
    pub fn publish(&self, change: impl FnOnce(&mut ChainStatus)) {
        let mut chain = (**self.sources.chain.load()).clone();
        change(&mut chain);
        self.sources.chain.store(Arc::new(chain));
    }

    /// Waits until the status, which is cached, meets a condition.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + TIMEOUT;
        loop {
            let status = self.json("/api/v1/status");
            if condition(&status) {
                return status;
            }
            assert!(Instant::now() < end, "timeout waiting for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.stop();
        }
        self.stop_accepting.store(true, Ordering::Release);
        // Wakes the accepting thread.
        match std::net::TcpStream::connect(self.address) {
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => panic!("{error}"),
            _ => {}
        }
        for thread in self.threads.drain(..) {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking(), "an HTTP thread panicked");
        }
    }
}
