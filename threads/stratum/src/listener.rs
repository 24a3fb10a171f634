//! The miners' port: one listening socket for IPv4 and IPv6, and the socket options of connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Largest number of connections that wait to be accepted; a farm may reconnect at once after a power failure.
const BACKLOG: i32 = 1024;
/// TCP keepalive: an idle connection is probed after the first time and then at the second interval.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Size of the system's send buffer in bytes: a dozen jobs with 48 payouts, most of one with 1,000. The default is megabytes.
const SEND_BUFFER_LEN: usize = 64 * 1024;

/// The listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Listens on one address, or on all: only on IPv4 ones if the system has no IPv6. Events have `token`.
    pub fn open(bind: Option<IpAddr>, port: u16, registry: &Registry, token: Token) -> io::Result<Self> {
        let socket = match bind {
            Some(address) => listen(SocketAddr::from((address, port))),
            None => match listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
                }
                result => result,
            },
        }?;
        let mut socket = TcpListener::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self { socket })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts the next connection and sets its options; `None` if there is none.
    pub fn accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match self.socket.accept() {
                Ok((socket, remote)) => {
                    // The connection also works without them.
                    if let Err(error) = set_options(&socket) {
                        log::debug!("socket options for {remote}: {error}");
                    }
                    return Ok(Some((socket, remote)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The remote side closed the connection before it was accepted.
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
    // Connections of the last run in TIME_WAIT must not prevent a restart.
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

    use mio::{Events, Poll};

    #[test]
    fn one_address_excludes_the_others() {
        let poll = Poll::new().unwrap();
        let bind = IpAddr::from([127, 0, 0, 2]);
        let listener = Listener::open(Some(bind), 0, poll.registry(), Token(0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.ip(), bind);
        std::net::TcpStream::connect(address).unwrap();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap_err();
    }

    #[test]
    fn accepted_connections_are_probed_after_30_seconds() {
        let mut poll = Poll::new().unwrap();
        let listener = Listener::open(None, 0, poll.registry(), Token(0)).unwrap();
        let _remote =
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())).unwrap();
        poll.poll(&mut Events::with_capacity(1), None).unwrap();
        let (socket, _) = listener.accept().unwrap().unwrap();
        assert!(socket.nodelay().unwrap());
        let socket = SockRef::from(&socket);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    }
}
