//! Browsers on the miners' port, and what miners notice of them.

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

use crate::{options, EASIEST, SOON};

/// Browsers that a node takes at once.
const BROWSERS: usize = 32;
/// All that the page asks for, and all else that is made anew for whoever asks.
const PATHS: [&str; 9] = [
    "/api/status",
    "/api/blocks",
    "/api/payouts",
    "/api/miners",
    "/api/peers",
    "/api/history?window=1d",
    "/metrics",
    "/healthz",
    "/",
];
/// From an answer to the browser's next request; the page asks for two or three things every five seconds.
const BROWSER_PAUSE: Duration = Duration::from_millis(250);
/// Shares that there are before anything is measured; one comes a second, however fast the machine.
const SHARES: u64 = 30;
/// Rounds alone and as many beside browsers, in turn: what changes slowly on the machine changes for both.
const ROUNDS: usize = 5;
/// Answers of a round: its 99th percentile is the second longest.
const SUBMITS: usize = 100;
/// From one answer to the next at least: the node judges a hundred a second of one miner.
const PACE: Duration = Duration::from_millis(15);
/// Stratum's number for an answer to a job that is gone.
const STALE: i64 = 21;
/// A few milliseconds more are allowed: what the system's scheduler takes to give a busy core to another thread.
const SLACK: Duration = Duration::from_millis(5);

/// Each round has its median and its 99th percentile, and of those of five rounds the median counts: what another program
/// on the machine does to one or two rounds is not seen, while what browsers do is there in every round beside them.
///
/// Where cores are scarce, 32 browsers, which run here as well, also delay whoever waits for a core, and the 99th percentile
/// is then that delay. So between any two answers to the node there is one to an idle pool of this test's own, which shares
/// the machine and nothing else with the node: what that one's take is the machine's doing.
#[test]
fn browsers_do_not_slow_miners() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let pool = Pool::start(&bitcoind, options(Chain::OpTrueSignet));
    let miner = Miner::start(Settings { password: EASIEST.to_owned(), ..settings(&pool.address(), "before") });
    let shares = || pool.api("/api/status").and_then(|status| status["share_count"].as_u64());
    wait_until("a chain", 2 * SOON, || shares() >= Some(SHARES));
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
        let figures = format!("{name} of a verdict's time: {alone:?} alone, {beside:?} beside {BROWSERS} browsers");
        println!("{figures}; by the machine alone {excused:?}");
        assert!(beside <= 3 * alone.max(excused.unwrap_or_default()) + SLACK, "{figures}, {excused:?} excused");
    }
}

/// The median over the rounds of each round's quantile.
fn typical(rounds: &[Vec<Duration>], permille: usize) -> Duration {
    let of_round = |round: &Vec<Duration>| round[(round.len() * permille).div_ceil(1_000) - 1];
    let mut quantiles: Vec<Duration> = rounds.iter().map(of_round).collect();
    quantiles.sort();
    quantiles[quantiles.len() / 2]
}

/// A miner that measures how long the verdicts on its answers take.
struct Submitter {
    session: Session,
    /// With a pool that does nothing else.
    idle: Session,
    /// Numbers the searches, so that no answer is found twice.
    search: u64,
    /// When the last one began.
    last: Instant,
    accepted: usize,
}

impl Submitter {
    fn open(pool: &Pool) -> Self {
        let session = Session::open(&pool.address(), "p2pool-test", "measured", EASIEST).unwrap();
        Self { session, idle: Session::connect(&idle_pool()).unwrap(), search: 0, last: Instant::now(), accepted: 0 }
    }

    /// What submits' answers took, and pings' of the idle pool in between; shortest first.
    fn round(&mut self) -> (Vec<Duration>, Vec<Duration>) {
        let (mut submits, mut pings): (Vec<Duration>, Vec<Duration>) =
            (0..SUBMITS).map(|index| self.pair(index)).unzip();
        submits.sort();
        pings.sort();
        (submits, pings)
    }

    /// A submit and a ping. In turn one of them comes first, when the search has just used this thread's time up.
    fn pair(&mut self, index: usize) -> (Duration, Duration) {
        std::thread::sleep((self.last + PACE).saturating_duration_since(Instant::now()));
        self.last = Instant::now();
        let answer = self.solve();
        let before = (index % 2 == 1).then(|| self.ping());
        let submit = self.submit(&answer);
        (submit, before.unwrap_or_else(|| self.ping()))
    }

    fn solve(&mut self) -> Submit {
        while self.session.next(Duration::ZERO).unwrap().is_some() {}
        let job = self.session.wait_job(SOON, |_| true).unwrap();
        self.search += 1;
        self.session.solve_for(&job, self.search, &job.target()).0
    }

    fn ping(&mut self) -> Duration {
        let asked = Instant::now();
        self.idle.call("mining.ping", json!([])).unwrap();
        asked.elapsed()
    }

    fn submit(&mut self, answer: &Submit) -> Duration {
        let asked = Instant::now();
        let verdict = self.session.submit(answer);
        let latency = asked.elapsed();
        match verdict {
            Ok(()) => self.accepted += 1,
            // A new job may have come meanwhile: that is a verdict as well.
            Err(Error::Rejected(Rejection { code: STALE, .. })) => {}
            Err(error) => panic!("{error}"),
        }
        latency
    }
}

/// Where a pool listens that answers its one miner and knows nothing; it ends with the miner's connection.
fn idle_pool() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        for line in BufReader::new(&socket).lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let answer = json!({"id": request["id"], "result": "pong", "error": null});
            (&socket).write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    });
    address
}

/// Browsers that ask for one thing after the other, each on a connection of its own.
struct Browsers {
    stop: Arc<AtomicBool>,
    /// How many answers each has had.
    answers: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Browsers {
    /// Starts them; each has had every path once when this returns.
    fn start(address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers: Vec<Arc<AtomicU64>> = (0..BROWSERS).map(|_| Arc::default()).collect();
        let browse = |(index, count): (usize, &Arc<AtomicU64>)| {
            let (stop, count, address) = (Arc::clone(&stop), Arc::clone(count), address.to_owned());
            std::thread::spawn(move || browse(&address, index, &stop, &count))
        };
        let threads = answers.iter().enumerate().map(browse).collect();
        let browsers = Self { stop, answers, threads };
        wait_until("all browsers to have everything once", SOON, || {
            browsers.threads.iter().any(JoinHandle::is_finished) || browsers.least() >= PATHS.len() as u64
        });
        browsers
    }

    fn least(&self) -> u64 {
        self.answers.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap()
    }

    /// All of them must have been served to the end.
    fn stop(self) {
        assert!(self.least() > PATHS.len() as u64, "a browser had no answer while miners were measured");
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// A browser, which begins with another path than the one before it.
fn browse(address: &str, index: usize, stop: &AtomicBool, answers: &AtomicU64) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = vec![0; 1 << 18];
    for path in PATHS.iter().cycle().skip(index) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            let len = socket.read(&mut buffer).unwrap();
            assert!(len > 0, "a browser was cut off");
            answer.extend_from_slice(&buffer[..len]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}: {}", String::from_utf8_lossy(&answer));
        answers.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(BROWSER_PAUSE);
    }
}

/// Whether an answer has all the bytes that it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head_len) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..head_len]).unwrap();
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    answer.len() == head_len + 4 + len.parse::<usize>().unwrap()
}
