//! The stratum thread: one mio event loop for all miners.
//!
//! It owns all sockets of the miners' port. `p2pool_core::stratum` implements the protocol; this crate moves bytes, checks
//! timers and distributes jobs. Nothing in the loop blocks: a share that the chain thread cannot take is rejected, a block
//! that the submit thread cannot take waits here, and a connection that does not read is closed.
//!
//! | file | contents |
//! |---|---|
//! | `event_loop` | the loop: socket events, jobs, timers |
//! | `connections` | all connections: limits, reading in turn, timeouts |
//! | `connection` | one socket: reads and bounded writes |
//! | `listener` | the port and its socket options |
//! | `file_limit` | the limit on open files |
//! | `address_counts` | connections per address |
//! | `protocol` | the protocol of a connection, detected from its first bytes |
//! | `sink` | shares to the chain thread, blocks to the submit thread |
//! | `log_limiter` | rate-limited log lines |

mod address_counts;
mod connection;
mod connections;
mod event_loop;
mod file_limit;
mod listener;
mod log_limiter;
mod protocol;
mod sink;

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use mio::{Poll, Waker};
use p2pool_channels::{latest, BrowserSender, ToChain, ToSubmit, WorkSender};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::status::MinersStatus;
use p2pool_core::stratum::{Difficulty, Limits, SharedState};
use thiserror::Error;

use connections::Connections;
use event_loop::EventLoop;
use listener::Listener;
use sink::ChannelSink;

/// The channels that shares and blocks go to.
#[derive(Clone, Debug)]
pub struct StratumSinks {
    /// The chain thread's inbox. While it is full, shares are rejected with "node busy".
    pub chain: Sender<ToChain>,
    /// The submit thread's inbox. While it is full, blocks wait in the stratum thread.
    pub submit: Sender<ToSubmit>,
}

/// Why the thread could not start or had to end.
#[derive(Debug, Error)]
pub enum StratumError {
    #[error("cannot listen for miners on TCP port {port}: {cause}; free it or choose another with -stratum-port")]
    Listen { port: u16, cause: std::io::Error },
    #[error("cannot listen for miners on {address} port {port}: {cause}; check -stratum-bind and -stratum-port")]
    ListenOn { address: IpAddr, port: u16, cause: std::io::Error },
    #[error("start difficulty {0} is not a positive number")]
    StartDifficulty(f64),
    #[error("cannot wait for socket events: {0}")]
    Poll(#[from] std::io::Error),
    #[error("the chain thread has ended")]
    ChainEnded,
    #[error("the submit thread has ended")]
    SubmitEnded,
}

/// The stratum server: the port is open, the loop is not running yet.
pub struct Stratum {
    event_loop: EventLoop,
    local_addr: SocketAddr,
    work: WorkSender,
    stop: StopHandle,
    miners: Arc<ArcSwap<MinersStatus>>,
}

/// Stops the thread.
#[derive(Clone)]
pub struct StopHandle {
    requested: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl StopHandle {
    /// Requests the thread to close all connections and end; returns at once.
    pub fn stop(&self) {
        self.requested.store(true, Ordering::Release);
        wake(&self.waker);
    }
}

impl Stratum {
    /// Opens the port. The program uses the default limits.
    ///
    /// # Errors
    /// See [`StratumError`].
    pub fn open(
        config: &Config,
        sinks: StratumSinks,
        metrics: Arc<Metrics>,
        limits: Limits,
    ) -> Result<Self, StratumError> {
        let start_difficulty =
            Difficulty::new(config.start_difficulty).ok_or(StratumError::StartDifficulty(config.start_difficulty))?;
        file_limit::raise_for(config.max_sessions);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), event_loop::WAKER)?);
        let listener = Listener::open(config.stratum_bind, config.stratum_port, poll.registry(), event_loop::LISTENER)
            .map_err(|cause| match (config.stratum_bind, config.stratum_port) {
                (None, port) => StratumError::Listen { port, cause },
                (Some(address), port) => StratumError::ListenOn { address, port, cause },
            })?;
        let local_addr = listener.local_addr()?;
        let (slot, updates) = latest();
        let work = {
            let waker = Arc::clone(&waker);
            WorkSender::new(slot, Arc::new(move || wake(&waker)))
        };
        let stop = StopHandle { requested: Arc::new(AtomicBool::new(false)), waker };
        let miners = Arc::new(ArcSwap::from_pointee(MinersStatus::default()));
        // `RandomState` has a random seed, so each run of the program starts at another extranonce.
        let first_extranonce = RandomState::new().hash_one(local_addr) as u32;
        let shared = SharedState::new(&config.params, start_difficulty, limits, first_extranonce, Arc::clone(&metrics));
        let shared = shared.with_config(config);
        let sink = ChannelSink::new(sinks, Arc::clone(&metrics));
        let connections = Connections::new(listener, shared, sink, metrics, config.max_sessions);
        let event_loop = EventLoop::new(poll, updates, connections, Arc::clone(&stop.requested), Arc::clone(&miners));
        Ok(Self { event_loop, local_addr, work, stop, miners })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The sender of jobs to this thread.
    pub fn work_sender(&self) -> WorkSender {
        self.work.clone()
    }

    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// The published status of the miners, updated every [`Limits::status_ms`].
    pub fn miners(&self) -> Arc<ArcSwap<MinersStatus>> {
        Arc::clone(&self.miners)
    }

    /// Passes browsers' connections to the web threads; without this they are closed.
    pub fn send_browsers_to(&mut self, web: BrowserSender) {
        self.event_loop.connections.web = Some(web);
    }

    /// Serves miners until stopped.
    ///
    /// # Errors
    /// If the chain or the submit thread has ended, or the system's event queue fails.
    pub fn run(self) -> Result<(), StratumError> {
        self.event_loop.run()
    }
}

/// Wakes the event loop. A failure is harmless: it means that the loop has not handled earlier wakes yet.
fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::debug!("waking the stratum thread: {error}");
    }
}
