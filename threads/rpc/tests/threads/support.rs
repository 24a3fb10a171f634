//! Support for the tests: settings, captured log lines, threads that are joined, a proxy with faults.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::params::{ChainParams, Network};
use p2pool_test_bitcoind::{wait_until, Bitcoind};

/// Timeout for anything that a thread does by itself; generous because the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Interval between two searches of the log.
const SEARCH_INTERVAL: Duration = Duration::from_millis(5);

/// Settings for a bitcoind, or a proxy of one, on this port.
pub fn config(rpc_port: u16, cookie_file: &Path, params: ChainParams) -> Config {
    let rpc_auth = RpcAuth::CookieFiles(vec![cookie_file.to_owned()]);
    Config { rpc_port, rpc_auth, ..Config::for_tests(params, "/nowhere") }
}

/// Settings for a running bitcoind.
pub fn config_of(node: &Bitcoind, params: ChainParams) -> Config {
    config(node.rpc_port(), &node.cookie_file(), params)
}

pub fn regtest() -> ChainParams {
    ChainParams::standard(Network::Regtest)
}

pub fn op_true_signet() -> ChainParams {
    ChainParams { signet_challenge: vec![0x51], ..ChainParams::standard(Network::Signet) }
}

/// Log lines of this process, of all tests together; a test finds its own by the port in them.
pub struct Log;

impl Log {
    fn lines() -> &'static Mutex<Vec<String>> {
        static LINES: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
        LINES.get_or_init(|| {
            log::set_logger(&Log).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            Mutex::default()
        })
    }

    /// Starts to capture lines.
    pub fn capture() {
        Self::lines();
    }

    /// Returns the lines that contain all `parts`.
    pub fn with(parts: &[&str]) -> Vec<String> {
        let lines = Self::lines().lock().unwrap();
        lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
    }

    /// Waits for a line that contains all `parts`.
    #[track_caller]
    pub fn wait(parts: &[&str]) -> String {
        Self::wait_after(0, parts)
    }

    /// Waits for a line that contains all `parts`; skips the first `seen` lines that contain the first two.
    #[track_caller]
    pub fn wait_after(seen: usize, parts: &[&str]) -> String {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let near = Self::with(&parts[..2]).split_off(seen);
            if let Some(line) = near.iter().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "no log line with {parts:?}, only {near:#?}");
            thread::sleep(SEARCH_INTERVAL);
        }
    }
}

impl log::Log for Log {
    /// Lines of other crates count too: they must not contain secrets either. Hex dumps of all traffic do not: those of a
    /// response without end are millions of lines.
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() != "ureq_proto::util"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            Self::lines().lock().unwrap().push(format!("{} {}: {}", record.level(), record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// A thread under test.
pub struct Running(Option<JoinHandle<()>>);

impl Running {
    pub fn start(run: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(thread::spawn(run)))
    }

    /// Waits for its end, which must have been requested.
    #[track_caller]
    pub fn join_within(mut self, timeout: Duration) {
        let handle = self.0.take().unwrap();
        wait_until("the end of the thread", timeout, || handle.is_finished());
        handle.join().unwrap();
    }
}

/// What a [`Proxy`] does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Forwards everything.
    None,
    /// Responds to each request with this status and body, and closes the connection.
    Http(&'static str, &'static str),
    /// Responds to each request with these bytes and closes the connection.
    Raw(&'static str),
    /// Responds without end.
    Endless,
    /// Forwards everything except requests that contain this word, which get no response.
    Withhold(&'static str),
    /// Forwards everything and counts the calls.
    Count,
}

/// A proxy between a thread and bitcoind.
pub struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    fault: Arc<Mutex<Fault>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    connections: Arc<AtomicU64>,
    withheld: Arc<AtomicU64>,
    /// The requests while calls are counted.
    counted: Arc<Mutex<String>>,
}

impl Proxy {
    pub fn start(bitcoind_port: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self {
            port,
            target: Arc::new(AtomicU16::new(bitcoind_port)),
            fault: Arc::new(Mutex::new(fault)),
            open: Arc::default(),
            connections: Arc::default(),
            withheld: Arc::default(),
            counted: Arc::default(),
        };
        let (target, fault) = (proxy.target.clone(), proxy.fault.clone());
        let (open, connections, withheld) = (proxy.open.clone(), proxy.connections.clone(), proxy.withheld.clone());
        let counted = Arc::clone(&proxy.counted);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Locked until the connection is among those that a change of the fault breaks.
                let changing = fault.lock().unwrap();
                open.lock().unwrap().push(client.try_clone().unwrap());
                connections.fetch_add(1, Ordering::Relaxed);
                let fault = *changing;
                drop(changing);
                match fault {
                    Fault::None | Fault::Withhold(_) | Fault::Count => {
                        let target = (Ipv4Addr::LOCALHOST, target.load(Ordering::Relaxed));
                        let Ok(server) = TcpStream::connect(target) else { continue };
                        open.lock().unwrap().push(server.try_clone().unwrap());
                        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                        match fault {
                            Fault::Withhold(word) => {
                                let withheld = Arc::clone(&withheld);
                                pump_requests(from, to, move |request| {
                                    let is_forwarded = !request.contains(word);
                                    withheld.fetch_add(u64::from(!is_forwarded), Ordering::Relaxed);
                                    is_forwarded
                                });
                            }
                            Fault::Count => {
                                let counted = Arc::clone(&counted);
                                pump_requests(from, to, move |request| {
                                    counted.lock().unwrap().push_str(request);
                                    true
                                });
                            }
                            _ => pump(from, to),
                        }
                        pump(server, client);
                    }
                    Fault::Http(status, body) => {
                        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                        respond(client, head + body, false);
                    }
                    Fault::Raw(bytes) => respond(client, bytes.to_owned(), false),
                    Fault::Endless => respond(client, ENDLESS_HEAD.to_owned(), true),
                }
            }
        });
        proxy
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Number of connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Number of requests withheld from bitcoind so far.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    /// Number of calls of these methods so far, while they are counted.
    pub fn calls(&self, methods: &[&str]) -> u64 {
        let counted = self.counted.lock().unwrap();
        methods.iter().map(|method| counted.matches(&format!("\"method\":\"{method}\"")).count() as u64).sum()
    }

    /// Breaks all connections; new ones go to another bitcoind.
    pub fn redirect(&self, bitcoind_port: u16) {
        self.target.store(bitcoind_port, Ordering::Relaxed);
        self.set(Fault::None);
    }

    /// Breaks all connections; `fault` applies to new ones.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        for stream in self.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

const ENDLESS_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNK_HEAD: &[u8] = b"10000\r\n";

/// Reads one request and responds to it, on a thread of its own.
fn respond(mut client: TcpStream, bytes: String, is_endless: bool) {
    thread::spawn(move || {
        read_request(&mut client);
        let mut sent = client.write_all(bytes.as_bytes());
        let chunk = [CHUNK_HEAD, &[b' '; 0x10000], b"\r\n"].concat();
        while is_endless && sent.is_ok() {
            sent = client.write_all(&chunk);
        }
        drop(client.shutdown(Shutdown::Both));
    });
}

/// Reads a whole request: closing with unread bytes would reset the connection and lose the response.
fn read_request(client: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    let mut part = [0; 65_536];
    while let Ok(len @ 1..) = client.read(&mut part) {
        request.extend_from_slice(&part[..len]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_none_or(|length| body.len() >= length.trim().parse().unwrap()) {
            break;
        }
    }
    request
}

/// Forwards those requests, one by one, for which `is_forwarded` says so.
fn pump_requests(mut from: TcpStream, mut to: TcpStream, is_forwarded: impl Fn(&str) -> bool + Send + 'static) {
    thread::spawn(move || loop {
        let request = read_request(&mut from);
        if request.is_empty() {
            drop(to.shutdown(Shutdown::Both));
            return;
        }
        if is_forwarded(&String::from_utf8_lossy(&request)) && to.write_all(&request).is_err() {
            return;
        }
    });
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(from.shutdown(Shutdown::Both));
        drop(to.shutdown(Shutdown::Both));
    });
}
