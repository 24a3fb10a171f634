//! Lookups of the blocks that shares are built on, and confirmations of found blocks.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bitcoin::block::Header;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use crossbeam_channel::{unbounded, Receiver, Sender};
use p2pool_channels::{latest, LatestReceiver, TemplateUpdate, ToAnchor, ToChain};
use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::metrics::Metrics;
use p2pool_core::node::AnchorResult;
use p2pool_core::node::{Event, HeaderCommand};
use p2pool_core::params::ChainParams;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::Anchor;
use p2pool_core::status::{BlockStatus, BlocksStatus, TrackedBlocks};
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use p2pool_rpc::AnchorThread;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain, Options};
use serde_json::json;

use crate::support::{config, config_of, op_true_signet, regtest, Fault, Log, Proxy, Running, TIMEOUT};

/// A running anchor thread.
struct Anchoring {
    to: Sender<ToAnchor>,
    chain: Receiver<ToChain>,
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
        Self { to, chain, templates, metrics, tracked, blocks, thread: Running::start(|| thread.run()) }
    }

    #[track_caller]
    fn result(&self, hash: BlockHash) -> AnchorResult {
        match self.chain.recv_timeout(TIMEOUT).expect("the result of a lookup") {
            ToChain::Event(Event::Anchor(lookup)) => {
                assert_eq!(lookup.hash, hash);
                lookup.result
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn look_up(&self, hash: BlockHash) -> AnchorResult {
        self.to.send(ToAnchor::Command(HeaderCommand::LookUp(hash))).unwrap();
        self.result(hash)
    }

    #[track_caller]
    fn known(&self, hash: BlockHash) -> Anchor {
        match self.look_up(hash) {
            AnchorResult::Known(anchor) => anchor,
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
    fn submit(&self, headers: Vec<Header>) -> AnchorResult {
        let hash = headers.last().unwrap().block_hash();
        self.to.send(ToAnchor::Command(HeaderCommand::Submit(headers))).unwrap();
        self.result(hash)
    }

    #[track_caller]
    fn stop(self) {
        self.to.send(ToAnchor::Stop).unwrap();
        self.thread.join_within(Duration::from_secs(5));
        assert_eq!(self.chain.try_iter().count(), 0);
        assert!(self.templates.take().is_none(), "no template within half a minute");
    }
}

/// Mines blocks that differ from those of [`Bitcoind::mine`], which may be the same on two nodes within one second.
fn mine_others(node: &Bitcoind, count: u32) -> Vec<BlockHash> {
    let hashes = node.call("generatetodescriptor", json!([count, "raw(51)"]));
    hashes.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect()
}

fn header(node: &Bitcoind, hash: BlockHash) -> Header {
    deserialize_hex(node.call("getblockheader", json!([hash.to_string(), false])).as_str().unwrap()).unwrap()
}

/// The anchor as this test determines it.
fn expected(node: &Bitcoind, hash: BlockHash, next_bits: u32) -> Anchor {
    let facts = node.call("getblockheader", json!([hash.to_string()]));
    Anchor {
        header: header(node, hash),
        height: BlockHeight(facts["height"].as_u64().unwrap() as u32),
        median_time_past: UnixTime(facts["mediantime"].as_u64().unwrap() as u32),
        next_bits: Bits(next_bits),
        next_bits_late: None,
    }
}

/// The target of the next block, from a template.
fn template_bits(node: &Bitcoind) -> u32 {
    let template = node.call("getblocktemplate", json!([{"rules": ["segwit", "signet"]}]));
    u32::from_str_radix(template["bits"].as_str().unwrap(), 16).unwrap()
}

#[test]
fn tip_and_ancestors_are_known() {
    let node = Bitcoind::start(Chain::Regtest);
    node.mine(200);
    let anchoring = Anchoring::start(&node, regtest());
    assert_eq!(anchoring.known(node.tip()), expected(&node, node.tip(), template_bits(&node)));
    for height in [0, 1, 10, 143, 199, 200] {
        let hash = node.block_hash(height);
        let anchor = anchoring.known(hash);
        assert_eq!(anchor, expected(&node, hash, 0x207f_ffff));
        assert_eq!(anchor.height.0, height);
    }
    anchoring.stop();
}

#[test]
fn signet_keeps_its_target_within_a_period() {
    let node = Bitcoind::start(Chain::OpTrueSignet);
    let anchoring = Anchoring::start(&node, op_true_signet());
    assert_eq!(anchoring.known(node.tip()), expected(&node, node.tip(), template_bits(&node)));
    node.mine(1);
    assert_eq!(anchoring.known(node.tip()), expected(&node, node.tip(), template_bits(&node)));
    assert_eq!(template_bits(&node), 0x1e03_77ae);
    anchoring.stop();
}

#[test]
fn headers_that_bitcoind_rejects_stay_unknown() {
    let (ours, theirs) = (Bitcoind::start(Chain::Regtest), Bitcoind::start(Chain::Regtest));
    ours.mine(2);
    let headers: Vec<Header> = mine_others(&theirs, 7).into_iter().map(|hash| header(&theirs, hash)).collect();
    let anchoring = Anchoring::start(&ours, regtest());
    assert!(matches!(anchoring.look_up(headers[6].block_hash()), AnchorResult::Unknown));
    // The first one is missing, so bitcoind cannot verify the rest.
    assert!(matches!(anchoring.submit(headers[1..].to_vec()), AnchorResult::Unknown));
    // A header without proof of work is rejected.
    let mut forged = headers[0];
    while bitcoin::Target::from_compact(forged.bits).is_met_by(forged.block_hash()) {
        forged.nonce += 1;
    }
    assert!(matches!(anchoring.submit(vec![forged]), AnchorResult::Unknown));
    // No headers, no result.
    anchoring.to.send(ToAnchor::Command(HeaderCommand::Submit(Vec::new()))).unwrap();
    anchoring.stop();
}

#[test]
fn headers_of_a_fork_are_known_without_their_blocks() {
    let (ours, theirs) = (Bitcoind::start(Chain::Regtest), Bitcoind::start(Chain::Regtest));
    ours.mine(2);
    let headers: Vec<Header> = mine_others(&theirs, 7).into_iter().map(|hash| header(&theirs, hash)).collect();
    let anchoring = Anchoring::start(&ours, regtest());
    let AnchorResult::Known(anchor) = anchoring.submit(headers.clone()) else {
        panic!("seven headers on the genesis block")
    };
    assert_eq!(anchor, expected(&theirs, headers[6].block_hash(), 0x207f_ffff));
    assert_eq!(ours.height(), 2, "headers alone do not change the best chain");
    for header in &headers {
        assert_eq!(anchoring.known(header.block_hash()).header, *header);
    }
    anchoring.stop();
}

#[test]
fn a_block_off_the_best_chain_is_known_and_one_marked_invalid_is_not() {
    let node = Bitcoind::start(Chain::Regtest);
    node.mine(3);
    let fork = node.mine(2);
    let anchoring = Anchoring::start(&node, regtest());
    assert!(matches!(anchoring.look_up(fork[0]), AnchorResult::Known(_)));

    node.call("invalidateblock", json!([fork[0].to_string()]));
    for hash in &fork {
        assert!(matches!(anchoring.look_up(*hash), AnchorResult::Invalid), "{hash}");
        assert!(matches!(anchoring.submit(vec![header(&node, *hash)]), AnchorResult::Invalid), "{hash}");
    }
    let best = mine_others(&node, 4);

    node.call("reconsiderblock", json!([fork[0].to_string()]));
    assert_eq!(node.tip(), best[3]);
    for hash in &fork {
        assert_eq!(anchoring.known(*hash), expected(&node, *hash, 0x207f_ffff));
    }
    anchoring.stop();
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
    assert!(matches!(anchoring.look_up(tip), AnchorResult::Known(_)));
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
    assert!(matches!(result, AnchorResult::Known(_)), "{result:?}");
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
