//! The relay faces strangers: it reads requests strictly and within limits, and passes whole ones, rewritten, to the
//! server behind a Unix socket, which never sees a byte of a client's but the target of its request.
//!
//! | file | what it does |
//! |---|---|
//! | `head` | where a request begins and ends, and what is refused |
//! | `hosts` | the names this node answers to |
//! | `client` | one browser: reading, waiting, writing, deadlines |
//! | `backend` | the connection to the server |
//! | `refusal` | the relay's own answers |

mod backend;
mod client;
mod head;
mod hosts;
mod refusal;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{bounded, Receiver};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use p2pool_channels::{BrowserConnection, BrowserSender};
use p2pool_core::metrics::Metrics;

use backend::Backend;
use client::{Client, Outcome};
pub use hosts::Hosts;

/// Connections at once: five browsers, each with the six connections that they open to one site.
const CLIENTS_MAX: usize = 32;
/// Handed over and not yet taken: the relay takes them within a millisecond.
const INBOX_CAPACITY: usize = 64;
/// Events taken at once: each client and the server twice.
const EVENTS_MAX: usize = 128;
const WAKER: Token = Token(usize::MAX);
const BACKEND: Token = Token(usize::MAX - 1);

/// The relay, opened and not yet running.
pub struct Relay {
    poll: Poll,
    inbox: Receiver<BrowserConnection>,
    hosts: Hosts,
    clients: BTreeMap<usize, Client>,
    next_key: usize,
    backend: Backend,
    metrics: Arc<Metrics>,
    stop_asked: Arc<AtomicBool>,
    sender: BrowserSender,
    waker: Arc<Waker>,
}

impl Relay {
    /// Readies the relay in front of the server at `path`.
    pub fn open(path: PathBuf, hosts: Hosts, metrics: Arc<Metrics>, stop_asked: Arc<AtomicBool>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (inbox_sender, inbox) = bounded(INBOX_CAPACITY);
        let sender = {
            let waker = Arc::clone(&waker);
            BrowserSender::new(inbox_sender, Arc::new(move || wake(&waker)))
        };
        let backend = Backend::new(path, BACKEND, poll.registry().try_clone()?);
        Ok(Self {
            poll,
            inbox,
            hosts,
            clients: BTreeMap::new(),
            next_key: 0,
            backend,
            metrics,
            stop_asked,
            sender,
            waker,
        })
    }

    /// Hands clients over.
    pub fn sender(&self) -> BrowserSender {
        self.sender.clone()
    }

    /// Wakes the loop, which then looks whether it is to stop.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Relays until stopped.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.stop_asked.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            for event in &events {
                self.on_event(event, now);
            }
            while let Ok(client) = self.inbox.try_recv() {
                self.admit(client, now);
            }
            self.pass_answers(now);
            self.end_overdue(now);
            self.metrics.web_connections.set(self.clients.len() as i64);
        }
        Ok(())
    }

    fn patience(&self) -> Option<std::time::Duration> {
        let clients = self.clients.values().filter_map(Client::deadline);
        let next = clients.chain(self.backend.deadline()).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn on_event(&mut self, event: &Event, now: Instant) {
        // What wakes the loop and what the server does is looked at in every turn.
        let Token(key) = event.token();
        if let Some(client) = self.clients.get_mut(&key) {
            if event.is_readable() || event.is_read_closed() {
                client.note_readable();
            }
            self.advance(key, now);
        }
    }

    fn admit(&mut self, client: BrowserConnection, now: Instant) {
        let BrowserConnection { socket, peer } = client;
        if self.clients.len() >= CLIENTS_MAX {
            self.metrics.web_limit_reached.inc();
            if !self.make_room(now) {
                // Too busy even to write: an answer that does not fit the socket's empty buffer is lost.
                log::debug!("browser at {peer}: no room");
                drop(io::Write::write(&mut &socket, &refusal::Refusal::Busy.answer()));
                return;
            }
        }
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1) % BACKEND.0;
        let mut client = Client::new(TcpStream::from_std(socket), now);
        match self.poll.registry().register(client.socket(), Token(key), Interest::READABLE | Interest::WRITABLE) {
            Ok(()) => {
                self.clients.insert(key, client);
                self.advance(key, now);
            }
            Err(error) => log::debug!("browser at {peer} cannot be watched: {error}"),
        }
    }

    /// Ends the connection that has been of no use for longest.
    fn make_room(&mut self, now: Instant) -> bool {
        let idle = self.clients.iter().filter_map(|(key, client)| Some((client.idle_since(now)?, *key)));
        let Some((_, key)) = idle.min() else { return false };
        self.remove(key);
        true
    }

    fn advance(&mut self, key: usize, now: Instant) {
        while let Some(client) = self.clients.get_mut(&key) {
            match client.advance(&self.hosts, now) {
                Outcome::Waits => return,
                Outcome::Asks(request) => {
                    self.metrics.web_requests.inc();
                    return self.backend.ask(key, request);
                }
                Outcome::WasRefused(refusal) => {
                    log::debug!("web request refused: {refusal:?}");
                    self.metrics.web_refused.inc();
                }
                Outcome::Ends => self.remove(key),
            }
        }
    }

    fn pass_answers(&mut self, now: Instant) {
        while let Some((key, result)) = self.backend.advance(now) {
            let Some(client) = self.clients.get_mut(&key) else { continue };
            match result {
                Ok(answer) => {
                    let closes = client.closes_after();
                    client.answer(answer.into_bytes(closes), now);
                }
                Err(refusal) => client.refuse(refusal, now),
            }
            self.advance(key, now);
        }
    }

    fn end_overdue(&mut self, now: Instant) {
        let overdue = |client: &Client| client.deadline().is_some_and(|deadline| deadline <= now);
        let keys: Vec<usize> = self.clients.iter().filter(|(_, client)| overdue(client)).map(|(key, _)| *key).collect();
        for key in keys {
            match self.clients.get_mut(&key).is_some_and(|client| client.is_told_of_timeout(now)) {
                true => self.advance(key, now),
                false => self.remove(key),
            }
        }
    }

    /// Dropping the socket closes it and takes it out of the event queue.
    fn remove(&mut self, key: usize) {
        self.backend.forget(key);
        self.clients.remove(&key);
    }
}

/// A wake that fails finds the loop awake: the system only refuses while earlier wakes are unread.
pub fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::debug!("waking the web relay: {error}");
    }
}

#[cfg(test)]
mod tests;
