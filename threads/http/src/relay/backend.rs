//! The one connection to the server: one request at a time, each answer whole before it is passed on.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use super::head::Request;
use super::refusal::Refusal;

/// The server answers from memory, in milliseconds; on a machine that swaps, seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer at most: many times the largest, which lists a thousand miners.
const ANSWER_LEN_MAX: usize = 8 * 1024 * 1024;
/// Bytes of an answer's head at most; ours have a tenth of it.
const ANSWER_HEAD_LEN_MAX: usize = 4 * 1024;
/// Headers of an answer at most.
const ANSWER_HEADERS_MAX: usize = 32;
/// Bytes read at once.
const READ_LEN: usize = 64 * 1024;

/// An answer that has arrived, for the client that asked.
pub type Answered = (usize, Result<Answer, Refusal>);

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    bytes: Vec<u8>,
    /// Where headers may be added: behind the status line.
    status_len: usize,
}

impl Answer {
    /// The bytes for the client, which is told whether another request may follow.
    pub fn into_bytes(self, closes: bool) -> Vec<u8> {
        let mut bytes = self.bytes;
        let line: &[u8] = if closes { b"Connection: close\r\n" } else { b"Connection: keep-alive\r\n" };
        bytes.splice(self.status_len..self.status_len, line.iter().copied());
        bytes
    }
}

/// A request under way.
struct Pending {
    client: usize,
    is_head: bool,
    since: Instant,
    /// What of it the server has not taken yet.
    unsent: Vec<u8>,
    answer: Vec<u8>,
}

/// The server's side of the relay.
pub struct Backend {
    path: PathBuf,
    token: Token,
    registry: Registry,
    socket: Option<UnixStream>,
    pending: Option<Pending>,
    queue: VecDeque<(usize, Request)>,
    buffer: Box<[u8]>,
}

impl Backend {
    /// Connects with the first request.
    pub fn new(path: PathBuf, token: Token, registry: Registry) -> Self {
        Self {
            path,
            token,
            registry,
            socket: None,
            pending: None,
            queue: VecDeque::new(),
            buffer: vec![0; READ_LEN].into(),
        }
    }

    /// Takes a client's request; each client has one at a time, so there are no more than clients.
    pub fn ask(&mut self, client: usize, request: Request) {
        self.queue.push_back((client, request));
    }

    /// The client is gone: what it waits for is not asked, or thrown away when it comes.
    pub fn forget(&mut self, client: usize) {
        self.queue.retain(|(waiting, _)| *waiting != client);
    }

    /// When the answer under way must be there.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.since + ANSWER_TIMEOUT)
    }

    /// Does what can be done without waiting; an answer, or why there is none.
    pub fn advance(&mut self, now: Instant) -> Option<Answered> {
        if self.pending.is_none() {
            let (client, request) = self.queue.pop_front()?;
            let pending =
                Pending { client, is_head: request.is_head, since: now, unsent: request.forward, answer: Vec::new() };
            self.pending = Some(pending);
        }
        let is_late = self.deadline().is_some_and(|deadline| now >= deadline);
        let result = if is_late { Err(Refusal::GatewayTimeout) } else { self.exchange().transpose()? };
        if result.is_err() {
            // What still comes on it belongs to nobody.
            self.socket = None;
        }
        self.pending.take().map(|pending| (pending.client, result))
    }

    /// `None`: the answer is not complete.
    fn exchange(&mut self) -> Result<Option<Answer>, Refusal> {
        self.try_exchange().map_err(|error| {
            log::warn!("the web server behind the relay: {error}");
            Refusal::BadGateway
        })
    }

    fn try_exchange(&mut self) -> io::Result<Option<Answer>> {
        let Some(pending) = &mut self.pending else { return Ok(None) };
        if self.socket.is_none() {
            let mut socket = UnixStream::connect(&self.path)?;
            self.registry.register(&mut socket, self.token, Interest::READABLE | Interest::WRITABLE)?;
            self.socket = Some(socket);
        }
        let Some(socket) = &mut self.socket else { return Ok(None) };
        while !pending.unsent.is_empty() {
            match socket.write(&pending.unsent) {
                Ok(len) => drop(pending.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        loop {
            match socket.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    pending.answer.extend_from_slice(self.buffer.get(..len).unwrap_or_default());
                    if let Some(status_len) = complete(&pending.answer, pending.is_head)? {
                        return Ok(Some(Answer { bytes: std::mem::take(&mut pending.answer), status_len }));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Length of the status line once the whole answer is there.
fn complete(bytes: &[u8], is_head: bool) -> io::Result<Option<usize>> {
    let strange = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("its answer {what}"));
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() <= ANSWER_HEAD_LEN_MAX => return Ok(None),
        _ => return Err(strange("has no head that can be read")),
    };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let body_len = match (head.code, length) {
        // RFC 9110, sections 9.3.2 and 15.4.5: no body, whatever the length says.
        (Some(304), _) => 0,
        (Some(_), Some(_)) if is_head => 0,
        (Some(_), Some(length)) if length <= ANSWER_LEN_MAX => length,
        _ => return Err(strange("does not state a length that can be")),
    };
    let whole = head_len.saturating_add(body_len);
    if bytes.len() > whole {
        return Err(strange("is longer than it states"));
    }
    let status_len = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((bytes.len() == whole).then_some(status_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for len in 0..answer.len() {
            assert_eq!(complete(&answer[..len], false).unwrap(), None, "{len}");
        }
        assert_eq!(complete(answer, false).unwrap(), Some(17));
        assert!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false).is_err());
    }

    #[test]
    fn some_answers_have_no_body() {
        assert_eq!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true).unwrap(), Some(17));
        assert_eq!(complete(b"HTTP/1.1 304 Not Modified\r\n\r\n", false).unwrap(), Some(27));
    }

    #[test]
    fn answers_without_a_length_or_with_a_huge_one_are_not_passed_on() {
        assert!(complete(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false).is_err());
        assert!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", false).is_err());
        assert!(complete(&[b'x'; ANSWER_HEAD_LEN_MAX + 1], false).is_err());
    }

    #[test]
    fn the_client_is_told_whether_the_connection_stays() {
        let answer = |closes| {
            let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
            String::from_utf8(Answer { bytes, status_len: 17 }.into_bytes(closes)).unwrap()
        };
        assert_eq!(answer(true), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answer(false), "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
    }
}
