//! Two networks and a router between them that can be partitioned, in network namespaces (Linux, needs root and `ip`).
//!
//! A partition is silent, as on the internet: packets are lost, and no connection closes. Processes and sockets belong to
//! the side in which their thread created them; see [`TwoSides::inside`].

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use p2pool_test_bitcoind::namespace::{inside, ip, nft};

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first network.
    Left,
    /// The second network.
    Right,
}

impl Side {
    /// Both networks.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// Address of this side's machine.
    pub const fn address(self) -> &'static str {
        match self {
            Self::Left => "10.211.1.2",
            Self::Right => "10.211.2.2",
        }
    }

    const fn router_address(self) -> &'static str {
        match self {
            Self::Left => "10.211.1.1",
            Self::Right => "10.211.2.1",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// Two networks and the router between them; removed when dropped.
#[derive(Debug)]
pub struct TwoSides {
    prefix: String,
}

impl TwoSides {
    /// Creates and connects both networks.
    ///
    /// # Errors
    /// The message of the system if it is not permitted.
    pub fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("p2pool-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let sides = Self { prefix };
        let router = sides.router();
        ip(&["netns", "add", &router])?;
        for side in Side::BOTH {
            let (name, interface) = (sides.name(side), side.name());
            ip(&["netns", "add", &name])?;
            ip(&["link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", interface, "netns", &router])?;
            for (name, interface, address) in
                [(&name, "eth0", side.address()), (&router, interface, side.router_address())]
            {
                ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", interface])?;
                ip(&["-n", name, "link", "set", interface, "up"])?;
                ip(&["-n", name, "link", "set", "lo", "up"])?;
            }
            ip(&["-n", &name, "route", "add", "default", "via", side.router_address()])?;
        }
        sides.forward(true)?;
        Ok(sides)
    }

    /// Creates both networks, or reports that the test is skipped.
    pub fn new_or_skip() -> Option<Self> {
        match Self::new() {
            Ok(sides) => Some(sides),
            Err(error) => {
                p2pool_test_bitcoind::skip(&format!("network namespaces (root, iproute2): {error}"));
                None
            }
        }
    }

    /// Drops all packets between the networks from now on.
    #[track_caller]
    pub fn partition(&self) {
        self.forward(false).unwrap_or_else(|error| panic!("cannot partition: {error}"));
    }

    /// Forwards packets again from now on.
    #[track_caller]
    pub fn heal(&self) {
        self.forward(true).unwrap_or_else(|error| panic!("cannot heal: {error}"));
    }

    /// Runs a function in one of the networks: its sockets and processes belong to it.
    pub fn inside<T: Send>(&self, side: Side, work: impl FnOnce() -> T + Send) -> T {
        let result = inside(&self.name(side), work);
        result.unwrap_or_else(|error| panic!("cannot enter the {} side: {error}", side.name()))
    }

    /// Runs a function on the router, which is the neighbour of each side's machine.
    pub fn inside_router<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.router(), work).unwrap_or_else(|error| panic!("cannot enter the router: {error}"))
    }

    /// Puts a side behind a NAT that gives each connection a random port and drops packets of those that it does not know,
    /// or reports that the test is skipped.
    pub fn nat_or_skip(&self, side: Side) -> Option<Nat<'_>> {
        let other = Side::BOTH.into_iter().find(|other| *other != side)?.name();
        // No connection is made from outside, and what comes for an unknown one gets no response.
        let rules = format!(
            "table ip nat {{\n\
             chain postrouting {{ type nat hook postrouting priority 100; oifname \"{other}\" masquerade fully-random; }}\n\
             chain forward {{\n\
             type filter hook forward priority 0; ct state invalid drop; iifname \"{other}\" ct state new drop;\n\
             }}\n\
             chain input {{ type filter hook input priority 0; iifname \"{other}\" drop; }}\n\
             }}\n"
        );
        let set = self.inside_router(|| {
            nft(&rules)?;
            // A packet in the middle of a connection makes no new mapping.
            std::fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", "0").map_err(|error| error.to_string())?;
            std::fs::read_to_string(ESTABLISHED_TIMEOUT).map_err(|error| error.to_string())
        });
        match set {
            Ok(timeout) => Some(Nat { sides: self, timeout }),
            Err(error) => {
                p2pool_test_bitcoind::skip(&format!("network address translation (root, nftables): {error}"));
                None
            }
        }
    }

    /// Makes a local port of this process reachable as the same local port of a side, unaffected by partitions.
    #[track_caller]
    pub fn forward_port(&self, side: Side, port: u16) -> ForwardedPort {
        forward_port(self.name(side), port)
    }

    /// The same for the router.
    #[track_caller]
    pub fn forward_port_to_router(&self, port: u16) -> ForwardedPort {
        forward_port(self.router(), port)
    }

    fn forward(&self, on: bool) -> Result<(), String> {
        let write = || std::fs::write("/proc/sys/net/ipv4/ip_forward", if on { "1" } else { "0" });
        inside(&self.router(), write).and_then(|written| written).map_err(|error| format!("ip_forward: {error}"))
    }

    fn name(&self, side: Side) -> String {
        format!("{}-{}", self.prefix, side.name())
    }

    fn router(&self) -> String {
        format!("{}-router", self.prefix)
    }
}

impl Drop for TwoSides {
    fn drop(&mut self) {
        for name in [self.name(Side::Left), self.name(Side::Right), self.router()] {
            // Fails if the namespace was not created.
            drop(ip(&["netns", "delete", &name]));
        }
    }
}

/// Time for which the router keeps a mapping without packets, in seconds.
const ESTABLISHED_TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";

/// A NAT between the two networks.
#[derive(Debug)]
pub struct Nat<'a> {
    sides: &'a TwoSides,
    /// The system's own timeout of mappings.
    timeout: String,
}

impl Nat<'_> {
    /// Forgets the mappings of connections that `work` uses. Connections made later get mappings that last.
    #[track_caller]
    pub fn forget_mappings(&self, work: impl FnOnce()) {
        self.set_timeout("1");
        work();
        // No packet meanwhile: pings are 15 s apart.
        std::thread::sleep(std::time::Duration::from_secs(3));
        self.set_timeout(&self.timeout);
    }

    #[track_caller]
    fn set_timeout(&self, timeout: &str) {
        let written = self.sides.inside_router(|| std::fs::write(ESTABLISHED_TIMEOUT, timeout));
        written.unwrap_or_else(|error| panic!("{ESTABLISHED_TIMEOUT}: {error}"));
    }
}

/// A port that is forwarded to a side; closed when dropped.
#[derive(Debug)]
pub struct ForwardedPort {
    namespace: String,
    port: u16,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ForwardedPort {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread; if that fails, it cannot be joined.
        let woken = inside(&self.namespace, || TcpStream::connect(("127.0.0.1", self.port)));
        if let (Ok(Ok(_)), Some(thread)) = (woken, self.thread.take()) {
            drop(thread.join());
        }
    }
}

/// Makes a local port of this process reachable in a namespace.
#[track_caller]
pub fn forward_port(namespace: String, port: u16) -> ForwardedPort {
    let listener = inside(&namespace, || TcpListener::bind(("127.0.0.1", port)));
    let listener =
        listener.and_then(|bound| bound).unwrap_or_else(|error| panic!("port {port} in {namespace}: {error}"));
    let ended = Arc::new(AtomicBool::new(false));
    let accepting = Arc::clone(&ended);
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if accepting.load(Ordering::Relaxed) {
                return;
            }
            if let Ok(ours) = TcpStream::connect(("127.0.0.1", port)) {
                join(stream, ours);
            }
        }
    });
    ForwardedPort { namespace, port, ended, thread: Some(thread) }
}

/// Forwards bytes in both directions until both ends are closed.
fn join(theirs: TcpStream, ours: TcpStream) {
    let copy = |from: &TcpStream, to: &TcpStream| {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        std::thread::spawn(move || {
            // In any case, close the other direction.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(std::net::Shutdown::Write));
        });
    };
    copy(&theirs, &ours);
    copy(&ours, &theirs);
}
