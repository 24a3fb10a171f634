//! The network thread: opens what can fail, then runs the swarm and all async code of the program on one OS thread.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use futures::StreamExt as _;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm};
use log::{debug, warn};
use p2pool_channels::{InboxFull, NetworkSender, ToChain, ToNetwork};
use p2pool_core::config::P2pConfig;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::ChainParams;
use p2pool_core::status::{LooksBy, PeersStatus};
use p2pool_core::units::UnixTime;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::address::split_peer_id;
use crate::bans::Bans;
use crate::behaviour::{swarm, Behaviour, Setup, PLACES};
use crate::connection_gater::{Clock, Doorkeeper};
use crate::dialer::Dialer;
use crate::driver::{Node, Parts, BANS_FILE, PEERS_FILE};
use crate::error::P2pError;
use crate::file;
use crate::identity;
use crate::names::Names;
use crate::outbox::Outbox;
use crate::peers::Places;

/// Messages that wait for the network thread. A full inbox loses announcements and questions; peers catch up by
/// inventory.
const INBOX_LEN: usize = 256;
/// What is due by time is looked at this often: dials, verdicts overdue, files.
const TICK: Duration = Duration::from_millis(200);
/// A full inbox of the chain thread is tried again after this time.
const OUTBOX_RETRY: Duration = Duration::from_millis(10);
/// Deadline of a question, both for who asks and who answers: a megabyte at 300 kbit/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// What still runs at the end (names being looked up) is left behind after this time.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(300);

/// What a test chooses otherwise than everybody.
pub(crate) struct Tuning {
    /// The system's clock, for bans and what is saved.
    pub clock: Clock,
    /// Deadline of a question.
    pub request_timeout: Duration,
    /// How many others may stay.
    pub places: Places,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { clock: Arc::new(|| UnixTime::from(SystemTime::now())), request_timeout: REQUEST_TIMEOUT, places: PLACES }
    }
}

/// The network thread.
pub struct P2p {
    runtime: Runtime,
    node: Node,
    inbox: mpsc::Receiver<ToNetwork>,
    stop: watch::Receiver<bool>,
    sender: NetworkSender,
    status: Arc<ArcSwap<PeersStatus>>,
}

impl P2p {
    /// Loads identity, bans and known peers from the chain's folder and listens.
    ///
    /// # Errors
    /// A file of ours cannot be read, a bootnode's address is none, the port is taken.
    pub fn open(
        config: &P2pConfig,
        params: &ChainParams,
        chain_dir: &Path,
        to_chain: Sender<ToChain>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, P2pError> {
        Self::open_tuned(config, params, chain_dir, to_chain, metrics, Tuning::default())
    }

    pub(crate) fn open_tuned(
        config: &P2pConfig,
        params: &ChainParams,
        chain_dir: &Path,
        to_chain: Sender<ToChain>,
        metrics: Arc<Metrics>,
        tuning: Tuning,
    ) -> Result<Self, P2pError> {
        let setup_failed = |error: &dyn std::fmt::Display| P2pError::Setup(error.to_string());
        let bootnodes = bootnodes(config)?;
        let key = identity::load_or_make(chain_dir)?;
        let our_id = key.public().to_peer_id();
        let names = Names::new(&params.chain_id()).map_err(|error| setup_failed(&error))?;
        let bans = load_bans(chain_dir, (tuning.clock)())?;
        let known = load_text(&chain_dir.join(PEERS_FILE))?;

        let looks_by = LooksBy { bootnodes: !bootnodes.is_empty(), mdns: config.mdns, known: !known.is_empty() };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| setup_failed(&error))?;
        let swarm = {
            let _inside = runtime.enter();
            let mut swarm = swarm(Setup {
                key,
                names: names.clone(),
                door: Doorkeeper::new(bans, Arc::clone(&tuning.clock)),
                mdns: config.mdns,
                dht_server: config.dht_server,
                request_timeout: tuning.request_timeout,
                metrics: Arc::clone(&metrics),
            })?;
            listen(&mut swarm, config.port)?;
            swarm
        };
        let status =
            Arc::new(ArcSwap::from_pointee(PeersStatus { our_id: our_id.to_string(), looks_by, ..Default::default() }));
        let node = Node::new(Parts {
            swarm,
            names,
            dir: PathBuf::from(chain_dir),
            clock: tuning.clock,
            dht_server: config.dht_server,
            places: tuning.places,
            outbox: Outbox::new(to_chain),
            dialer: Dialer::new(our_id, bootnodes, &known, Instant::now()),
            status: Arc::clone(&status),
            metrics,
        });
        let (sender, inbox, stop) = inbox();
        Ok(Self { runtime, node, inbox, stop, sender, status })
    }

    /// The way in for others.
    pub fn sender(&self) -> NetworkSender {
        self.sender.clone()
    }

    /// Whether there is any way to find others.
    pub fn looks_for_peers(&self) -> bool {
        self.status.load().looks_by.any()
    }

    /// What onlookers see.
    pub fn status(&self) -> Arc<ArcSwap<PeersStatus>> {
        Arc::clone(&self.status)
    }

    /// Works until told to stop, or until the chain thread is gone.
    ///
    /// # Errors
    /// None at present: what fails while running is logged and tried again.
    pub fn run(self) -> Result<(), P2pError> {
        let Self { runtime, mut node, mut inbox, mut stop, sender, .. } = self;
        // Or the inbox would never close.
        drop(sender);
        runtime.block_on(async {
            work(&mut node, &mut inbox, &mut stop).await;
            node.save(Instant::now(), true);
        });
        {
            // Sockets say goodbye to the reactor they belong to.
            let _inside = runtime.enter();
            drop(node);
        }
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        debug!("network thread ends");
        Ok(())
    }
}

async fn work(node: &mut Node, inbox: &mut mpsc::Receiver<ToNetwork>, stop: &mut watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_waiting = node.outbox().is_waiting();
        tokio::select! {
            // An error says that no sender is left, which is an end too.
            _ = stop.wait_for(|stop| *stop) => return,
            message = inbox.recv() => match message {
                Some(message) => node.take(message),
                None => return,
            },
            event = node.swarm().select_next_some() => node.on_event(event),
            _ = tick.tick() => node.tick(Instant::now()),
            () = tokio::time::sleep(OUTBOX_RETRY), if is_waiting => {
                if node.outbox().flush().is_err() {
                    return;
                }
            }
        }
    }
}

/// The way in: a bounded channel, and beside it a flag for the stop, which therefore never finds it full.
fn inbox() -> (NetworkSender, mpsc::Receiver<ToNetwork>, watch::Receiver<bool>) {
    let (messages, inbox) = mpsc::channel(INBOX_LEN);
    let (stopper, stop) = watch::channel(false);
    let sender = NetworkSender::new(move |message| match message {
        ToNetwork::Stop => stopper.send(true).map_err(|_| InboxFull),
        message => messages.try_send(message).map_err(|_| InboxFull),
    });
    (sender, inbox, stop)
}

/// Listens on all addresses of both families; a machine without IPv6 goes without.
fn listen(swarm: &mut Swarm<Behaviour>, port: u16) -> Result<(), P2pError> {
    // libp2p shares ports (SO_REUSEPORT, so that dials come from the port we listen on): a second node on the same
    // port would quietly get half of the first one's callers. A socket that does not share finds out.
    drop(
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .map_err(|error| P2pError::Listen { port, error: error.to_string() })?,
    );
    let any = |ip: Protocol<'static>| Multiaddr::empty().with(ip).with(Protocol::Tcp(port));
    swarm
        .listen_on(any(Protocol::Ip4(Ipv4Addr::UNSPECIFIED)))
        .map_err(|error| P2pError::Listen { port, error: error.to_string() })?;
    if let Err(error) = swarm.listen_on(any(Protocol::Ip6(Ipv6Addr::UNSPECIFIED))) {
        warn!("not listening on IPv6: {error}");
    }
    Ok(())
}

fn bootnodes(config: &P2pConfig) -> Result<Vec<(PeerId, Multiaddr)>, P2pError> {
    config
        .bootnodes
        .iter()
        .map(|text| text.parse().ok().and_then(split_peer_id).ok_or_else(|| P2pError::Bootnode(text.clone())))
        .collect()
}

fn load_text(path: &Path) -> Result<String, P2pError> {
    let bytes = file::read(path).map_err(|error| P2pError::File { path: path.to_owned(), error })?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn load_bans(chain_dir: &Path, now: UnixTime) -> Result<Bans, P2pError> {
    let path = chain_dir.join(BANS_FILE);
    let (bans, bad) = Bans::from_text(&load_text(&path)?, now);
    if bad > 0 {
        warn!("{}: {bad} lines make no sense and are left out", path.display());
    }
    Ok(bans)
}
