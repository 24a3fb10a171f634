//! TCP connections to bitcoind: with keepalive, and counted.
//!
//! A long poll may wait for hours on a quiet chain, so it has no timeout: a long poll that gives up leaves a waiting
//! thread behind in bitcoind. TCP keepalive replaces the timeout: it breaks the connection if the other machine is gone,
//! and keeps it while bitcoind has nothing to send.

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

/// Idle time before the first probe; about the time after which bitcoind closes idle connections.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between probes; with the usual 9 probes a dead connection breaks within two minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Opens connections with keepalive, and counts them.
#[derive(Debug)]
pub(crate) struct KeepaliveConnector(pub(crate) Arc<AtomicU64>);

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
        self.0.fetch_add(1, Ordering::Relaxed);
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(KeepaliveTransport { stream, buffers }))
    }
}

/// Tries the addresses in order, each with an equal part of the timeout.
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
        // Fails only if the connection is closed already.
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
    /// Returns whether the other end has neither closed the connection nor sent anything unrequested.
    fn is_idle(&self) -> io::Result<bool> {
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
        (&self.stream.0).write_all(output).map_err(|error| transport_error(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.0.set_read_timeout(timeout.not_zero().map(|time| *time))?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match (&self.stream.0).read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| transport_error(error, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.is_idle().unwrap_or(false)
    }
}

/// Converts an I/O error. A socket's timeout is one of two kinds, depending on the system.
fn transport_error(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
