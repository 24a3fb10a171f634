//! All connections: limits, reading in turn, timeouts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use p2pool_channels::{BrowserConnection, BrowserSender};
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{MinerStatus, MinersStatus};
use p2pool_core::stratum::firmware_work::outputs_vote;
use p2pool_core::stratum::{display_name, CloseReason, Fanout, GateReport, Session, SharedState, Step};
use p2pool_core::units::{Now, SteadyTime, UnixTime};
use p2pool_core::work::WorkUpdate;
use slab::Slab;

use crate::address_counts::AddressCounts;
use crate::connection::{pending_max, Connection, ConnectionLimit, ConnectionState, DisconnectReason};
use crate::listener::Listener;
use crate::log_limiter::LogKind;
use crate::protocol::{detect, Protocol, PEEK_LEN};
use crate::sink::{ChannelSink, RemoteAddress};

/// Largest number of bytes read from a socket before the next one's turn: some hundred submits.
const READ_LEN: usize = 16 * 1024;
/// Largest number of connections accepted per turn of the loop.
const ACCEPTS_MAX: usize = 64;
/// Number of connections that are read, get a job, or whose timers are checked, per turn of the loop. So none of these waits until
/// another is done for all.
const SLICE: usize = 16;
/// Connections accepted beyond the limits on miners, in all and per address, since they may be browsers: as many as the
/// web threads take, and as one household opens at once.
const EXTRA_CONNECTIONS: usize = 32;
const EXTRA_PER_ADDRESS: usize = 8;

/// A notification of all sessions, in slices.
struct FanOut {
    fanout: Fanout,
    /// Key of the next connection.
    next_key: usize,
    start: Instant,
}

/// A check of the timers of all connections, in slices.
struct Tick {
    /// Key of the next connection.
    next_key: usize,
    /// The status of the miners so far, if it is to be published.
    miners: Option<Vec<MinerStatus>>,
}

/// All connections, with the state that they share.
pub struct Connections {
    listener: Listener,
    connections: Slab<Connection>,
    addresses: AddressCounts,
    sessions_max: usize,
    /// Whether more connections may wait to be accepted.
    may_accept: bool,
    /// Keys of connections that may have bytes to read.
    queue: VecDeque<usize>,
    /// The notification of all sessions in progress.
    fan_out: Option<FanOut>,
    /// The check of all timers in progress.
    tick: Option<Tick>,
    pub shared: SharedState,
    pub sink: ChannelSink,
    /// The web threads; without them, browsers' connections are closed.
    pub web: Option<BrowserSender>,
    metrics: Arc<Metrics>,
    /// When a miner was refused because of a limit last.
    limit_reached: Option<(UnixTime, ConnectionLimit)>,
    now: Now,
    /// Largest number of bytes that may wait for a socket.
    pending_max: usize,
    input: Box<[u8]>,
    output: Vec<u8>,
}

impl Connections {
    pub fn new(
        listener: Listener,
        shared: SharedState,
        sink: ChannelSink,
        metrics: Arc<Metrics>,
        sessions_max: usize,
    ) -> Self {
        Self {
            listener,
            connections: Slab::new(),
            addresses: AddressCounts::new(shared.limits.private_addresses_exempt),
            sessions_max,
            may_accept: false,
            queue: VecDeque::new(),
            fan_out: None,
            tick: None,
            shared,
            sink,
            web: None,
            metrics,
            limit_reached: None,
            now: Now { steady: SteadyTime::default(), time: UnixTime(0) },
            pending_max: pending_max(0),
            input: vec![0; READ_LEN].into(),
            output: Vec::new(),
        }
    }

    /// Whether the loop should not wait for events.
    pub fn has_work(&self) -> bool {
        self.may_accept
            || self.fan_out.is_some()
            || self.tick.is_some()
            || (!self.queue.is_empty() && !self.sink.is_congested())
    }

    /// Sets the time of the following steps.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        self.sink.now = now.steady;
    }

    /// Notes that connections may wait to be accepted.
    pub fn on_incoming(&mut self) {
        self.may_accept = true;
    }

    /// Accepts waiting connections, at most [`ACCEPTS_MAX`]; the others have the next turn.
    pub fn accept(&mut self, registry: &Registry) {
        for _ in 0..ACCEPTS_MAX {
            if !self.may_accept {
                return;
            }
            match self.listener.accept() {
                Ok(Some((socket, remote))) => self.admit(socket, remote, registry),
                Ok(None) => self.may_accept = false,
                Err(error) => {
                    // Most likely no file descriptor is free; the next tick tries again.
                    self.sink.log(LogKind::Accept, format_args!("cannot accept miner connections: {error}"));
                    self.may_accept = false;
                }
            }
        }
    }

    /// Registers a new connection. The limits here are slightly above those on miners, so that browsers can connect to a
    /// node that has no room for further miners.
    fn admit(&mut self, mut socket: TcpStream, remote: SocketAddr, registry: &Registry) {
        if self.connections.len() >= self.sessions_max.saturating_add(EXTRA_CONNECTIONS) {
            return self.note_refused(remote, ConnectionLimit::Total(self.sessions_max));
        }
        let per_address_max = self.shared.limits.sessions_per_address_max;
        if !self.addresses.enter(remote.ip(), per_address_max.saturating_add(EXTRA_PER_ADDRESS)) {
            return self.note_refused(remote, ConnectionLimit::PerAddress(per_address_max));
        }
        let entry = self.connections.vacant_entry();
        if let Err(error) = registry.register(&mut socket, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)
        {
            self.addresses.leave(remote.ip());
            self.sink.log(LogKind::Accept, format_args!("cannot register a miner connection: {error}"));
            return;
        }
        entry.insert(Connection::new(socket, remote, self.now));
        self.publish_count();
    }

    /// The limit that a connection exceeds as a miner, if any. The connection itself is counted already.
    fn exceeded_limit(&self, remote: SocketAddr) -> Option<ConnectionLimit> {
        let per_address_max = self.shared.limits.sessions_per_address_max;
        if self.connections.len() > self.sessions_max {
            return Some(ConnectionLimit::Total(self.sessions_max));
        }
        (self.addresses.count(remote.ip()) > per_address_max).then_some(ConnectionLimit::PerAddress(per_address_max))
    }

    fn note_refused(&mut self, remote: SocketAddr, limit: ConnectionLimit) {
        let address = RemoteAddress(remote);
        self.metrics.sessions_refused.inc();
        self.limit_reached = Some((self.now.time, limit));
        self.sink.log(LogKind::Refused, format_args!("miner at {address} refused: {limit}"));
    }

    /// Processes a socket event.
    pub fn on_event(&mut self, key: usize, is_readable: bool, is_writable: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if is_writable {
            if let Err(reason) = connection.flush() {
                return self.close(key, &reason);
            }
        }
        if is_readable && !connection.is_queued {
            connection.is_queued = true;
            self.queue.push_back(key);
        }
    }

    /// Reads once from each of the next [`SLICE`] connections that have bytes; the others, and those with more, wait for the next
    /// turn.
    pub fn read_queued(&mut self, registry: &Registry) {
        for _ in 0..self.queue.len().min(SLICE) {
            if self.sink.is_congested() {
                return;
            }
            let Some(key) = self.queue.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.is_queued = false;
            match self.read_one(key) {
                Ok(true) => self.on_event(key, true, false),
                Ok(false) => {}
                Err(DisconnectReason::Browser) => self.hand_over(key, registry),
                Err(reason) => self.close(key, &reason),
            }
        }
    }

    /// Passes a browser's connection, from which nothing was read, to the web threads, or closes it.
    fn hand_over(&mut self, key: usize, registry: &Registry) {
        let Some(mut connection) = self.remove(key) else { return };
        let remote = connection.remote;
        if let Err(error) = registry.deregister(&mut connection.socket) {
            return log::debug!("browser at {}: {error}", RemoteAddress(remote));
        }
        let browser = BrowserConnection { socket: connection.socket.into(), peer: remote };
        if self.web.as_ref().is_some_and(|web| web.try_send(browser).is_err()) {
            log::debug!("browser at {} closed: too many wait for the web threads", RemoteAddress(remote));
        }
    }

    /// Detects the protocol of a connection and starts a miner's session; false if there are too few bytes.
    fn identify(&mut self, key: usize) -> Result<bool, DisconnectReason> {
        let Some(connection) = self.connections.get(key) else { return Ok(false) };
        let mut first = [0; PEEK_LEN];
        let Some(len) = connection.peek(&mut first)? else { return Ok(false) };
        match detect(first.get(..len).unwrap_or_default()) {
            Protocol::Stratum => {}
            Protocol::Http => return Err(DisconnectReason::Browser),
            Protocol::Undecided => return Ok(false),
            Protocol::Foreign(protocol) => return Err(DisconnectReason::Foreign(protocol)),
        }
        if let Some(why) = self.shared.gate.refuses() {
            return Err(DisconnectReason::NoWork(why));
        }
        if let Some(limit) = self.exceeded_limit(connection.remote) {
            return Err(DisconnectReason::Refused(limit));
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = ConnectionState::Miner(Box::new(Session::new(&self.shared, connection.opened)));
        }
        Ok(true)
    }

    /// Reads once from a connection; returns whether there may be more.
    fn read_one(&mut self, key: usize) -> Result<bool, DisconnectReason> {
        let is_unidentified = |connection: &Connection| matches!(connection.state, ConnectionState::Unidentified);
        if self.connections.get(key).is_some_and(is_unidentified) && !self.identify(key)? {
            return Ok(false);
        }
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        let Some(len) = connection.read(&mut self.input)? else { return Ok(false) };
        let bytes = self.input.get(..len).unwrap_or_default();
        let ConnectionState::Miner(session) = &mut connection.state else { return Ok(true) };
        self.metrics.stratum_bytes_in.inc_by(len as u64);
        self.output.clear();
        self.sink.remote = Some(connection.remote);
        let (start, submits_before) = (Instant::now(), submits(&self.metrics));
        let mut step = Step { shared: &mut self.shared, now: self.now, out: &mut self.output, sink: &mut self.sink };
        let result = session.on_bytes(bytes, &mut step);
        connection.send(&self.output, self.pending_max, self.now.steady)?;
        let latency = start.elapsed();
        self.metrics.stratum_bytes_out.inc_by(self.output.len() as u64);
        for _ in submits_before..submits(&self.metrics) {
            self.metrics.submit_latency.observe(latency.as_secs_f64());
        }
        result.map_err(DisconnectReason::Session)?;
        Ok(true)
    }

    /// Notifies all miners of a job or of its absence: at once if it makes older work stale, else in slices, of which
    /// [`Self::continue_fan_out`] does one.
    pub fn fan_out(&mut self, update: WorkUpdate) {
        // Sessions that have not got the last job would else miss that it made older work stale.
        while self.fan_out.is_some() {
            self.continue_fan_out();
        }
        let start = Instant::now();
        if let WorkUpdate::Job(job) = &update {
            self.pending_max = pending_max(job.notify_len_max());
        }
        let fanout = self.shared.update(update);
        self.fan_out = Some(FanOut { fanout, next_key: 0, start });
        while fanout != (Fanout::Job { clean: false }) && self.fan_out.is_some() {
            self.continue_fan_out();
        }
    }

    /// Notifies the next [`SLICE`] connections.
    pub fn continue_fan_out(&mut self) {
        let Some(FanOut { fanout, next_key, start }) = self.fan_out.take() else { return };
        let end = next_key.saturating_add(SLICE);
        for key in next_key..end {
            let result = self.step(key, |session, step| {
                session.on_fanout(fanout, step);
                Ok(())
            });
            if let Err(reason) = result {
                self.close(key, &reason);
            }
        }
        // No key is beyond the capacity.
        if end < self.connections.capacity() {
            self.fan_out = Some(FanOut { fanout, next_key: end, start });
        } else {
            self.metrics.job_fanout.observe(start.elapsed().as_secs_f64());
        }
    }

    /// Whether a check of all timers is in progress.
    pub fn is_ticking(&self) -> bool {
        self.tick.is_some()
    }

    /// Begins to check all timers and, on request, to gather the miners' status; [`Self::continue_tick`] does it.
    pub fn begin_tick(&mut self, with_status: bool) {
        if let Some(report) = self.shared.gate.tick(self.now) {
            let is_good = report == GateReport::Open;
            self.sink.log(if is_good { LogKind::WorkAvailable } else { LogKind::Work }, format_args!("{report}"));
        }
        let miners = with_status.then(|| Vec::with_capacity(self.connections.len()));
        self.tick = Some(Tick { next_key: 0, miners });
    }

    /// Checks the timers of the next [`SLICE`] connections. Returns the miners' status once all are checked, if it was
    /// requested.
    pub fn continue_tick(&mut self) -> Option<MinersStatus> {
        let mut tick = self.tick.take()?;
        let end = tick.next_key.saturating_add(SLICE);
        for key in tick.next_key..end {
            match self.check_connection(key) {
                Ok(()) => self.gather_status(key, &mut tick),
                Err(reason) => self.close(key, &reason),
            }
        }
        // No key is beyond the capacity.
        if end < self.connections.capacity() {
            self.tick = Some(Tick { next_key: end, ..tick });
            return None;
        }
        tick.miners.map(|miners| self.status(miners))
    }

    /// Checks the timers of a connection.
    fn check_connection(&mut self, key: usize) -> Result<(), DisconnectReason> {
        let Some(connection) = self.connections.get(key) else { return Ok(()) };
        let (limits, now) = (&self.shared.limits, self.now.steady);
        let is_unidentified = matches!(connection.state, ConnectionState::Unidentified);
        if is_unidentified && now.since_ms(connection.opened.steady) > limits.first_byte_ms {
            return Err(DisconnectReason::NothingReceived);
        }
        if connection.stalled_ms(now) > limits.write_stall_ms {
            return Err(DisconnectReason::SlowReader);
        }
        self.step(key, |session, step| session.on_tick(step))
    }

    /// Steps a session, if there is one with this key, and sends its output.
    fn step(
        &mut self,
        key: usize,
        advance: impl FnOnce(&mut Session, &mut Step<'_>) -> Result<(), CloseReason>,
    ) -> Result<(), DisconnectReason> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let ConnectionState::Miner(session) = &mut connection.state else { return Ok(()) };
        self.output.clear();
        self.sink.remote = Some(connection.remote);
        let mut step = Step { shared: &mut self.shared, now: self.now, out: &mut self.output, sink: &mut self.sink };
        let result = advance(session, &mut step).map_err(DisconnectReason::Session);
        self.metrics.stratum_bytes_out.inc_by(self.output.len() as u64);
        connection.send(&self.output, self.pending_max, self.now.steady).and(result)
    }

    /// Adds a session's status to those gathered.
    fn gather_status(&mut self, key: usize, tick: &mut Tick) {
        let (Some(miners), Some(connection)) = (&mut tick.miners, self.connections.get_mut(key)) else { return };
        if let ConnectionState::Miner(session) = &mut connection.state {
            miners.extend(session.status(self.now.steady));
        }
    }

    /// The status for publication; reports the class of payout outputs that the miners' firmware bears.
    fn status(&mut self, miners: Vec<MinerStatus>) -> MinersStatus {
        let now = self.now;
        let firmware = self.shared.firmware_work.status(now.steady);
        self.sink.report_firmware_class(outputs_vote(&firmware));
        let limit_reached = self.limit_reached.map(|(time, limit)| (time, limit.to_string()));
        MinersStatus { time: now.time, miners, firmware, no_work: self.shared.gate.status(), limit_reached }
    }

    /// Closes a connection, logs the reason and ends its session.
    fn close(&mut self, key: usize, reason: &DisconnectReason) {
        let Some(connection) = self.remove(key) else { return };
        let address = RemoteAddress(connection.remote);
        log::debug!("connection from {address} closed: {reason}");
        match reason {
            DisconnectReason::Refused(limit) => self.note_refused(connection.remote, *limit),
            DisconnectReason::Foreign(protocol) => self.sink.log_once(
                LogKind::Foreign,
                connection.remote.ip(),
                format_args!("client at {address} disconnected: {protocol}"),
            ),
            DisconnectReason::NoWork(_) => {
                self.sink.log(LogKind::RefusedNoWork, format_args!("miner at {address} refused: {reason}"));
            }
            _ => {}
        }
        if let ConnectionState::Miner(session) = connection.state {
            if reason.is_noteworthy() {
                let worker = session.worker().map_or("(not authorised)", |worker| display_name(worker));
                self.sink.log(LogKind::Closed, format_args!("miner {worker} at {address} disconnected: {reason}"));
            }
            session.end(&mut self.shared);
        }
    }

    /// Removes a connection from the table and the counts. Dropping the connection closes its socket.
    fn remove(&mut self, key: usize) -> Option<Connection> {
        let connection = self.connections.try_remove(key)?;
        self.addresses.leave(connection.remote.ip());
        self.publish_count();
        Some(connection)
    }

    fn publish_count(&self) {
        self.metrics.sessions.set(self.connections.len() as i64);
    }

    /// Closes all connections and submits the blocks that still wait.
    pub fn finish(&mut self) {
        self.connections.clear();
        self.publish_count();
        self.sink.finish();
    }
}

/// Number of submits so far.
fn submits(metrics: &Metrics) -> u64 {
    metrics.shares_accepted.get().saturating_add(metrics.shares_rejected.total())
}

#[cfg(test)]
#[path = "../../../src/stratum/fixtures.rs"]
mod fixtures;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crossbeam_channel::bounded;
    use mio::Poll;
    use p2pool_core::params::{ChainParams, Network};
    use p2pool_core::stratum::{Difficulty, Limits};

    use super::fixtures::JobSpec;
    use super::*;
    use crate::StratumSinks;

    fn connections(registry: &Registry) -> Connections {
        let metrics = Arc::new(Metrics::default());
        let params = ChainParams::standard(Network::Regtest);
        let limits = Limits { first_byte_ms: 10_000, ..Limits::default() };
        let start = Difficulty::new(1.0).unwrap();
        let shared = SharedState::new(&params, start, limits, 0, Arc::clone(&metrics));
        let sink = ChannelSink::new(StratumSinks { chain: bounded(1).0, submit: bounded(1).0 }, Arc::clone(&metrics));
        let listener = Listener::open(None, 0, registry, Token(usize::MAX)).unwrap();
        Connections::new(listener, shared, sink, metrics, 1_000)
    }

    /// Accepts `count` connections; returns their remote sides.
    fn connect(all: &mut Connections, count: usize, registry: &Registry) -> Vec<std::net::TcpStream> {
        let port = all.listener.local_addr().unwrap().port();
        let remotes: Vec<_> =
            (0..count).map(|_| std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
        while all.connections.len() < count {
            all.on_incoming();
            all.accept(registry);
        }
        remotes
    }

    #[test]
    fn a_job_that_makes_nothing_stale_is_sent_in_slices() {
        const COUNT: usize = 3 * SLICE;
        let poll = Poll::new().unwrap();
        let mut all = connections(poll.registry());
        let remotes = connect(&mut all, COUNT, poll.registry());
        let hello = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"a\"]}\n";
        for mut remote in &remotes {
            std::io::Write::write_all(&mut remote, hello).unwrap();
        }
        let is_working = |all: &Connections| {
            all.connections.iter().all(|(_, connection)| match &connection.state {
                ConnectionState::Miner(session) => session.worker().is_some(),
                ConnectionState::Unidentified => false,
            })
        };
        (0..COUNT).for_each(|key| all.on_event(key, true, false));
        all.read_queued(poll.registry());
        assert!(all.queue.len() >= COUNT - SLICE && all.has_work(), "read in slices too");
        while !is_working(&all) {
            (0..COUNT).for_each(|key| all.on_event(key, true, false));
            all.read_queued(poll.registry());
        }
        let job = |id, tip| WorkUpdate::Job(JobSpec { id, tip, ..JobSpec::default() }.make());
        let sent = |all: &Connections| all.metrics.stratum_bytes_out.get();
        all.fan_out(job(1, 1));
        assert!(all.fan_out.is_none(), "a job on a new tip is sent at once");
        let before = sent(&all);
        all.fan_out(job(2, 1));
        assert!(sent(&all) == before && all.has_work());
        let mut turns = 0;
        while all.fan_out.is_some() {
            all.continue_fan_out();
            turns += 1;
        }
        let one_job = sent(&all) - before;
        assert!(turns >= 3 && one_job >= COUNT as u64 * 200, "{turns} turns, {one_job} bytes");
        all.fan_out(job(3, 1));
        all.continue_fan_out();
        all.fan_out(job(4, 2));
        assert!(all.fan_out.is_none());
        assert!(2 * (sent(&all) - before) > 5 * one_job, "both jobs reached all");
    }

    #[test]
    fn timers_are_checked_in_slices() {
        const COUNT: usize = 3 * SLICE;
        let poll = Poll::new().unwrap();
        let mut all = connections(poll.registry());
        let remotes = connect(&mut all, COUNT, poll.registry());
        // All are overdue at once.
        all.begin_turn(Now { steady: SteadyTime::from_s(20), time: UnixTime(0) });
        all.begin_tick(true);
        let (mut turns, mut status) = (0, None);
        while all.is_ticking() {
            assert!(all.has_work() && status.is_none());
            let before = all.connections.len();
            status = all.continue_tick();
            assert!(before - all.connections.len() <= SLICE, "of {before}");
            turns += 1;
        }
        assert_eq!((all.connections.len(), status.unwrap().miners.len()), (0, 0));
        assert!(turns >= 3, "{turns}");
        all.begin_tick(false);
        while all.is_ticking() {
            assert!(all.continue_tick().is_none(), "no status was requested");
        }
        drop(remotes);
    }
}
