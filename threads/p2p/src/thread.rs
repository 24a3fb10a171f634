//! The network thread: runs the swarm and all async code of the program on one OS thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use futures::StreamExt as _;
use log::debug;
use p2pool_channels::{InboxFull, NetworkSender, OperatorSender, ToChain, ToNetwork};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::status::PeersStatus;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::driver::{SwarmDriver, Tuning};
use crate::error::P2pError;
use crate::lan::Lan;
use crate::order::Order;

/// Messages that wait for the network thread. A full inbox loses announcements and requests; peers catch up by inventory.
const INBOX_LEN: usize = 256;
/// Commands of the operator that wait for the network thread: people type them.
const ORDERS_LEN: usize = 16;
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
    orders: mpsc::Receiver<Order>,
    stop: watch::Receiver<bool>,
    sender: NetworkSender,
    operator: OperatorSender,
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
        let (operator, orders) = orders(Arc::clone(&driver.status));
        Ok(Self { runtime, driver, inbox, orders, stop, sender, operator })
    }

    /// Returns the sender for the thread's inbox.
    pub fn sender(&self) -> NetworkSender {
        self.sender.clone()
    }

    /// Returns the sender for the operator's commands.
    pub fn operator(&self) -> OperatorSender {
        self.operator.clone()
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
        let Self { runtime, mut driver, mut inbox, mut orders, mut stop, sender, operator } = self;
        // The inbox closes only when no sender is left.
        drop((sender, operator));
        runtime.block_on(async {
            run_loop(&mut driver, &mut inbox, &mut orders, &mut stop).await;
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

async fn run_loop(
    driver: &mut SwarmDriver,
    inbox: &mut mpsc::Receiver<ToNetwork>,
    orders: &mut mpsc::Receiver<Order>,
    stop: &mut watch::Receiver<bool>,
) {
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
            // Closed when no sender is left.
            Some(order) = orders.recv() => driver.on_order(order),
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

/// Makes the way of the operator's commands, which are read before they wait.
fn orders(status: Arc<ArcSwap<PeersStatus>>) -> (OperatorSender, mpsc::Receiver<Order>) {
    let (orders, inbox) = mpsc::channel(ORDERS_LEN);
    let sender = OperatorSender::new(move |command| {
        let (order, text) = Order::read(command, &status.load())?;
        orders.try_send(order).map_err(|_| InboxFull)?;
        Ok(text)
    });
    (sender, inbox)
}
