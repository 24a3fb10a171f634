//! Shares to the chain, blocks to the submit thread, news to the log.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendTimeoutError, TrySendError};
use p2pool_channels::ToSubmit;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::Event;
use p2pool_core::stratum::{ChainBusy, SessionEvent, SessionSink};
use p2pool_core::work::{FoundBlock, FoundShare};

use crate::log_limiter::{LogKind, LogLimiter};
use crate::{StratumError, StratumSinks};

/// While more blocks wait than this, no socket is read, so that memory is bounded though no block is dropped.
///
/// Only regtest, where nearly every hash is a block, gets there.
const WAITING_MAX: usize = 256;
/// At the end, blocks that still wait are given this long to be taken.
const LAST_TRY: Duration = Duration::from_secs(2);

/// The ways out of the thread.
pub struct ChannelSink {
    channels: StratumSinks,
    counters: Arc<Metrics>,
    waiting: VecDeque<FoundBlock>,
    gone: Option<StratumError>,
    /// Lines about to be logged.
    pub warnings: LogLimiter,
    /// The time of the present step.
    pub now_ms: u64,
    /// The client of the present step.
    pub peer: Option<SocketAddr>,
}

impl ChannelSink {
    /// Nothing waits.
    pub fn new(channels: StratumSinks, counters: Arc<Metrics>) -> Self {
        Self {
            channels,
            counters,
            waiting: VecDeque::new(),
            gone: None,
            warnings: LogLimiter::default(),
            now_ms: 0,
            peer: None,
        }
    }

    /// Logs a line about the present step.
    pub fn log(&mut self, kind: LogKind, line: std::fmt::Arguments<'_>) {
        self.warnings.log(kind, self.now_ms, line);
    }

    /// Offers waiting blocks again, oldest first.
    pub fn flush_blocks(&mut self) {
        while let Some(block) = self.waiting.pop_front() {
            match self.channels.submit.try_send(ToSubmit::Own(block)) {
                Ok(()) => {}
                Err(TrySendError::Full(ToSubmit::Own(block))) => {
                    self.waiting.push_front(block);
                    return;
                }
                Err(error) => return self.submit_is_gone(&error.into_inner()),
            }
        }
    }

    /// Blocks that the submit thread has not taken yet.
    pub fn has_waiting_blocks(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so many blocks wait that nothing should be read that could bring more.
    pub fn is_congested(&self) -> bool {
        self.waiting.len() > WAITING_MAX
    }

    /// The reason to end, if a thread that this one feeds has ended.
    pub fn check(&mut self) -> Result<(), StratumError> {
        self.gone.take().map_or(Ok(()), Err)
    }

    /// The loop is over: waits for the submit thread to take what it must not lose.
    pub fn finish(&mut self) {
        let deadline = Instant::now() + LAST_TRY;
        while let Some(block) = self.waiting.pop_front() {
            match self.channels.submit.send_deadline(ToSubmit::Own(block), deadline) {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(message)) => {
                    log_lost(&message, "the submit thread was too busy to take it before the end");
                }
                Err(SendTimeoutError::Disconnected(message)) => self.submit_is_gone(&message),
            }
        }
    }

    fn submit_is_gone(&mut self, message: &ToSubmit) {
        log_lost(message, "the submit thread has ended");
        self.gone = Some(StratumError::SubmitGone);
    }
}

/// A block that nobody will take is written where an operator can still find it.
fn log_lost(message: &ToSubmit, why: &str) {
    let ToSubmit::Own(block) = message else { return };
    let header = hex(&block.header);
    let extranonce = hex(&block.extranonce);
    log::error!("block of job {} is not submitted, {why}: header {header}, extranonce {extranonce}", block.job.id);
}

impl SessionSink for ChannelSink {
    fn block(&mut self, block: FoundBlock) {
        // Earlier ones first.
        self.waiting.push_back(block);
        self.flush_blocks();
        if self.has_waiting_blocks() {
            let count = self.waiting.len();
            self.log(
                LogKind::SubmitBusy,
                format_args!("{count} found blocks wait for the submit thread, which is busy"),
            );
        }
    }

    fn share(&mut self, share: FoundShare) -> Result<(), ChainBusy> {
        match self.channels.chain.try_send(Event::ShareFound(share).into()) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.log(LogKind::ChainBusy, format_args!("a miner's share was refused: the chain thread is too busy"));
                Err(ChainBusy)
            }
            Err(TrySendError::Disconnected(_)) => {
                self.gone = Some(StratumError::ChainGone);
                Err(ChainBusy)
            }
        }
    }

    fn news(&mut self, news: SessionEvent<'_>) {
        let peer = RemoteAddress(self.peer);
        match news {
            SessionEvent::Authorised { worker, user_agent } => {
                let sessions = self.counters.sessions.get();
                self.log(LogKind::Joined, format_args!("miner {worker} ({user_agent}) joined from {peer}; connections: {sessions}"));
            }
            SessionEvent::CoinbaseTooLarge { worker, user_agent, len, len_max } => self.log(
                LogKind::CoinbaseTooLarge,
                format_args!(
                    "miner {worker} ({user_agent}) at {peer}: the coinbase has {len} bytes, its firmware is known to work up to {len_max}"
                ),
            ),
        }
    }
}

/// An address without the form that IPv4 takes on an IPv6 socket.
pub struct RemoteAddress(pub Option<SocketAddr>);

impl std::fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
