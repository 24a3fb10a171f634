//! Dials through a SOCKS5 proxy, such as Tor's, and nothing beside it: names are resolved by the proxy.

use std::pin::Pin;
use std::task::{Context, Poll};

use data_encoding::BASE32_NOPAD;
use futures::future::BoxFuture;
use futures::FutureExt as _;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::Transport;
use libp2p::multiaddr::Protocol;
use libp2p::{tcp, Multiaddr};
use p2pool_core::config::{AddressKind, Proxy};
use tokio_socks::tcp::Socks5Stream;

type Tcp = tcp::tokio::Transport;
/// Why a dial failed.
type Error = std::io::Error;

/// TCP that listens itself and has a proxy dial.
pub struct ProxiedTcp {
    tcp: Tcp,
    proxy: Proxy,
}

impl ProxiedTcp {
    pub fn new(tcp: Tcp, proxy: Proxy) -> Self {
        Self { tcp, proxy }
    }
}

/// Returns host and port that a SOCKS5 proxy understands; `None` for addresses that are not dialled.
fn target(address: &Multiaddr, only: Option<AddressKind>) -> Option<(String, u16)> {
    let mut parts = address.iter();
    let (host, port, kind) = match (parts.next()?, parts.next()) {
        (Protocol::Ip4(ip), Some(Protocol::Tcp(port))) => (ip.to_string(), port, AddressKind::Ip),
        (Protocol::Ip6(ip), Some(Protocol::Tcp(port))) => (ip.to_string(), port, AddressKind::Ip),
        (Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name), Some(Protocol::Tcp(port))) => {
            (name.into_owned(), port, AddressKind::Ip)
        }
        (Protocol::Onion3(onion), None | Some(Protocol::P2p(_))) => {
            let name = BASE32_NOPAD.encode(onion.hash()).to_ascii_lowercase();
            return only.is_none_or(|only| only == AddressKind::Onion).then(|| (format!("{name}.onion"), onion.port()));
        }
        _ => return None,
    };
    let is_end = matches!(parts.next(), None | Some(Protocol::P2p(_))) && parts.next().is_none();
    (is_end && only.is_none_or(|only| only == kind)).then_some((host, port))
}

impl Transport for ProxiedTcp {
    type Output = tcp::tokio::TcpStream;
    type Error = Error;
    type ListenerUpgrade = <Tcp as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, Result<Self::Output, Error>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        self.tcp.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.tcp.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        // A hole cannot be made through a proxy.
        let Some((host, port)) = target(&address, self.proxy.only).filter(|_| options.role.is_dialer()) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let proxy = self.proxy.address.clone();
        Ok(async move {
            let stream = tokio::net::TcpStream::connect(proxy.as_str()).await?;
            stream.set_nodelay(true)?;
            let stream = Socks5Stream::connect_with_socket(stream, (host.as_str(), port)).await;
            Ok(tcp::tokio::TcpStream(stream.map_err(Error::other)?.into_inner()))
        }
        .boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        Pin::new(&mut self.tcp).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONION: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

    #[test]
    fn names_and_onion_addresses_are_left_to_the_proxy() {
        let target = |text: &str, only| target(&text.parse().unwrap(), only);
        let of = |host: &str, port| Some((host.to_owned(), port));
        let onion = format!("/onion3/{ONION}:9171");
        let peer = libp2p::PeerId::random();
        for (text, expected) in [
            ("/ip4/8.8.8.8/tcp/1".to_owned(), of("8.8.8.8", 1)),
            (format!("/ip6/2a00::1/tcp/1/p2p/{peer}"), of("2a00::1", 1)),
            ("/dns/node.example/tcp/9171".to_owned(), of("node.example", 9171)),
            (onion.clone(), of(&format!("{ONION}.onion"), 9171)),
            (format!("{onion}/p2p/{peer}"), of(&format!("{ONION}.onion"), 9171)),
            ("/ip4/8.8.8.8/udp/53".to_owned(), None),
            (format!("/ip4/8.8.8.8/tcp/1/p2p/{peer}/p2p-circuit"), None),
        ] {
            assert_eq!(target(&text, None), expected, "{text}");
        }
        assert_eq!(target("/ip4/8.8.8.8/tcp/1", Some(AddressKind::Onion)), None);
        assert_eq!(target("/dns/node.example/tcp/1", Some(AddressKind::Onion)), None);
        assert!(target(&onion, Some(AddressKind::Onion)).is_some());
        assert_eq!(target(&onion, Some(AddressKind::Ip)), None);
        assert!(target("/ip4/8.8.8.8/tcp/1", Some(AddressKind::Ip)).is_some());
    }
}
