//! The port: one socket for IPv4 and IPv6, and the options of every connection.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that wait to be accepted: a farm that comes back after a power cut.
const BACKLOG: i32 = 1024;
/// An idle connection is probed after this, and then this often; the system gives up after some probes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// What the system holds for a client that does not read, in bytes: a few dozen jobs. Its default is megabytes.
const SEND_BUFFER_LEN: usize = 64 * 1024;

/// The port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Listens on all addresses; on IPv4's alone where the system has no IPv6.
    ///
    /// `token` will name the events that say there are connections to accept.
    pub fn open(port: u16, registry: &Registry, token: Token) -> io::Result<Self> {
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let socket = match listen(v6) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => listen(v4),
            result => result,
        }?;
        let mut socket = TcpListener::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self { socket })
    }

    /// The address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, ready for use; `None` if there is none.
    pub fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match self.socket.accept() {
                Ok((socket, peer)) => {
                    // Without these the connection works, only less well.
                    if let Err(error) = set_options(&socket) {
                        log::debug!("socket options for {peer}: {error}");
                    }
                    return Ok(Some((socket, peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The client left the queue again.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the last run's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn set_options(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL))?;
    socket.set_send_buffer_size(SEND_BUFFER_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream as Client;

    use mio::{Events, Poll};

    #[test]
    fn accepted_connections_are_probed_after_30_seconds() {
        let mut poll = Poll::new().unwrap();
        let listener = Listener::open(0, poll.registry(), Token(0)).unwrap();
        let _client = Client::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())).unwrap();
        poll.poll(&mut Events::with_capacity(1), None).unwrap();
        let (socket, _) = listener.accept().unwrap().unwrap();
        assert!(socket.nodelay().unwrap());
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    }
}
