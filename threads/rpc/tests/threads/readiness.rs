//! Whether bitcoind would accept a block is known before one is found.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pool_core::status::{BitcoindError, SubmitOutcome};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain, Options};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::submit::{find, hash, Submitting};
use crate::support::{config, config_of, regtest, Fault, Log, Proxy, TIMEOUT};

/// The methods that the tests themselves call.
const OF_TESTS: &str = "getblockcount,getbestblockhash,generatetoaddress,stop";

/// The argument that allows the cookie's user these methods only.
fn whitelist(methods: &str) -> String {
    format!("-rpcwhitelist=__cookie__:{OF_TESTS},{methods}")
}

#[test]
fn refused_methods_are_named_and_those_of_a_restarted_bitcoind_are_tried_again() {
    let few = whitelist("getblocktemplate,getblockchaininfo,getblockhash");
    let all = whitelist("getblocktemplate,getblockchaininfo,getblockhash,getblockheader,submitblock");
    let mut node = Bitcoind::start_with(Options { chain: Chain::Regtest, listen: false, arguments: vec![few.clone()] });
    let dir = TempDir::new().unwrap();
    let url = format!(":{}/", node.rpc_port());
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let refused = || submitting.readiness.load().refused.clone();
    Log::wait(&["ERROR", &url, "refuses methods (HTTP status 403): submitblock, getblockheader. If bitcoin.conf has"]);
    wait_until("the refused methods", TIMEOUT, || refused() == ["submitblock", "getblockheader"]);

    // A found block is seen to fail at the first try, and says why.
    let found = find(&node, "");
    submitting.submit(&found);
    let why = "bitcoind refuses the method submitblock (HTTP status 403): its -rpcwhitelist lacks it";
    let (_, _, outcome) = submitting.outcome(&found);
    assert!(matches!(&outcome, SubmitOutcome::Failed(reason) if reason.starts_with(why)), "{outcome:?}");
    Log::wait(&["WARN", &hash(&found).to_string(), why]);

    node.stop();
    node.arguments_mut()[0] = all;
    node.launch();
    submitting.accepted(&found);
    wait_until("no refused method", TIMEOUT, || submitting.readiness.load().is_ready());
    Log::wait(&["INFO", &url, "would accept blocks again"]);

    node.stop();
    node.arguments_mut()[0] = few;
    node.launch();
    wait_until("the refused methods", TIMEOUT, || refused() == ["submitblock", "getblockheader"]);
    assert_eq!(Log::with(&["ERROR", &url, "refuses methods"]).len(), 2, "one line per change");
    submitting.stop();
}

#[test]
fn a_bitcoind_that_does_not_respond_to_submitblock_is_reported_before_a_block_is_found() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let proxy = Proxy::start(node.rpc_port(), Fault::Withhold("submitblock"));
    let submitting = Submitting::start(config(proxy.port(), &node.cookie_file(), regtest()), &dir);
    let url = format!(":{}/", proxy.port());
    Log::wait(&["ERROR", &url, "would accept no block now: it does not respond: receive response timeout, 3 s"]);
    let status = submitting.readiness.load_full();
    assert!(matches!(status.error, Some(BitcoindError::NoResponse(_))) && status.since.0 > 1_700_000_000, "{status:?}");
    proxy.set(Fault::None);
    wait_until("a test with a response", TIMEOUT, || submitting.readiness.load().is_ready());
    Log::wait(&["INFO", &url, "would accept blocks again"]);
    assert!(submitting.readiness.load().since >= status.since);

    // An empty 503, as bitcoind sends it while it shuts down.
    proxy.set(Fault::Http("503 Service Unavailable", ""));
    wait_until("a test without a response", TIMEOUT, || !submitting.readiness.load().is_ready());
    let error = submitting.readiness.load().error.clone().unwrap().to_string();
    assert!(error.contains("HTTP status 503: its work queue is full (-rpcworkqueue)"), "{error}");
    submitting.stop();
}

/// A block that waits for its next try is submitted as soon as bitcoind responds to a test.
#[test]
fn a_connection_is_kept_ready_for_a_block() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let proxy = Proxy::start(node.rpc_port(), Fault::None);
    let submitting = Submitting::start(config(proxy.port(), &node.cookie_file(), regtest()), &dir);
    wait_until("the first test", TIMEOUT, || Arc::clone(&submitting.readiness.load()).since.0 > 0);
    let connections = proxy.connections();
    let found = find(&node, "");
    submitting.submit(&found);
    submitting.accepted(&found);
    assert_eq!(proxy.connections(), connections, "the block needs no new connection");
    submitting.stop();
}

/// A found block waits for the end of a test, and so does the end of the program, which gives this thread four seconds.
#[test]
fn a_test_of_a_host_that_does_not_respond_takes_three_seconds() {
    let (dir, socket) = (TempDir::new().unwrap(), Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // With its queue full, the system drops further connections as those to a host that is off.
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let _queue: Vec<TcpStream> = std::iter::from_fn(connect).collect();
    let cookie_file = dir.path().join("cookie");
    std::fs::write(&cookie_file, "__cookie__:0").unwrap();
    let started = Instant::now();
    let submitting = Submitting::start(config(address.port(), &cookie_file, regtest()), &dir);
    wait_until("the first test", TIMEOUT, || submitting.readiness.load().error.is_some());
    let (error, took) = (submitting.readiness.load().error.clone(), started.elapsed());
    assert!(matches!(error, Some(BitcoindError::Unreachable(_))), "{error:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    submitting.stop();
}
