//! Many requests leave no trace.

use std::fs;

use crate::client::Client;
use crate::node::Node;

/// Threads and resident kilobytes of this process.
fn size() -> (usize, usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (number("Threads:"), number("VmRSS:"))
}

fn ask(node: &Node, requests: usize) {
    let paths = ["/api/status", "/api/peers", "/", "/metrics", "/nothing", "/api/payouts", "/api/history?window=1d"];
    let mut client = Client::connect(node.address);
    for (index, path) in paths.iter().cycle().take(requests).enumerate() {
        // A new connection now and then, and one that is left in the middle of a request.
        if index % 50 == 0 {
            client.say("GET /api/st");
            client = Client::connect(node.address);
        }
        client.say(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"));
        assert!(client.hear(true).unwrap().status < 500, "{path}");
    }
}

/// Run alone in a process of its own: other tests' threads would be counted.
#[test]
fn ten_thousand_requests_leave_threads_and_memory_flat() {
    const MARK: &str = "P2POOL_TEST_ALONE";
    if std::env::var_os(MARK).is_none() {
        let name = "endurance::ten_thousand_requests_leave_threads_and_memory_flat";
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new(program).args([name, "--exact"]).env(MARK, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let node = Node::start();
    ask(&node, 2_000);
    let before = size();
    ask(&node, 10_000);
    let after = size();
    println!("threads and resident kB: {before:?} before, {after:?} after");
    // One that was idle may have ended.
    assert!(after.0 <= before.0, "threads: {} before, {} after", before.0, after.0);
    // Room for what an allocator keeps; one request that kept a kilobyte would take ten times as much.
    assert!(after.1 <= before.1 + 1_024, "resident kB: {} before, {} after", before.1, after.1);
}
