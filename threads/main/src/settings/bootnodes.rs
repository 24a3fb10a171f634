//! Peers to start from.

use std::net::{Ipv4Addr, Ipv6Addr};

use p2pool_core::params::Network;

use super::SettingsError;
use crate::args::Flags;

const FLAG: &str = "-bootnodes";
/// Most bootnodes: one is enough to find the other peers.
const BOOTNODES_MAX: usize = 64;

/// Bootnodes of all public pools. Private pools have none.
const BUILT_IN: &str = include_str!("bootnodes.txt");

/// Returns the bootnodes of the public pool of a network.
pub fn built_in(network: Network) -> Vec<&'static str> {
    lines(BUILT_IN).filter(|(name, _)| *name == network.to_string()).map(|(_, node)| node).collect()
}

/// Returns the networks and addresses in a list of bootnodes.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap_or((line, "")))
}

/// Returns the bootnodes, each of the form `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT/p2p/PEER`: those given, and those in
/// `built_in`. An empty flag means none at all.
pub fn resolve(flags: &Flags, built_in: &[&str]) -> Result<Vec<String>, SettingsError> {
    let Some(list) = &flags.bootnodes else {
        return Ok(built_in.iter().map(|node| (*node).to_owned()).collect());
    };
    let nodes: Vec<&str> = list.split(',').map(str::trim).filter(|node| !node.is_empty()).collect();
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    if nodes.len() > BOOTNODES_MAX {
        let hint = format!("give at most {BOOTNODES_MAX}");
        return Err(SettingsError::wrong(FLAG, &format!("a list of {} nodes", nodes.len()), hint));
    }
    for node in &nodes {
        check(node).map_err(|wrong| {
            let hint = format!("{wrong}; give /ip4/1.2.3.4/tcp/9171/p2p/12D3... or /dns/name/tcp/9171/p2p/12D3...");
            SettingsError::wrong(FLAG, node, hint)
        })?;
    }
    let more = built_in.iter().filter(|node| !nodes.contains(*node));
    Ok(nodes.iter().chain(more).map(|node| (*node).to_owned()).collect())
}

/// Checks one multiaddr.
fn check(node: &str) -> Result<(), &'static str> {
    let mut parts = node.split('/');
    let mut next = || parts.next().unwrap_or_default();
    if !next().is_empty() {
        return Err("an address starts with /");
    }
    let (kind, host) = (next(), next());
    let host_is_good = match kind {
        "ip4" => host.parse::<Ipv4Addr>().is_ok(),
        "ip6" => host.parse::<Ipv6Addr>().is_ok(),
        "dns" | "dns4" | "dns6" => {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        }
        _ => return Err("it starts with neither /ip4, /ip6, /dns, /dns4 nor /dns6"),
    };
    if !host_is_good {
        return Err("the host is wrong");
    }
    if next() != "tcp" || !next().parse::<u16>().is_ok_and(|port| port != 0) {
        return Err("/tcp/PORT is missing or wrong");
    }
    if next() != "p2p" || !is_peer_id(next()) {
        return Err("/p2p/PEER is missing or wrong");
    }
    match parts.next() {
        None => Ok(()),
        Some(_) => Err("something follows the peer"),
    }
}

/// Returns whether this is a libp2p peer id: base58 of a multihash, which is an inlined Ed25519 key or the SHA-256 hash
/// of a larger key.
fn is_peer_id(text: &str) -> bool {
    match bitcoin::base58::decode(text).as_deref() {
        Ok([0x00, 0x24, 0x08, 0x01, 0x12, 0x20, key @ ..]) => key.len() == 32,
        Ok([0x12, 0x20, hash @ ..]) => hash.len() == 32,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "/dns/node.example/tcp/9171/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";

    #[test]
    fn given_bootnodes_are_added_to_the_built_in_ones_and_an_empty_list_means_none() {
        let list = |bootnodes: Option<&str>| {
            let flags = Flags { bootnodes: bootnodes.map(str::to_owned), ..Flags::default() };
            resolve(&flags, &[NODE]).unwrap()
        };
        assert_eq!(list(None), [NODE]);
        let other = "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";
        assert_eq!(list(Some(other)), [other, NODE]);
        assert_eq!(list(Some(NODE)), [NODE]);
        assert!(list(Some("")).is_empty());
    }

    #[test]
    fn built_in_bootnodes_are_well_formed() {
        fn wrong(text: &str) -> Option<(&str, &str)> {
            let is_network = |name: &str| Network::ALL.iter().any(|network| network.to_string() == name);
            lines(text).find(|(name, node)| !is_network(name) || check(node).is_err())
        }
        assert_eq!(check(NODE), Ok(()), "the check accepts a correct address");
        assert_eq!(wrong(BUILT_IN), None);
        assert_eq!(wrong(&format!("# comment\n\nmainnet {NODE}\n")), None);
        assert_eq!(wrong(&format!("mainet {NODE}")), Some(("mainet", NODE)));
        assert_eq!(wrong(NODE), Some((NODE, "")));
    }
}
