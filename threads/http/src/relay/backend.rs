//! The connection to the server. It carries one request at a time, and a response is complete before it is forwarded.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use super::head::ForwardedRequest;
use super::refusal::Refusal;

/// Timeout of a response. The server responds from memory within milliseconds, or seconds on a machine that swaps.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a body: many times the largest, which lists a thousand miners.
const BODY_LEN_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of a response's head: ten times that of the server.
const HEAD_LEN_MAX: usize = 4 * 1024;
/// Most headers of a response.
const HEADERS_MAX: usize = 32;
/// Bytes to read at once.
const READ_LEN: usize = 64 * 1024;

/// A response, or the error to send instead, with the key of the connection that it is for.
pub type Completed = (usize, Result<BackendResponse, Refusal>);

/// A complete response of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct BackendResponse {
    bytes: Vec<u8>,
    /// Length of the status line, after which headers can be inserted.
    status_len: usize,
}

impl BackendResponse {
    /// Returns the bytes for the browser, with a header that says whether the connection closes.
    pub fn into_bytes(self, closes: bool) -> Vec<u8> {
        let mut bytes = self.bytes;
        let line: &[u8] = if closes { b"Connection: close\r\n" } else { b"Connection: keep-alive\r\n" };
        bytes.splice(self.status_len..self.status_len, line.iter().copied());
        bytes
    }
}

/// The request that the server is processing.
struct InFlight {
    key: usize,
    is_head: bool,
    since: Instant,
    /// The part of the request that is not sent yet.
    unsent: Vec<u8>,
    response: Vec<u8>,
}

/// The relay's connection to the server, with the queue of requests for it.
pub struct Backend {
    path: PathBuf,
    token: Token,
    registry: Registry,
    socket: Option<UnixStream>,
    in_flight: Option<InFlight>,
    queue: VecDeque<(usize, ForwardedRequest)>,
    buffer: Box<[u8]>,
}

impl Backend {
    /// Creates the backend; it connects with the first request.
    pub fn new(path: PathBuf, token: Token, registry: Registry) -> Self {
        Self {
            path,
            token,
            registry,
            socket: None,
            in_flight: None,
            queue: VecDeque::new(),
            buffer: vec![0; READ_LEN].into(),
        }
    }

    /// Queues a request of the connection `key`. The queue is bounded: a connection has at most one request at a time.
    pub fn enqueue(&mut self, key: usize, request: ForwardedRequest) {
        self.queue.push_back((key, request));
    }

    /// Removes the queued request of a closed connection. If it is in flight, its response is discarded later.
    pub fn cancel(&mut self, key: usize) {
        self.queue.retain(|(queued, _)| *queued != key);
    }

    /// When the request in flight times out.
    pub fn deadline(&self) -> Option<Instant> {
        self.in_flight.as_ref().map(|request| request.since + RESPONSE_TIMEOUT)
    }

    /// Does what is possible without blocking. Returns the next completed request.
    pub fn advance(&mut self, now: Instant) -> Option<Completed> {
        if self.in_flight.is_none() {
            let (key, request) = self.queue.pop_front()?;
            self.in_flight = Some(InFlight {
                key,
                is_head: request.is_head,
                since: now,
                unsent: request.bytes,
                response: Vec::new(),
            });
        }
        let is_late = self.deadline().is_some_and(|deadline| now >= deadline);
        let result = if is_late { Err(Refusal::GatewayTimeout) } else { self.exchange().transpose()? };
        if result.is_err() {
            // A late response must not be taken for that of the next request.
            self.socket = None;
        }
        self.in_flight.take().map(|request| (request.key, result))
    }

    /// Sends and receives; `None` while the response is incomplete.
    fn exchange(&mut self) -> Result<Option<BackendResponse>, Refusal> {
        self.try_exchange().map_err(|error| {
            log::warn!("HTTP server failed behind the relay: {error}");
            Refusal::BadGateway
        })
    }

    fn try_exchange(&mut self) -> io::Result<Option<BackendResponse>> {
        let Some(request) = &mut self.in_flight else { return Ok(None) };
        if self.socket.is_none() {
            let mut socket = UnixStream::connect(&self.path)?;
            self.registry.register(&mut socket, self.token, Interest::READABLE | Interest::WRITABLE)?;
            self.socket = Some(socket);
        }
        let Some(socket) = &mut self.socket else { return Ok(None) };
        while !request.unsent.is_empty() {
            match socket.write(&request.unsent) {
                Ok(len) => drop(request.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        loop {
            match socket.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    request.response.extend_from_slice(self.buffer.get(..len).unwrap_or_default());
                    if let Some(status_len) = complete(&request.response, request.is_head)? {
                        return Ok(Some(BackendResponse { bytes: std::mem::take(&mut request.response), status_len }));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Returns the length of the status line once the response is complete.
fn complete(bytes: &[u8], is_head: bool) -> io::Result<Option<usize>> {
    let invalid = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("its response {what}"));
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_LEN_MAX => return Ok(None),
        _ => return Err(invalid("has a malformed head")),
    };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let body_len = match (head.code, length) {
        // RFC 9110, sections 9.3.2 and 15.4.5: no body, regardless of Content-Length.
        (Some(304), _) => 0,
        (Some(_), Some(_)) if is_head => 0,
        (Some(_), Some(length)) if length <= BODY_LEN_MAX => length,
        _ => return Err(invalid("has no valid length")),
    };
    let total = head_len.saturating_add(body_len);
    if bytes.len() > total {
        return Err(invalid("is longer than its length"));
    }
    let status_len = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((bytes.len() == total).then_some(status_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_with_its_last_byte() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for len in 0..response.len() {
            assert_eq!(complete(&response[..len], false).unwrap(), None, "{len}");
        }
        assert_eq!(complete(response, false).unwrap(), Some(17));
        assert!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false).is_err());
    }

    #[test]
    fn responses_to_head_and_304_have_no_body() {
        assert_eq!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true).unwrap(), Some(17));
        assert_eq!(complete(b"HTTP/1.1 304 Not Modified\r\n\r\n", false).unwrap(), Some(27));
    }

    #[test]
    fn responses_without_a_length_or_with_a_huge_one_are_errors() {
        assert!(complete(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false).is_err());
        assert!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", false).is_err());
        assert!(complete(&[b'x'; HEAD_LEN_MAX + 1], false).is_err());
    }

    #[test]
    fn a_header_says_whether_the_connection_closes() {
        let response = |closes| {
            let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
            String::from_utf8(BackendResponse { bytes, status_len: 17 }.into_bytes(closes)).unwrap()
        };
        assert_eq!(response(true), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(response(false), "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
    }
}
