//! Nodes under test, each on its own thread as in the program.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use libp2p::Multiaddr;
use p2pool_channels::{NetworkSender, OperatorSender, ToChain, ToNetwork};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::Event;
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::peer::PeerHandle;
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share, ShareId, ShareInfo};
use p2pool_core::status::PeersStatus;
use p2pool_core::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work};
use tempfile::TempDir;

use crate::address::split_peer_id;
use crate::behaviour::INBOUND_SLOTS;
use crate::driver::Tuning;
use crate::peers::InboundSlots;
use crate::{P2p, P2pError};

/// Timeout on a machine that is busy with other tests. The longest wait in these tests, for a dial after failed ones, is some
/// seconds.
pub const TIMEOUT: Duration = Duration::from_secs(60);

pub fn params() -> ChainParams {
    ChainParams::standard(Network::Regtest)
}

/// Settings of a node on a free port.
pub fn config(bootnodes: &[&Multiaddr]) -> Config {
    let bootnodes = bootnodes.iter().map(ToString::to_string).collect();
    Config { bootnodes, ..Config::for_tests(params(), "/nowhere") }
}

/// What a node starts with.
pub struct Start {
    pub config: Config,
    pub params: ChainParams,
    pub dir: Arc<TempDir>,
    pub inbox_len: usize,
    pub request_timeout: Duration,
    pub slots: InboundSlots,
    pub clock: Arc<AtomicU32>,
    pub metrics: Arc<Metrics>,
}

impl Start {
    pub fn with(bootnodes: &[&Multiaddr]) -> Self {
        Self {
            config: config(bootnodes),
            params: params(),
            dir: Arc::new(tempfile::tempdir().unwrap()),
            inbox_len: 256,
            request_timeout: Duration::from_secs(30),
            slots: INBOUND_SLOTS,
            clock: Arc::new(AtomicU32::new(1_700_000_000)),
            metrics: Arc::default(),
        }
    }

    pub fn open(&self) -> Result<(P2p, Inbox), P2pError> {
        let (to_chain, inbox) = crossbeam_channel::bounded(self.inbox_len);
        let clock = Arc::clone(&self.clock);
        let tuning = Tuning {
            clock: Arc::new(move || UnixTime(clock.load(Ordering::Relaxed))),
            request_timeout: self.request_timeout,
            slots: self.slots,
        };
        let (params, chain_dir) = (self.params.clone(), self.dir.path().to_owned());
        let config = Config { params, chain_dir, ..self.config.clone() };
        let metrics = Arc::clone(&self.metrics);
        Ok((P2p::open_tuned(&config, to_chain, metrics, tuning)?, Inbox(inbox)))
    }

    pub fn go(self) -> TestNode {
        let (p2p, inbox) = self.open().unwrap();
        let (sender, operator, status) = (p2p.sender(), p2p.operator(), p2p.status());
        let thread = std::thread::spawn(move || p2p.run());
        let mut node = TestNode {
            sender,
            operator,
            inbox,
            status,
            start: self,
            thread: Some(thread),
            address: Multiaddr::empty(),
        };
        node.address = until("the node to listen", || node.loopback_address());
        node
    }
}

/// The inbox of the chain thread, which a test plays.
pub struct Inbox(Receiver<ToChain>);

impl Inbox {
    /// Returns the events that have arrived.
    pub fn try_iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.0.try_iter().map(event)
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// None arrived until the deadline.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Event, RecvTimeoutError> {
        self.0.recv_deadline(deadline).map(event)
    }
}

fn event(message: ToChain) -> Event {
    match message {
        ToChain::Event(event) => event,
        ToChain::Stop => panic!("the network thread does not stop the chain thread"),
    }
}

/// A running node, and the chain thread's side of it.
pub struct TestNode {
    pub sender: NetworkSender,
    pub operator: OperatorSender,
    pub inbox: Inbox,
    pub status: Arc<ArcSwap<PeersStatus>>,
    pub start: Start,
    /// Loopback address with the peer id.
    pub address: Multiaddr,
    thread: Option<JoinHandle<()>>,
}

impl TestNode {
    pub fn start(bootnodes: &[&Multiaddr]) -> Self {
        Start::with(bootnodes).go()
    }

    fn loopback_address(&self) -> Option<Multiaddr> {
        let status = self.status.load();
        status.listening.iter().find(|address| address.starts_with("/ip4/127.0.0.1/")).map(|a| a.parse().unwrap())
    }

    pub fn metrics(&self) -> &Metrics {
        &self.start.metrics
    }

    pub fn id(&self) -> String {
        split_peer_id(self.address.clone()).unwrap().0.to_string()
    }

    pub fn send(&self, message: impl Into<ToNetwork>) {
        self.sender.send(message).unwrap();
    }

    pub fn has_peer(&self, id: &str) -> bool {
        self.status.load().peers.iter().any(|peer| &*peer.id == id)
    }

    pub fn await_peer(&self, id: &str) {
        until("the peer to connect", || self.has_peer(id).then_some(()));
    }

    pub fn await_no_peer(&self, id: &str) {
        until("the peer to disconnect", || (!self.has_peer(id)).then_some(()));
    }

    /// Waits for the next event that `select` maps to a value. Other events are dropped.
    pub fn expect<T>(&self, what: &str, mut select: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.inbox.recv_deadline(deadline) {
                Ok(message) => {
                    if let Some(value) = select(message) {
                        return value;
                    }
                }
                Err(_) => panic!("timed out waiting for {what}"),
            }
        }
    }

    pub fn expect_connected(&self) -> PeerHandle {
        self.expect("a connect", |message| match message {
            Event::PeerConnected { peer } => Some(peer),
            _ => None,
        })
    }

    pub fn expect_disconnected(&self) -> PeerHandle {
        self.expect("a disconnect", |message| match message {
            Event::PeerDisconnected { peer } => Some(peer),
            _ => None,
        })
    }

    pub fn file(&self, name: &str) -> String {
        read(self.start.dir.path(), name)
    }

    pub fn advance_clock(&self, seconds: u32) {
        self.start.clock.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Stops the node and returns how long that took.
    pub fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        // An error means that it has ended already.
        let _ = self.sender.send(ToNetwork::Stop);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        begun.elapsed()
    }

    /// Stops the node and returns what it is to be started with again.
    pub fn stop_for_restart(mut self, bootnodes: &[&Multiaddr]) -> Start {
        self.stop();
        Start { dir: Arc::clone(&self.start.dir), clock: Arc::clone(&self.start.clock), ..Start::with(bootnodes) }
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        } else {
            let _ = self.sender.send(ToNetwork::Stop);
        }
    }
}

pub fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_default()
}

/// Waits for a condition that another thread brings about.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    until_in(TIMEOUT, what, condition)
}

/// The same with another timeout.
pub fn until_in<T>(timeout: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn header(nonce: u32) -> Header {
    Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::from_byte_array([1; 32]),
        merkle_root: TxMerkleNode::from_byte_array([2; 32]),
        time: 1_700_000_000,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce,
    }
}

/// A well-formed share. It breaks most rules, which the network thread does not check.
pub fn share(nonce: u32) -> Arc<Share> {
    let script = [&[0x51u8, 0x20][..], &[7; 32]].concat();
    Arc::new(Share {
        header: header(nonce),
        info: ShareInfo {
            rules_version: 2,
            parent: ShareId([3; 32]),
            share_bits: Bits(0x207f_ffff),
            base_bits: Bits(0x207f_ffff),
            signal: 2,
            outputs_vote: 0,
            outputs_class: 0,
            uncles: Vec::new(),
            share_height: ShareHeight(10),
            chain_work: Work(1 << 100),
            block_height: BlockHeight(850_000),
            coinbase_value: Sats(312_500_000),
            payout_script: PayoutScript::new(&script).unwrap(),
            witness_commitment: [8; 32],
            coinbase_tag: CoinbaseTag::default(),
        },
        extranonce: [9; 12],
        merkle_branch: vec![[10; 32]; 4],
    })
}
