//! One client's socket: what it is, and bytes that it has not taken yet.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use p2pool_core::stratum::{CloseReason, Now, Session};

/// Bytes that may wait for a client beyond what the system holds for it: about ten of the largest jobs.
const PENDING_MAX: usize = 64 * 1024;
/// Memory for waiting bytes that is kept for the next time.
const PENDING_KEPT: usize = 4 * 1024;

/// What a client is.
pub enum ConnectionState {
    /// Has not said enough.
    Unknown,
    /// A miner.
    Miner(Box<Session>),
}

/// Why a connection ends.
#[derive(Debug)]
pub enum DisconnectReason {
    /// The client closed it, or the network did.
    ByClient,
    /// Nothing, or nothing clear, was said in time.
    NothingSaid,
    /// Neither a miner nor a browser.
    UnknownProtocol,
    /// A browser: not for this thread.
    Browser,
    /// The session ended it.
    Session(CloseReason),
    /// A miner for whom there is no room.
    Refused(LimitReached),
    /// The client does not read.
    SlowReader,
}

impl DisconnectReason {
    /// Whether an operator may want to know.
    pub fn is_worth_a_line(&self) -> bool {
        matches!(self, Self::Session(_) | Self::SlowReader)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByClient => f.write_str("closed by the client"),
            Self::NothingSaid => f.write_str("nothing said in time"),
            Self::UnknownProtocol => f.write_str("neither Stratum nor HTTP"),
            Self::Browser => f.write_str("a browser"),
            Self::Session(close) => close.fmt(f),
            Self::Refused(crowd) => crowd.fmt(f),
            Self::SlowReader => f.write_str("does not read what it is sent"),
        }
    }
}

/// What there is too much of.
#[derive(Debug)]
pub enum LimitReached {
    /// Connections in all, with their limit.
    All(usize),
    /// Connections of one address, with their limit.
    Address(usize),
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(max) => write!(f, "{max} connections are open, the most allowed"),
            Self::Address(max) => write!(f, "its address has {max} connections, the most allowed"),
        }
    }
}

/// A client's connection.
pub struct Connection {
    /// The socket.
    pub socket: TcpStream,
    /// The client.
    pub peer: SocketAddr,
    /// When it connected.
    pub opened: Now,
    /// What it is.
    pub state: ConnectionState,
    /// Whether it stands in the queue of sockets to be read.
    pub is_queued: bool,
    pending: Vec<u8>,
    stalled_since_ms: Option<u64>,
}

impl Connection {
    /// A client that has said nothing yet.
    pub fn new(socket: TcpStream, peer: SocketAddr, opened: Now) -> Self {
        Self {
            socket,
            peer,
            opened,
            state: ConnectionState::Unknown,
            is_queued: false,
            pending: Vec::new(),
            stalled_since_ms: None,
        }
    }

    /// Looks at the first bytes without taking them; `None` if there are none yet.
    pub fn peek(&self, buffer: &mut [u8]) -> Result<Option<usize>, DisconnectReason> {
        taken(|| self.socket.peek(buffer))
    }

    /// Takes bytes; `None` if there are none.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, DisconnectReason> {
        taken(|| self.socket.read(buffer))
    }

    /// Sends bytes, or keeps them until the client takes them.
    pub fn send(&mut self, mut bytes: &[u8], now_ms: u64) -> Result<(), DisconnectReason> {
        if self.pending.is_empty() {
            let sent = self.write(bytes)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if self.pending.len() + bytes.len() > PENDING_MAX {
            return Err(DisconnectReason::SlowReader);
        }
        self.pending.extend_from_slice(bytes);
        self.stalled_since_ms.get_or_insert(now_ms);
        Ok(())
    }

    /// Sends what was kept; to be called when the socket takes bytes again.
    pub fn flush(&mut self) -> Result<(), DisconnectReason> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let sent = self.write(&pending)?;
        self.pending = pending;
        self.pending.drain(..sent);
        if self.pending.is_empty() {
            self.stalled_since_ms = None;
            self.pending.shrink_to(PENDING_KEPT);
        }
        Ok(())
    }

    /// For how long something has been waiting for the client.
    pub fn stalled_ms(&self, now: Now) -> u64 {
        self.stalled_since_ms.map_or(0, |since_ms| now.since_ms(since_ms))
    }

    /// How many of the bytes the socket took.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, DisconnectReason> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(DisconnectReason::ByClient),
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(DisconnectReason::ByClient),
            }
        }
        Ok(sent)
    }
}

/// Bytes that a socket gave.
fn taken(mut take: impl FnMut() -> io::Result<usize>) -> Result<Option<usize>, DisconnectReason> {
    loop {
        return match take() {
            Ok(0) => Err(DisconnectReason::ByClient),
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(DisconnectReason::ByClient),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use p2pool_core::units::UnixTime;
    use socket2::SockRef;

    use super::*;

    fn at(uptime_ms: u64) -> Now {
        Now { uptime_ms, time: UnixTime(1_700_000_000) }
    }

    /// A connection with small buffers, and its client.
    fn pair() -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        SockRef::from(&listener).set_recv_buffer_size(4_096).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&client).set_recv_buffer_size(4_096).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&socket).set_send_buffer_size(4_096).unwrap();
        (Connection::new(TcpStream::from_std(socket), peer, at(0)), client)
    }

    /// Sends until bytes have to wait; how many were sent in all.
    fn fill(connection: &mut Connection, now_ms: u64) -> usize {
        let chunk = [b'x'; 1_000];
        let mut len = 0;
        while connection.pending.is_empty() {
            connection.send(&chunk, now_ms).unwrap();
            len += chunk.len();
        }
        len
    }

    #[test]
    fn what_waits_is_sent_when_the_client_reads() {
        let (mut connection, mut client) = pair();
        let len = fill(&mut connection, 7);
        assert_eq!((connection.stalled_ms(at(7)), connection.stalled_ms(at(1_007))), (0, 1_000));
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; len];
            client.read_exact(&mut bytes).unwrap();
            bytes.iter().all(|byte| *byte == b'x')
        });
        while !connection.pending.is_empty() {
            connection.flush().unwrap();
            std::thread::yield_now();
        }
        assert!(reader.join().unwrap());
        assert_eq!(connection.stalled_ms(at(9_000)), 0);
        assert!(connection.pending.capacity() <= PENDING_KEPT);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut connection, client) = pair();
        fill(&mut connection, 0);
        let mut result = Ok(());
        for _ in 0..PENDING_MAX / 1_000 + 1 {
            result = connection.send(&[b'x'; 1_000], 0);
            assert!(connection.pending.len() <= PENDING_MAX);
        }
        assert!(matches!(result, Err(DisconnectReason::SlowReader)));
        drop(client);
    }
}
