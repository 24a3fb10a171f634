//! The dashboard, the JSON API and the metrics, on the miners' port.
//!
//! Two threads of the process and a few of the library that answers: the stratum thread hands connections whose first
//! bytes are HTTP to the [relay](Relay), which reads requests strictly and passes whole ones to the [server](Server)
//! behind a Unix socket. The server answers from what other threads publish and asks none of them anything; no request
//! changes any state.
//!
//! | module | what it holds |
//! |---|---|
//! | `relay` | what faces strangers |
//! | `server` | the loop: requests, samples for the history, found blocks |
//! | `site` | which path gives what |
//! | `view` | what others have published, and what follows from it |
//! | `api` | the JSON documents, described in `openapi.json` |
//! | `metrics` | the same for Prometheus |
//! | `history` | hash rates of the last hour to month, on disk |
//! | `found` | found blocks, on disk |
//! | `assets` | the page |

mod api;
mod assets;
mod found;
mod history;
mod metrics;
mod relay;
mod server;
mod site;
mod socket;
mod view;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mio::Waker;
use p2pool_channels::BrowserSender;
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{
    BitcoindStatus, BlocksStatus, ChainStatus, MinersStatus, OwnBlocksStatus, PeersStatus, WatchedBlocks,
};
use thiserror::Error;

use relay::Hosts;
pub use relay::Relay;
pub use server::Server;

/// What other threads publish.
#[derive(Clone)]
pub struct Sources {
    /// What all threads count.
    pub metrics: Arc<Metrics>,
    /// By the chain thread.
    pub chain: Arc<ArcSwap<ChainStatus>>,
    /// By the stratum thread.
    pub miners: Arc<ArcSwap<MinersStatus>>,
    /// By the network thread.
    pub peers: Arc<ArcSwap<PeersStatus>>,
    /// By rpc/poll.
    pub bitcoind: Arc<ArcSwap<BitcoindStatus>>,
    /// By rpc/anchor: what became of the blocks below.
    pub blocks: Arc<ArcSwap<BlocksStatus>>,
    /// By rpc/submit: blocks of this node's miners.
    pub own_blocks: Arc<ArcSwap<OwnBlocksStatus>>,
    /// By this crate's server, for rpc/anchor.
    pub watched: Arc<ArcSwap<WatchedBlocks>>,
    /// File that the chain thread stores shares in; its size is a metric.
    pub store_file: PathBuf,
}

/// Why the threads could not start or had to end.
#[derive(Debug, Error)]
pub enum HttpError {
    /// A folder or file of the chain's folder cannot be used.
    #[error("{path} cannot be used: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The system gives no event queue or no socket, or it broke.
    #[error("cannot wait for web requests: {0}")]
    Poll(#[from] std::io::Error),
    /// The library that answers could not start.
    #[error("cannot start the web server: {0}")]
    Server(String),
}

/// Both threads, opened and not yet running.
pub struct Http {
    /// To be run on a thread of its own.
    pub relay: Relay,
    /// To be run on a thread of its own.
    pub server: Server,
    stop: StopHandle,
}

/// Ends both threads.
#[derive(Clone)]
pub struct StopHandle {
    asked: Arc<AtomicBool>,
    relay: Arc<Waker>,
    server: Arc<tiny_http::Server>,
}

impl Http {
    /// Makes the socket between the two threads and reads what was stored. The port in `config` is the one that is open.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn open(config: Arc<Config>, sources: Sources) -> Result<Self, HttpError> {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let hosts = Hosts::new(&machine, &config.web_hosts);
        let asked = Arc::new(AtomicBool::new(false));
        let place = socket::Place::make(&config.chain_dir)?;
        let relay = Relay::open(place.path().to_owned(), hosts, Arc::clone(&sources.metrics), Arc::clone(&asked))?;
        let server = Server::open(place, config, sources, Arc::clone(&asked))?;
        let stop = StopHandle { asked, relay: relay.waker(), server: server.unblocker() };
        Ok(Self { relay, server, stop })
    }

    /// What the stratum thread hands browsers to.
    pub fn relay_handle(&self) -> BrowserSender {
        self.relay.sender()
    }

    /// Ends the threads.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }
}

impl StopHandle {
    /// Asks both threads to end; returns at once.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        relay::wake(&self.relay);
        self.server.unblock();
    }
}
