//! The stratum thread: one mio loop for all miners.
//!
//! It owns every socket of the miners' port. What bytes mean is decided in `p2pool_core::stratum`; here they are
//! moved, timers are looked at, and jobs are fanned out. Nothing in the loop blocks: a share that the chain
//! cannot take is refused, a block that the submit thread cannot take waits here, a client that does not read
//! is dropped.
//!
//! | file | what it does |
//! |---|---|
//! | `event_loop` | the loop: events, jobs, timers |
//! | `connection` | one socket: reading, bounded writing |
//! | `listener` | the port: socket options |
//! | `file_limit` | room for as many sockets as sessions |
//! | `address_counts` | how many sessions an address has |
//! | `sniff` | which protocol a client speaks |
//! | `sink` | shares to the chain, blocks to the submit thread |
//! | `log_limiter` | log lines that strangers cannot multiply |

mod address_counts;
mod connection;
mod event_loop;
mod file_limit;
mod listener;
mod log_limiter;
mod sink;
mod sniff;

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
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

use event_loop::EventLoop;
use listener::Listener;

/// Where shares and blocks go.
#[derive(Clone, Debug)]
pub struct StratumSinks {
    /// The chain's inbox; a full one makes the miner send again.
    pub chain: Sender<ToChain>,
    /// The submit thread's inbox; while it is full blocks wait in this thread.
    pub submit: Sender<ToSubmit>,
}

/// Why the thread could not start or had to end.
#[derive(Debug, Error)]
pub enum StratumError {
    /// The port is taken or not allowed.
    #[error("cannot listen for miners on TCP port {port}: {cause}; free it or choose another with -stratum-port")]
    Listen {
        /// The port.
        port: u16,
        /// The system's words.
        cause: std::io::Error,
    },
    /// Not a number a miner could work at.
    #[error("start difficulty {0} is not a positive number")]
    StartDifficulty(f64),
    /// The system gives no event queue, or it broke.
    #[error("cannot wait for events: {0}")]
    Poll(#[from] std::io::Error),
    /// The chain thread ended first.
    #[error("the chain thread is gone")]
    ChainGone,
    /// The submit thread ended first.
    #[error("the submit thread is gone")]
    SubmitGone,
}

/// The thread, opened and not yet running.
pub struct Stratum {
    event_loop: EventLoop,
    local_addr: SocketAddr,
    jobs: WorkSender,
    stop: StopHandle,
    miners: Arc<ArcSwap<MinersStatus>>,
}

/// Ends the thread.
#[derive(Clone)]
pub struct StopHandle {
    asked: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl StopHandle {
    /// Asks the thread to close all connections and end; returns at once.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        wake(&self.waker);
    }
}

impl Stratum {
    /// Takes the port.
    ///
    /// # Errors
    /// See [`StratumError`].
    pub fn open(config: &Config, sinks: StratumSinks, counters: Arc<Metrics>) -> Result<Self, StratumError> {
        Self::open_with_limits(config, sinks, counters, Limits::default())
    }

    /// As [`Self::open`], with bounds other than the default's; for tests that cannot wait.
    ///
    /// # Errors
    /// See [`StratumError`].
    pub fn open_with_limits(
        config: &Config,
        sinks: StratumSinks,
        counters: Arc<Metrics>,
        limits: Limits,
    ) -> Result<Self, StratumError> {
        let start_difficulty =
            Difficulty::new(config.start_difficulty).ok_or(StratumError::StartDifficulty(config.start_difficulty))?;
        file_limit::make_room_for(config.max_sessions);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), event_loop::WAKER)?);
        let listener = Listener::open(config.stratum_port, poll.registry(), event_loop::LISTENER)
            .map_err(|cause| StratumError::Listen { port: config.stratum_port, cause })?;
        let local_addr = listener.local_addr()?;
        let (slot, news) = latest();
        let jobs = {
            let waker = Arc::clone(&waker);
            WorkSender::new(slot, Arc::new(move || wake(&waker)))
        };
        let stop = StopHandle { asked: Arc::new(AtomicBool::new(false)), waker };
        let miners = Arc::new(ArcSwap::from_pointee(MinersStatus::default()));
        // The hasher is seeded by the system, which is all that is needed: another number in each run.
        let first_extranonce = RandomState::new().hash_one(local_addr) as u32;
        let shared =
            SharedState::new(&config.params, start_difficulty, limits, first_extranonce, Arc::clone(&counters));
        let event_loop = EventLoop::new(event_loop::Parts {
            poll,
            listener,
            news,
            shared,
            sinks,
            counters,
            sessions_max: config.max_sessions,
            stop_asked: Arc::clone(&stop.asked),
            miners: Arc::clone(&miners),
        });
        Ok(Self { event_loop, local_addr, jobs, stop, miners })
    }

    /// Where miners connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Puts jobs in.
    pub fn jobs(&self) -> WorkSender {
        self.jobs.clone()
    }

    /// Ends the thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// The miners, anew every few seconds.
    pub fn miners(&self) -> Arc<ArcSwap<MinersStatus>> {
        Arc::clone(&self.miners)
    }

    /// Gives browsers on the miners' port to the web threads; without this they are closed.
    pub fn send_browsers_to(&mut self, web: BrowserSender) {
        self.event_loop.send_browsers_to(web);
    }

    /// Serves miners until stopped.
    ///
    /// # Errors
    /// If the threads that shares and blocks go to are gone, or the system's event queue fails.
    pub fn run(self) -> Result<(), StratumError> {
        self.event_loop.run()
    }
}

/// A wake that fails finds the loop awake: the system only refuses while earlier wakes are unread.
fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::debug!("waking the stratum thread: {error}");
    }
}
