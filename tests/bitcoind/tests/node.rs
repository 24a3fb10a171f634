//! The harness against a real bitcoind.

use std::time::Duration;

use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain, MempoolFiller, Options, RpcError};
use serde_json::json;

#[test]
fn it_mines_survives_kill_and_restart_and_ends_with_its_owner() {
    let mut node = Bitcoind::start(Chain::Regtest);
    let tip = node.mine(3)[2];
    assert_eq!((node.height(), node.tip()), (3, tip));
    assert_eq!(node.block(&tip).block_hash(), tip);
    assert_eq!(node.block_hash(3), tip);

    node.restart();
    assert_eq!(node.height(), 3);
    node.kill();
    assert!(matches!(node.rpc("getblockcount", json!([])), Err(RpcError::Unreachable(_))));
    node.launch();
    let (folder, client) = (node.data_dir().to_owned(), node.client());
    assert!(client.call("getblockcount", &json!([])).is_ok());

    drop(node);
    assert!(client.call("getblockcount", &json!([])).is_err());
    assert!(!folder.exists());
}

#[test]
fn errors_of_bitcoind_are_told_from_silence() {
    let node = Bitcoind::start(Chain::Regtest);
    let refused = node.rpc("getblockhash", json!([99]));
    assert!(matches!(&refused, Err(RpcError::Refused { code: -8, .. })), "{refused:?}");
    let unknown = node.rpc("nosuchthing", json!([]));
    assert!(matches!(&unknown, Err(RpcError::Refused { code: -32601, .. })), "{unknown:?}");
}

#[test]
fn two_nodes_share_their_blocks() {
    let options = Options { chain: Chain::Regtest, listen: true, arguments: Vec::new() };
    let (one, other) = (Bitcoind::start_with(options.clone()), Bitcoind::start_with(options));
    other.connect_to(&one);
    one.mine(2);
    other.sync_with(&one);
    assert_eq!(other.height(), 2);
}

#[test]
fn the_signet_needs_work_but_no_signature() {
    let node = Bitcoind::start(Chain::OpTrueSignet);
    let hash = node.mine(1)[0];
    assert_eq!(node.block(&hash).header.bits.to_consensus(), 0x1e03_77ae);
}

#[test]
fn a_mempool_can_be_made_to_fill_a_block() {
    let node = Bitcoind::start(Chain::Regtest);
    let mut filler = MempoolFiller::new(&node, 150);
    let sent = filler.fill(&node, 4_100_000, 40_000);
    assert!(sent.iter().all(|transaction| (39_950..=40_000).contains(&transaction.weight().to_wu())));
    wait_until("the mempool to hold them all", Duration::from_secs(60), || {
        node.call("getmempoolinfo", json!([]))["size"] == sent.len()
    });
    let template = node.call("getblocktemplate", json!([{"rules": ["segwit"]}]));
    let in_template = template["transactions"].as_array().map_or(0, Vec::len);
    assert!((90..sent.len()).contains(&in_template), "{in_template} of {}", sent.len());
}
