//! One browser's connection.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::head::{frame, Framed, Request, HEAD_LEN_MAX};
use super::hosts::Hosts;
use super::refusal::Refusal;

/// From the first byte of a request (of the first one: from the beginning of the connection) to its last.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// From an answer to the next request. The page asks every five seconds.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// An answer of 150 KB takes so long at 5 KB/s.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// After the last answer the client has so long to close; closing first could destroy the answer on its way, if bytes of
/// the client's are still unread.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// A client that takes nothing for so long may make room for others.
const STALLED: Duration = Duration::from_secs(1);
/// Bytes thrown away while a client leaves.
const THROWN_AWAY_MAX: usize = 64 * 1024;

/// What a client is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request is awaited or arriving.
    Reading,
    /// Its request is with the server.
    Waiting,
    /// It is being answered.
    Writing,
    /// It was told all there is to say.
    Leaving,
}

/// What came of a turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until there is an event.
    Waits,
    /// A request for the server.
    Asks(Request),
    /// A refusal was given.
    WasRefused(Refusal),
    /// Close it.
    Ends,
}

/// A browser.
pub struct Client {
    socket: TcpStream,
    phase: Phase,
    /// Since when it is in this phase; in `Writing`, when it last took something; in `Reading`, when the first byte of the
    /// request came, if one came.
    since: Instant,
    /// When the phase began.
    phase_since: Instant,
    /// Whether it had an answer before.
    is_kept_alive: bool,
    input: Vec<u8>,
    /// Whether the socket may have bytes.
    is_readable: bool,
    output: Vec<u8>,
    sent: usize,
    close_after: bool,
    thrown_away: usize,
}

impl Client {
    /// A client whose first request is still unread.
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
            thrown_away: 0,
        }
    }

    /// The socket, for the event queue.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// There are bytes, or the client closed.
    pub fn note_readable(&mut self) {
        self.is_readable = true;
    }

    /// Gives the server's answer to the request it waits with.
    pub fn answer(&mut self, bytes: Vec<u8>, now: Instant) {
        self.output = bytes;
        self.sent = 0;
        self.enter(Phase::Writing, now);
    }

    /// Gives an answer of the relay's own, the last one.
    pub fn refuse(&mut self, refusal: Refusal, now: Instant) {
        self.close_after = true;
        self.answer(refusal.answer(), now);
    }

    /// Whether the connection ends with the answer under way.
    pub fn closes_after(&self) -> bool {
        self.close_after
    }

    /// When something must have happened.
    pub fn deadline(&self) -> Option<Instant> {
        let patience = match self.phase {
            Phase::Reading if self.input.is_empty() && self.is_kept_alive => KEEP_ALIVE_TIMEOUT,
            Phase::Reading => REQUEST_TIMEOUT,
            Phase::Writing => return Some(self.phase_since + WRITE_TIMEOUT),
            Phase::Leaving => LEAVE_TIMEOUT,
            // The server's own deadline ends it.
            Phase::Waiting => return None,
        };
        Some(self.since + patience)
    }

    /// The deadline has passed; false if there is nothing to be said to this client.
    pub fn is_told_of_timeout(&mut self, now: Instant) -> bool {
        let is_late = self.phase == Phase::Reading && !self.input.is_empty();
        if is_late {
            self.refuse(Refusal::Timeout, now);
        }
        is_late
    }

    /// Since when it has held its place without need; none if its place is not up for others.
    pub fn idle_since(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Reading | Phase::Leaving => Some(self.since),
            Phase::Writing => (now.saturating_duration_since(self.since) >= STALLED).then_some(self.since),
            Phase::Waiting => None,
        }
    }

    /// Does what can be done without waiting. After a refusal there is more to do.
    pub fn advance(&mut self, hosts: &Hosts, now: Instant) -> Outcome {
        loop {
            let outcome = match self.phase {
                Phase::Reading => self.read_request(hosts, now).or(Some(Outcome::Waits)),
                Phase::Waiting => Some(Outcome::Waits),
                Phase::Writing => self.write(now),
                Phase::Leaving => Some(self.throw_away()),
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.phase_since = now;
    }

    /// `None`: more bytes are needed.
    fn read_request(&mut self, hosts: &Hosts, now: Instant) -> Option<Outcome> {
        loop {
            match frame(&self.input, hosts) {
                Framed::Request(request) => {
                    self.input.drain(..request.len);
                    self.close_after = !request.keep_alive;
                    self.enter(Phase::Waiting, now);
                    return Some(Outcome::Asks(request));
                }
                Framed::Refused(refusal) => {
                    self.refuse(refusal, now);
                    return Some(Outcome::WasRefused(refusal));
                }
                Framed::Incomplete => {}
            }
            match self.read(now) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(outcome) => return Some(outcome),
            }
        }
    }

    /// Takes what a head has room for; 0: nothing is there.
    fn read(&mut self, now: Instant) -> Result<usize, Outcome> {
        let mut buffer = [0; HEAD_LEN_MAX];
        let room = HEAD_LEN_MAX.saturating_sub(self.input.len());
        while self.is_readable {
            match self.socket.read(buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Err(Outcome::Ends),
                Ok(len) => {
                    if self.input.is_empty() && self.is_kept_alive {
                        self.since = now;
                    }
                    self.input.extend_from_slice(buffer.get(..len).unwrap_or_default());
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                Err(_) => return Err(Outcome::Ends),
            }
        }
        Ok(0)
    }

    /// `None`: the answer is out, and there may be more to do.
    fn write(&mut self, now: Instant) -> Option<Outcome> {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Some(Outcome::Ends),
                Ok(len) => {
                    self.sent += len;
                    self.since = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Outcome::Waits),
                Err(_) => return Some(Outcome::Ends),
            }
        }
        self.output = Vec::new();
        if self.close_after {
            // A socket that is closed already needs no more.
            drop(self.socket.shutdown(Shutdown::Write));
            self.input = Vec::new();
            self.enter(Phase::Leaving, now);
        } else {
            self.is_kept_alive = true;
            self.enter(Phase::Reading, now);
        }
        None
    }

    fn throw_away(&mut self) -> Outcome {
        let mut buffer = [0; HEAD_LEN_MAX];
        while self.is_readable && self.thrown_away < THROWN_AWAY_MAX {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Outcome::Ends,
                Ok(len) => self.thrown_away += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                Err(_) => return Outcome::Ends,
            }
        }
        if self.thrown_away < THROWN_AWAY_MAX {
            Outcome::Waits
        } else {
            Outcome::Ends
        }
    }
}
