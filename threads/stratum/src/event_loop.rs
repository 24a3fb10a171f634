//! The event loop: waits for sockets, jobs and timers, and steps the sessions that they concern.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use mio::event::Event;
use mio::{Events, Poll, Token};
use p2pool_channels::LatestReceiver;
use p2pool_core::status::MinersStatus;
use p2pool_core::units::{Now, SteadyTime};
use p2pool_core::work::WorkUpdate;

use crate::connections::Connections;
use crate::StratumError;

/// Event token of wakes, for new work or a stop.
pub const WAKER: Token = Token(usize::MAX);
/// Event token of the listening socket.
pub const LISTENER: Token = Token(usize::MAX - 1);
/// Largest number of events handled per turn.
const EVENTS_MAX: usize = 1024;
/// Minimum interval between jobs on the same Bitcoin tip, since each makes every miner restart its work.
const SAME_TIP_INTERVAL_MS: u64 = 250;
/// Interval at which blocks are offered again to a busy submit thread.
const BLOCK_RETRY: Duration = Duration::from_millis(20);

/// The event loop and its state.
pub struct EventLoop {
    poll: Poll,
    updates: LatestReceiver<WorkUpdate>,
    /// An update that waits for [`SAME_TIP_INTERVAL_MS`] to pass.
    pending_update: Option<WorkUpdate>,
    last_update: Option<SteadyTime>,
    pub connections: Connections,
    stop_requested: Arc<AtomicBool>,
    miners: Arc<ArcSwap<MinersStatus>>,
    clock: Clock,
    next_tick: SteadyTime,
    next_status: SteadyTime,
}

impl EventLoop {
    /// Creates the loop; it ends once `stop_requested` is set, and publishes the miners' status in `miners`.
    pub fn new(
        poll: Poll,
        updates: LatestReceiver<WorkUpdate>,
        connections: Connections,
        stop_requested: Arc<AtomicBool>,
        miners: Arc<ArcSwap<MinersStatus>>,
    ) -> Self {
        Self {
            poll,
            updates,
            pending_update: None,
            last_update: None,
            connections,
            stop_requested,
            miners,
            clock: Clock(Instant::now()),
            next_tick: SteadyTime::default(),
            next_status: SteadyTime::default(),
        }
    }

    /// Runs until stopped.
    pub fn run(mut self) -> Result<(), StratumError> {
        let result = self.run_until_stopped();
        self.connections.finish();
        result
    }

    fn run_until_stopped(&mut self) -> Result<(), StratumError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, Some(self.timeout())) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            if self.stop_requested.load(Ordering::Acquire) {
                return Ok(());
            }
            let now = self.clock.now();
            self.connections.begin_turn(now);
            // New work first, so that miners stop working on a stale job as soon as possible.
            self.take_update(now);
            self.connections.continue_fan_out();
            for event in &events {
                self.on_event(event);
            }
            self.connections.read_queued(self.poll.registry());
            self.connections.accept(self.poll.registry());
            self.connections.sink.flush_blocks();
            self.check_timers(now);
            self.connections.sink.check()?;
        }
    }

    /// How long the loop may wait for events.
    fn timeout(&self) -> Duration {
        if self.connections.has_work() {
            return Duration::ZERO;
        }
        let mut due = self.next_tick;
        if let (Some(_), Some(last)) = (&self.pending_update, self.last_update) {
            due = due.min(last.plus_ms(SAME_TIP_INTERVAL_MS));
        }
        let timeout = Duration::from_millis(due.since_ms(self.clock.now().steady));
        match self.connections.sink.has_waiting_blocks() {
            true => timeout.min(BLOCK_RETRY),
            false => timeout,
        }
    }

    fn on_event(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            LISTENER => self.connections.on_incoming(),
            Token(key) => {
                self.connections.on_event(key, event.is_readable() || event.is_read_closed(), event.is_writable())
            }
        }
    }

    /// Distributes the newest work: at once on a new Bitcoin tip, else at the minimum interval.
    fn take_update(&mut self, now: Now) {
        if let Some(update) = self.updates.take() {
            self.pending_update = Some(update);
        }
        let Some(update) = self.pending_update.take() else { return };
        let is_urgent = match &update {
            WorkUpdate::Job(job) => self.connections.shared.jobs.is_new_tip(job),
            WorkUpdate::NoWork(_) => true,
        };
        let is_too_soon = self.last_update.is_some_and(|last| now.steady.since_ms(last) < SAME_TIP_INTERVAL_MS);
        if is_too_soon && !is_urgent {
            self.pending_update = Some(update);
            return;
        }
        self.last_update = Some(now.steady);
        self.connections.fan_out(update);
    }

    fn check_timers(&mut self, now: Now) {
        if now.steady >= self.next_tick && !self.connections.is_ticking() {
            let limits = self.connections.shared.limits;
            self.next_tick = now.steady.plus_ms(limits.tick_ms);
            // There is no further event for connections that could not be accepted earlier.
            self.connections.on_incoming();
            let is_status_due = now.steady >= self.next_status;
            if is_status_due {
                self.next_status = now.steady.plus_ms(limits.status_ms);
            }
            self.connections.begin_tick(is_status_due);
        }
        if let Some(status) = self.connections.continue_tick() {
            self.miners.store(Arc::new(status));
        }
    }
}

/// The thread's clock.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        Now { steady: self.0.elapsed().into(), time: SystemTime::now().into() }
    }
}
