//! Honest nodes that are connected and mine, a bitcoind for all, and attackers.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use libp2p::Multiaddr;
use p2pool_core::params::{ChainId, Network};
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{Anchor, RecentTimes};
use p2pool_core::units::{Bits, BlockHeight, ShareHeight, UnixTime, Work};
use p2pool_core::wire::{Agent, Frame as _, GossipShare, List, PeerStatus, Request, Response};
use p2pool_test_bitcoind::{self as bitcoind, Bitcoind, Chain};
use p2pool_test_functional::network::{self, wait_connected, ManualMiner};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::{self, Pool};
use p2pool_test_hostile::background_peer::BackgroundPeer;
use p2pool_test_hostile::forge::{params, Forge};
use p2pool_test_hostile::scripted_peer::{PeerConfig, Reply, ScriptedPeer, TIMEOUT};
use serde_json::json;

/// Chain parameters, both for the nodes' flags and for the forge.
const PERIOD_S: u32 = 1;
pub const PAYOUT_WINDOW: u32 = 20;
const RETARGET_WINDOW: u32 = 10;

/// Interval at which the nodes' tips are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Requests of the observer, burst and interval: a little less than a node's rate limit, because exceeding it ends in a ban.
const REQUEST_BURST: u32 = 80;
const REQUEST_INTERVAL: Duration = Duration::from_millis(110);

/// Attempts of a miner whose share turns out to be a sibling of the tip.
const ATTEMPTS: usize = 5;

/// Index of the node that is attacked. The others only have to continue.
pub const VICTIM: usize = 0;

/// Lines about peers and shares of a node's log, read as they are written.
struct Log {
    path: PathBuf,
    offset: u64,
    /// The last line, as far as it has been written.
    partial: String,
    lines: Vec<String>,
}

impl Log {
    fn of(node: &Pool) -> Self {
        Self { path: node.log_file(), offset: 0, partial: String::new(), lines: Vec::new() }
    }

    fn read(&mut self) {
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.offset)).unwrap();
        let mut new = Vec::new();
        file.read_to_end(&mut new).unwrap();
        self.offset += new.len() as u64;
        self.partial.push_str(&String::from_utf8_lossy(&new));
        let Some(end) = self.partial.rfind('\n') else { return };
        let is_kept = |line: &&str| line.contains("peer ") || line.contains(" share ");
        self.lines.extend(self.partial[..end].lines().filter(is_kept).map(str::to_owned));
        self.partial.drain(..=end);
    }

    /// Returns the lines with all these parts.
    fn find(&mut self, parts: &[&str]) -> Vec<String> {
        self.read();
        self.lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
    }
}

/// Whether a log line reports misbehaviour or a ban of a peer.
pub fn is_misbehaviour(line: &str, peer_id: &str) -> bool {
    line.contains(peer_id) && (line.contains(" misbehaved: ") || line.contains(" banned for 24 h: "))
}

/// Honest nodes with a miner each.
pub struct TestNetwork {
    pub bitcoind: Bitcoind,
    pub nodes: Vec<Pool>,
    pub addresses: Vec<Multiaddr>,
    pub forge: Forge,
    pub chain: ChainId,
    logs: Vec<Log>,
    miners: Vec<ManualMiner>,
    observer: Observer,
    shares: u64,
}

/// A well-behaved peer that requests the nodes' status and shares within their rate limits.
struct Observer {
    peer: BackgroundPeer,
    /// For each node, the time at which its rate limit is unused again.
    full_at: HashMap<Multiaddr, Instant>,
}

impl Observer {
    fn new(chain: ChainId) -> Self {
        let peer = BackgroundPeer::start(move || {
            let mut peer = ScriptedPeer::new(PeerConfig::of(&chain).without_gossip());
            peer.set_responder(respond_without_shares(chain));
            peer
        });
        Self { peer, full_at: HashMap::new() }
    }

    /// Sends a request and returns the response, if there is one.
    fn request(&mut self, node: &Multiaddr, request: Vec<u8>) -> Option<Vec<u8>> {
        let now = Instant::now();
        let full_at = self.full_at.entry(node.clone()).or_insert(now);
        *full_at = now.max(*full_at) + REQUEST_INTERVAL;
        std::thread::sleep(full_at.duration_since(now).saturating_sub(REQUEST_INTERVAL * REQUEST_BURST));
        let node = node.clone();
        self.peer.run(move |peer| {
            if !peer.is_connected_to(&node) {
                peer.connect(&node).ok()?;
            }
            let request = peer.send_request(&node, request);
            peer.response(request)
        })
    }
}

/// A hostile peer of the victim.
pub struct Attacker {
    pub peer: ScriptedPeer,
    pub id: String,
}

pub fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

fn options(payee: u32) -> pool::Options {
    let flags = [
        format!("-share-period={PERIOD_S}"),
        format!("-payout-window={PAYOUT_WINDOW}"),
        format!("-retarget-window={RETARGET_WINDOW}"),
        "-log-level=debug".to_owned(),
    ];
    let address = payees::p2tr_address(Chain::OpTrueSignet, payee);
    pool::Options { address, flags: flags.to_vec(), environment: Vec::new() }
}

/// Returns a block of bitcoind as an anchor. This early on a signet the bits never change.
fn anchor(bitcoind: &Bitcoind, height: u32) -> Anchor {
    let hash = json!(bitcoind.block_hash(height).to_string());
    let info = bitcoind.call("getblockheader", json!([hash, true]));
    let hex = bitcoind.call("getblockheader", json!([hash, false]));
    let header: bitcoin::block::Header = deserialize_hex(hex.as_str().unwrap()).unwrap();
    let number = |name: &str| u32::try_from(info[name].as_u64().unwrap()).unwrap();
    // Whatever the eleven times are, only their median matters here.
    let times = RecentTimes::new([UnixTime(number("mediantime"))]);
    let (time, bits) = (UnixTime(header.time), Bits(header.bits.to_consensus()));
    Anchor::new(Network::Signet, header, BlockHeight(number("height")), times, PeriodStart { time, bits }, bits)
}

/// Returns the status of a node of this chain without shares.
pub fn status_without_shares(chain: &ChainId) -> PeerStatus {
    PeerStatus {
        chain_id: *chain,
        tip: ShareId::ZERO,
        share_height: ShareHeight(0),
        chain_work: Work::ZERO,
        oldest_height: ShareHeight(0),
        clock: now(),
        agent: Agent::new("hostile").unwrap(),
    }
}

/// Responds like a node without shares.
pub fn respond_without_shares(chain: ChainId) -> impl FnMut(&[u8]) -> Reply {
    move |request| {
        let response = match Request::decode(request) {
            Ok(Request::Status) => Response::Status(status_without_shares(&chain)),
            _ => Response::Unknown,
        };
        Reply::bytes(response.encode())
    }
}

impl TestNetwork {
    /// Starts honest nodes that are all connected with each other. Each has found one share.
    pub fn start(count: u32) -> Self {
        let bitcoind = Bitcoind::start_with(bitcoind::Options {
            chain: Chain::OpTrueSignet,
            listen: false,
            // A long poll occupies a thread until the next block, even if its client has gone.
            arguments: vec![format!("-rpcthreads={}", 4 * (count + 2))],
        });
        let mut nodes = vec![network::start(&bitcoind, options(1), &[])];
        for payee in 2..=count {
            nodes.push(network::start(&bitcoind, options(payee), &[&nodes[0]]));
        }
        wait_connected(&nodes.iter().collect::<Vec<_>>());
        let params = params(PERIOD_S, PAYOUT_WINDOW, RETARGET_WINDOW);
        let chain = params.chain_id();
        let addresses: Vec<Multiaddr> = nodes.iter().map(|node| node.p2p_address().parse().unwrap()).collect();
        let mut network = Self {
            forge: Forge::new(params, anchor(&bitcoind, 0), now()),
            logs: nodes.iter().map(Log::of).collect(),
            miners: nodes.iter().map(ManualMiner::at).collect(),
            bitcoind,
            nodes,
            addresses,
            chain,
            observer: Observer::new(chain),
            shares: 0,
        };
        // The nodes get to know the observer's status before their miners need work.
        for node in 0..network.nodes.len() {
            network.tip(node);
        }
        for _ in 0..count {
            network.mine_share();
        }
        network
    }

    /// Starts one more node. It counts as honest once it has synced, see [`Self::add_node`].
    pub fn start_node(&self, bootnodes: &[Multiaddr]) -> Pool {
        let mut options = options(9);
        let bootnodes: Vec<String> = bootnodes.iter().map(ToString::to_string).collect();
        options.flags.push(format!("-bootnodes={}", bootnodes.join(",")));
        Pool::start(&self.bitcoind, options)
    }

    /// Adds a node to the honest ones.
    pub fn add_node(&mut self, node: Pool) {
        let address = node.p2p_address().parse().unwrap();
        self.addresses.push(address);
        self.tip(self.addresses.len() - 1);
        self.logs.push(Log::of(&node));
        self.miners.push(ManualMiner::at(&node));
        self.nodes.push(node);
    }

    /// Sends a request to a node until it responds with something else than "busy".
    fn request(&mut self, node: usize, request: &Request) -> Response {
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            if let Some(bytes) = self.observer.request(&self.addresses[node], request.encode()) {
                let response = Response::decode(&bytes).unwrap();
                if response != Response::Busy {
                    return response;
                }
            }
            std::thread::sleep(CHECK_INTERVAL);
        }
        panic!("node {node} does not respond to {request:?}");
    }

    /// Returns the tip of a node.
    pub fn tip(&mut self, node: usize) -> ShareId {
        match self.request(node, &Request::Status) {
            Response::Status(status) => status.tip,
            other => panic!("not a status: {other:?}"),
        }
    }

    /// Waits until every honest node has this tip.
    #[track_caller]
    pub fn wait_tip(&mut self, wanted: ShareId) {
        for node in 0..self.nodes.len() {
            let start = Instant::now();
            while self.tip(node) != wanted {
                assert!(start.elapsed() < TIMEOUT, "timed out waiting for tip {wanted} on node {node}");
                std::thread::sleep(CHECK_INTERVAL);
            }
        }
    }

    /// Has an honest miner, each time another one, find a share that becomes the tip of all honest nodes. Returns the time
    /// that took.
    ///
    /// The miner's job may be stale, so that the share is a sibling of the tip. All nodes get it nevertheless, and the
    /// miner tries again.
    #[track_caller]
    pub fn mine_share(&mut self) -> Duration {
        let finder = usize::try_from(self.shares).unwrap() % self.nodes.len();
        self.shares += 1;
        for _ in 0..ATTEMPTS {
            let id = self.miners[finder].find();
            let found = Instant::now();
            let id = ShareId(id.parse::<BlockHash>().unwrap().to_byte_array());
            if self.wait_one_tip_with(id) == id {
                return found.elapsed();
            }
        }
        panic!("an honest miner finds only siblings of the tip");
    }

    /// Waits until every honest node has this share and all have the same tip. Returns the tip.
    #[track_caller]
    fn wait_one_tip_with(&mut self, share: ShareId) -> ShareId {
        let start = Instant::now();
        loop {
            let tips: BTreeSet<ShareId> = (0..self.nodes.len()).map(|node| self.tip(node)).collect();
            let tip = tips.first().copied().unwrap_or_default();
            let has_it = |network: &mut Self, node| !network.shares_of(node, &[share]).is_empty();
            if tips.len() == 1 && (tip == share || (0..self.nodes.len()).all(|node| has_it(self, node))) {
                return tip;
            }
            assert!(start.elapsed() < TIMEOUT, "timed out waiting for {share} on all nodes and one tip: {tips:?}");
            std::thread::sleep(CHECK_INTERVAL);
        }
    }

    /// Updates the forge with the victim's shares and bitcoind's best block.
    pub fn update_forge(&mut self) {
        self.forge.now = now();
        self.forge.anchor = self.anchor_at(self.bitcoind.height());
        let tip = self.forge.tip();
        let locator = List::first_of([tip].into_iter().filter(|tip| *tip != ShareId::ZERO));
        let Response::Inventory { ids, .. } = self.request(VICTIM, &Request::Inventory { locator }) else {
            panic!("not an inventory")
        };
        for share in self.shares_of(VICTIM, &ids) {
            self.forge.add(&share);
        }
    }

    /// Returns a block of bitcoind's best chain as an anchor.
    pub fn anchor_at(&self, height: u32) -> Anchor {
        anchor(&self.bitcoind, height)
    }

    /// Returns those of these shares that a node has.
    pub fn shares_of(&mut self, node: usize, ids: &[ShareId]) -> Vec<Arc<Share>> {
        let ids = List::first_of(ids.iter().copied());
        match self.request(node, &Request::Shares { ids }) {
            Response::Shares(shares) => shares.into_vec(),
            other => panic!("not shares: {other:?}"),
        }
    }

    /// Asserts that no honest node has any of these shares.
    #[track_caller]
    pub fn assert_unknown(&mut self, invalid: &[Share]) {
        let ids: Vec<ShareId> = invalid.iter().map(Share::id).collect();
        for node in 0..self.nodes.len() {
            let held = self.shares_of(node, &ids);
            let is_invalid = |share: &Arc<Share>| invalid.iter().any(|invalid| invalid.digest() == share.digest());
            assert!(!held.iter().any(is_invalid), "node {node} has an invalid share");
        }
    }

    /// Connects an attacker with a new peer id to the victim. It responds like a node without shares.
    pub fn attacker(&self) -> Attacker {
        let mut attacker = self.attacker_with(PeerConfig::of(&self.chain));
        attacker.peer.set_responder(respond_without_shares(self.chain));
        attacker.connect(&self.addresses[VICTIM]);
        attacker.peer.subscribe();
        attacker
    }

    /// Makes an attacker that is not connected and does not respond.
    pub fn attacker_with(&self, config: PeerConfig) -> Attacker {
        let peer = ScriptedPeer::new(config);
        Attacker { id: peer.id.to_string(), peer }
    }

    /// Waits until the victim has logged a line with all these parts.
    #[track_caller]
    pub fn await_log(&mut self, attacker: &mut Attacker, parts: &[&str]) -> String {
        let log = &mut self.logs[VICTIM];
        attacker.peer.run_until(&format!("a log line with {parts:?}"), || log.find(parts).pop())
    }

    /// Waits until this misbehaviour has given an attacker this ban score.
    #[track_caller]
    pub fn await_score(&mut self, attacker: &mut Attacker, misbehaviour: &str, score: u32) {
        let (id, score) = (attacker.id.clone(), format!("(ban score {score})"));
        self.await_log(attacker, &["DEBUG", &id, misbehaviour, &score]);
    }

    /// Waits until an attacker has been banned for this misbehaviour and disconnected.
    #[track_caller]
    pub fn await_ban(&mut self, attacker: &mut Attacker, misbehaviour: &str) {
        let id = attacker.id.clone();
        self.await_log(attacker, &["WARN", &id, "banned for 24 h", misbehaviour]);
        attacker.peer.await_disconnect();
    }

    /// Returns the victim's log lines on an attacker's misbehaviour.
    pub fn misbehaviours(&mut self, attacker: &Attacker) -> Vec<String> {
        let mut lines = self.logs[VICTIM].find(&[&attacker.id]);
        lines.retain(|line| is_misbehaviour(line, &attacker.id));
        lines
    }

    /// Asserts that the victim has not penalised a peer and is still connected to it. Timeouts are ignored, because a
    /// scripted peer does not respond while the test does something else.
    #[track_caller]
    pub fn assert_not_scored(&mut self, attacker: &Attacker) {
        let mut misbehaviours = self.misbehaviours(attacker);
        misbehaviours.retain(|line| !line.contains("did not respond in time"));
        assert_eq!(misbehaviours, Vec::<String>::new());
        assert!(attacker.peer.is_connected(), "it was disconnected");
    }

    /// Returns a metric of the victim.
    pub fn metric(&self, name: &str) -> f64 {
        self.nodes[VICTIM].metric(name).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// Returns the memory of the victim.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.nodes[VICTIM].process_id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Attacker {
    /// Connects to a node and waits for its first request, which it sends to peers that it accepts.
    pub fn connect(&mut self, node: &Multiaddr) {
        self.peer.connect(node).unwrap();
        self.peer.await_request("the node's first request", |request| *request == Request::Status);
    }

    /// Gossips a share, valid or not.
    pub fn gossip(&mut self, share: &Share) {
        self.peer.gossip_share(GossipShare { share: Arc::new(share.clone()) }.encode());
    }
}

/// Returns ids that no share has.
pub fn invented_ids(count: u32) -> Vec<ShareId> {
    let id = |number: u32| {
        let mut bytes = [0xdd; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        ShareId(bytes)
    };
    (0..count).map(id).collect::<BTreeSet<_>>().into_iter().collect()
}
