//! A running stratum thread, and connections to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, Receiver};
use p2pool_channels::{BrowserConnection, BrowserSender, ToChain, ToSubmit, WorkSender};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::status::MinersStatus;
use p2pool_core::stratum::Limits;
use p2pool_core::work::{Job, NoWorkTimeout, WorkUpdate};
use p2pool_stratum::{StopHandle, Stratum, StratumError, StratumSinks};
use serde_json::{json, Value};
use socket2::{Domain, Socket, Type};

use crate::fixtures::{blank_submit, solve, submit_params, JobSpec};

/// Longer than anything takes on a loaded machine; only reached on failure.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of a test's thread.
pub struct Setup {
    pub sessions_max: usize,
    pub chain_capacity: usize,
    pub submit_capacity: usize,
    /// `None` for a thread without web threads.
    pub web_capacity: Option<usize>,
    pub no_work_timeout: NoWorkTimeout,
    pub limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        let limits = Limits { tick_ms: 20, status_ms: 20, ..Limits::default() };
        Self {
            sessions_max: 1_000,
            chain_capacity: 1_024,
            submit_capacity: 16,
            web_capacity: None,
            no_work_timeout: NoWorkTimeout::NEVER,
            limits,
        }
    }
}

/// The thread, and the other ends of its channels.
pub struct TestServer {
    pub address: SocketAddr,
    pub work: WorkSender,
    pub chain: Receiver<ToChain>,
    pub submit: Receiver<ToSubmit>,
    pub web: Receiver<BrowserConnection>,
    pub metrics: Arc<Metrics>,
    pub miners: Arc<ArcSwap<MinersStatus>>,
    stop: StopHandle,
    thread: Option<JoinHandle<Result<(), StratumError>>>,
}

impl TestServer {
    pub fn start(setup: Setup) -> Self {
        Self::start_after(setup, |_| ())
    }

    /// Opens the port, calls `prepare` with its address, and starts the thread then.
    pub fn start_after(setup: Setup, prepare: impl FnOnce(SocketAddr)) -> Self {
        let Setup {
            sessions_max: max_sessions,
            chain_capacity,
            submit_capacity,
            web_capacity,
            no_work_timeout,
            limits,
        } = setup;
        let (to_chain, chain) = bounded(chain_capacity);
        let (to_submit, submit) = bounded(submit_capacity);
        let metrics = Arc::new(Metrics::default());
        let mut stratum = Stratum::open(
            &Config {
                max_sessions,
                no_work_timeout,
                ..Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere")
            },
            StratumSinks { chain: to_chain, submit: to_submit },
            Arc::clone(&metrics),
            limits,
        )
        .unwrap();
        let (to_web, web) = bounded(web_capacity.unwrap_or(1));
        if web_capacity.is_some() {
            stratum.send_browsers_to(BrowserSender::new(to_web, Arc::new(|| ())));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stratum.local_addr().port()));
        let (work, miners, stop) = (stratum.work_sender(), stratum.miners(), stratum.stop_handle());
        prepare(address);
        let thread = Some(std::thread::spawn(move || stratum.run()));
        Self { address, work, chain, submit, web, metrics, miners, stop, thread }
    }

    pub fn job(&self, spec: JobSpec) -> Arc<Job> {
        let job = spec.make();
        self.work.put(WorkUpdate::Job(Arc::clone(&job)));
        job
    }

    /// Stops the thread and waits for its end.
    pub fn stop(mut self) -> Result<(), StratumError> {
        self.stop.stop();
        self.join()
    }

    /// Waits for the end of the thread.
    pub fn join(&mut self) -> Result<(), StratumError> {
        self.thread.take().unwrap().join().unwrap()
    }

    pub fn connect(&self) -> TestConnection {
        TestConnection::new(TcpStream::connect(self.address).unwrap())
    }

    /// Connects from another loopback address.
    pub fn connect_from(&self, address: Ipv4Addr) -> TestConnection {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        TestConnection::new(socket.into())
    }

    /// A subscribed and authorised miner with its first job.
    pub fn worker(&self) -> TestConnection {
        let mut miner = self.connect();
        miner.subscribe_and_authorize();
        miner.next("mining.notify");
        miner
    }

    /// Waits until there are this many connections.
    pub fn wait_for_sessions(&self, count: i64) {
        wait_until(&format!("{count} sessions"), || self.metrics.sessions.get() == count);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection to the port, of a miner or something else.
pub struct TestConnection {
    pub socket: TcpStream,
    reader: BufReader<TcpStream>,
    pub extranonce1: [u8; 4],
}

impl TestConnection {
    pub fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.set_nodelay(true).unwrap();
        let reader = BufReader::new(socket.try_clone().unwrap());
        Self { socket, reader, extranonce1: [0; 4] }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next line; `None` if the connection was closed.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("waiting for a line: {error}"),
        }
    }

    /// The parameters of the next message with this method; other lines are skipped.
    pub fn next(&mut self, method: &str) -> Value {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("closed before {method}"));
            if line["method"] == method {
                return line["params"].clone();
            }
        }
    }

    /// Sends a request; returns the response, and skips messages.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        self.write(format!("{}\n", json!({"id": 9, "method": method, "params": params})).as_bytes());
        self.response()
    }

    pub fn response(&mut self) -> Value {
        loop {
            let line = self.line().expect("closed before the response");
            if line["method"].is_null() {
                return line;
            }
        }
    }

    /// Subscribes and authorizes.
    pub fn subscribe_and_authorize(&mut self) {
        let response = self.call("mining.subscribe", &json!(["tester"]));
        let extranonce1 = response["result"][1].as_str().unwrap();
        self.extranonce1 = u32::from_str_radix(extranonce1, 16).unwrap().to_be_bytes();
        assert_eq!(self.call("mining.authorize", &json!(["tester.1", "x"]))["result"], true);
    }

    /// A submit that meets the easier of the job's block and share targets; unique for each `seed`.
    pub fn solution(&self, job: &Job, seed: u64) -> String {
        let easier = job.block_target.max(job.share_target);
        let found = solve(job, blank_submit(job, self.extranonce1, seed), |hashed| hashed.meets(&easier));
        format!("{{\"id\":{seed},\"method\":\"mining.submit\",\"params\":[{}]}}\n", submit_params(job, &found))
    }

    /// Whether the server closes the connection without sending anything more.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Everything that is received until the connection is closed.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// Waits for a condition.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < end, "timeout waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
