//! TCP connections to bitcoind that notice a dead peer, and are counted.
//!
//! A long poll waits for hours on a quiet chain, so it has no timeout: one that gave up would leave behind a thread of
//! bitcoind that waits on. TCP keepalive takes the timeout's place; it ends the wait when the other machine is gone
//! and leaves alone one that merely has nothing to say.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::Error;

/// Quiet time before the first probe: about as long as bitcoind itself lets a connection idle.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between probes; with the system's usual 9 of them a dead peer is noticed within two minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Counts connections, so that their user knows when the other end may have become another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<AtomicU64>);

impl Connections {
    /// Connections made so far.
    pub(crate) fn made(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens the connections.
#[derive(Debug)]
pub(crate) struct KeepaliveConnector(pub(crate) Connections);

impl Connector for KeepaliveConnector {
    type Out = KeepaliveTransport;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        let stream = connect_to_any(&details.addrs, details.timeout)?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let stream = Arc::new(SharedStream(stream));
        let weak: Weak<SharedStream> = Arc::downgrade(&stream);
        (details.register_shutdown)(weak)?;
        self.0 .0.fetch_add(1, Ordering::Relaxed);
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(KeepaliveTransport { stream, buffers }))
    }
}

/// Tries one address after the other, each with an equal part of the time.
fn connect_to_any(addrs: &[SocketAddr], timeout: NextTimeout) -> Result<TcpStream, Error> {
    let mut last = Error::HostNotFound;
    for addr in addrs {
        let result = match timeout.not_zero() {
            Some(all) => TcpStream::connect_timeout(addr, *all / u32::try_from(addrs.len()).unwrap_or(u32::MAX)),
            None => TcpStream::connect(addr),
        };
        match result {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = Error::Timeout(timeout.reason),
            Err(error) => last = Error::Io(error),
        }
    }
    Err(last)
}

/// A stream that another thread can shut down.
#[derive(Debug)]
struct SharedStream(TcpStream);

impl ShutdownHandle for SharedStream {
    fn shutdown(&self) {
        // An error means that it is down already.
        drop(self.0.shutdown(std::net::Shutdown::Both));
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct KeepaliveTransport {
    stream: Arc<SharedStream>,
    buffers: LazyBuffers,
}

impl KeepaliveTransport {
    /// Whether the peer neither closed nor sent what was not asked for.
    fn probe(&self) -> io::Result<bool> {
        self.stream.0.set_nonblocking(true)?;
        let read = (&self.stream.0).read(&mut [0]);
        self.stream.0.set_nonblocking(false)?;
        Ok(matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock))
    }
}

impl Transport for KeepaliveTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.0.set_write_timeout(timeout.not_zero().map(|time| *time))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        (&self.stream.0).write_all(output).map_err(|error| timed_out_or(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.0.set_read_timeout(timeout.not_zero().map(|time| *time))?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match (&self.stream.0).read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| timed_out_or(error, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.probe().unwrap_or(false)
    }
}

/// A socket's timeout comes as either of two kinds, depending on the system.
fn timed_out_or(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
