//! Sends shares to the chain thread and blocks to the submit thread, and logs events.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendTimeoutError, TrySendError};
use p2pool_channels::ToSubmit;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::Event;
use p2pool_core::stratum::{ChainBusy, SessionEvent, SessionSink};
use p2pool_core::units::SteadyTime;
use p2pool_core::work::{FoundBlock, FoundShare};

use crate::log_limiter::{LogKind, LogLimiter};
use crate::{StratumError, StratumSinks};

/// Number of waiting blocks above which no socket is read. It bounds memory without dropping a block.
///
/// Only regtest reaches it, where nearly every hash is a block.
const WAITING_MAX: usize = 256;
/// How long the end of the thread waits for the submit thread to take waiting blocks.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// The sink of all sessions.
pub struct ChannelSink {
    channels: StratumSinks,
    metrics: Arc<Metrics>,
    /// Blocks that the submit thread has not taken yet, oldest first.
    waiting: VecDeque<FoundBlock>,
    /// Set when a thread that shares or blocks go to has ended.
    ended: Option<StratumError>,
    log_limiter: LogLimiter,
    /// The last class of payout outputs that was reported to the chain thread as what the miners' firmware bears.
    firmware_class: u8,
    /// The time of the current step.
    pub now: SteadyTime,
    /// The remote address of the current step's connection.
    pub remote: Option<SocketAddr>,
}

impl ChannelSink {
    pub fn new(channels: StratumSinks, metrics: Arc<Metrics>) -> Self {
        Self {
            channels,
            metrics,
            waiting: VecDeque::new(),
            ended: None,
            log_limiter: LogLimiter::default(),
            firmware_class: 0,
            now: SteadyTime::default(),
            remote: None,
        }
    }

    /// Logs a line, rate-limited by kind.
    pub fn log(&mut self, kind: LogKind, line: fmt::Arguments<'_>) {
        self.log_limiter.log(kind, self.now, line);
    }

    /// Logs a line that an address causes once, rate-limited by kind.
    pub fn log_once(&mut self, kind: LogKind, address: IpAddr, line: fmt::Arguments<'_>) {
        self.log_limiter.log_once(kind, address, self.now, line);
    }

    /// Reports the class of payout outputs that the miners' firmware bears, if it has changed. While the chain thread's inbox
    /// is full, it is reported with the next status.
    pub fn report_firmware_class(&mut self, class: u8) {
        if class != self.firmware_class && self.channels.chain.try_send(Event::FirmwareClass(class).into()).is_ok() {
            self.firmware_class = class;
        }
    }

    /// Offers waiting blocks to the submit thread again.
    pub fn flush_blocks(&mut self) {
        while let Some(block) = self.waiting.pop_front() {
            match self.channels.submit.try_send(ToSubmit::Own(block)) {
                Ok(()) => {}
                Err(TrySendError::Full(ToSubmit::Own(block))) => {
                    self.waiting.push_front(block);
                    return;
                }
                Err(error) => return self.submit_ended(&error.into_inner()),
            }
        }
    }

    /// Whether blocks wait for the submit thread.
    pub fn has_waiting_blocks(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so many blocks wait that no socket should be read.
    pub fn is_congested(&self) -> bool {
        self.waiting.len() > WAITING_MAX
    }

    /// Returns an error if a thread that shares or blocks go to has ended.
    pub fn check(&mut self) -> Result<(), StratumError> {
        self.ended.take().map_or(Ok(()), Err)
    }

    /// Waits for the submit thread to take the blocks that still wait.
    pub fn finish(&mut self) {
        let deadline = Instant::now() + FINISH_TIMEOUT;
        while let Some(block) = self.waiting.pop_front() {
            match self.channels.submit.send_deadline(ToSubmit::Own(block), deadline) {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(message)) => log_lost(&message, "the submit thread is too busy"),
                Err(SendTimeoutError::Disconnected(message)) => self.submit_ended(&message),
            }
        }
    }

    fn submit_ended(&mut self, message: &ToSubmit) {
        log_lost(message, "the submit thread has ended");
        self.ended = Some(StratumError::SubmitEnded);
    }
}

/// Logs a block that cannot be submitted, so that the operator can still recover it.
fn log_lost(message: &ToSubmit, why: &str) {
    let ToSubmit::Own(block) = message else { return };
    log::error!("found block not submitted, {why}: {block}");
}

impl SessionSink for ChannelSink {
    fn submit_block(&mut self, block: FoundBlock) {
        // After those that wait already.
        self.waiting.push_back(block);
        self.flush_blocks();
        if self.has_waiting_blocks() {
            let count = self.waiting.len();
            self.log(LogKind::SubmitBusy, format_args!("submit thread busy: {count} found blocks wait for it"));
        }
    }

    fn submit_share(&mut self, share: FoundShare) -> Result<(), ChainBusy> {
        match self.channels.chain.try_send(Event::ShareFound(share).into()) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(_)) => {
                self.log(LogKind::ChainBusy, format_args!("chain thread busy: a miner's share was rejected"));
            }
            Err(TrySendError::Disconnected(_)) => self.ended = Some(StratumError::ChainEnded),
        }
        Err(ChainBusy)
    }

    fn report(&mut self, event: SessionEvent<'_>) {
        let Some(remote) = self.remote else { return };
        let address = RemoteAddress(remote);
        match event {
            SessionEvent::Authorised { worker, user_agent } => {
                let connections = self.metrics.sessions.get();
                self.log(
                    LogKind::Connected,
                    format_args!("miner {worker} ({user_agent}) connected from {address}, connections: {connections}"),
                );
            }
            SessionEvent::UnpaidAddress { worker, user_agent, fault, paid } => self.log(
                LogKind::UnpaidAddress,
                format_args!(
                    "user name of miner {worker} ({user_agent}) at {address} has {fault}: all work here pays {paid}, so use {paid}.name as user name"
                ),
            ),
            SessionEvent::VersionBits { worker, user_agent, bits, mask } => self.log(
                LogKind::VersionBits,
                format_args!(
                    "shares of miner {worker} ({user_agent}) at {address} rejected: it rolls version bits {bits:08x}, but has negotiated {mask:08x} with mining.configure"
                ),
            ),
            SessionEvent::CoinbaseTooLarge { worker, user_agent, len, len_max, is_withheld } => {
                let consequence = if is_withheld { ", so it gets no work" } else { "" };
                self.log(
                    LogKind::CoinbaseTooLarge,
                    format_args!(
                        "coinbase too large for miner {worker} ({user_agent}) at {address}: {len} bytes, its firmware is known to support up to {len_max}{consequence}"
                    ),
                );
            }
        }
    }
}

/// Displays an address without the IPv6-mapped form that IPv4 addresses have on an IPv6 socket.
pub struct RemoteAddress(pub SocketAddr);

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.0.ip().to_canonical(), self.0.port()).fmt(f)
    }
}
