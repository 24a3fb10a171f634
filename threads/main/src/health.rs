//! `p2pool health`: asks the running node whether it is healthy.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use p2pool_core::config::WebBind;

use crate::settings::Ports;

/// Timeout of each step; the node responds at once unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of the response that are read: the reasons are a few lines.
const RESPONSE_LEN_MAX: u64 = 64 * 1024;
/// Exit status if the node is not healthy, and says why.
const STATUS_UNHEALTHY: u8 = 1;
/// Exit status if the node does not respond.
const STATUS_NO_RESPONSE: u8 = 2;

/// What the node said.
#[derive(Debug)]
pub enum Health {
    /// With the body of `/healthz`.
    Healthy(String),
    /// With the body of `/healthz`.
    Unhealthy(String),
    /// `-web-bind off`, and miners can connect.
    AcceptsMiners(SocketAddr),
    NoResponse(SocketAddr, io::Error),
    NoFixedPort,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy(body) | Self::Unhealthy(body) => f.write_str(body.trim_end()),
            Self::AcceptsMiners(address) => {
                write!(f, "the node accepts miners on {address}; with -web-bind off, no more is known")
            }
            Self::NoResponse(address, cause) => write!(f, "no response from a node on {address}: {cause}"),
            Self::NoFixedPort => write!(f, "-stratum-port is 0: give the port that the node chose"),
        }
    }
}

/// Asks the node that was started with the same settings.
pub fn check(ports: Ports) -> Health {
    let (address, is_web) = match ports.web_bind {
        WebBind::Own(address) => (address, true),
        WebBind::MinersPort => (ports.stratum(), true),
        WebBind::Off => (ports.stratum(), false),
    };
    if address.port() == 0 {
        return Health::NoFixedPort;
    }
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    let result = match is_web {
        true => request(address),
        false => TcpStream::connect_timeout(&address, TIMEOUT).map(|_| Health::AcceptsMiners(address)),
    };
    result.unwrap_or_else(|cause| Health::NoResponse(address, cause))
}

/// Prints the result and returns the exit status.
pub fn report(health: &Health) -> ExitCode {
    match health {
        Health::Healthy(_) | Health::AcceptsMiners(_) => {
            println!("{health}");
            ExitCode::SUCCESS
        }
        Health::Unhealthy(_) => {
            println!("{health}");
            ExitCode::from(STATUS_UNHEALTHY)
        }
        Health::NoResponse(..) | Health::NoFixedPort => {
            eprintln!("p2pool: {health}");
            ExitCode::from(STATUS_NO_RESPONSE)
        }
    }
}

/// Returns an address of this machine for one that a listener has.
fn reachable(bind: IpAddr) -> IpAddr {
    match bind.is_unspecified() {
        true => Ipv4Addr::LOCALHOST.into(),
        false => bind,
    }
}

fn request(address: SocketAddr) -> io::Result<Health> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    write!(socket, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    socket.take(RESPONSE_LEN_MAX).read_to_string(&mut response)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not HTTP");
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(invalid)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(Health::Healthy(body.to_owned())),
        Some(_) => Ok(Health::Unhealthy(body.to_owned())),
        None => Err(invalid()),
    }
}
