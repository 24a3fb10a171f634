//! Memory and threads stay constant over many requests.

use std::fs;

use crate::client::Client;
use crate::node::Node;

/// Returns the threads and resident kilobytes of this process.
fn size() -> (usize, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (number("Threads:"), number("VmRSS:"))
}

fn send_requests(node: &Node, requests: usize) {
    let paths = [
        "/api/v1/status",
        "/api/v1/peers",
        "/",
        "/metrics",
        "/nothing",
        "/api/v1/payouts",
        "/api/v1/history?window=1d",
    ];
    let mut client = Client::connect(node.address);
    for (index, path) in paths.iter().cycle().take(requests).enumerate() {
        // Now and then, abandon the connection in the middle of a request and open a new one.
        if index % 50 == 0 {
            client.send("GET /api/st");
            client = Client::connect(node.address);
        }
        client.send(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
        assert!(client.receive(true).unwrap().status < 500, "{path}");
    }
}

/// Runs in a process of its own, because the threads of other tests would be counted.
#[test]
fn ten_thousand_requests_do_not_grow_threads_or_memory() {
    const MARK: &str = "P2POOL_TEST_SEPARATE_PROCESS";
    if std::env::var_os(MARK).is_none() {
        let name = "endurance::ten_thousand_requests_do_not_grow_threads_or_memory";
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new(program).args([name, "--exact"]).env(MARK, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let node = Node::start();
    send_requests(&node, 2_000);
    let before = size();
    send_requests(&node, 10_000);
    let after = size();
    println!("threads and resident kB: {before:?} before, {after:?} after");
    // An idle thread may have ended.
    assert!(after.0 <= before.0, "threads: {} before, {} after", before.0, after.0);
    // The allocator may keep some memory. A leak of one kilobyte per request would be ten times as much.
    assert!(after.1 <= before.1 + 1_024, "resident kB: {} before, {} after", before.1, after.1);
}
