//! The relay faces untrusted clients. It parses requests strictly and within limits, and forwards them, rewritten, to the
//! server behind a Unix socket. Of what a client sent, the server sees only the method, target and `If-None-Match`.
//!
//! | file | what it does |
//! |---|---|
//! | `head` | parses the head of a request, and refuses what is malformed |
//! | `hosts` | checks the `Host` header |
//! | `connection` | one connection: reading, waiting, writing, timeouts |
//! | `backend` | the connection to the server |
//! | `refusal` | the relay's own error responses |

mod backend;
mod connection;
mod head;
mod hosts;
mod refusal;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use p2pool_channels::{BrowserConnection, BrowserSender};
use p2pool_core::metrics::Metrics;

use backend::Backend;
use connection::{Connection, Step};
pub use head::FORWARDED_HOST;
pub use hosts::AllowedHosts;
use refusal::Refusal;

/// Most connections at once: five browsers with the six connections that each opens to a site.
const CONNECTIONS_MAX: usize = 32;
/// Capacity of the inbox; the relay takes connections from it within a millisecond.
const INBOX_CAPACITY: usize = 64;
/// Most events taken at once: two for each connection and for the server.
const EVENTS_MAX: usize = 128;
const WAKER: Token = Token(usize::MAX);
const BACKEND: Token = Token(usize::MAX - 1);
const LISTENER: Token = Token(usize::MAX - 2);
/// Interval between tries to accept connections when the system cannot, for lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// The relay, opened but not yet running.
pub struct Relay {
    poll: Poll,
    inbox: Receiver<BrowserConnection>,
    /// With `-web-bind` an address of its own.
    listener: Option<TcpListener>,
    /// When to accept again after an error.
    accept_retry: Option<Instant>,
    hosts: AllowedHosts,
    connections: BTreeMap<usize, Connection>,
    next_key: usize,
    backend: Backend,
    metrics: Arc<Metrics>,
    stop_requested: Arc<AtomicBool>,
    /// Hands connections to the relay.
    pub(crate) sender: BrowserSender,
    /// Makes the loop check the stop flag.
    pub(crate) waker: Arc<Waker>,
}

impl Relay {
    /// Opens the relay in front of the server that listens on the Unix socket at `path`.
    pub fn open(
        mut listener: Option<TcpListener>,
        path: PathBuf,
        hosts: AllowedHosts,
        metrics: Arc<Metrics>,
        stop_requested: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (inbox_sender, inbox) = bounded(INBOX_CAPACITY);
        let sender = {
            let waker = Arc::clone(&waker);
            BrowserSender::new(inbox_sender, Arc::new(move || wake(&waker)))
        };
        if let Some(listener) = &mut listener {
            poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        let backend = Backend::new(path, BACKEND, poll.registry().try_clone()?);
        Ok(Self {
            poll,
            inbox,
            listener,
            accept_retry: None,
            hosts,
            connections: BTreeMap::new(),
            next_key: 0,
            backend,
            metrics,
            stop_requested,
            sender,
            waker,
        })
    }

    /// Runs until stopped.
    ///
    /// # Errors
    /// The system's event queue fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.stop_requested.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            for event in &events {
                self.on_event(event, now);
            }
            if self.accept_retry.is_some_and(|due| due <= now) {
                self.accept(now);
            }
            while let Ok(connection) = self.inbox.try_recv() {
                let BrowserConnection { socket, peer } = connection;
                self.admit(TcpStream::from_std(socket), peer, now);
            }
            self.forward_responses(now);
            self.end_overdue(now);
            self.metrics.web_connections.set(self.connections.len() as i64);
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        let deadlines = self.connections.values().filter_map(Connection::deadline);
        let next = deadlines.chain(self.backend.deadline()).chain(self.accept_retry).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn on_event(&mut self, event: &Event, now: Instant) {
        // The waker and the backend need no handling here: each turn of the loop looks at them.
        let Token(key) = event.token();
        if event.token() == LISTENER {
            return self.accept(now);
        }
        if let Some(connection) = self.connections.get_mut(&key) {
            if event.is_readable() || event.is_read_closed() {
                connection.is_readable = true;
            }
            self.advance(key, now);
        }
    }

    /// Accepts what waits at its own port.
    fn accept(&mut self, now: Instant) {
        self.accept_retry = None;
        while let Some(result) = self.listener.as_ref().map(TcpListener::accept) {
            match result {
                Ok((socket, peer)) => self.admit(socket, peer, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    log::debug!("browsers cannot be accepted: {error}");
                    self.accept_retry = Some(now + ACCEPT_RETRY);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: TcpStream, peer: SocketAddr, now: Instant) {
        if self.connections.len() >= CONNECTIONS_MAX {
            self.metrics.web_limit_reached.inc();
            if !self.evict_one(now) {
                log::debug!("browser connection from {peer} refused: too many connections");
                // Best effort: the response fits into the socket's empty buffer.
                drop(io::Write::write(&mut &socket, &Refusal::Busy.response()));
                return;
            }
        }
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1) % LISTENER.0;
        let mut connection = Connection::new(socket, now);
        match self.poll.registry().register(&mut connection.socket, Token(key), Interest::READABLE | Interest::WRITABLE)
        {
            Ok(()) => {
                self.connections.insert(key, connection);
                self.advance(key, now);
            }
            Err(error) => log::debug!("browser connection from {peer} cannot be polled: {error}"),
        }
    }

    /// Closes the connection that has been idle for longest; false if none is idle.
    fn evict_one(&mut self, now: Instant) -> bool {
        let idle = self.connections.iter().filter_map(|(key, connection)| Some((connection.idle_since(now)?, *key)));
        let Some((_, key)) = idle.min() else { return false };
        self.remove(key);
        true
    }

    fn advance(&mut self, key: usize, now: Instant) {
        while let Some(connection) = self.connections.get_mut(&key) {
            match connection.advance(&self.hosts, now) {
                Step::Wait => return,
                Step::Forward(request) => {
                    self.metrics.web_requests.inc();
                    return self.backend.enqueue(key, request);
                }
                Step::Refused(refusal) => {
                    log::debug!("HTTP request refused: {refusal:?}");
                    self.metrics.web_refused.inc();
                }
                Step::Close => self.remove(key),
            }
        }
    }

    fn forward_responses(&mut self, now: Instant) {
        while let Some((key, result)) = self.backend.advance(now) {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            match result {
                Ok(response) => {
                    connection.respond(response.into_bytes(connection.close_after), now);
                }
                Err(refusal) => connection.refuse(refusal, now),
            }
            self.advance(key, now);
        }
    }

    fn end_overdue(&mut self, now: Instant) {
        let overdue = |connection: &Connection| connection.deadline().is_some_and(|deadline| deadline <= now);
        let keys: Vec<usize> =
            self.connections.iter().filter(|(_, connection)| overdue(connection)).map(|(key, _)| *key).collect();
        for key in keys {
            match self.connections.get_mut(&key).is_some_and(|connection| connection.refuse_late_request(now)) {
                true => self.advance(key, now),
                false => self.remove(key),
            }
        }
    }

    /// Closes a connection. Dropping the socket also removes it from the event queue.
    fn remove(&mut self, key: usize) {
        self.backend.cancel(key);
        self.connections.remove(&key);
    }
}

/// Wakes the relay's loop. A failed wake does no harm: the system fails only while earlier wakes are pending.
pub fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::debug!("cannot wake the HTTP relay: {error}");
    }
}

#[cfg(test)]
mod tests;
