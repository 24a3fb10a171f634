//! The loop: waits for sockets, jobs and time, and steps the sessions they concern.

mod connections;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use mio::event::Event;
use mio::{Events, Poll, Token};
use p2pool_channels::{BrowserSender, LatestReceiver};
use p2pool_core::metrics::Metrics;
use p2pool_core::status::MinersStatus;
use p2pool_core::stratum::{Now, SharedState};
use p2pool_core::work::WorkUpdate;

use crate::listener::Listener;
use crate::sink::ChannelSink;
use crate::{StratumError, StratumSinks};
use connections::Connections;

/// Wakes the loop for a job or the end.
pub const WAKER: Token = Token(usize::MAX);
/// There are connections to accept.
pub const LISTENER: Token = Token(usize::MAX - 1);
/// Events taken at once.
const EVENTS_MAX: usize = 1024;
/// Jobs on the same Bitcoin tip follow each other no faster: each costs every miner a restart of its work.
const SAME_TIP_INTERVAL_MS: u64 = 250;
/// Blocks that the submit thread had no room for are offered again this often.
const BLOCK_RETRY: Duration = Duration::from_millis(20);

/// What the loop is made of.
pub struct Parts {
    /// Where everything is registered.
    pub poll: Poll,
    /// The port.
    pub listener: Listener,
    /// The newest job.
    pub news: LatestReceiver<WorkUpdate>,
    /// What all sessions share.
    pub shared: SharedState,
    /// Where shares and blocks go.
    pub sinks: StratumSinks,
    /// Counts.
    pub counters: Arc<Metrics>,
    /// Connections at once.
    pub sessions_max: usize,
    /// Set to end the loop.
    pub stop_asked: Arc<AtomicBool>,
    /// Where the miners' state is published.
    pub miners: Arc<ArcSwap<MinersStatus>>,
}

/// The loop and all it owns.
pub struct EventLoop {
    poll: Poll,
    news: LatestReceiver<WorkUpdate>,
    /// SessionEvent that wait for the interval to pass.
    held_news: Option<WorkUpdate>,
    last_job_ms: Option<u64>,
    connections: Connections,
    stop_asked: Arc<AtomicBool>,
    miners: Arc<ArcSwap<MinersStatus>>,
    clock: Clock,
    next_tick_ms: u64,
    next_status_ms: u64,
}

impl EventLoop {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { poll, listener, news, shared, sinks, counters, sessions_max, stop_asked, miners } = parts;
        let sink = ChannelSink::new(sinks, Arc::clone(&counters));
        Self {
            poll,
            news,
            held_news: None,
            last_job_ms: None,
            connections: Connections::new(listener, shared, sink, counters, sessions_max),
            stop_asked,
            miners,
            clock: Clock(Instant::now()),
            next_tick_ms: 0,
            next_status_ms: 0,
        }
    }

    /// From now on browsers go there.
    pub fn send_browsers_to(&mut self, web: BrowserSender) {
        self.connections.send_browsers_to(web);
    }

    /// Runs until asked to stop.
    pub fn run(mut self) -> Result<(), StratumError> {
        let result = self.turn_until_stopped();
        self.connections.finish();
        result
    }

    fn turn_until_stopped(&mut self) -> Result<(), StratumError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, Some(self.patience())) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            if self.stop_asked.load(Ordering::Acquire) {
                return Ok(());
            }
            let now = self.clock.now();
            self.connections.begin_turn(now);
            // A job first: what it makes stale should not be hashed for a moment longer.
            self.take_news(now);
            for event in &events {
                self.on_event(event);
            }
            self.connections.read_queued(self.poll.registry());
            self.connections.flush_blocks();
            self.on_time(now);
            self.connections.check()?;
        }
    }

    /// How long the loop may sleep.
    fn patience(&self) -> Duration {
        if self.connections.has_work() {
            return Duration::ZERO;
        }
        let now_ms = self.clock.now().uptime_ms;
        let mut patience_ms = self.next_tick_ms.saturating_sub(now_ms);
        if self.held_news.is_some() {
            let due_ms = self.last_job_ms.map_or(0, |last_ms| last_ms + SAME_TIP_INTERVAL_MS);
            patience_ms = patience_ms.min(due_ms.saturating_sub(now_ms));
        }
        let patience = Duration::from_millis(patience_ms);
        match self.connections.has_waiting_blocks() {
            true => patience.min(BLOCK_RETRY),
            false => patience,
        }
    }

    fn on_event(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            LISTENER => self.connections.accept(self.poll.registry()),
            Token(key) => {
                self.connections.on_event(key, event.is_readable() || event.is_read_closed(), event.is_writable())
            }
        }
    }

    /// Fans out the newest job, at once if it concerns a new Bitcoin tip.
    fn take_news(&mut self, now: Now) {
        if let Some(news) = self.news.take() {
            self.held_news = Some(news);
        }
        let Some(news) = self.held_news.take() else { return };
        let is_urgent = match &news {
            WorkUpdate::Job(job) => self.connections.shared().is_new_tip(job),
            WorkUpdate::NoWork(_) => true,
        };
        let is_too_soon = self.last_job_ms.is_some_and(|last_ms| now.since_ms(last_ms) < SAME_TIP_INTERVAL_MS);
        if is_too_soon && !is_urgent {
            self.held_news = Some(news);
            return;
        }
        self.last_job_ms = Some(now.uptime_ms);
        self.connections.fan_out(news);
    }

    fn on_time(&mut self, now: Now) {
        if now.uptime_ms < self.next_tick_ms {
            return;
        }
        let limits = *self.connections.shared().limits();
        self.next_tick_ms = now.uptime_ms + limits.tick_ms;
        // Connections may wait that could not be accepted before: no event tells of those again.
        self.connections.accept(self.poll.registry());
        self.connections.tick();
        if now.uptime_ms >= self.next_status_ms {
            self.next_status_ms = now.uptime_ms + limits.status_ms;
            self.miners.store(Arc::new(self.connections.status()));
        }
    }
}

/// The only clock of the thread.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let uptime_ms = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { uptime_ms, time: SystemTime::now().into() }
    }
}
