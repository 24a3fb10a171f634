//! A block that bitcoind does not accept is seen everywhere: RPC methods that it refuses, a full work queue.

use bitcoin::hex::DisplayHex as _;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind, Chain, Options};
use p2pool_test_functional::pool::Pool;
use serde_json::{json, Value};

use crate::{options, TIMEOUT};

/// The methods that the test itself calls.
const OF_TEST: &str = "getblockcount,getbestblockhash,getblock,generatetoaddress,stop";

/// The argument that allows the cookie's user, which is the node's too, these methods only.
fn whitelist(methods: &str) -> String {
    format!("-rpcwhitelist=__cookie__:{OF_TEST},{methods}")
}

fn start(arguments: Vec<String>) -> Bitcoind {
    Bitcoind::start_with(Options { chain: Chain::Regtest, listen: true, arguments })
}

/// The codes of the problems that the page shows.
fn problems(pool: &Pool) -> Option<Vec<String>> {
    let problems = pool.api("/api/v1/status")?["problems"].as_array()?.clone();
    Some(problems.iter().filter_map(|problem| problem["code"].as_str().map(str::to_owned)).collect())
}

/// Waits until the page shows a problem, or no longer does.
#[track_caller]
fn wait_problem(pool: &Pool, code: &str, is_there: bool) {
    wait_until(&format!("{code}: {is_there}"), TIMEOUT, || {
        problems(pool).is_some_and(|codes| codes.iter().any(|one| one == code) == is_there)
    });
}

/// Finds a block and returns its hash.
#[track_caller]
fn find(pool: &Pool) -> String {
    let mut session = pool.session("worker");
    let job = session.wait_job(TIMEOUT, |_| true).unwrap();
    let (submit, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
    session.submit(&submit).unwrap();
    bitcoin::BlockHash::from_raw_hash(bitcoin::hashes::Hash::from_byte_array(hash)).to_string()
}

/// Waits until the API lists the block with this status.
#[track_caller]
fn wait_listed(pool: &Pool, hash: &str, status: &str) -> Value {
    wait_for(&format!("block {hash} {status}"), TIMEOUT, || {
        let blocks = pool.api("/api/v1/blocks")?["blocks"].as_array()?.clone();
        blocks.into_iter().find(|block| block["hash"] == hash && block["status"] == status)
    })
}

#[track_caller]
fn wait_healthy(pool: &Pool) {
    wait_until("a healthy node", TIMEOUT, || pool.health().is_some_and(|(code, _)| code == 200));
}

#[test]
fn a_missing_right_to_submit_blocks_is_named_before_and_after_a_block_is_found() {
    let few = whitelist("getblocktemplate,getblockchaininfo,getblockhash,getblockheader");
    let mut bitcoind = start(vec![few.clone()]);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_problem(&pool, "methods_refused", true);
    pool.wait_log("refuses methods (HTTP status 403): submitblock. If bitcoin.conf has an rpcwhitelist=", TIMEOUT);
    let (code, reasons) = pool.health().unwrap();
    assert!(code == 503 && reasons.concat().contains("refuses this node RPC methods that it needs"), "{reasons:?}");
    assert_eq!(pool.metric("p2pool_submission_ready"), Some(0.0));

    let hash = find(&pool);
    let block = wait_listed(&pool, &hash, "not_accepted");
    let reason = block["reason"].as_str().unwrap();
    assert!(
        reason.contains("refuses the method submitblock (HTTP status 403): its -rpcwhitelist lacks it"),
        "{reason}"
    );
    wait_problem(&pool, "block_not_accepted", true);
    let (code, reasons) = pool.health().unwrap();
    assert!(code == 503 && reasons[0].contains(&hash), "{reasons:?}");
    assert_eq!(pool.metric("p2pool_blocks_not_accepted"), Some(1.0));

    // bitcoind is restarted with the right: the block is accepted, and everything is well.
    bitcoind.stop();
    bitcoind.arguments_mut()[0] = format!("{few},submitblock");
    bitcoind.launch();
    wait_listed(&pool, &hash, "confirmed");
    assert_eq!(bitcoind.tip().to_string(), hash);
    wait_problem(&pool, "block_not_accepted", false);
    wait_problem(&pool, "methods_refused", false);
    wait_healthy(&pool);
    assert_eq!(
        (pool.metric("p2pool_blocks_not_accepted"), pool.metric("p2pool_submission_ready")),
        (Some(0.0), Some(1.0))
    );

    // The right is taken away again.
    bitcoind.stop();
    bitcoind.arguments_mut()[0] = few;
    bitcoind.launch();
    wait_problem(&pool, "methods_refused", true);
    assert!(pool.terminate().success());
}

/// A block that a peer of this node brings to bitcoind is no longer a problem, although this node may still not submit it.
#[test]
fn a_block_that_bitcoind_has_from_elsewhere_is_no_problem() {
    let bitcoind =
        start(vec![whitelist("getblocktemplate,getblockchaininfo,getblockhash,getblockheader,addnode,getpeerinfo")]);
    let pool = Pool::start(&bitcoind, options(Chain::Regtest));
    let hash = find(&pool);
    wait_listed(&pool, &hash, "not_accepted");
    let chain_dirs = std::fs::read_dir(pool.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    let mut files = chain_dirs.map(|dir| dir.join("blocks").join(format!("{hash}.block")));
    let file = files.find(|file| file.exists()).unwrap();
    let block = std::fs::read(file).unwrap().to_lower_hex_string();
    let other = Bitcoind::start_with(Options { chain: Chain::Regtest, listen: true, arguments: Vec::new() });
    other.call("submitblock", json!([block]));
    bitcoind.connect_to(&other);
    wait_listed(&pool, &hash, "confirmed");
    wait_problem(&pool, "block_not_accepted", false);
    wait_problem(&pool, "methods_refused", true);
}

/// The long poll takes bitcoind's only thread, and other requests the only place of its queue, until the node notices it.
#[test]
fn a_block_that_a_full_work_queue_keeps_out_is_seen_and_submitted_later() {
    let bitcoind = start(vec!["-rpcthreads=1".to_owned(), "-rpcworkqueue=1".to_owned()]);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_until("a failed test of submitblock", TIMEOUT, || pool.metric("p2pool_submission_ready") == Some(0.0));
    let hash = find(&pool);
    let block = wait_listed(&pool, &hash, "not_accepted");
    let reason = block["reason"].as_str().unwrap();
    let full = "bitcoind does not respond: HTTP status 503: Work queue depth exceeded";
    assert!(reason == full || reason == "no response yet", "{reason}");
    wait_problem(&pool, "block_not_accepted", true);
    let (code, reasons) = pool.health().unwrap();
    assert!(code == 503 && reasons[0].contains(&hash), "{reasons:?}");
    // The long poll ends after a minute, and there is no other one.
    wait_listed(&pool, &hash, "confirmed");
    wait_problem(&pool, "long_poll_off", true);
    wait_problem(&pool, "block_not_accepted", false);
    wait_healthy(&pool);
    assert!(pool.terminate().success());
}

#[test]
fn a_bitcoind_with_one_rpc_thread_gets_blocks_at_once() {
    let bitcoind = start(vec!["-rpcthreads=1".to_owned()]);
    let mut pool = Pool::start(&bitcoind, options(Chain::Regtest));
    wait_problem(&pool, "long_poll_off", true);
    pool.wait_log("responds to no other request while one waits, templates are polled every 1 s", TIMEOUT);
    wait_healthy(&pool);
    assert_eq!((pool.metric("p2pool_long_poll"), pool.metric("p2pool_submission_ready")), (Some(0.0), Some(1.0)));
    let mut session = pool.session("worker");
    for _ in 0..3 {
        let job = session.wait_job(TIMEOUT, |_| true).unwrap();
        let (submit, hash) = session.solve_for(&job, 0, &job.submit_and_block_target());
        let found = std::time::Instant::now();
        session.submit(&submit).unwrap();
        let hash = crate::wait_block(&bitcoind, hash);
        let delay = found.elapsed();
        assert!(delay < std::time::Duration::from_secs(10), "{delay:?}");
        session.wait_job(TIMEOUT, |job| job.prev_block == *<_ as AsRef<[u8; 32]>>::as_ref(&hash)).unwrap();
    }
    assert!(pool.terminate().success());
}
