//! What all tests here need: settings, a log to read, a thread that is always joined, a proxy with faults.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::params::{ChainParams, Network};
use p2pool_rpc::RpcError;
use p2pool_test_bitcoind::{wait_until, Bitcoind};

/// For anything that a thread does by itself; generous, for the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at the log.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

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

/// Log lines of this process, all tests together: tell yours by the port in them.
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

    /// Starts to listen.
    pub fn listen() {
        Self::lines();
    }

    /// Lines that hold every one of `parts`.
    pub fn with(parts: &[&str]) -> Vec<String> {
        let lines = Self::lines().lock().unwrap();
        lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
    }

    /// Waits for such a line.
    #[track_caller]
    pub fn wait(parts: &[&str]) -> String {
        Self::wait_after(0, parts)
    }

    /// Waits for such a line, the first `seen` with the first two parts left out.
    #[track_caller]
    pub fn wait_after(seen: usize, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let near = Self::with(&parts[..2]).split_off(seen);
            if let Some(line) = near.iter().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.clone();
            }
            assert!(Instant::now() < deadline, "no log line with {parts:?}, only {near:#?}");
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // Other crates' lines are kept as well: they must not hold secrets either.
        Self::lines().lock().unwrap().push(format!("{} {}: {}", record.level(), record.target(), record.args()));
    }

    fn flush(&self) {}
}

/// A thread under test.
pub struct Running(Option<JoinHandle<Result<(), RpcError>>>);

impl Running {
    pub fn start(run: impl FnOnce() -> Result<(), RpcError> + Send + 'static) -> Self {
        Self(Some(thread::spawn(run)))
    }

    /// Waits for its end, which must have been asked for.
    #[track_caller]
    pub fn join_within(mut self, timeout: Duration) {
        let handle = self.0.take().unwrap();
        wait_until("the thread's end", timeout, || handle.is_finished());
        handle.join().unwrap().unwrap();
    }
}

/// How a [`Proxy`] treats what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Hands everything to bitcoind and back.
    None,
    /// Answers each question with this status and body, and closes the connection.
    Http(&'static str, &'static str),
    /// Answers each question with these bytes and closes the connection.
    Raw(&'static str),
    /// Answers, and never stops.
    Endless,
    /// Hands everything on but questions that hold this word: they get no answer.
    Withhold(&'static str),
}

/// Stands between a thread and bitcoind.
pub struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    fault: Arc<Mutex<Fault>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    connections: Arc<AtomicU64>,
    withheld: Arc<AtomicU64>,
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
        };
        let (target, fault) = (proxy.target.clone(), proxy.fault.clone());
        let (open, connections, withheld) = (proxy.open.clone(), proxy.connections.clone(), proxy.withheld.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Held until the connection is among those that a change of the fault breaks.
                let changing = fault.lock().unwrap();
                open.lock().unwrap().push(client.try_clone().unwrap());
                connections.fetch_add(1, Ordering::Relaxed);
                let fault = *changing;
                drop(changing);
                match fault {
                    Fault::None | Fault::Withhold(_) => {
                        let target = (Ipv4Addr::LOCALHOST, target.load(Ordering::Relaxed));
                        let Ok(server) = TcpStream::connect(target) else { continue };
                        open.lock().unwrap().push(server.try_clone().unwrap());
                        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                        match fault {
                            Fault::Withhold(word) => pump_questions(from, to, word, Arc::clone(&withheld)),
                            _ => pump(from, to),
                        }
                        pump(server, client);
                    }
                    Fault::Http(status, body) => {
                        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                        answer(client, head + body, false);
                    }
                    Fault::Raw(bytes) => answer(client, bytes.to_owned(), false),
                    Fault::Endless => answer(client, ENDLESS_HEAD.to_owned(), true),
                }
            }
        });
        proxy
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Questions that were kept from bitcoind so far.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    /// Breaks all connections; new ones lead to another bitcoind.
    pub fn redirect(&self, bitcoind_port: u16) {
        self.target.store(bitcoind_port, Ordering::Relaxed);
        self.set(Fault::None);
    }

    /// Breaks all connections; new ones meet `fault`.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        for stream in self.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

const ENDLESS_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNK_HEAD: &[u8] = b"10000\r\n";

/// Reads one question and answers it, on a thread of its own.
fn answer(mut client: TcpStream, bytes: String, is_endless: bool) {
    thread::spawn(move || {
        read_question(&mut client);
        let mut sent = client.write_all(bytes.as_bytes());
        let chunk = [CHUNK_HEAD, &[b' '; 0x10000], b"\r\n"].concat();
        while is_endless && sent.is_ok() {
            sent = client.write_all(&chunk);
        }
        drop(client.shutdown(Shutdown::Both));
    });
}

/// Reads a whole request: closing with bytes unread would reset the connection, and the answer with it.
fn read_question(client: &mut TcpStream) -> Vec<u8> {
    let mut question = Vec::new();
    let mut part = [0; 65_536];
    while let Ok(len @ 1..) = client.read(&mut part) {
        question.extend_from_slice(&part[..len]);
        let text = String::from_utf8_lossy(&question).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_none_or(|length| body.len() >= length.trim().parse().unwrap()) {
            break;
        }
    }
    question
}

/// Hands questions on one by one, except those with `word`.
fn pump_questions(mut from: TcpStream, mut to: TcpStream, word: &'static str, withheld: Arc<AtomicU64>) {
    thread::spawn(move || loop {
        let question = read_question(&mut from);
        if question.is_empty() {
            drop(to.shutdown(Shutdown::Both));
            return;
        }
        if String::from_utf8_lossy(&question).contains(word) {
            withheld.fetch_add(1, Ordering::Relaxed);
        } else if to.write_all(&question).is_err() {
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
