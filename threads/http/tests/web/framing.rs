//! Requests that are no proper ones, and clients that are no proper clients.

use std::time::{Duration, Instant};

use crate::client::{ask, get, Client};
use crate::node::{Node, CONFIGURED_NAME};

/// A good client's answer takes a millisecond; this is for a machine with more to do, and less than any deadline.
const SOON: Duration = Duration::from_secs(3);
/// For whatever has a deadline of up to 15 seconds, on such a machine.
const PATIENCE: Duration = Duration::from_secs(25);

fn request(lines: &[&str]) -> String {
    format!(
        "GET /api/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n",
        lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
    )
}

#[test]
fn what_could_smuggle_a_request_gets_one_refusal_and_nothing_else() {
    let node = Node::start_empty();
    let second = "GET /api/miners HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for (headers, body) in [
        (vec!["Content-Length: 44"], second),
        (vec!["Content-Length: 99999999999"], ""),
        (vec!["Content-Length: 18446744073709551616"], ""),
        (vec!["Content-Length: -1"], ""),
        (vec!["Content-Length: 0", "Content-Length: 44"], second),
        (vec!["Content-Length: 0,44"], second),
        (vec!["Content-Length : 44"], second),
        (vec!["Content-Length:\u{b}44"], second),
        (vec!["Transfer-Encoding: chunked"], "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        (vec!["Transfer-Encoding: xchunked"], second),
        (vec!["Transfer-Encoding: chunked", "Content-Length: 4"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding:\u{b}chunked"], "0\r\n\r\n"),
        (vec!["X: a\r\n Transfer-Encoding: chunked"], second),
        (vec!["X: a\n\nGET /api/miners HTTP/1.1"], ""),
        (vec!["Host: localhost"], ""),
        (vec!["Expect: 100-continue"], ""),
        (vec!["Upgrade: h2c", "Connection: Upgrade"], ""),
        (vec!["Connection: upgrade"], ""),
    ] {
        let mut client = Client::connect(node.address);
        client.say(format!("{}{body}", request(&headers)));
        let answer = client.hear(true).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{headers:?}");
        assert!(!answer.error().is_empty());
        assert!(client.is_closed(), "{headers:?}: a second answer");
    }
    // The node goes on.
    assert_eq!(node.get("/api/peers").status, 200);
}

#[test]
fn each_refusal_has_its_status() {
    let node = Node::start_empty();
    let many: String = (0..80).map(|n| format!("X-{n}: 1\r\n")).collect();
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 405),
        ("DELETE /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 405),
        ("PROPFIND /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nDepth: 1\r\n\r\n".to_owned(), 405),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\nHost: 127.0.0.1\n\n".to_owned(), 400),
        ("GET / HTTP/3.0\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 505),
        (format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "a".repeat(9_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {}", "a".repeat(9_000)), 431),
    ] {
        let answer = ask(node.address, &request);
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET, HEAD"));
        assert!(!answer.error().is_empty());
    }
}

#[test]
fn only_this_nodes_names_are_answered() {
    let node = Node::start_empty();
    let status = |host: &str| {
        let request = format!("GET /api/peers HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        ask(node.address, &request).status
    };
    for host in ["127.0.0.1:3333", "[::1]:3333", "10.0.0.7", "localhost", "LocalHost:80", CONFIGURED_NAME] {
        assert_eq!(status(host), 200, "{host}");
    }
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(status(machine.trim()), 200);
    for host in ["evil.example", "127.0.0.1.evil.example", "sub.pool.example.org", "localhost.evil.example:3333", ""] {
        assert_eq!(status(host), 421, "{host}");
    }
}

#[test]
fn slow_clients_are_cut_while_a_good_one_is_served_at_once() {
    let node = Node::start_empty();
    let start = Instant::now();
    let mut slow: Vec<Client> = (0..31).map(|_| Client::connect(node.address)).collect();
    for client in &mut slow {
        client.say("GET /api/peers HTTP/1.1\r\nHost: 127.");
    }
    let good = Instant::now();
    assert_eq!(node.get("/api/peers").status, 200);
    assert!(good.elapsed() < SOON, "{:?}", good.elapsed());
    // One byte now and then does not buy time. A second later than the rest, and long before the five are over.
    std::thread::sleep(Duration::from_secs(1));
    for client in &mut slow {
        assert!(client.can_say(b"0"));
    }
    for client in &mut slow {
        assert_eq!(client.hear(true).unwrap().status, 408);
        assert!(client.is_closed());
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(5)..PATIENCE).contains(&took), "{took:?}");
}

#[test]
fn a_flood_of_connections_crowds_out_itself() {
    let node = Node::start_empty();
    let mut flood: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = Client::connect(node.address);
            client.can_say(b"GET / HT");
            client
        })
        .collect();
    for _ in 0..10 {
        let good = Instant::now();
        assert_eq!(node.get("/api/peers").status, 200);
        assert!(good.elapsed() < SOON, "{:?}", good.elapsed());
    }
    // The oldest had to go first.
    assert!(flood[0].is_closed());
    // However many came: the one that asks is among those that are open.
    let metrics = node.get("/metrics").text().to_owned();
    let metric = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    let (open, crowded_out) = (metric("p2pool_web_connections "), metric("p2pool_web_limit_reached_total "));
    assert!((1..=32).contains(&open), "{open} connections");
    assert!(crowded_out > 0);
}

#[test]
fn silent_clients_are_closed_without_a_word() {
    let node = Node::start_empty();
    let start = Instant::now();
    let mut silent = Client::connect(node.address);
    assert!(silent.is_closed());
    assert!((Duration::from_secs(4)..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_connection_serves_many_requests_also_sent_together_and_byte_by_byte() {
    let node = Node::start_empty();
    let mut client = Client::connect(node.address);
    let one = "GET /api/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    client.say(one.repeat(20));
    for _ in 0..20 {
        let answer = client.hear(true).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    for byte in one.bytes() {
        client.say([byte]);
    }
    assert_eq!(client.hear(true).unwrap().status, 200);
    client.say("HEAD /api/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let head = client.hear(false).unwrap();
    assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 10);
    // An HTTP/1.0 client expects the end of the connection.
    client.say("GET /api/peers HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(client.hear(true).unwrap().header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_kept_for_a_while() {
    let node = Node::start_empty();
    let mut client = Client::connect(node.address);
    client.say("GET /api/peers HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!(client.hear(true).unwrap().status, 200);
    let start = Instant::now();
    assert!(client.is_closed());
    assert!((Duration::from_secs(14)..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let node = Node::start();
    let mut greedy: Vec<Client> = (0..31).map(|_| Client::connect(node.address)).collect();
    for client in &mut greedy {
        // Far more answers than sockets hold; a stalled one is not asked further.
        client.can_say("GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(100).as_bytes());
    }
    for _ in 0..20 {
        let good = Instant::now();
        assert_eq!(get(node.address, "/api/peers").status, 200);
        assert!(good.elapsed() < SOON, "{:?}", good.elapsed());
    }
}
