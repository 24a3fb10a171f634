//! Lookups of the blocks that shares are built on, and confirmations of found blocks.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::block::Header;
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use crossbeam_channel::{unbounded, Receiver, Sender};
use p2pool_channels::{latest, LatestReceiver, TemplateUpdate, ToAnchor, ToChain};
use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::metrics::Metrics;
use p2pool_core::node::{AnchorLookup, AnchorResult, BlockLookup, Event};
use p2pool_core::params::ChainParams;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{Anchor, HeaderIndex, BEST_CHAIN_DEPTH};
use p2pool_core::status::{BlockStatus, BlocksStatus, TrackedBlocks};
use p2pool_core::units::Bits;
use p2pool_rpc::AnchorThread;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain, Options};
use serde_json::json;

use crate::support::{config, config_of, op_true_signet, regtest, Fault, Log, Proxy, Running, TIMEOUT};

/// A running anchor thread, and what it has reported.
struct Anchoring {
    to: Sender<ToAnchor>,
    chain: Receiver<ToChain>,
    index: RefCell<HeaderIndex>,
    templates: LatestReceiver<TemplateUpdate>,
    metrics: Arc<Metrics>,
    tracked: Arc<ArcSwap<TrackedBlocks>>,
    blocks: Arc<ArcSwap<BlocksStatus>>,
    thread: Running,
}

impl Anchoring {
    fn start(node: &Bitcoind, params: ChainParams) -> Self {
        Self::start_at(&config_of(node, params))
    }

    fn start_at(config: &Config) -> Self {
        Log::capture();
        let (to, inbox) = unbounded();
        let (sender, chain) = unbounded();
        let (slot, templates) = latest();
        let metrics = Arc::new(Metrics::default());
        let thread = AnchorThread::open(config, inbox, sender, slot, Arc::clone(&metrics)).unwrap();
        let (tracked, blocks) = (thread.tracked(), thread.blocks());
        let index = RefCell::new(HeaderIndex::new(config.params.network));
        Self { to, chain, index, templates, metrics, tracked, blocks, thread: Running::start(|| thread.run()) }
    }

    /// Waits for the next event. Reports of the best chain go to the index.
    #[track_caller]
    fn event(&self) -> Option<AnchorLookup> {
        match self.chain.recv_timeout(TIMEOUT).expect("an event") {
            ToChain::Event(Event::Anchor(lookup)) => Some(lookup),
            ToChain::Event(Event::BestChain(report)) => {
                assert!(self.index.borrow_mut().follow(report), "every report fits the one before");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the reported best chain ends with this block.
    #[track_caller]
    fn follow_to(&self, tip: BlockHash) {
        self.follow_until(|index| index.best().is_some_and(|best| best.header.block_hash() == tip));
    }

    #[track_caller]
    fn follow_until(&self, is_done: impl Fn(&HeaderIndex) -> bool) {
        while !is_done(&self.index.borrow()) {
            assert!(self.event().is_none(), "no lookup was requested");
        }
    }

    #[track_caller]
    fn look_up(&self, hash: BlockHash) -> AnchorResult {
        self.look_up_as(BlockLookup { hash, may_be_old: true })
    }

    #[track_caller]
    fn look_up_as(&self, lookup: BlockLookup) -> AnchorResult {
        let hash = lookup.hash;
        self.to.send(ToAnchor::LookUp(lookup)).unwrap();
        loop {
            if let Some(lookup) = self.event() {
                assert_eq!(lookup.hash, hash);
                return lookup.result;
            }
        }
    }

    #[track_caller]
    fn known(&self, hash: BlockHash) -> Anchor {
        match self.look_up(hash) {
            AnchorResult::Known(anchor) => *anchor,
            AnchorResult::Reported => self.index.borrow().get(&hash).cloned().expect("it is reported before"),
            other => panic!("{hash}: {other:?}"),
        }
    }

    /// Requests the confirmations of these blocks again.
    #[track_caller]
    fn statuses(&self, hashes: &[BlockHash]) -> Vec<BlockStatus> {
        let ids: Vec<ShareId> = hashes.iter().map(|hash| ShareId(hash.to_byte_array())).collect();
        self.tracked.store(Arc::default());
        wait_until("the last confirmations to be forgotten", TIMEOUT, || self.blocks.load().blocks.is_empty());
        self.tracked.store(Arc::new(TrackedBlocks(ids.clone())));
        wait_until("all confirmations", TIMEOUT, || self.blocks.load().blocks.len() == ids.len());
        let status = self.blocks.load();
        ids.iter().map(|id| status.blocks[id]).collect()
    }

    #[track_caller]
    fn stop(self) {
        self.to.send(ToAnchor::Stop).unwrap();
        self.thread.join_within(Duration::from_secs(5));
        let is_lookup = |message: &ToChain| matches!(message, ToChain::Event(Event::Anchor(_)));
        assert!(!self.chain.try_iter().any(|message| is_lookup(&message)), "each lookup has one result");
        assert!(self.templates.take().is_none(), "no template within half a minute");
    }
}

/// Mines blocks that differ from all others: those of [`Bitcoind::mine`], which may be the same on two nodes within one
/// second, and those of earlier calls, which may have been invalidated.
fn mine_others(node: &Bitcoind, count: u32) -> Vec<BlockHash> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // A push of the number, then OP_TRUE.
    let script = format!("raw(04{:08x}51)", CALLS.fetch_add(1, Ordering::Relaxed));
    let hashes = node.call("generatetodescriptor", json!([count, script]));
    hashes.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect()
}

fn header(node: &Bitcoind, hash: BlockHash) -> Header {
    deserialize_hex(node.call("getblockheader", json!([hash.to_string(), false])).as_str().unwrap()).unwrap()
}

/// Asserts that an anchor is what bitcoind says of this block, and that its children are to state `next_bits`.
#[track_caller]
fn assert_is(anchor: &Anchor, node: &Bitcoind, hash: BlockHash, next_bits: u32) {
    let facts = node.call("getblockheader", json!([hash.to_string()]));
    assert_eq!(anchor.header, header(node, hash));
    assert_eq!(anchor.height.0, facts["height"].as_u64().unwrap() as u32);
    assert_eq!(anchor.median_time_past.0, facts["mediantime"].as_u64().unwrap() as u32);
    assert_eq!((anchor.next_bits, anchor.next_bits_late), (Bits(next_bits), None));
}

/// The target of the next block, from a template.
fn template_bits(node: &Bitcoind) -> u32 {
    let template = node.call("getblocktemplate", json!([{"rules": ["segwit", "signet"]}]));
    u32::from_str_radix(template["bits"].as_str().unwrap(), 16).unwrap()
}

#[test]
fn the_best_chain_is_reported_from_its_root_on_and_older_blocks_are_looked_up() {
    let node = Bitcoind::start(Chain::Regtest);
    node.mine(BEST_CHAIN_DEPTH + 30);
    let anchoring = Anchoring::start(&node, regtest());
    anchoring.follow_to(node.tip());
    for more in [1, 3, 200] {
        node.mine(more);
        anchoring.follow_to(node.tip());
    }
    let height = BEST_CHAIN_DEPTH + 30 + 204;
    let index = anchoring.index.borrow().clone();
    assert_eq!((index.len() as u32, index.is_settled()), (BEST_CHAIN_DEPTH + 1, true));
    for above in [0, 1, 7, BEST_CHAIN_DEPTH - 1, BEST_CHAIN_DEPTH] {
        let hash = node.block_hash(height - BEST_CHAIN_DEPTH + above);
        assert_is(index.get(&hash).unwrap(), &node, hash, template_bits(&node));
    }
    for below in [0, 1, 9, 10, 11, 229] {
        let hash = node.block_hash(below);
        assert!(index.get(&hash).is_none());
        assert_is(&anchoring.known(hash), &node, hash, 0x207f_ffff);
    }
    anchoring.stop();
}

#[test]
fn signet_keeps_its_target_within_a_period() {
    let node = Bitcoind::start(Chain::OpTrueSignet);
    let anchoring = Anchoring::start(&node, op_true_signet());
    for _ in 0..2 {
        let tip = node.tip();
        assert_is(&anchoring.known(tip), &node, tip, template_bits(&node));
        anchoring.follow_to(tip);
        node.mine(1);
    }
    assert_eq!(template_bits(&node), 0x1e03_77ae);
    anchoring.stop();
}

#[test]
fn reorganisations_are_followed_however_deep() {
    let node = Bitcoind::start(Chain::Regtest);
    node.mine(BEST_CHAIN_DEPTH + 60);
    let anchoring = Anchoring::start(&node, regtest());
    anchoring.follow_to(node.tip());
    for depth in [1, 2, 6, 24, 25, 49, 80, BEST_CHAIN_DEPTH + 5] {
        let height = node.height();
        let left = node.block_hash(height - depth + 1);
        node.call("invalidateblock", json!([left.to_string()]));
        mine_others(&node, depth + 1);
        let tip = node.tip();
        anchoring.follow_to(tip);
        let index = anchoring.index.borrow();
        assert_is(index.best().unwrap(), &node, tip, 0x207f_ffff);
        let root = node.block_hash(height + 1 - BEST_CHAIN_DEPTH);
        assert!(index.get(&root).is_some(), "{depth}");
    }
    // A best chain that ends earlier, for a moment.
    let tip = node.tip();
    let before = header(&node, tip).prev_blockhash;
    node.call("invalidateblock", json!([tip.to_string()]));
    anchoring.follow_to(before);
    node.call("reconsiderblock", json!([tip.to_string()]));
    anchoring.follow_to(tip);
    anchoring.stop();
}

#[test]
fn a_bitcoind_whose_headers_lead_its_blocks_has_not_caught_up() {
    let (ours, theirs) = (Bitcoind::start(Chain::Regtest), Bitcoind::start(Chain::Regtest));
    ours.mine(2);
    let headers: Vec<BlockHash> = mine_others(&theirs, 9);
    let anchoring = Anchoring::start(&ours, regtest());
    anchoring.follow_to(ours.tip());
    for (count, is_settled) in [(8, true), (9, false)] {
        for hash in &headers[..count] {
            ours.call("submitheader", json!([serialize_hex(&header(&theirs, *hash))]));
        }
        anchoring.follow_until(|index| index.is_settled() == is_settled);
    }
    assert!(matches!(anchoring.look_up(headers[0]), AnchorResult::Unknown), "a header alone is not on the best chain");
    for hash in &headers {
        let block = theirs.call("getblock", json!([hash.to_string(), 0]));
        ours.call("submitblock", json!([block]));
    }
    anchoring.follow_until(HeaderIndex::is_settled);
    anchoring.follow_to(headers[8]);
    anchoring.stop();
}

#[test]
fn a_new_block_is_reported_before_it_is_looked_up() {
    let node = Bitcoind::start(Chain::Regtest);
    let anchoring = Anchoring::start(&node, regtest());
    for _ in 0..5 {
        let tip = node.mine(1)[0];
        assert_is(&anchoring.known(tip), &node, tip, 0x207f_ffff);
        assert!(anchoring.index.borrow().get(&tip).is_some());
    }
    anchoring.stop();
}

#[test]
fn blocks_beside_the_best_chain_are_unknown() {
    let node = Bitcoind::start(Chain::Regtest);
    node.mine(3);
    let fork = node.mine(2);
    let anchoring = Anchoring::start(&node, regtest());
    anchoring.known(fork[0]);
    node.call("invalidateblock", json!([fork[0].to_string()]));
    let best = mine_others(&node, 4);
    for hash in [fork[0], fork[1], BlockHash::from_byte_array([7; 32])] {
        assert!(matches!(anchoring.look_up(hash), AnchorResult::Unknown), "{hash}");
    }
    anchoring.known(best[3]);
    anchoring.stop();
}

/// Peers can have the node look up any block, as often as they like.
#[test]
fn lookups_of_blocks_that_peers_name_make_few_calls_of_bitcoind() {
    let node = Bitcoind::start(Chain::Regtest);
    node.mine(BEST_CHAIN_DEPTH + 30);
    let proxy = Proxy::start(node.rpc_port(), Fault::Count);
    let anchoring = Anchoring::start_at(&config(proxy.port(), &node.cookie_file(), regtest()));
    anchoring.follow_to(node.tip());
    let side = node.mine(2);
    anchoring.follow_to(side[1]);
    node.call("invalidateblock", json!([side[0].to_string()]));
    anchoring.follow_to(mine_others(&node, 3)[2]);
    let calls_for = |hash: BlockHash, may_be_old: bool| {
        // One look at the best chain may come meanwhile, which makes one call while nothing changes, and calls for templates and
        // confirmations have other names.
        let before = proxy.calls(&["getblockheader", "getblockhash"]);
        let result = anchoring.look_up_as(BlockLookup { hash, may_be_old });
        (result, proxy.calls(&["getblockheader", "getblockhash"]) - before)
    };
    for hash in [BlockHash::from_byte_array([7; 32]), side[0], side[1]] {
        for may_be_old in [false, true] {
            assert!(matches!(calls_for(hash, may_be_old), (AnchorResult::Unknown, 1)), "{hash}");
        }
    }
    for height in [0, 1, 20] {
        let (result, calls) = calls_for(node.block_hash(height), false);
        assert!(matches!((result, calls), (AnchorResult::Unknown, 1)), "too old for gossip: {calls}");
        let (result, calls) = calls_for(node.block_hash(height), true);
        assert!(matches!(result, AnchorResult::Known(_)) && calls <= 30, "{calls} calls");
    }
    for height in [100, BEST_CHAIN_DEPTH + 33] {
        let (result, calls) = calls_for(node.block_hash(height), true);
        assert!(matches!((result, calls), (AnchorResult::Reported, 1)), "{calls} calls");
    }
    anchoring.stop();
}

/// However many old blocks a fetched chain names.
#[test]
fn a_flood_of_lookups_makes_a_bounded_number_of_calls() {
    let node = Bitcoind::start(Chain::Regtest);
    node.mine(BEST_CHAIN_DEPTH + 30);
    let proxy = Proxy::start(node.rpc_port(), Fault::Count);
    let anchoring = Anchoring::start_at(&config(proxy.port(), &node.cookie_file(), regtest()));
    anchoring.follow_to(node.tip());
    let (old, started) = (node.block_hash(12), Instant::now());
    let before = proxy.calls(&["getblockheader", "getblockhash"]);
    let lookups = 20_000 / 25 + 100;
    let refused = (0..lookups).filter(|_| matches!(anchoring.look_up(old), AnchorResult::Unavailable)).count();
    let calls = proxy.calls(&["getblockheader", "getblockhash"]) - before;
    let most = 20_000 + 1_000 * (started.elapsed().as_secs() + 1) + 30;
    assert!(calls <= most, "{calls} calls of at most {most}");
    assert!(refused > 0 || started.elapsed() > Duration::from_secs(5), "{refused} lookups refused");
    // The best chain is followed all the same.
    anchoring.follow_to(node.mine(1)[0]);
    // A slow machine takes so long that a template is due.
    anchoring.to.send(ToAnchor::Stop).unwrap();
    anchoring.thread.join_within(Duration::from_secs(5));
}

#[test]
fn confirmations_of_found_blocks_are_published() {
    let node = Bitcoind::start(Chain::Regtest);
    let anchoring = Anchoring::start(&node, regtest());
    let mined = node.mine(6);
    let confirmed = |confirmations| BlockStatus::Confirmed { confirmations };
    let unknown = BlockHash::from_byte_array([7; 32]);
    let blocks = [mined[5], mined[4], mined[0], unknown];
    assert_eq!(anchoring.statuses(&blocks), [confirmed(1), confirmed(2), confirmed(6), BlockStatus::Unknown]);
    // Another branch replaces the last two blocks, and more blocks are tracked than are requested per turn.
    node.call("invalidateblock", json!([mined[4].to_string()]));
    let others = mine_others(&node, 3);
    assert_eq!(
        anchoring.statuses(&[&blocks[..], &others[..]].concat()),
        [
            BlockStatus::Orphaned,
            BlockStatus::Orphaned,
            confirmed(7),
            BlockStatus::Unknown,
            confirmed(3),
            confirmed(2),
            confirmed(1)
        ]
    );
    anchoring.stop();
}

#[test]
fn lookups_fail_without_bitcoind_and_work_again_later() {
    let mut node = Bitcoind::start(Chain::Regtest);
    let tip = node.tip();
    let anchoring = Anchoring::start(&node, regtest());
    anchoring.known(tip);
    node.kill();
    for _ in 0..100 {
        assert!(matches!(anchoring.look_up(tip), AnchorResult::Unavailable));
    }
    assert!((1..100).contains(&anchoring.metrics.rpc_errors.get()), "most fail without a request");
    node.launch();
    let mut result = anchoring.look_up(tip);
    while matches!(result, AnchorResult::Unavailable) {
        std::thread::yield_now();
        result = anchoring.look_up(tip);
    }
    assert!(matches!(result, AnchorResult::Known(_) | AnchorResult::Reported), "{result:?}");
    anchoring.stop();
}

#[test]
fn invalid_responses_make_lookups_fail() {
    let node = Bitcoind::start(Chain::Regtest);
    let proxy = Proxy::start(node.rpc_port(), Fault::Http("200 OK", "{}"));
    let anchoring = Anchoring::start_at(&config(proxy.port(), &node.cookie_file(), regtest()));
    assert!(matches!(anchoring.look_up(node.tip()), AnchorResult::Unavailable));
    anchoring.stop();
}

#[test]
fn a_best_chain_that_cannot_be_followed_is_reported_once() {
    let node = Bitcoind::start(Chain::Regtest);
    let proxy = Proxy::start(node.rpc_port(), Fault::Http("500 Internal Server Error", ""));
    let url = format!(":{}/", proxy.port());
    let anchoring = Anchoring::start_at(&config(proxy.port(), &node.cookie_file(), regtest()));
    let lines = || Log::with(&["WARN", &url, "bitcoind's best chain not followed for "]);
    // It is reported after half a minute.
    wait_until("a warning", 3 * TIMEOUT, || !lines().is_empty());
    assert!(lines()[0].contains("sent an invalid response: HTTP status 500: no text. Check that"), "{:?}", lines());
    proxy.set(Fault::None);
    anchoring.follow_to(node.tip());
    Log::wait(&["INFO", &url, "bitcoind's best chain followed again"]);
    assert_eq!(lines().len(), 1);
    anchoring.stop();
}

#[test]
fn a_bitcoind_on_another_network_is_not_used() {
    let node = Bitcoind::start(Chain::Regtest);
    let anchoring = Anchoring::start(&node, op_true_signet());
    assert!(matches!(anchoring.look_up(node.tip()), AnchorResult::Unavailable));
    anchoring.stop();
}

#[test]
fn the_network_is_checked_again_after_a_reconnect() {
    let credentials =
        ["-rpcauth=p2pool:5a17$186d27da765fc107362bda677e1d4073e77a39eda39dad03a3d18d04364bd015".to_owned()];
    let start = |chain| Bitcoind::start_with(Options { chain, listen: false, arguments: credentials.to_vec() });
    let (regtest_node, signet_node) = (start(Chain::Regtest), start(Chain::OpTrueSignet));
    let proxy = Proxy::start(regtest_node.rpc_port(), Fault::None);
    let rpc_auth = RpcAuth::UserPassword { user: "p2pool".to_owned(), password: "secret".to_owned() };
    let config = config(proxy.port(), &regtest_node.cookie_file(), regtest());
    let anchoring = Anchoring::start_at(&Config { rpc_auth, ..config });
    anchoring.known(regtest_node.tip());
    // The idle connection breaks without an error, and the next one goes to another bitcoind.
    proxy.redirect(signet_node.rpc_port());
    assert!(matches!(anchoring.look_up(signet_node.tip()), AnchorResult::Unavailable));
    anchoring.stop();
}
