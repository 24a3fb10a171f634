//! A long poll leaves bitcoind's RPC threads to other requests.

use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind, Chain, Options};
use serde_json::json;
use tempfile::TempDir;

use crate::poll::Polling;
use crate::submit::{find, Submitting};
use crate::support::{config_of, regtest, Log, TIMEOUT};

/// Time after which a long poll has ended whatever happens: bitcoind's minute, and some for a busy machine.
const LONG_POLL_MAX: Duration = Duration::from_secs(90);

fn start(rpc_threads: u32) -> Bitcoind {
    let arguments = vec![format!("-rpcthreads={rpc_threads}")];
    Bitcoind::start_with(Options { chain: Chain::Regtest, listen: false, arguments })
}

#[test]
fn a_stopped_long_poll_frees_its_thread_within_a_minute() {
    let node = start(1);
    let polling = Polling::start(&config_of(&node, regtest()));
    polling.template_on(node.tip());
    let other = wait_for("the long poll to take the only thread", TIMEOUT, || {
        let (client, (done, is_done)) = (node.client(), bounded(1));
        let call = std::thread::spawn(move || {
            let result = client.call("getblockcount", &json!([]));
            done.send(()).unwrap();
            result
        });
        is_done.recv_timeout(Duration::from_millis(500)).is_err().then_some((call, is_done))
    });
    let (other, _is_done) = other;
    polling.stop();
    let stopped = Instant::now();
    wait_until("bitcoind to respond to another program", LONG_POLL_MAX, || other.is_finished());
    println!("responded {:?} after the stop", stopped.elapsed());
    assert_eq!(other.join().unwrap().unwrap(), 0);
}

#[test]
fn templates_are_polled_while_a_long_poll_would_take_bitcoinds_only_thread() {
    let (mut node, dir) = (start(1), TempDir::new().unwrap());
    let port = format!(":{}/", node.rpc_port());
    let polling = Polling::start(&config_of(&node, regtest()));
    let submitting = Submitting::start_beside(polling.watch.clone(), config_of(&node, regtest()), &dir);
    wait_until("the long poll to be off", LONG_POLL_MAX, || polling.bitcoind.load().long_poll_off_since.is_some());
    let line = Log::wait(&["WARN", &port, "long poll off: "]);
    assert!(line.contains("templates are polled every 1 s. Raise rpcthreads= in bitcoin.conf"), "{line}");
    wait_until("bitcoind to respond to a test", TIMEOUT, || submitting.readiness.load().is_ready());

    // A block is submitted at once, and the template on it follows, time after time.
    for _ in 0..3 {
        let started = Instant::now();
        let found = find(&node, "");
        submitting.submit(&found);
        submitting.accepted(&found);
        polling.template_on(node.tip());
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
    assert_eq!(Log::with(&["WARN", &port, "long poll off: "]).len(), 1);
    assert_eq!(polling.bitcoind.load().error, None);

    // With more threads after a restart, the long poll is tried again and harmless.
    node.stop();
    node.arguments_mut()[0] = "-rpcthreads=4".to_owned();
    node.launch();
    wait_until("the long poll to be on", TIMEOUT, || polling.bitcoind.load().long_poll_off_since.is_none());
    let mut delays: Vec<Duration> = (0..5)
        .map(|_| {
            let tip = node.mine(1)[0];
            let mined = Instant::now();
            polling.template_on(tip);
            mined.elapsed()
        })
        .collect();
    delays.sort();
    // Polled each second, each template comes nearly a second after the one before.
    assert!(delays[2] < Duration::from_millis(700), "{delays:?}");
    submitting.stop();
    polling.stop();
}
