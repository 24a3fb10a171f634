//! A connection: its socket, reads and bounded writes.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use p2pool_core::stratum::{CloseReason, Session};
use p2pool_core::units::{Now, SteadyTime};
use p2pool_core::work::NoWork;

use crate::protocol::Foreign;

/// Largest number of bytes that wait for a socket besides the newest jobs, in addition to the system's buffer: about ten jobs
/// with 48 payouts.
const PENDING_MAX: usize = 64 * 1024;
/// Number of jobs of any size that may wait too: a new tip and the first share on it come within a second.
const JOBS_PENDING_MAX: usize = 2;
/// Capacity that the buffer of waiting bytes keeps when it is empty.
const PENDING_KEPT: usize = 4 * 1024;

/// Returns the largest number of bytes that may wait for a socket while jobs have `job_len` bytes: 240 KB with 1,000 payouts.
pub const fn pending_max(job_len: usize) -> usize {
    PENDING_MAX.saturating_add(job_len.saturating_mul(JOBS_PENDING_MAX))
}

/// What a connection is used for.
pub enum ConnectionState {
    /// Too few bytes were received to detect it.
    Unidentified,
    Miner(Box<Session>),
}

/// Why a connection is closed, or leaves the thread.
#[derive(Debug)]
pub enum DisconnectReason {
    /// The remote side or the network closed it.
    ClosedByRemote,
    /// Too few bytes were received in time.
    NothingReceived,
    /// The protocol is neither Stratum nor HTTP.
    Foreign(Foreign),
    /// It is a browser's, which the web threads serve.
    Browser,
    /// The session closed it.
    Session(CloseReason),
    /// It is a miner's and exceeds a limit.
    Refused(ConnectionLimit),
    /// It is a miner's, and there is no work.
    NoWork(NoWork),
    /// The remote side does not read.
    SlowReader,
}

impl DisconnectReason {
    /// Whether the reason is logged for the operator.
    pub fn is_noteworthy(&self) -> bool {
        // The absence of work is logged once for all miners.
        matches!(self, Self::Session(reason) if !matches!(reason, CloseReason::NoWork(_)))
            || matches!(self, Self::SlowReader)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByRemote => f.write_str("closed by the remote side"),
            Self::NothingReceived => f.write_str("nothing received in time"),
            Self::Foreign(protocol) => protocol.fmt(f),
            Self::Browser => f.write_str("a browser"),
            Self::Session(reason) => reason.fmt(f),
            Self::Refused(limit) => limit.fmt(f),
            Self::NoWork(why) => write!(f, "no work: {}", why.text()),
            Self::SlowReader => f.write_str("it does not read what it is sent"),
        }
    }
}

/// A limit on connections, with its value.
#[derive(Clone, Copy, Debug)]
pub enum ConnectionLimit {
    Total(usize),
    PerAddress(usize),
}

impl fmt::Display for ConnectionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(max) => write!(f, "the limit of {max} connections is reached"),
            Self::PerAddress(max) => write!(f, "the limit of {max} connections per address is reached"),
        }
    }
}

/// A connection to the miners' port.
pub struct Connection {
    pub socket: TcpStream,
    pub remote: SocketAddr,
    pub opened: Now,
    pub state: ConnectionState,
    /// Whether it is in the queue of connections to read.
    pub is_queued: bool,
    /// Bytes that the socket has not taken yet.
    pending: Vec<u8>,
    stalled_since: Option<SteadyTime>,
}

impl Connection {
    pub fn new(socket: TcpStream, remote: SocketAddr, opened: Now) -> Self {
        Self {
            socket,
            remote,
            opened,
            state: ConnectionState::Unidentified,
            is_queued: false,
            pending: Vec::new(),
            stalled_since: None,
        }
    }

    /// Peeks at the received bytes; `None` if there are none.
    pub fn peek(&self, buffer: &mut [u8]) -> Result<Option<usize>, DisconnectReason> {
        received(|| self.socket.peek(buffer))
    }

    /// Reads bytes; `None` if there are none.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, DisconnectReason> {
        received(|| self.socket.read(buffer))
    }

    /// Sends bytes, or buffers up to `pending_max` of them until the socket is writable.
    pub fn send(&mut self, mut bytes: &[u8], pending_max: usize, now: SteadyTime) -> Result<(), DisconnectReason> {
        if self.pending.is_empty() {
            let sent = self.write(bytes)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if self.pending.len() + bytes.len() > pending_max {
            return Err(DisconnectReason::SlowReader);
        }
        self.pending.extend_from_slice(bytes);
        self.stalled_since.get_or_insert(now);
        Ok(())
    }

    /// Sends buffered bytes; to be called when the socket becomes writable.
    pub fn flush(&mut self) -> Result<(), DisconnectReason> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let sent = self.write(&pending)?;
        self.pending = pending;
        self.pending.drain(..sent);
        if self.pending.is_empty() {
            self.stalled_since = None;
            self.pending.shrink_to(PENDING_KEPT);
        }
        Ok(())
    }

    /// How long bytes have been waiting for the socket.
    pub fn stalled_ms(&self, now: SteadyTime) -> u64 {
        self.stalled_since.map_or(0, |since| now.since_ms(since))
    }

    /// Writes to the socket; returns the number of bytes written.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, DisconnectReason> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(DisconnectReason::ClosedByRemote),
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(DisconnectReason::ClosedByRemote),
            }
        }
        Ok(sent)
    }
}

/// Translates the result of a read.
fn received(mut read: impl FnMut() -> io::Result<usize>) -> Result<Option<usize>, DisconnectReason> {
    loop {
        return match read() {
            Ok(0) => Err(DisconnectReason::ClosedByRemote),
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(DisconnectReason::ClosedByRemote),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use p2pool_core::units::UnixTime;
    use socket2::SockRef;

    use super::*;

    fn at(ms: u64) -> SteadyTime {
        SteadyTime::from_ms(ms)
    }

    /// A connection with small buffers, and its remote side.
    fn pair() -> (Connection, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        SockRef::from(&listener).set_recv_buffer_size(4_096).unwrap();
        let remote = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&remote).set_recv_buffer_size(4_096).unwrap();
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&socket).set_send_buffer_size(4_096).unwrap();
        let opened = Now { steady: at(0), time: UnixTime(1_700_000_000) };
        (Connection::new(TcpStream::from_std(socket), address, opened), remote)
    }

    /// Sends until bytes have to wait; returns the number of bytes.
    fn fill(connection: &mut Connection, now: SteadyTime) -> usize {
        let chunk = [b'x'; 1_000];
        let mut len = 0;
        while connection.pending.is_empty() {
            connection.send(&chunk, PENDING_MAX, now).unwrap();
            len += chunk.len();
        }
        len
    }

    #[test]
    fn buffered_bytes_are_sent_when_the_remote_side_reads() {
        let (mut connection, mut remote) = pair();
        let len = fill(&mut connection, at(7));
        assert_eq!((connection.stalled_ms(at(7)), connection.stalled_ms(at(1_007))), (0, 1_000));
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; len];
            remote.read_exact(&mut bytes).unwrap();
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
    fn two_jobs_of_any_size_may_wait() {
        let job = vec![b'x'; 88_000];
        for (pending_max, fits) in [(PENDING_MAX, false), (pending_max(job.len()), true)] {
            let (mut connection, _remote) = pair();
            fill(&mut connection, at(0));
            connection.send(&[b'x'; 60_000], pending_max, at(0)).unwrap();
            for _ in 0..JOBS_PENDING_MAX {
                assert_eq!(connection.send(&job, pending_max, at(0)).is_ok(), fits);
            }
            assert!(connection.send(&job, pending_max, at(0)).is_err());
        }
    }

    #[test]
    fn the_buffer_is_bounded() {
        let (mut connection, remote) = pair();
        fill(&mut connection, at(0));
        let mut result = Ok(());
        for _ in 0..PENDING_MAX / 1_000 + 1 {
            result = connection.send(&[b'x'; 1_000], PENDING_MAX, at(0));
            assert!(connection.pending.len() <= PENDING_MAX);
        }
        assert!(matches!(result, Err(DisconnectReason::SlowReader)));
        drop(remote);
    }
}
