//! All connections: who may come, whose turn it is to be read, who must go.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use p2pool_channels::{BrowserConnection, BrowserSender};
use p2pool_core::metrics::Metrics;
use p2pool_core::status::MinersStatus;
use p2pool_core::stratum::{display_name, CloseReason, Now, Session, SharedState, Step};
use p2pool_core::units::UnixTime;
use p2pool_core::work::WorkUpdate;
use slab::Slab;

use crate::address_counts::AddressCounts;
use crate::connection::{Connection, ConnectionState, DisconnectReason, LimitReached};
use crate::listener::Listener;
use crate::log_limiter::LogKind;
use crate::sink::{ChannelSink, RemoteAddress};
use crate::sniff::{sniff, Protocol, PEEK_LEN};
use crate::StratumError;

/// Bytes read from one socket before it is another's turn: some hundred submits.
const READ_LEN: usize = 16 * 1024;
/// Connections accepted before it is the sockets' turn.
const ACCEPTS_MAX: usize = 64;
/// Connections beyond the limits on miners, in all and of one address, that may say what they are: as many browsers as
/// the web threads take, and as one household opens at once.
const SPARE: usize = 32;
const SPARE_PER_ADDRESS: usize = 8;

/// The connections.
pub struct Connections {
    listener: Listener,
    connections: Slab<Connection>,
    addresses: AddressCounts,
    sessions_max: usize,
    may_accept: bool,
    /// Sockets that may have bytes to read.
    queue: VecDeque<usize>,
    shared: SharedState,
    sink: ChannelSink,
    /// Where browsers go; without it they are closed.
    web: Option<BrowserSender>,
    counters: Arc<Metrics>,
    now: Now,
    input: Box<[u8]>,
    output: Vec<u8>,
}

impl Connections {
    /// None yet.
    pub fn new(
        listener: Listener,
        shared: SharedState,
        sink: ChannelSink,
        counters: Arc<Metrics>,
        sessions_max: usize,
    ) -> Self {
        Self {
            listener,
            connections: Slab::new(),
            addresses: AddressCounts::new(shared.limits().private_addresses_exempt),
            sessions_max,
            may_accept: false,
            queue: VecDeque::new(),
            shared,
            sink,
            web: None,
            counters,
            now: Now { uptime_ms: 0, time: UnixTime(0) },
            input: vec![0; READ_LEN].into(),
            output: Vec::new(),
        }
    }

    /// From now on browsers go there.
    pub fn send_browsers_to(&mut self, web: BrowserSender) {
        self.web = Some(web);
    }

    /// What all sessions share.
    pub fn shared(&self) -> &SharedState {
        &self.shared
    }

    /// Whether there is something to do at once.
    pub fn has_work(&self) -> bool {
        self.may_accept || (!self.queue.is_empty() && !self.sink.is_congested())
    }

    /// Whether blocks wait for the submit thread.
    pub fn has_waiting_blocks(&self) -> bool {
        self.sink.has_waiting_blocks()
    }

    /// Offers waiting blocks again.
    pub fn flush_blocks(&mut self) {
        self.sink.flush_blocks();
    }

    /// The reason to end, if there is one.
    pub fn check(&mut self) -> Result<(), StratumError> {
        self.sink.check()
    }

    /// All that follows happens now.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        self.sink.now_ms = now.uptime_ms;
    }

    /// Takes in new connections, a bounded number at once.
    pub fn accept(&mut self, registry: &Registry) {
        for _ in 0..ACCEPTS_MAX {
            match self.listener.accept() {
                Ok(Some((socket, peer))) => self.admit(socket, peer, registry),
                Ok(None) => {
                    self.may_accept = false;
                    return;
                }
                Err(error) => {
                    // Nothing is free, most likely file descriptors; the next tick tries again.
                    self.sink.log(LogKind::Accept, format_args!("cannot accept a miner's connection: {error}"));
                    self.may_accept = false;
                    return;
                }
            }
        }
        self.may_accept = true;
    }

    /// Lets in more than may mine, by a few: these may be browsers, whom a full pool must not shut out.
    fn admit(&mut self, mut socket: TcpStream, peer: SocketAddr, registry: &Registry) {
        if self.connections.len() >= self.sessions_max.saturating_add(SPARE) {
            return self.log_refused(peer, &LimitReached::All(self.sessions_max));
        }
        let per_address_max = self.shared.limits().sessions_per_address_max;
        if !self.addresses.enter(peer.ip(), per_address_max.saturating_add(SPARE_PER_ADDRESS)) {
            return self.log_refused(peer, &LimitReached::Address(per_address_max));
        }
        let entry = self.connections.vacant_entry();
        if let Err(error) = registry.register(&mut socket, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)
        {
            self.addresses.leave(peer.ip());
            self.sink.log(LogKind::Accept, format_args!("cannot watch a miner's connection: {error}"));
            return;
        }
        entry.insert(Connection::new(socket, peer, self.now));
        self.counters.sessions.set(self.connections.len() as i64);
    }

    /// What keeps a client that turned out to be a miner from coming in, itself counted already.
    fn crowd(&self, peer: SocketAddr) -> Option<LimitReached> {
        let per_address_max = self.shared.limits().sessions_per_address_max;
        if self.connections.len() > self.sessions_max {
            return Some(LimitReached::All(self.sessions_max));
        }
        (self.addresses.count(peer.ip()) > per_address_max).then_some(LimitReached::Address(per_address_max))
    }

    fn log_refused(&mut self, peer: SocketAddr, crowd: &LimitReached) {
        let peer = RemoteAddress(Some(peer));
        self.sink.log(LogKind::Refused, format_args!("a miner at {peer} was refused: {crowd}"));
    }

    /// A socket has bytes, or takes some again.
    pub fn on_event(&mut self, key: usize, is_readable: bool, is_writable: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if is_writable {
            if let Err(end) = connection.flush() {
                return self.remove(key, &end);
            }
        }
        if is_readable && !connection.is_queued {
            connection.is_queued = true;
            self.queue.push_back(key);
        }
    }

    /// Reads once from each socket that has bytes; those with more wait for the next round.
    pub fn read_queued(&mut self, registry: &Registry) {
        for _ in 0..self.queue.len() {
            if self.sink.is_congested() {
                return;
            }
            let Some(key) = self.queue.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.is_queued = false;
            match self.read_one(key) {
                Ok(true) => self.on_event(key, true, false),
                Ok(false) => {}
                Err(DisconnectReason::Browser) => self.remember_block(key, registry),
                Err(end) => self.remove(key, &end),
            }
        }
    }

    /// Gives a browser, of which nothing was read, to the web threads. Only whoever waits for them is closed instead.
    fn remember_block(&mut self, key: usize, registry: &Registry) {
        let Some(mut connection) = self.take_out(key) else { return };
        let peer = connection.peer;
        if let Err(error) = registry.deregister(&mut connection.socket) {
            return log::debug!("browser at {}: {error}", RemoteAddress(Some(peer)));
        }
        let client = BrowserConnection { socket: connection.socket.into(), peer };
        if self.web.as_ref().is_some_and(|web| web.try_send(client).is_err()) {
            log::debug!("browser at {}: the web threads have too many waiting", RemoteAddress(Some(peer)));
        }
    }

    /// Looks at the first bytes of a client; false while they say too little.
    fn identify(&mut self, key: usize) -> Result<bool, DisconnectReason> {
        let Some(connection) = self.connections.get(key) else { return Ok(false) };
        let mut first = [0; PEEK_LEN];
        let Some(len) = connection.peek(&mut first)? else { return Ok(false) };
        match sniff(first.get(..len).unwrap_or_default()) {
            Protocol::Stratum => match self.crowd(connection.peer) {
                Some(crowd) => return Err(DisconnectReason::Refused(crowd)),
                None => self.begin_session(key),
            },
            Protocol::Http => return Err(DisconnectReason::Browser),
            Protocol::Undecided => return Ok(false),
            Protocol::Unknown => return Err(DisconnectReason::UnknownProtocol),
        }
        Ok(true)
    }

    fn begin_session(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = ConnectionState::Miner(Box::new(Session::new(&self.shared, connection.opened)));
        }
    }

    /// Reads once; whether there may be more.
    fn read_one(&mut self, key: usize) -> Result<bool, DisconnectReason> {
        let is_unknown = |connection: &Connection| matches!(connection.state, ConnectionState::Unknown);
        if self.connections.get(key).is_some_and(is_unknown) && !self.identify(key)? {
            return Ok(false);
        }
        let Some(connection) = self.connections.get_mut(key) else { return Ok(false) };
        let Some(len) = connection.read(&mut self.input)? else { return Ok(false) };
        let bytes = self.input.get(..len).unwrap_or_default();
        let ConnectionState::Miner(session) = &mut connection.state else { return Ok(true) };
        self.counters.stratum_bytes_in.inc_by(len as u64);
        self.output.clear();
        self.sink.peer = Some(connection.peer);
        let (began, judged_before) = (Instant::now(), shares_judged(&self.counters));
        let mut step = Step { shared: &mut self.shared, now: self.now, out: &mut self.output, sink: &mut self.sink };
        let result = session.on_bytes(bytes, &mut step);
        connection.send(&self.output, self.now.uptime_ms)?;
        let latency = began.elapsed();
        self.counters.stratum_bytes_out.inc_by(self.output.len() as u64);
        for _ in judged_before..shares_judged(&self.counters) {
            self.counters.submit_latency.observe(latency.as_secs_f64());
        }
        result.map_err(DisconnectReason::Session)?;
        Ok(true)
    }

    /// Tells all miners of a job or of its absence.
    pub fn fan_out(&mut self, news: WorkUpdate) {
        let began = Instant::now();
        let fanout = self.shared.receive(news);
        self.step_all(|session, step| {
            session.on_fanout(fanout, step);
            Ok(())
        });
        self.counters.job_fanout.observe(began.elapsed().as_secs_f64());
    }

    /// Looks at all timers.
    pub fn tick(&mut self) {
        let limits = *self.shared.limits();
        let now = self.now;
        let overdue = |connection: &Connection| match connection.state {
            ConnectionState::Unknown if now.since_ms(connection.opened.uptime_ms) > limits.first_byte_ms => {
                Some(DisconnectReason::NothingSaid)
            }
            _ if connection.stalled_ms(now) > limits.write_stall_ms => Some(DisconnectReason::SlowReader),
            _ => None,
        };
        let ends: Vec<(usize, DisconnectReason)> =
            self.connections.iter().filter_map(|(key, connection)| Some((key, overdue(connection)?))).collect();
        for (key, end) in ends {
            self.remove(key, &end);
        }
        self.step_all(|session, step| session.on_tick(step));
    }

    /// Steps every session and sends what it writes.
    fn step_all(&mut self, mut advance: impl FnMut(&mut Session, &mut Step<'_>) -> Result<(), CloseReason>) {
        let mut ends = Vec::new();
        for (key, connection) in &mut self.connections {
            let ConnectionState::Miner(session) = &mut connection.state else { continue };
            self.output.clear();
            self.sink.peer = Some(connection.peer);
            let mut step =
                Step { shared: &mut self.shared, now: self.now, out: &mut self.output, sink: &mut self.sink };
            let result = advance(session, &mut step).map_err(DisconnectReason::Session);
            self.counters.stratum_bytes_out.inc_by(self.output.len() as u64);
            if let Err(end) = connection.send(&self.output, self.now.uptime_ms).and(result) {
                ends.push((key, end));
            }
        }
        for (key, end) in ends {
            self.remove(key, &end);
        }
    }

    /// The miners for onlookers.
    pub fn status(&mut self) -> MinersStatus {
        let now = self.now;
        let miners = self.connections.iter_mut().filter_map(|(_, connection)| match &mut connection.state {
            ConnectionState::Miner(session) => session.status(now),
            _ => None,
        });
        MinersStatus { time: now.time, miners: miners.collect() }
    }

    /// Ends a connection; dropping the socket closes it.
    fn remove(&mut self, key: usize, end: &DisconnectReason) {
        let Some(connection) = self.take_out(key) else { return };
        let peer = RemoteAddress(Some(connection.peer));
        log::debug!("connection of {peer} ended: {end}");
        if let DisconnectReason::Refused(crowd) = end {
            self.log_refused(connection.peer, crowd);
        }
        if let ConnectionState::Miner(session) = connection.state {
            if end.is_worth_a_line() {
                let worker = session.worker().map_or("(not authorised)", |worker| display_name(worker));
                self.sink.log(LogKind::Closed, format_args!("miner {worker} at {peer} was disconnected: {end}"));
            }
            session.end(&mut self.shared);
        }
    }

    /// Counts a connection out.
    fn take_out(&mut self, key: usize) -> Option<Connection> {
        let connection = self.connections.try_remove(key)?;
        self.addresses.leave(connection.peer.ip());
        self.counters.sessions.set(self.connections.len() as i64);
        Some(connection)
    }

    /// The loop is over.
    pub fn finish(&mut self) {
        self.connections.clear();
        self.counters.sessions.set(0);
        self.sink.finish();
    }
}

/// Answers of miners judged so far.
fn shares_judged(counters: &Metrics) -> u64 {
    counters.shares_accepted.get().saturating_add(counters.shares_rejected.total())
}
