//! A small internet in network namespaces: public hosts, and homes behind a router of their own.
//!
//! The addresses are public ones, which programs treat otherwise than those of own networks. No packet leaves the namespaces.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::delay::DelayLine;
use crate::namespace::{inside, ip, nft};
use crate::skip;

/// How a home's router translates addresses. All drop what no host of the home has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Keeps the port of a connection to all destinations: holes can be made.
    KeepsPorts,
    /// Gives each connection a random port: no hole can be made.
    RandomPorts,
}

/// Networks that a backbone connects; removed when dropped.
#[derive(Debug)]
pub struct Internet {
    prefix: String,
    namespaces: Vec<String>,
}

/// A host of an [`Internet`].
#[derive(Clone, Debug)]
pub struct Host {
    /// Namespace of the host.
    pub namespace: String,
    /// Namespace of its router; the host's own if it is public.
    pub router: String,
    /// Address on the internet: the router's if the host is in a home.
    pub address: Ipv4Addr,
}

impl Host {
    /// Runs a function in a thread on this host: its sockets, threads and processes belong to it.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.namespace, work).unwrap_or_else(|error| panic!("cannot enter {}: {error}", self.namespace))
    }

    /// The same on its router.
    pub fn inside_router<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.router, work).unwrap_or_else(|error| panic!("cannot enter {}: {error}", self.router))
    }

    /// Gives a public host so many addresses of its /24 in all, and returns them.
    #[track_caller]
    pub fn addresses(&self, count: u8) -> Vec<Ipv4Addr> {
        let [a, b, c, first] = self.address.octets();
        let others = (1..count).map(|number| Ipv4Addr::new(a, b, c, first + number));
        for address in others.clone() {
            let added = ip(&["-n", &self.namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
            added.unwrap_or_else(|error| panic!("{}: {error}", self.namespace));
        }
        std::iter::once(self.address).chain(others).collect()
    }

    /// Adds rules of the packet filter to the router of this host.
    #[track_caller]
    pub fn filter(&self, rules: &str) {
        self.inside_router(|| nft(rules)).unwrap_or_else(|error| panic!("{}: {error}", self.router));
    }
}

impl Internet {
    /// Creates the backbone.
    ///
    /// # Errors
    /// The message of the system if it is not permitted.
    pub fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("p2pool-net-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut internet = Self { prefix, namespaces: Vec::new() };
        let backbone = internet.add("backbone")?;
        forward(&backbone)?;
        inside(&backbone, || nft("table ip probe { }")).map_err(|error| error.to_string()).flatten()?;
        Ok(internet)
    }

    /// Creates the backbone, or reports that the test is skipped.
    pub fn new_or_skip() -> Option<Self> {
        match Self::new() {
            Ok(internet) => Some(internet),
            Err(error) => {
                skip(&format!("network namespaces (root, iproute2, nftables): {error}"));
                None
            }
        }
    }

    /// Delays all packets between the networks from now on, each by what `delay` returns for the network that it is from.
    ///
    /// # Errors
    /// The message of the system.
    pub fn delay(&self, delay: impl Fn(u8) -> Duration + Send + 'static) -> Result<DelayLine, String> {
        DelayLine::start(&self.namespaces[0], move |source| delay(source.octets()[1]))
    }

    /// Adds a public host. `number` is its network's, 1 to 254; each network is a /16 of its own, as one outbound connection goes to one.
    #[track_caller]
    pub fn public(&mut self, number: u8) -> Host {
        self.try_public(number).unwrap_or_else(|error| panic!("public host {number}: {error}"))
    }

    /// Adds a host in a home behind a router.
    #[track_caller]
    pub fn home(&mut self, number: u8, nat: Nat) -> Host {
        self.try_home(number, nat).unwrap_or_else(|error| panic!("home {number}: {error}"))
    }

    fn try_public(&mut self, number: u8) -> Result<Host, String> {
        let namespace = self.add(&number.to_string())?;
        let address = Ipv4Addr::new(20, number, 0, 2);
        let backbone = self.namespaces[0].clone();
        connect((&backbone, &format!("net{number}"), Ipv4Addr::new(20, number, 0, 1)), (&namespace, "eth0", address))?;
        Ok(Host { router: namespace.clone(), namespace, address })
    }

    fn try_home(&mut self, number: u8, nat: Nat) -> Result<Host, String> {
        let Host { router, address, .. } = self.try_public(number)?;
        forward(&router)?;
        let namespace = self.add(&format!("{number}-home"))?;
        let home = |last| Ipv4Addr::new(192, 168, number, last);
        connect((&router, "lan", home(1)), (&namespace, "eth0", home(2)))?;
        let mapping = match nat {
            Nat::KeepsPorts => "masquerade",
            Nat::RandomPorts => "masquerade fully-random",
        };
        let rules = format!(
            "table ip nat {{\n\
             chain postrouting {{ type nat hook postrouting priority 100; oifname \"eth0\" {mapping}; }}\n\
             chain forward {{\n\
             type filter hook forward priority 0; ct state invalid drop;\n\
             ct status dnat accept; iifname \"eth0\" ct state new drop;\n\
             }}\n\
             chain input {{ type filter hook input priority 0; iifname \"eth0\" drop; }}\n\
             }}\n"
        );
        inside(&router, || nft(&rules)).map_err(|error| error.to_string()).flatten()?;
        Ok(Host { namespace, router, address })
    }

    /// Adds a namespace and turns on its loopback interface.
    fn add(&mut self, name: &str) -> Result<String, String> {
        let namespace = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &namespace])?;
        self.namespaces.push(namespace.clone());
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            // Fails if it is gone.
            drop(ip(&["netns", "delete", namespace]));
        }
    }
}

/// Connects two namespaces by a cable. The first is the router of the second.
fn connect(router: (&str, &str, Ipv4Addr), host: (&str, &str, Ipv4Addr)) -> Result<(), String> {
    ip(&["link", "add", router.1, "netns", router.0, "type", "veth", "peer", "name", host.1, "netns", host.0])?;
    for (namespace, interface, address) in [router, host] {
        ip(&["-n", namespace, "address", "add", &format!("{address}/24"), "dev", interface])?;
        ip(&["-n", namespace, "link", "set", interface, "up"])?;
    }
    ip(&["-n", host.0, "route", "add", "default", "via", &router.2.to_string()])
}

/// Lets a namespace forward packets.
fn forward(namespace: &str) -> Result<(), String> {
    let written = inside(namespace, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"));
    written.flatten().map_err(|error| format!("ip_forward: {error}"))
}
