//! The dashboard, the JSON API and the metrics, on the miners' port or one of their own.
//!
//! Two threads, and a few of tiny_http: the stratum thread hands connections whose first bytes are HTTP to the
//! [relay](Relay), which parses requests strictly and forwards valid ones to the [server](Server) behind a Unix socket. The
//! server responds from what other threads publish. No HTTP request of a browser changes any state; commands of the operator, which
//! arrive at the same Unix socket, do.
//!
//! | module | what it holds |
//! |---|---|
//! | `relay` | the HTTP front end for untrusted clients |
//! | `server` | the loop: requests and periodic work |
//! | `site` | maps paths to responses |
//! | `snapshot` | what other threads have published |
//! | `api` | the JSON documents, described in `openapi.json` |
//! | `metrics` | the metrics for Prometheus |
//! | `operator` | the operator's commands |
//! | `process` | those of them that are about the process |
//! | `history` | the history of hash rates, on disk |
//! | `block_log` | the found Bitcoin blocks, on disk |
//! | `worker_log` | the workers of this node's miners, on disk |
//! | `assets` | the files of the dashboard |
//! | `socket_dir` | the folder of the Unix socket |

mod api;
mod assets;
mod block_log;
mod history;
mod metrics;
mod operator;
mod process;
mod relay;
mod server;
mod site;
mod snapshot;
mod socket_dir;
mod worker_log;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mio::net::TcpListener;
use mio::Waker;
use p2pool_channels::{BrowserSender, OperatorSender};
use p2pool_core::config::{Config, WebBind};
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{
    BitcoindStatus, BlocksStatus, ChainStatus, MinersStatus, OwnBlocksStatus, PeersStatus, SubmissionStatus,
    TrackedBlocks,
};
use thiserror::Error;

use relay::AllowedHosts;
pub use relay::Relay;
pub use server::Server;
pub use socket_dir::connect;
use socket_dir::SocketDir;

/// What other threads publish, and what the server publishes for them.
#[derive(Clone)]
pub struct Sources {
    /// The metrics of all threads.
    pub metrics: Arc<Metrics>,
    /// Published by the chain thread.
    pub chain: Arc<ArcSwap<ChainStatus>>,
    /// Published by the stratum thread.
    pub miners: Arc<ArcSwap<MinersStatus>>,
    /// Published by the network thread.
    pub peers: Arc<ArcSwap<PeersStatus>>,
    /// Published by rpc/poll.
    pub bitcoind: Arc<ArcSwap<BitcoindStatus>>,
    /// Published by rpc/anchor: the status of the tracked blocks.
    pub blocks: Arc<ArcSwap<BlocksStatus>>,
    /// Published by rpc/submit: blocks of this node's miners.
    pub own_blocks: Arc<ArcSwap<OwnBlocksStatus>>,
    /// Published by rpc/submit: whether bitcoind would accept a block.
    pub submission: Arc<ArcSwap<SubmissionStatus>>,
    /// Published by the server: blocks whose status rpc/anchor is to track.
    pub tracked: Arc<ArcSwap<TrackedBlocks>>,
    /// Takes the operator's commands for the network thread.
    pub operator: OperatorSender,
    /// File of the sharechain, whose size is a metric.
    pub store_file: PathBuf,
}

/// Why the threads cannot start, or have failed.
#[derive(Debug, Error)]
pub enum HttpError {
    /// A file or folder in the chain's folder cannot be used.
    #[error("{path} cannot be used: {cause}")]
    File { path: PathBuf, cause: std::io::Error },
    /// The system's event queue cannot be created, or has failed.
    #[error("cannot wait for HTTP requests: {0}")]
    Poll(#[from] std::io::Error),
    /// The address of `-web-bind` cannot be used.
    #[error("cannot listen for browsers on {address}: {cause}; check -web-bind")]
    Listen { address: SocketAddr, cause: std::io::Error },
    /// tiny_http cannot start.
    #[error("cannot start the HTTP server: {0}")]
    Server(String),
}

/// Both threads, opened but not yet running.
pub struct Http {
    /// Runs on a thread of its own.
    pub relay: Relay,
    /// Runs on a thread of its own.
    pub server: Server,
    local_addr: Option<SocketAddr>,
    stop: StopHandle,
}

/// Stops both threads.
#[derive(Clone)]
pub struct StopHandle {
    stop_requested: Arc<AtomicBool>,
    relay: Arc<Waker>,
    server: Arc<tiny_http::Server>,
}

impl Http {
    /// Creates the socket between the threads, and reads the stored history and found blocks.
    /// `config.stratum.port` must be the actual port.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn open(config: Arc<Config>, sources: Sources) -> Result<Self, HttpError> {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let hosts = AllowedHosts::new(&machine, &config.web_hosts);
        let stop_requested = Arc::new(AtomicBool::new(false));
        let socket_dir = SocketDir::create(&config.chain_dir)?;
        let listener = match config.web_bind {
            WebBind::Own(address) => {
                Some(TcpListener::bind(address).map_err(|cause| HttpError::Listen { address, cause })?)
            }
            WebBind::MinersPort | WebBind::Off => None,
        };
        let local_addr = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let relay = Relay::open(
            listener,
            socket_dir.socket_path().to_owned(),
            hosts,
            Arc::clone(&sources.metrics),
            Arc::clone(&stop_requested),
        )?;
        let server = Server::open(socket_dir, config, sources, Arc::clone(&stop_requested))?;
        let stop = StopHandle { stop_requested, relay: Arc::clone(&relay.waker), server: Arc::clone(&server.http) };
        Ok(Self { relay, server, local_addr, stop })
    }

    /// Returns its own address, if it does not share the miners' port.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Returns the sender with which the stratum thread hands over browser connections.
    pub fn relay_handle(&self) -> BrowserSender {
        self.relay.sender.clone()
    }

    /// Returns the handle that stops the threads.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }
}

impl StopHandle {
    /// Requests both threads to stop, and returns at once.
    pub fn stop(&self) {
        self.stop_requested.store(true, Ordering::Release);
        relay::wake(&self.relay);
        self.server.unblock();
    }
}
