//! The network thread: runs the swarm and all async code of the program on one OS thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use futures::StreamExt as _;
use log::debug;
use p2pool_channels::{InboxFull, NetworkSender, ToChain, ToNetwork};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::status::PeersStatus;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::driver::{SwarmDriver, Tuning};
use crate::error::P2pError;
use crate::lan::Lan;

/// Messages that wait for the network thread. A full inbox loses announcements and requests; peers catch up by inventory.
const INBOX_LEN: usize = 256;
/// Interval at which dials, expired verdicts, files and the like are looked at.
const TICK: Duration = Duration::from_millis(200);
/// Wait before a full inbox of the chain thread is retried.
const OUTBOX_RETRY: Duration = Duration::from_millis(10);
/// Time that background tasks (name lookups) get to finish at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(300);

/// The network thread before it runs.
pub struct P2p {
    runtime: Runtime,
    driver: SwarmDriver,
    inbox: mpsc::Receiver<ToNetwork>,
    stop: watch::Receiver<bool>,
    sender: NetworkSender,
}

impl P2p {
    /// Loads identity, bans and known peers from the chain's folder and listens.
    ///
    /// # Errors
    /// A file cannot be read, a bootnode's address is malformed, or the port is taken.
    pub fn open(config: &Config, to_chain: Sender<ToChain>, metrics: Arc<Metrics>) -> Result<Self, P2pError> {
        Self::open_tuned(config, to_chain, metrics, Tuning::default())
    }

    pub(crate) fn open_tuned(
        config: &Config,
        to_chain: Sender<ToChain>,
        metrics: Arc<Metrics>,
        tuning: Tuning,
    ) -> Result<Self, P2pError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| P2pError::Setup(error.to_string()))?;
        let driver = {
            let _inside = runtime.enter();
            SwarmDriver::open(config, to_chain, metrics, tuning)?
        };
        let (sender, inbox, stop) = inbox();
        Ok(Self { runtime, driver, inbox, stop, sender })
    }

    /// Returns the sender for the thread's inbox.
    pub fn sender(&self) -> NetworkSender {
        self.sender.clone()
    }

    /// Whether this node has any way to find peers.
    pub fn looks_for_peers(&self) -> bool {
        self.driver.status.load().discovery.any()
    }

    /// Returns the published status.
    pub fn status(&self) -> Arc<ArcSwap<PeersStatus>> {
        Arc::clone(&self.driver.status)
    }

    /// Runs until it is stopped or the chain thread has ended. Failures meanwhile are logged and retried.
    pub fn run(self) {
        let Self { runtime, mut driver, mut inbox, mut stop, sender } = self;
        // The inbox closes only when no sender is left.
        drop(sender);
        runtime.block_on(async {
            run_loop(&mut driver, &mut inbox, &mut stop).await;
            driver.save(Instant::now(), true);
        });
        {
            // Sockets are deregistered from the runtime that they belong to.
            let _inside = runtime.enter();
            drop(driver);
        }
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        debug!("network thread stopped");
    }
}

async fn run_loop(driver: &mut SwarmDriver, inbox: &mut mpsc::Receiver<ToNetwork>, stop: &mut watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_waiting = driver.outbox.is_waiting();
        tokio::select! {
            // An error means that no sender is left, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => return,
            message = inbox.recv() => match message {
                Some(message) => driver.on_message(message),
                None => return,
            },
            statement = Lan::next_statement(&mut driver.lan) => driver.on_lan_statement(&statement),
            event = driver.swarm.select_next_some() => driver.on_event(event),
            _ = tick.tick() => driver.tick(Instant::now()),
            () = tokio::time::sleep(OUTBOX_RETRY), if is_waiting => {
                if driver.outbox.flush().is_err() {
                    return;
                }
            }
        }
    }
}

/// Makes a bounded inbox, and a flag beside it for the stop, which therefore never finds the inbox full.
fn inbox() -> (NetworkSender, mpsc::Receiver<ToNetwork>, watch::Receiver<bool>) {
    let (messages, inbox) = mpsc::channel(INBOX_LEN);
    let (stopper, stop) = watch::channel(false);
    let sender = NetworkSender::new(move |message| match message {
        ToNetwork::Stop => stopper.send(true).map_err(|_| InboxFull),
        message => messages.try_send(message).map_err(|_| InboxFull),
    });
    (sender, inbox, stop)
}
