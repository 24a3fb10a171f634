//! How this node listens, is announced, and reaches its peers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use p2pool_core::config::{AddressKind, Proxy};
use p2pool_core::params::Network;

use super::{boolean, SettingsError};
use crate::args::Flags;

/// Most addresses in each list: more than a machine has.
const LIST_MAX: usize = 16;
/// Characters of the name of a hidden service (version 3), without `.onion`.
const ONION_LEN: usize = 56;

/// The settings of this file.
#[derive(Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    pub bind: Option<Vec<SocketAddr>>,
    pub external: Vec<String>,
    pub added_peers: Vec<String>,
    pub proxy: Option<Proxy>,
    pub upnp: bool,
    pub mdns: bool,
}

/// Resolves and compares them.
pub fn resolve(flags: &Flags, port: u16, network: Network) -> Result<NetworkSettings, SettingsError> {
    let proxy = proxy(flags)?;
    let has_proxy = proxy.is_some();
    let no_listen = boolean("-no-listen", &flags.no_listen, false)?;
    // Nodes on regtest are for tests, on one machine.
    let upnp = boolean("-upnp", &flags.upnp, !has_proxy && !no_listen && network != Network::Regtest)?;
    let mdns = boolean("-mdns", &flags.mdns, !has_proxy)?;
    for (flag, is_on) in [("-upnp", upnp), ("-mdns", mdns)] {
        if has_proxy && is_on {
            return Err(SettingsError::Contradiction {
                one: flag,
                other: "-proxy",
                why: "it would show this node beside the proxy",
            });
        }
    }
    let bind = sockets("-p2p-bind", &flags.p2p_bind, port)?;
    if no_listen {
        for (flag, is_given) in [
            ("-p2p-bind", bind.is_some()),
            ("-external-address", flags.external_address.is_some()),
            ("-onion-address", flags.onion_address.is_some()),
            ("-upnp", upnp),
        ] {
            if is_given {
                return Err(SettingsError::Contradiction {
                    one: flag,
                    other: "-no-listen",
                    why: "no peer can connect",
                });
            }
        }
    }
    let bind = match bind {
        Some(bind) => Some(bind),
        None if no_listen => Some(Vec::new()),
        // Where Tor passes on the connections of a hidden service.
        None if has_proxy => Some(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]),
        None => None,
    };
    let external = sockets("-external-address", &flags.external_address, port)?.unwrap_or_default();
    let mut external: Vec<String> = external.into_iter().map(multiaddr).collect();
    external.extend(onion(flags, port)?);
    Ok(NetworkSettings { bind, external, added_peers: added_peers(flags)?, proxy, upnp, mdns })
}

/// Splits a list at commas.
fn items<'a>(flag: &'static str, text: &'a str) -> Result<Vec<&'a str>, SettingsError> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.len() > LIST_MAX {
        let hint = format!("give at most {LIST_MAX}");
        return Err(SettingsError::wrong(flag, &format!("a list of {} addresses", items.len()), hint));
    }
    Ok(items)
}

/// Returns a list of addresses, with this port where none is given.
fn sockets(flag: &'static str, text: &Option<String>, port: u16) -> Result<Option<Vec<SocketAddr>>, SettingsError> {
    let Some(text) = text else { return Ok(None) };
    let parse = |item: &&str| {
        let ip = item.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let socket = ip.map(|ip| SocketAddr::new(ip, port)).or_else(|_| item.parse());
        socket.map_err(|_| {
            SettingsError::wrong(flag, item, "give IP addresses as 1.2.3.4, 1.2.3.4:9171 or [2001:db8::1]:9171")
        })
    };
    items(flag, text)?.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

fn multiaddr(socket: SocketAddr) -> String {
    let kind = if socket.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{kind}/{}/tcp/{}", socket.ip(), socket.port())
}

/// Splits `HOST:PORT`.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (host.parse::<IpAddr>().is_ok() || is_name(host)).then_some((host, port))
}

/// Returns the multiaddr of `HOST:PORT`.
pub fn peer_multiaddr(text: &str) -> Option<String> {
    let (host, port) = host_and_port(text)?;
    match (host.parse(), host.strip_suffix(".onion")) {
        (Ok(ip), _) => Some(multiaddr(SocketAddr::new(ip, port))),
        (_, Some(name)) => is_onion(name).then(|| format!("/onion3/{name}:{port}")),
        (_, None) => Some(format!("/dns/{host}/tcp/{port}")),
    }
}

fn added_peers(flags: &Flags) -> Result<Vec<String>, SettingsError> {
    let wrong = |item: &str| SettingsError::wrong("-add-peer", item, "give peers as HOST:PORT, without a peer id");
    let parse = |item: &&str| peer_multiaddr(item).ok_or_else(|| wrong(item));
    items("-add-peer", flags.add_peer.as_deref().unwrap_or_default())?.iter().map(parse).collect()
}

fn proxy(flags: &Flags) -> Result<Option<Proxy>, SettingsError> {
    let only = match flags.onlynet.as_deref() {
        None => None,
        Some("ip") => Some(AddressKind::Ip),
        Some("onion") => Some(AddressKind::Onion),
        Some(other) => {
            return Err(SettingsError::wrong("-onlynet", other, "give ip or onion, or leave it out for both"))
        }
    };
    match flags.proxy.as_deref() {
        Some(text) if host_and_port(text).is_some() => Ok(Some(Proxy { address: text.to_owned(), only })),
        Some(text) => {
            Err(SettingsError::wrong("-proxy", text, "give HOST:PORT of a SOCKS5 proxy, for Tor 127.0.0.1:9050"))
        }
        None if only == Some(AddressKind::Onion) => {
            Err(SettingsError::Missing { given: "-onlynet onion", missing: "-proxy, which leads to Tor" })
        }
        None => Ok(None),
    }
}

fn onion(flags: &Flags, port: u16) -> Result<Option<String>, SettingsError> {
    let Some(text) = flags.onion_address.as_deref() else { return Ok(None) };
    let (host, port) = host_and_port(text).unwrap_or((text, port));
    match host.strip_suffix(".onion").filter(|name| is_onion(name)) {
        Some(name) => Ok(Some(format!("/onion3/{name}:{port}"))),
        None => {
            Err(SettingsError::wrong("-onion-address", text, "give the 56 characters of the hidden service and .onion"))
        }
    }
}

/// Whether this is the name of a hidden service of version 3, which is its last byte.
fn is_onion(name: &str) -> bool {
    let is_base32 = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
    name.len() == ONION_LEN && name.bytes().all(is_base32) && name.ends_with('d')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONION: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

    fn settings(change: impl FnOnce(&mut Flags)) -> Result<NetworkSettings, SettingsError> {
        let mut flags = Flags::default();
        change(&mut flags);
        resolve(&flags, 9171, Network::Mainnet)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn by_default_a_node_listens_everywhere_and_asks_its_router() {
        let expected = NetworkSettings {
            bind: None,
            external: Vec::new(),
            added_peers: Vec::new(),
            proxy: None,
            upnp: true,
            mdns: true,
        };
        assert_eq!(settings(|_| {}).unwrap(), expected);
        assert!(!resolve(&Flags::default(), 9171, Network::Regtest).unwrap().upnp);
    }

    #[test]
    fn addresses_have_the_port_of_the_node_unless_they_have_their_own() {
        let of =
            |text: &str| settings(|flags| (flags.p2p_bind, flags.external_address) = (some(text), some(text))).unwrap();
        let settings = of("1.2.3.4, [2001:db8::1]:5,::1,5.6.7.8:9");
        assert_eq!(
            settings.bind.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["1.2.3.4:9171", "[2001:db8::1]:5", "[::1]:9171", "5.6.7.8:9"]
        );
        assert_eq!(
            settings.external,
            ["/ip4/1.2.3.4/tcp/9171", "/ip6/2001:db8::1/tcp/5", "/ip6/::1/tcp/9171", "/ip4/5.6.7.8/tcp/9"]
        );
    }

    #[test]
    fn added_peers_are_hosts_with_ports() {
        let of = |text: &str| settings(|flags| flags.add_peer = some(text)).map(|settings| settings.added_peers);
        assert_eq!(
            of(&format!("1.2.3.4:1,[::1]:2,node.example:3,{ONION}.onion:4")).unwrap(),
            ["/ip4/1.2.3.4/tcp/1", "/ip6/::1/tcp/2", "/dns/node.example/tcp/3", &format!("/onion3/{ONION}:4")]
        );
        for wrong in ["1.2.3.4", "node.example:0", "/ip4/1.2.3.4/tcp/1", ":1", "short.onion:1", "a b:1"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn with_a_proxy_nothing_else_shows_the_node() {
        let with_proxy = |change: &dyn Fn(&mut Flags)| {
            settings(|flags| {
                flags.proxy = some("127.0.0.1:9050");
                change(flags);
            })
        };
        let proxied = with_proxy(&|_| {}).unwrap();
        assert_eq!((proxied.upnp, proxied.mdns), (false, false));
        assert_eq!(proxied.bind, Some(vec!["127.0.0.1:9171".parse().unwrap()]));
        assert_eq!(proxied.proxy, Some(Proxy { address: "127.0.0.1:9050".to_owned(), only: None }));
        assert!(with_proxy(&|flags| flags.upnp = some("true")).is_err());
        assert!(with_proxy(&|flags| flags.mdns = some("true")).is_err());
        let onion = with_proxy(&|flags| {
            (flags.onlynet, flags.onion_address) = (some("onion"), some(&format!("{ONION}.onion")));
        });
        let onion = onion.unwrap();
        assert_eq!(onion.proxy.unwrap().only, Some(AddressKind::Onion));
        assert_eq!(onion.external, [format!("/onion3/{ONION}:9171")]);
        assert!(settings(|flags| flags.onlynet = some("onion")).is_err());
        assert!(settings(|flags| flags.onion_address = some("short.onion")).is_err());
        assert!(settings(|flags| flags.proxy = some("9050")).is_err());
    }

    #[test]
    fn a_node_that_does_not_listen_has_no_address() {
        assert_eq!(settings(|flags| flags.no_listen = some("true")).unwrap().bind, Some(Vec::new()));
        for change in [
            (|flags: &mut Flags| flags.p2p_bind = some("::1")) as fn(&mut Flags),
            |flags| flags.external_address = some("1.2.3.4"),
            |flags| flags.upnp = some("true"),
        ] {
            assert!(settings(|flags| {
                flags.no_listen = some("true");
                change(flags);
            })
            .is_err());
        }
    }
}
