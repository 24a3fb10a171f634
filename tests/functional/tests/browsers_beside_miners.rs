//! Browsers on the miners' port, and their effect on miners.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use p2pool_miner::job::Submit;
use p2pool_miner::mining::Settings;
use p2pool_miner::session::{Error, Rejection, Session};
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::pool::Pool;
use serde_json::{json, Value};

use crate::{options, EASIEST, TIMEOUT};

/// Most browsers that a node serves at once.
const BROWSERS: usize = 32;
/// All paths that the page requests, and all others whose response is computed per request.
const PATHS: [&str; 9] = [
    "/api/v1/status",
    "/api/v1/blocks",
    "/api/v1/payouts",
    "/api/v1/miners",
    "/api/v1/peers",
    "/api/v1/history?window=1d",
    "/metrics",
    "/healthz",
    "/",
];
/// Pause of a browser between a response and the next request; the page sends two or three requests every five seconds.
const BROWSER_PAUSE: Duration = Duration::from_millis(250);
/// Shares before the measurement; there is one per second, however fast the machine is.
const SHARES: u64 = 30;
/// Rounds without and with browsers, in turn: slow changes of the machine affect both.
const ROUNDS: usize = 5;
/// Submits per round; the 99th percentile is the second longest.
const SUBMITS: usize = 100;
/// Shortest time between two submits: the node accepts a hundred per second of one miner.
const PACE: Duration = Duration::from_millis(15);
/// Stratum's error code for a stale submit.
const STALE: i64 = 21;
/// Tolerance: the time that the system's scheduler takes to give a busy core to another thread.
const SLACK: Duration = Duration::from_millis(5);

/// Compares medians over five rounds of the median and of the 99th percentile, so that another program on the machine does
/// not disturb the result in one or two rounds, while browsers affect each round with them.
///
/// If cores are scarce, the 32 browsers of this test also delay all threads that wait for a core, and the 99th percentile is
/// that delay. So between any two submits to the node, the test sends a request to an idle pool of its own, which shares only
/// the machine with the node: its latency is due to the machine.
#[test]
fn browsers_do_not_slow_miners() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let miner = Miner::start(Settings { password: EASIEST.to_owned(), ..settings(&pool.address(), "before") });
    let shares = || pool.api("/api/v1/status").and_then(|status| status["share_count"].as_u64());
    wait_until("shares", 2 * TIMEOUT, || shares() >= Some(SHARES));
    miner.stop();

    let mut submitter = Submitter::open(&pool);
    let (mut alone, mut beside, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(submitter.round().0);
        let browsers = Browsers::start(&pool.address());
        let (submits, pings) = submitter.round();
        browsers.stop();
        beside.push(submits);
        idle.push(pings);
    }
    assert!(submitter.accepted * 10 >= 2 * ROUNDS * SUBMITS * 9, "{} accepted", submitter.accepted);
    for (name, permille, excused) in [("median", 500, None), ("99th percentile", 990, Some(typical(&idle, 990)))] {
        let (alone, beside) = (typical(&alone, permille), typical(&beside, permille));
        let figures =
            format!("{name} of the latency of a submit: {alone:?} without, {beside:?} with {BROWSERS} browsers");
        println!("{figures}; due to the machine {excused:?}");
        assert!(
            beside <= 3 * alone.max(excused.unwrap_or_default()) + SLACK,
            "{figures}, {excused:?} due to the machine"
        );
    }
}

/// Returns the median of the rounds' quantiles.
fn typical(rounds: &[Vec<Duration>], permille: usize) -> Duration {
    let of_round = |round: &Vec<Duration>| round[(round.len() * permille).div_ceil(1_000) - 1];
    let mut quantiles: Vec<Duration> = rounds.iter().map(of_round).collect();
    quantiles.sort();
    quantiles[quantiles.len() / 2]
}

/// A miner that measures the latency of its submits.
struct Submitter {
    session: Session,
    /// Session with the idle pool.
    idle: Session,
    /// Number of the search, so that no submit is found twice.
    search: u64,
    /// Start of the last search.
    last: Instant,
    accepted: usize,
}

impl Submitter {
    fn open(pool: &Pool) -> Self {
        let session = pool.session_with("measured", EASIEST);
        Self { session, idle: Session::connect(&idle_pool()).unwrap(), search: 0, last: Instant::now(), accepted: 0 }
    }

    /// Returns the latencies of submits, and those of pings of the idle pool in between, sorted.
    fn round(&mut self) -> (Vec<Duration>, Vec<Duration>) {
        let (mut submits, mut pings): (Vec<Duration>, Vec<Duration>) =
            (0..SUBMITS).map(|index| self.pair(index)).unzip();
        submits.sort();
        pings.sort();
        (submits, pings)
    }

    /// Sends a submit and a ping. They take turns in coming first, right after the search has used up this thread's time slice.
    fn pair(&mut self, index: usize) -> (Duration, Duration) {
        std::thread::sleep((self.last + PACE).saturating_duration_since(Instant::now()));
        self.last = Instant::now();
        let submit = self.solve();
        let before = (index % 2 == 1).then(|| self.ping());
        let submit = self.submit(&submit);
        (submit, before.unwrap_or_else(|| self.ping()))
    }

    fn solve(&mut self) -> Submit {
        while self.session.next(Duration::ZERO).unwrap().is_some() {}
        let job = self.session.wait_job(TIMEOUT, |_| true).unwrap();
        self.search += 1;
        self.session.solve_for(&job, self.search, &job.target()).0
    }

    fn ping(&mut self) -> Duration {
        let start = Instant::now();
        self.idle.call("mining.ping", json!([])).unwrap();
        start.elapsed()
    }

    fn submit(&mut self, submit: &Submit) -> Duration {
        let start = Instant::now();
        let result = self.session.submit(submit);
        let latency = start.elapsed();
        match result {
            Ok(()) => self.accepted += 1,
            // There may be a new job meanwhile.
            Err(Error::Rejected(Rejection { code: STALE, .. })) => {}
            Err(error) => panic!("{error}"),
        }
        latency
    }
}

/// Starts a pool that responds to one miner and does nothing else; returns its address. It ends with the connection.
fn idle_pool() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        for line in BufReader::new(&socket).lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let response = json!({"id": request["id"], "result": "pong", "error": null});
            (&socket).write_all(format!("{response}\n").as_bytes()).unwrap();
        }
    });
    address
}

/// Browsers that send one request after the other, each on a connection of its own.
struct Browsers {
    stop: Arc<AtomicBool>,
    /// Number of responses per browser.
    responses: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Browsers {
    /// Starts them and waits until each has requested every path once.
    fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let responses: Vec<Arc<AtomicU64>> = (0..BROWSERS).map(|_| Arc::default()).collect();
        let browse = |(index, count): (usize, &Arc<AtomicU64>)| {
            let (stop, count, address) = (Arc::clone(&stop), Arc::clone(count), address.to_owned());
            std::thread::spawn(move || browse(&address, index, &stop, &count))
        };
        let threads = responses.iter().enumerate().map(browse).collect();
        let browsers = Self { stop, responses, threads };
        wait_until("all browsers to request everything once", TIMEOUT, || {
            browsers.threads.iter().any(JoinHandle::is_finished) || browsers.least() >= PATHS.len() as u64
        });
        browsers
    }

    fn least(&self) -> u64 {
        self.responses.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap()
    }

    /// Stops them; all of them must have been served until now.
    fn stop(self) {
        assert!(self.least() > PATHS.len() as u64, "a browser got no response during the measurement");
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Runs a browser, which begins with another path than the one before it.
fn browse(address: &str, index: usize, stop: &AtomicBool, responses: &AtomicU64) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut buffer = vec![0; 1 << 18];
    for path in PATHS.iter().cycle().skip(index) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut response = Vec::new();
        while !is_complete(&response) {
            let len = socket.read(&mut buffer).unwrap();
            assert!(len > 0, "a browser was disconnected");
            response.extend_from_slice(&buffer[..len]);
        }
        assert!(response.starts_with(b"HTTP/1.1 200 "), "{path}: {}", String::from_utf8_lossy(&response));
        responses.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(BROWSER_PAUSE);
    }
}

/// Returns whether a response has all bytes of its Content-Length.
fn is_complete(response: &[u8]) -> bool {
    let Some(head_len) = response.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&response[..head_len]).unwrap();
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    response.len() == head_len + 4 + len.parse::<usize>().unwrap()
}
