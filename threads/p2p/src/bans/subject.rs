//! What is banned.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use libp2p::PeerId;
use p2pool_core::netgroup::{is_own_network, subscriber, Netgroup};
use p2pool_core::wire::BAN_THRESHOLD;

use super::ADDRESS_BAN_THRESHOLD;

/// What ban scores and bans apply to. A peer id costs nothing to make, so they apply to its public address too; not to
/// addresses of own networks, behind which all nodes of a site may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BanSubject {
    /// A peer.
    Peer(PeerId),
    /// An IPv4 address, or the /64 of an IPv6 address.
    Address(IpAddr),
    /// An IPv6 /48.
    Site([u16; 3]),
}

impl BanSubject {
    /// Returns the subject of a public address.
    pub fn at(address: IpAddr) -> Option<Self> {
        (!is_own_network(address)).then(|| Self::Address(subscriber(address)))
    }

    /// Returns the site around an IPv6 address.
    pub fn site(&self) -> Option<Self> {
        let Self::Address(address) = self else { return None };
        match Netgroup::of(*address)? {
            Netgroup::V6(site) => Some(Self::Site(site)),
            Netgroup::V4(_) | Netgroup::Tor | Netgroup::Onion | Netgroup::Relayed => None,
        }
    }

    pub(super) const fn threshold(&self) -> u32 {
        match self {
            Self::Peer(_) => BAN_THRESHOLD,
            Self::Address(_) | Self::Site(_) => ADDRESS_BAN_THRESHOLD,
        }
    }
}

impl fmt::Display for BanSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(subnet)) => write!(f, "{subnet}/64"),
            Self::Site([a, b, c]) => write!(f, "{}/48", Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0)),
        }
    }
}

impl FromStr for BanSubject {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(site) = text.strip_suffix("/48") {
            let [a, b, c, ..] = site.parse::<Ipv6Addr>().map_err(|_| ())?.segments();
            return Ok(Self::Site([a, b, c]));
        }
        if let Some(subnet) = text.strip_suffix("/64") {
            return subnet.parse().map(|subnet: Ipv6Addr| Self::Address(subscriber(subnet.into()))).map_err(|_| ());
        }
        let address = text.parse().map(|address| Self::Address(subscriber(address)));
        address.or_else(|_| text.parse().map(Self::Peer)).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        let peer = PeerId::random().to_string();
        for (text, written) in [
            ("8.8.8.8", "8.8.8.8"),
            ("::ffff:8.8.8.8", "8.8.8.8"),
            ("2001:db8::5", "2001:db8::/64"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("2001:db8:7::/48", "2001:db8:7::/48"),
            (&peer, &peer),
        ] {
            assert_eq!(text.parse::<BanSubject>().unwrap().to_string(), written);
        }
        for wrong in ["", "8.8.8.8/64", "2001:db8::/65", "somebody", "12D3KooW"] {
            assert!(wrong.parse::<BanSubject>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_own_networks_are_never_banned() {
        for own in ["127.0.0.1", "192.168.0.7", "fd00::1"] {
            assert_eq!(BanSubject::at(own.parse().unwrap()), None);
        }
    }

    #[test]
    fn an_ipv6_subscriber_is_one_subject() {
        assert_eq!(BanSubject::at("2001:db8::1".parse().unwrap()), BanSubject::at("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(BanSubject::at("2001:db8::1".parse().unwrap()), BanSubject::at("2001:db8:0:1::1".parse().unwrap()));
    }
}
