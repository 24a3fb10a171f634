//! Where a connection comes from or leads to, as far as limits depend on it.

use std::net::{IpAddr, SocketAddr};

use libp2p::core::ConnectedPoint;
use libp2p::Multiaddr;
use p2pool_core::config::Config;
use p2pool_core::netgroup::{is_own_network, Netgroup};

use crate::address::{ip_of, is_onion, is_relayed};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its IP address, if that says anything about the peer.
    pub ip: Option<IpAddr>,
    /// `None` on own networks, and for peers that were dialled by name, which only the operator does.
    pub netgroup: Option<Netgroup>,
}

impl Origin {
    /// Returns the other end of an inbound connection.
    pub fn inbound(local: &Multiaddr, remote: &Multiaddr, tor: &TorAddresses) -> Self {
        if is_relayed(local) || is_relayed(remote) {
            return Self { ip: None, netgroup: Some(Netgroup::Relayed) };
        }
        Self::at(remote, tor)
    }

    /// Returns the other end of a connection to this address.
    pub fn at(address: &Multiaddr, tor: &TorAddresses) -> Self {
        let ip = ip_of(address);
        let netgroup = match ip {
            _ if is_relayed(address) => Some(Netgroup::Relayed),
            _ if is_onion(address) => Some(Netgroup::Onion),
            Some(ip) if tor.contains(ip) => return Self { ip: None, netgroup: Some(Netgroup::Tor) },
            _ => ip.and_then(Netgroup::of),
        };
        Self { ip, netgroup }
    }

    /// Returns the other end of an established connection.
    pub fn of(endpoint: &ConnectedPoint, tor: &TorAddresses) -> Self {
        match endpoint {
            ConnectedPoint::Dialer { address, .. } => Self::at(address, tor),
            ConnectedPoint::Listener { local_addr, send_back_addr } => Self::inbound(local_addr, send_back_addr, tor),
        }
    }
}

/// The addresses from which peers come through Tor. Such a connection has the address of the program that made it, on this
/// machine or where the proxy is, so local programs are taken for strangers there.
#[derive(Clone, Debug, Default)]
pub struct TorAddresses {
    is_on: bool,
    proxy: Option<IpAddr>,
    /// The proxy was given by name, as a container: it may be anywhere on an own network.
    has_named_proxy: bool,
}

impl TorAddresses {
    /// They exist if the node has a hidden service, or a proxy that may lead one to it.
    pub fn new(config: &Config) -> Self {
        let is_onion = |address: &String| address.starts_with("/onion3/");
        let proxy = config.proxy.as_ref().map(|proxy| proxy.address.parse::<SocketAddr>());
        Self {
            has_named_proxy: proxy.as_ref().is_some_and(Result::is_err),
            is_on: proxy.is_some() || config.external_addresses.iter().any(is_onion),
            proxy: proxy.and_then(Result::ok).map(|proxy| proxy.ip().to_canonical()),
        }
    }

    /// Whether a connection with this address may come through Tor.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let is_named = self.has_named_proxy && is_own_network(ip);
        self.is_on && (ip.is_loopback() || self.proxy == Some(ip) || is_named)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;
    use p2pool_core::config::Proxy;
    use p2pool_core::params::{ChainParams, Network};

    use super::*;

    const ONION: &str = "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:9171";

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn inbound(from: &str, tor: &TorAddresses) -> Origin {
        Origin::inbound(&at("/ip4/192.0.2.1/tcp/9171"), &at(&format!("{from}/tcp/40000")), tor)
    }

    #[test]
    fn strangers_through_tor_have_a_netgroup_and_no_address() {
        let tor = Some(Netgroup::Tor);
        let mut config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
        let none = TorAddresses::new(&config);
        assert_eq!(inbound("/ip4/127.0.0.1", &none), Origin { ip: Some([127, 0, 0, 1].into()), netgroup: None });
        config.external_addresses = vec![ONION.to_owned()];
        let service = TorAddresses::new(&config);
        for from in ["/ip4/127.0.0.1", "/ip4/127.9.8.7", "/ip6/::1"] {
            assert_eq!(inbound(from, &service), Origin { ip: None, netgroup: tor }, "{from}");
        }
        assert_eq!(inbound("/ip4/172.18.0.2", &service).netgroup, None);
        config.proxy = Some(Proxy { address: "172.18.0.2:9050".to_owned(), only: None });
        let behind = TorAddresses::new(&config);
        assert_eq!(inbound("/ip4/172.18.0.2", &behind), Origin { ip: None, netgroup: tor });
        assert_eq!(inbound("/ip4/172.18.0.3", &behind).netgroup, None);
        config.proxy = Some(Proxy { address: "tor:9050".to_owned(), only: None });
        let named = TorAddresses::new(&config);
        assert_eq!(inbound("/ip4/172.18.0.3", &named), Origin { ip: None, netgroup: tor });
        assert_eq!(inbound("/ip4/8.8.8.8", &named).netgroup, Netgroup::of([8, 8, 8, 8].into()));
        assert_eq!(inbound("/ip4/8.8.8.8", &behind).netgroup, Netgroup::of([8, 8, 8, 8].into()));
        assert_eq!(Origin::at(&at(ONION), &none), Origin { ip: None, netgroup: Some(Netgroup::Onion) });
        assert_eq!(Origin::at(&at("/dns4/node.example/tcp/9171"), &behind), Origin { ip: None, netgroup: None });
    }

    #[test]
    fn relayed_peers_have_a_netgroup_and_not_the_address_of_the_relay() {
        let relayed = Origin { ip: None, netgroup: Some(Netgroup::Relayed) };
        let circuit = at(&format!("/ip4/8.8.8.8/tcp/1/p2p/{}/p2p-circuit", PeerId::random()));
        let tor = TorAddresses::default();
        assert_eq!(Origin::at(&circuit, &tor), relayed);
        assert_eq!(Origin::inbound(&circuit, &at(&format!("/p2p/{}", PeerId::random())), &tor), relayed);
    }
}
