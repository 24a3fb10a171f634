//! The connection of a browser.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::head::{parse, ForwardedRequest, HEAD_LEN_MAX};
use super::hosts::AllowedHosts;
use super::refusal::Refusal;

/// Timeout of a request, from its first byte to its last. That of the first request starts with the connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout from a response to the next request. The page polls every five seconds.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout of sending a response: 150 KB at 5 KB/s.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout from the last response until the browser closes (lingering close). A socket that is closed with unread bytes is
/// reset, which could destroy a response on its way.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that accepts no bytes of its response for this long may be evicted.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes to discard during a lingering close.
const DISCARDED_MAX: usize = 64 * 1024;

/// Phases of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for a request, or receiving it.
    Reading,
    /// The server is processing the request.
    Waiting,
    /// Sending the response.
    Writing,
    /// The last response is sent; the browser is to close.
    Lingering,
}

/// What to do next with a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for an event.
    Wait,
    /// Forward a request to the server.
    Forward(ForwardedRequest),
    /// A request was refused; continue.
    Refused(Refusal),
    /// Close the connection.
    Close,
}

/// The connection of a browser.
pub struct Connection {
    /// Registered for events by the relay.
    pub socket: TcpStream,
    phase: Phase,
    /// Time of the last progress in this phase: in `Writing`, when bytes were last sent; in `Reading`, when the first byte of
    /// the request arrived. Before that, the start of the phase.
    since: Instant,
    /// Start of the phase.
    phase_since: Instant,
    /// Whether a response was sent before.
    is_kept_alive: bool,
    input: Vec<u8>,
    /// Whether the socket may have bytes to read, or the browser has closed.
    pub is_readable: bool,
    output: Vec<u8>,
    sent: usize,
    /// Whether the connection closes after the current response.
    pub close_after: bool,
    discarded: usize,
}

impl Connection {
    /// Creates a connection that waits for its first request.
    pub fn new(socket: TcpStream, now: Instant) -> Self {
        Self {
            socket,
            phase: Phase::Reading,
            since: now,
            phase_since: now,
            is_kept_alive: false,
            input: Vec::new(),
            is_readable: true,
            output: Vec::new(),
            sent: 0,
            close_after: false,
            discarded: 0,
        }
    }

    /// Starts to send a response.
    pub fn respond(&mut self, bytes: Vec<u8>, now: Instant) {
        self.output = bytes;
        self.sent = 0;
        self.enter(Phase::Writing, now);
    }

    /// Starts to send an error response, after which the connection closes.
    pub fn refuse(&mut self, refusal: Refusal, now: Instant) {
        self.close_after = true;
        self.respond(refusal.response(), now);
    }

    /// When the current phase times out.
    pub fn deadline(&self) -> Option<Instant> {
        let timeout = match self.phase {
            Phase::Reading if self.input.is_empty() && self.is_kept_alive => KEEP_ALIVE_TIMEOUT,
            Phase::Reading => REQUEST_TIMEOUT,
            Phase::Writing => return Some(self.phase_since + WRITE_TIMEOUT),
            Phase::Lingering => LINGER_TIMEOUT,
            // The backend has its own timeout.
            Phase::Waiting => return None,
        };
        Some(self.since + timeout)
    }

    /// Handles an expired deadline: refuses a request that arrived only in part. False if there is none, so no response is due.
    pub fn refuse_late_request(&mut self, now: Instant) -> bool {
        let is_late = self.phase == Phase::Reading && !self.input.is_empty();
        if is_late {
            self.refuse(Refusal::Timeout, now);
        }
        is_late
    }

    /// Since when the connection is idle; `None` if it is in use and must not be evicted.
    pub fn idle_since(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Reading | Phase::Lingering => Some(self.since),
            Phase::Writing => (now.saturating_duration_since(self.since) >= STALL_TIMEOUT).then_some(self.since),
            Phase::Waiting => None,
        }
    }

    /// Does what is possible without blocking, and returns what to do next.
    pub fn advance(&mut self, hosts: &AllowedHosts, now: Instant) -> Step {
        loop {
            let step = match self.phase {
                Phase::Reading => self.read_request(hosts, now).or(Some(Step::Wait)),
                Phase::Waiting => Some(Step::Wait),
                Phase::Writing => self.write(now),
                Phase::Lingering => Some(self.discard_input()),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.phase_since = now;
    }

    /// Reads a request; `None` if it is incomplete.
    fn read_request(&mut self, hosts: &AllowedHosts, now: Instant) -> Option<Step> {
        loop {
            match parse(&self.input, hosts) {
                Ok(Some(request)) => {
                    self.input.drain(..request.head_len);
                    self.close_after = !request.keep_alive;
                    self.enter(Phase::Waiting, now);
                    return Some(Step::Forward(request));
                }
                Err(refusal) => {
                    self.refuse(refusal, now);
                    return Some(Step::Refused(refusal));
                }
                Ok(None) => {}
            }
            match self.read(now) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(step) => return Some(step),
            }
        }
    }

    /// Reads at most what a head has room for. Returns the number of bytes, 0 if none is available.
    fn read(&mut self, now: Instant) -> Result<usize, Step> {
        let mut buffer = [0; HEAD_LEN_MAX];
        let room = HEAD_LEN_MAX.saturating_sub(self.input.len());
        while self.is_readable {
            match self.socket.read(buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Err(Step::Close),
                Ok(len) => {
                    if self.input.is_empty() && self.is_kept_alive {
                        self.since = now;
                    }
                    self.input.extend_from_slice(buffer.get(..len).unwrap_or_default());
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                Err(_) => return Err(Step::Close),
            }
        }
        Ok(0)
    }

    /// Sends the response; `None` once it is sent.
    fn write(&mut self, now: Instant) -> Option<Step> {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Some(Step::Close),
                Ok(len) => {
                    self.sent += len;
                    self.since = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Step::Wait),
                Err(_) => return Some(Step::Close),
            }
        }
        self.output = Vec::new();
        if self.close_after {
            // Fails only if the browser has closed already.
            drop(self.socket.shutdown(Shutdown::Write));
            self.input = Vec::new();
            self.enter(Phase::Lingering, now);
        } else {
            self.is_kept_alive = true;
            self.enter(Phase::Reading, now);
        }
        None
    }

    fn discard_input(&mut self) -> Step {
        let mut buffer = [0; HEAD_LEN_MAX];
        while self.is_readable && self.discarded < DISCARDED_MAX {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Step::Close,
                Ok(len) => self.discarded += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                Err(_) => return Step::Close,
            }
        }
        if self.discarded < DISCARDED_MAX {
            Step::Wait
        } else {
            Step::Close
        }
    }
}
