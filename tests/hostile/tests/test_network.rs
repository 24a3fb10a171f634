//! Honest nodes that know each other and mine, and a way to look on.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bitcoin::consensus::encode::deserialize_hex;
use libp2p::Multiaddr;
use p2pool_core::params::ChainId;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::Anchor;
use p2pool_core::units::{Bits, BlockHeight, ShareHeight, UnixTime, Work};
use p2pool_core::wire::{Agent, Frame as _, GossipShare, List, PeerStatus, Request, Response};
use p2pool_test_bitcoind::{self as bitcoind, Bitcoind, Chain};
use p2pool_test_functional::network::{self, wait_connected, ManualMiner};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::{self, Pool};
use p2pool_test_hostile::background_peer::Awake;
use p2pool_test_hostile::forge::{params, Forge};
use p2pool_test_hostile::scripted_peer::{Kind, Reply, Stranger, PATIENCE};
use serde_json::json;

/// The chain's parameters, as flags and as the forge has them.
const PERIOD_S: u32 = 1;
pub const PAYOUT_WINDOW: u32 = 20;
const RETARGET_WINDOW: u32 = 10;

/// Between two looks at where all nodes are.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Questions that a node lets one peer ask at once, and how long each takes to come back: a little less than it allows, for
/// who asks more is refused, and in the end banned.
const QUESTIONS_MAX: u32 = 80;
const QUESTION_INTERVAL: Duration = Duration::from_millis(110);

/// How often a miner that is behind tries again.
const TRIES: usize = 5;

/// The node that is attacked; the others are only to go on.
pub const VICTIM: usize = 0;

/// Lines of a node's log that say something of a peer or a share, read as they are written.
struct Log {
    path: PathBuf,
    read: u64,
    rest: String,
    lines: Vec<String>,
}

impl Log {
    fn read(&mut self) {
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut new = Vec::new();
        file.read_to_end(&mut new).unwrap();
        self.read += new.len() as u64;
        self.rest.push_str(&String::from_utf8_lossy(&new));
        let Some(end) = self.rest.rfind('\n') else { return };
        let is_of_interest = |line: &&str| line.contains("peer ") || line.contains(" share ");
        self.lines.extend(self.rest[..end].lines().filter(is_of_interest).map(str::to_owned));
        self.rest.drain(..=end);
    }

    fn find(&mut self, parts: &[&str]) -> Vec<String> {
        self.read();
        self.lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
    }
}

/// Honest nodes with a miner each, a bitcoind for all, and an onlooker who asks them where they are.
pub struct Bench {
    pub bitcoind: Bitcoind,
    pub nodes: Vec<Pool>,
    pub addresses: Vec<Multiaddr>,
    pub forge: Forge,
    pub chain: ChainId,
    logs: Vec<Log>,
    hands: Vec<ManualMiner>,
    onlooker: Onlooker,
    shares: u64,
}

/// A peer without fault that asks nodes where they are, no more often than they allow.
struct Onlooker {
    stranger: Awake,
    /// For each node that was asked: when all its questions will have come back.
    full_at: HashMap<Multiaddr, Instant>,
}

impl Onlooker {
    fn new(chain: ChainId) -> Self {
        let stranger = Awake::start(move || {
            let mut stranger = Stranger::new(Kind::of(&chain).mute());
            stranger.reply(as_nobody(chain));
            stranger
        });
        Self { stranger, full_at: HashMap::new() }
    }

    /// What comes back, if anything does.
    fn ask(&mut self, node: &Multiaddr, question: Vec<u8>) -> Option<Vec<u8>> {
        let now = Instant::now();
        let full_at = self.full_at.entry(node.clone()).or_insert(now);
        *full_at = now.max(*full_at) + QUESTION_INTERVAL;
        std::thread::sleep(full_at.duration_since(now).saturating_sub(QUESTION_INTERVAL * QUESTIONS_MAX));
        let node = node.clone();
        self.stranger.have(move |stranger| {
            if !stranger.is_connected_to(&node) {
                stranger.connect(&node).ok()?;
            }
            let question = stranger.send(&node, question);
            stranger.answer(question)
        })
    }
}

/// A hostile peer that is connected with the victim.
pub struct Attacker {
    pub stranger: Stranger,
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

/// What a block of bitcoind's asks of the next one. This early on a signet no target changes.
fn anchor(bitcoind: &Bitcoind, height: u32) -> Anchor {
    let hash = json!(bitcoind.block_hash(height).to_string());
    let said = bitcoind.call("getblockheader", json!([hash, true]));
    let hex = bitcoind.call("getblockheader", json!([hash, false]));
    let header: bitcoin::block::Header = deserialize_hex(hex.as_str().unwrap()).unwrap();
    let number = |name: &str| u32::try_from(said[name].as_u64().unwrap()).unwrap();
    Anchor {
        next_bits: Bits(header.bits.to_consensus()),
        header,
        height: BlockHeight(number("height")),
        median_time_past: UnixTime(number("mediantime")),
        next_bits_late: None,
    }
}

/// The status of a node of this chain that has no shares.
pub fn status_of_nobody(chain: &ChainId) -> PeerStatus {
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

/// Answers as a node that has nothing.
pub fn as_nobody(chain: ChainId) -> impl FnMut(&[u8]) -> Reply {
    move |question| {
        let response = match Request::decode(question) {
            Ok(Request::Status) => Response::Status(status_of_nobody(&chain)),
            _ => Response::Unknown,
        };
        Reply::bytes(response.encode())
    }
}

impl Bench {
    /// So many honest nodes, each connected with each other, and one share found by each.
    pub fn start(count: u32) -> Self {
        let bitcoind = Bitcoind::start_with(bitcoind::Options {
            chain: Chain::OpTrueSignet,
            listen: false,
            // A long poll holds one until the next block, whether or not anybody waits for its answer.
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
        let log = |node: &Pool| Log { path: node.log_file(), read: 0, rest: String::new(), lines: Vec::new() };
        let mut bench = Self {
            forge: Forge::new(params, anchor(&bitcoind, 0), now()),
            logs: nodes.iter().map(log).collect(),
            hands: nodes.iter().map(ManualMiner::at).collect(),
            bitcoind,
            nodes,
            addresses,
            chain,
            onlooker: Onlooker::new(chain),
            shares: 0,
        };
        // So that they know what to think of the onlooker before their miners want work.
        for node in 0..bench.nodes.len() {
            bench.tip(node);
        }
        for _ in 0..count {
            bench.go_on();
        }
        bench
    }

    /// One more node; it counts among the honest ones once it is as far as they are, see [`Self::take_in`].
    pub fn newcomer(&self, bootnodes: &[Multiaddr]) -> Pool {
        let mut options = options(9);
        let bootnodes: Vec<String> = bootnodes.iter().map(ToString::to_string).collect();
        options.flags.push(format!("-bootnodes={}", bootnodes.join(",")));
        Pool::start(&self.bitcoind, options)
    }

    /// Counts a node among the honest ones.
    pub fn take_in(&mut self, node: Pool) {
        let address = node.p2p_address().parse().unwrap();
        self.addresses.push(address);
        self.tip(self.addresses.len() - 1);
        self.logs.push(Log { path: node.log_file(), read: 0, rest: String::new(), lines: Vec::new() });
        self.hands.push(ManualMiner::at(&node));
        self.nodes.push(node);
    }

    /// Asks a node as any other node might; none if it says that it is busy or the connection broke.
    fn ask(&mut self, node: usize, request: &Request) -> Option<Response> {
        let answer = self.onlooker.ask(&self.addresses[node], request.encode())?;
        Some(Response::decode(&answer).unwrap()).filter(|response| *response != Response::Busy)
    }

    /// Asks until there is an answer.
    fn insist(&mut self, node: usize, request: &Request) -> Response {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(response) = self.ask(node, request) {
                return response;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        panic!("node {node} does not answer {request:?}");
    }

    /// Where a node says that it is.
    pub fn tip(&mut self, node: usize) -> ShareId {
        match self.insist(node, &Request::Status) {
            Response::Status(status) => status.tip,
            other => panic!("no status but {other:?}"),
        }
    }

    /// Waits until every honest node has this tip.
    #[track_caller]
    pub fn wait_tip(&mut self, wanted: ShareId) {
        for node in 0..self.nodes.len() {
            let start = Instant::now();
            while self.tip(node) != wanted {
                assert!(start.elapsed() < PATIENCE, "in vain waited for {wanted} on node {node}");
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// An honest miner finds a share, each time another one, and all honest nodes take it for their tip.
    ///
    /// The miner may have been a moment behind and found a sibling of the tip: all have that too then, and it tries again.
    #[track_caller]
    pub fn go_on(&mut self) -> Duration {
        let finder = usize::try_from(self.shares).unwrap() % self.nodes.len();
        self.shares += 1;
        for _ in 0..TRIES {
            let id = self.hands[finder].find();
            let found = Instant::now();
            let mut bytes: [u8; 32] = bitcoin::hex::FromHex::from_hex(&id).unwrap();
            bytes.reverse();
            if self.wait_one_tip_with(ShareId(bytes)) == ShareId(bytes) {
                return found.elapsed();
            }
        }
        panic!("an honest miner finds nothing but siblings");
    }

    /// Waits until every honest node has this share, and all have one tip.
    #[track_caller]
    fn wait_one_tip_with(&mut self, share: ShareId) -> ShareId {
        let start = Instant::now();
        loop {
            let tips: BTreeSet<ShareId> = (0..self.nodes.len()).map(|node| self.tip(node)).collect();
            let tip = tips.first().copied().unwrap_or_default();
            let has_it = |bench: &mut Self, node| !bench.shares_of(node, &[share]).is_empty();
            if tips.len() == 1 && (tip == share || (0..self.nodes.len()).all(|node| has_it(self, node))) {
                return tip;
            }
            assert!(start.elapsed() < PATIENCE, "in vain waited for {share} everywhere and one tip: {tips:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The forge gets to know all that the victim has, and bitcoind's best block.
    pub fn learn(&mut self) {
        self.forge.now = now();
        self.forge.anchor = self.anchor_at(self.bitcoind.height());
        let tip = self.forge.tip();
        let locator = List::first_of([tip].into_iter().filter(|tip| *tip != ShareId::ZERO));
        let Response::Inventory { ids, .. } = self.insist(VICTIM, &Request::Inventory { locator }) else {
            panic!("no inventory")
        };
        for share in self.shares_of(VICTIM, &ids) {
            self.forge.learn(&share);
        }
    }

    /// A block of bitcoind's best chain.
    pub fn anchor_at(&self, height: u32) -> Anchor {
        anchor(&self.bitcoind, height)
    }

    /// Those of these shares that a node has.
    pub fn shares_of(&mut self, node: usize, ids: &[ShareId]) -> Vec<Arc<Share>> {
        let ids = List::first_of(ids.iter().copied());
        match self.insist(node, &Request::Shares { ids }) {
            Response::Shares(shares) => shares.into_vec(),
            other => panic!("no shares but {other:?}"),
        }
    }

    /// Asserts that no honest node holds any of these.
    #[track_caller]
    pub fn assert_unknown(&mut self, bad: &[Share]) {
        let ids: Vec<ShareId> = bad.iter().map(Share::id).collect();
        for node in 0..self.nodes.len() {
            let held = self.shares_of(node, &ids);
            let is_bad = |share: &Arc<Share>| bad.iter().any(|bad| bad.digest() == share.digest());
            assert!(!held.iter().any(is_bad), "node {node} holds a bad share");
        }
    }

    /// A new peer with a name of its own, connected with the victim, that answers as if it had nothing.
    pub fn attacker(&self) -> Attacker {
        let mut attacker = self.attacker_of(Kind::of(&self.chain));
        attacker.stranger.reply(as_nobody(self.chain));
        attacker.enter(&self.addresses[VICTIM]);
        attacker.stranger.subscribe();
        attacker
    }

    /// One that is not connected yet and answers nothing.
    pub fn attacker_of(&self, kind: Kind) -> Attacker {
        let stranger = Stranger::new(kind);
        Attacker { id: stranger.id.to_string(), stranger }
    }

    /// Lines of the victim's log with all these parts.
    pub fn log(&mut self, parts: &[&str]) -> Vec<String> {
        self.logs[VICTIM].find(parts)
    }

    /// Waits until the victim has logged a line with all these parts.
    #[track_caller]
    pub fn await_log(&mut self, attacker: &mut Attacker, parts: &[&str]) -> String {
        let log = &mut self.logs[VICTIM];
        attacker.stranger.live_until(&format!("a line with {parts:?}"), || log.find(parts).pop())
    }

    /// Waits until a peer has been found guilty of this, and not yet banned.
    #[track_caller]
    pub fn await_points(&mut self, attacker: &mut Attacker, offence: &str, points: u32) {
        let (id, points) = (attacker.id.clone(), format!("(ban score {points})"));
        self.await_log(attacker, &["DEBUG", &id, offence, &points]);
    }

    /// Waits until a peer has been banned for this, and was shown out.
    #[track_caller]
    pub fn await_ban(&mut self, attacker: &mut Attacker, offence: &str) {
        let id = attacker.id.clone();
        self.await_log(attacker, &["WARN", &id, "banned for 24 h", offence]);
        attacker.stranger.await_shown_out();
    }

    /// What was held against a peer so far.
    pub fn offences(&mut self, attacker: &Attacker) -> Vec<String> {
        let id = attacker.id.clone();
        let lines = self.log(&[&id]);
        lines.into_iter().filter(|line| line.contains(" misbehaved: ") || line.contains(" banned for 24 h: ")).collect()
    }

    /// Asserts that nothing is held against a peer and that it is still let in. That it does not answer while others act,
    /// for then it does nothing, is not what is looked for.
    #[track_caller]
    pub fn assert_not_scored(&mut self, attacker: &Attacker) {
        let mut offences = self.offences(attacker);
        offences.retain(|line| !line.contains("did not respond in time"));
        assert_eq!(offences, Vec::<String>::new());
        assert!(attacker.stranger.is_connected(), "it was shown out");
    }

    /// One of the victim's metrics.
    pub fn metric(&self, name: &str) -> f64 {
        self.nodes[VICTIM].metric(name).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// The victim's memory.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.nodes[VICTIM].process_id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Attacker {
    /// Connects; the node's first question tells that it is in.
    pub fn enter(&mut self, node: &Multiaddr) {
        self.stranger.connect(node).unwrap();
        self.stranger.await_question("the node's first question", |question| *question == Request::Status);
    }

    /// Gossips a share, true or not.
    pub fn gossip(&mut self, share: &Share) {
        self.stranger.gossip_share(GossipShare { share: Arc::new(share.clone()) }.encode());
    }
}

/// Ids that are no share's.
pub fn invented_ids(count: u32) -> Vec<ShareId> {
    let id = |number: u32| {
        let mut bytes = [0xdd; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        ShareId(bytes)
    };
    (0..count).map(id).collect::<BTreeSet<_>>().into_iter().collect()
}
