//! Nodes behind a SOCKS5 proxy (network namespaces; needs root and microsocks).

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libp2p::Multiaddr;
use p2pool_core::config::{AddressKind, Proxy};
use p2pool_core::status::Reachability;
use p2pool_test_bitcoind::internet::{Host, Internet};
use p2pool_test_bitcoind::skip;

use super::homes::{address, share_arrives, start, start_with, PORT, TIMEOUT};
use super::support::{until_in, Start, TestNode};

const ONION: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
const SOCKS_PORT: u16 = 1_080;

/// A SOCKS5 server that alone knows some names.
struct Socks {
    child: Child,
    log: tempfile::NamedTempFile,
    hosts: PathBuf,
    at: String,
}

impl Socks {
    /// Starts it on a host, or reports that the test is skipped.
    fn start_or_skip(host: &Host, names: &[(&str, &Host)]) -> Option<Self> {
        if Command::new("microsocks").arg("-h").output().is_err() {
            skip("microsocks");
            return None;
        }
        // `ip netns exec` shows this folder to the program as /etc.
        let hosts = PathBuf::from("/etc/netns").join(&host.namespace);
        std::fs::create_dir_all(&hosts).unwrap();
        let lines = names.iter().map(|(name, host)| format!("{} {name}\n", host.address));
        std::fs::write(hosts.join("hosts"), lines.collect::<String>()).unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let at = format!("{}:{SOCKS_PORT}", host.address);
        let child = Command::new("ip")
            .args(["netns", "exec", &host.namespace, "microsocks", "-p", &SOCKS_PORT.to_string()])
            .stdout(Stdio::null())
            .stderr(File::create(log.path()).unwrap())
            .spawn()
            .unwrap();
        let listens = || std::net::TcpStream::connect(&at).ok().map(|_| ());
        until_in(TIMEOUT, "the proxy", || host.inside(listens));
        Some(Self { child, log, hosts, at })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Socks {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.hosts));
    }
}

/// Counts what a host sends to others than the proxy.
fn watch(host: &Host, proxy: &Host) {
    host.filter(&format!(
        "table inet watch {{\n\
         counter beside {{ }}\n\
         chain output {{\n\
         type filter hook output priority 0; oifname \"lo\" accept;\n\
         ip daddr {} tcp dport {SOCKS_PORT} accept;\n\
         meta l4proto ipv6-icmp accept comment \"of the system\"; counter name beside;\n\
         }}\n\
         }}\n",
        proxy.address
    ));
}

fn packets_beside(host: &Host) -> u64 {
    let list = || Command::new("nft").args(["list", "counter", "inet", "watch", "beside"]).output().unwrap();
    let text = String::from_utf8(host.inside(list).stdout).unwrap();
    let count = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no counter: {text}"))
}

/// Starts a node with a proxy, as the settings make it.
fn start_behind(
    socks: &Socks,
    host: &Host,
    bootnodes: &[&Multiaddr],
    change: impl FnOnce(&mut Start) + Send,
) -> TestNode {
    let proxy = Proxy { address: socks.at.clone(), only: None };
    start_with(host, bootnodes, |start| {
        start.config.proxy = Some(proxy);
        start.config.p2p_bind = Some(vec![SocketAddr::from(([127, 0, 0, 1], PORT))]);
        change(start);
    })
}

#[test]
fn a_node_behind_a_proxy_sends_nothing_beside_it() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let (public, proxy, host) = (net.public(1), net.public(2), net.public(3));
    let Some(socks) = Socks::start_or_skip(&proxy, &[("node.example", &public)]) else { return };
    watch(&host, &proxy);
    let first = start(&public, &[]);
    let by_name: Multiaddr = format!("/dns/node.example/tcp/{PORT}/p2p/{}", first.id()).parse().unwrap();
    let hidden = start_behind(&socks, &host, &[&by_name], |_| {});
    hidden.await_peer(&first.id());
    share_arrives(&first, &hidden, 1_000_000);
    share_arrives(&hidden, &first, 2_000_000);
    let seen = first.status.load().peers[0].address.to_string();
    assert!(seen.starts_with(&format!("/ip4/{}/", proxy.address)), "{seen}");
    assert!(socks.log().contains(&format!("node.example:{PORT}")), "{}", socks.log());
    // Identify, the DHT and tests of reachability have run by then.
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(packets_beside(&host), 0);
    assert_eq!(hidden.status.load().reach.reachability, Reachability::OutboundOnly);
    assert!(hidden.status.load().reach.addresses.is_empty());
    // The other node has heard of no address of it.
    let mut first = first;
    first.stop();
    let known = first.file(crate::driver::PEERS_FILE);
    assert!(!known.contains(&hidden.id()), "{known}");
    // The counter counts.
    host.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(&[0], (public.address, 53)).unwrap());
    assert_eq!(packets_beside(&host), 1);
}

#[test]
fn hidden_services_are_announced_and_dialled_through_the_proxy_alone() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let (public, proxy, service, other) = (net.public(1), net.public(2), net.public(3), net.public(4));
    // The proxy plays Tor: it leads to the hidden service.
    let name = format!("{ONION}.onion");
    let Some(socks) = Socks::start_or_skip(&proxy, &[(name.as_str(), &service)]) else { return };
    let first = start(&public, &[]);
    let boot = address(&first, public.address);
    let hidden = start_behind(&socks, &service, &[&boot], |start| {
        start.config.p2p_bind = Some(vec![SocketAddr::from(([0, 0, 0, 0], PORT))]);
        start.config.external_addresses = vec![format!("/onion3/{ONION}:{PORT}")];
    });
    hidden.await_peer(&first.id());
    assert_eq!(hidden.status.load().reach.reachability, Reachability::Reachable);
    let plain = start(&net.public(5), &[&boot]);
    let tor = start_behind(&socks, &other, &[&boot], |_| {});
    let peer = until_in(TIMEOUT, "the hidden service", || {
        tor.status.load().peers.iter().find(|peer| *peer.id == *hidden.id()).cloned()
    });
    assert_eq!(*peer.address, *format!("/onion3/{ONION}:{PORT}"));
    assert!(socks.log().contains(&name), "{}", socks.log());
    plain.await_peer(&first.id());
    assert!(!plain.has_peer(&hidden.id()));
    // Such a node dials nothing else.
    let strict = start_behind(&socks, &net.public(6), &[&boot], |start| {
        start.config.proxy.as_mut().unwrap().only = Some(AddressKind::Onion);
        start.config.added_peers = vec![format!("/onion3/{ONION}:{PORT}")];
    });
    strict.await_peer(&hidden.id());
    assert!(!strict.has_peer(&first.id()));
    // The first node has heard of no other address.
    let mut first = first;
    first.stop();
    let known = first.file(crate::driver::PEERS_FILE);
    assert!(!known.contains(&service.address.to_string()), "{known}");
}
