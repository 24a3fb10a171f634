//! A thousand idle sessions and one that mines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;

use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::pool::Pool;

use crate::{options, wait_block, TIMEOUT};

const IDLE: usize = 1_000;

#[test]
fn a_thousand_idle_sessions_do_not_disturb_a_miner() {
    allow_many_files();
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut options = options(Chain::Regtest);
    options.flags.push(format!("-max-sessions={}", IDLE + 1));
    let pool = Pool::start(&bitcoind, options);
    let mut worker = pool.session("worker");
    let mut idle: Vec<_> = (0..IDLE).map(|number| idle_session(&pool, number)).collect();
    for _ in 0..3 {
        let job = worker.wait_job(TIMEOUT, |_| true).unwrap();
        let (submit, hash) = worker.solve_for(&job, 0, &job.submit_and_block_target());
        worker.submit(&submit).unwrap();
        let hash = wait_block(&bitcoind, hash);
        worker.wait_job(TIMEOUT, |job| job.prev_block == *AsRef::<[u8; 32]>::as_ref(&hash)).unwrap();
        for (number, session) in idle.iter_mut().enumerate() {
            assert!(wait_notify(session), "idle session {number} got no job on the new tip");
        }
    }

    // One session more is rejected, and the others stay connected.
    let mut late = TcpStream::connect(pool.address()).unwrap();
    late.set_read_timeout(Some(TIMEOUT)).unwrap();
    drop(late.write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n"));
    let mut line = String::new();
    let _ = BufReader::new(late).read_line(&mut line);
    assert!(!line.contains("mining.notify"), "a session too many was served: {line}");
    worker.call("mining.ping", serde_json::json!([])).unwrap();
}

/// Opens a session that sends nothing more.
fn idle_session(pool: &Pool, number: usize) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(pool.address()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let hello = format!(
        "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"idle\"]}}\n\
         {{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"idle{number}\",\"d=1\"]}}\n"
    );
    stream.write_all(hello.as_bytes()).unwrap();
    let mut session = BufReader::new(stream);
    assert!(wait_notify(&mut session), "idle session {number} got no work");
    session
}

/// Reads up to the next job.
fn wait_notify(session: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    while session.read_line(&mut line).is_ok_and(|len| len > 0) {
        if line.contains("\"mining.notify\",\"params\"") || line.contains("\"method\":\"mining.notify\"") {
            return true;
        }
        line.clear();
    }
    false
}

/// Raises the limit on open files: the usual 1,024 are not enough for this test and those that run at the same time.
fn allow_many_files() {
    let pid = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--nofile=4096:"]).status();
    assert!(raised.unwrap().success(), "prlimit");
}
