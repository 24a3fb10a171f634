//! Where miners and browsers connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use p2pool_core::config::WebBind;

use super::{number, SettingsError};
use crate::args::Flags;

/// Default of `-stratum-port`.
const STRATUM_PORT_DEFAULT: u16 = 3333;
/// Longest DNS name in bytes (RFC 1035).
const NAME_LEN_MAX: usize = 253;

/// Listeners of the node that are not for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// Address for miners; `None` for all.
    pub stratum_bind: Option<IpAddr>,
    /// Port for miners; 0 lets the system choose.
    pub stratum_port: u16,
    /// Where browsers connect.
    pub web_bind: WebBind,
}

impl Listeners {
    /// Returns the miners' address; unspecified if it is all.
    fn stratum(&self) -> SocketAddr {
        SocketAddr::new(self.stratum_bind.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), self.stratum_port)
    }

    /// Returns whether two listeners of the node claim the same port of the same address.
    fn clash(&self) -> Option<u16> {
        let (WebBind::Own(web), stratum) = (self.web_bind, self.stratum()) else { return None };
        let overlap = web.ip() == stratum.ip() || web.ip().is_unspecified() || stratum.ip().is_unspecified();
        (web.port() != 0 && web.port() == stratum.port() && overlap).then_some(web.port())
    }
}

/// Returns the listeners.
///
/// # Errors
/// A value is wrong, or two are the same.
pub fn resolve(flags: &Flags) -> Result<Listeners, SettingsError> {
    let listeners = Listeners {
        stratum_bind: stratum_bind(flags)?,
        stratum_port: number("-stratum-port", &flags.stratum_port, STRATUM_PORT_DEFAULT, 0..=u16::MAX)?,
        web_bind: web_bind(flags)?,
    };
    match listeners.clash() {
        None => Ok(listeners),
        Some(port) => Err(SettingsError::SamePort { one: "-web-bind", other: "-stratum-port", port }),
    }
}

fn stratum_bind(flags: &Flags) -> Result<Option<IpAddr>, SettingsError> {
    let Some(text) = &flags.stratum_bind else { return Ok(None) };
    let hint = "give an IP address of this machine, as 192.168.1.5; the port goes into -stratum-port";
    text.trim().parse().map(Some).map_err(|_| SettingsError::wrong("-stratum-bind", text, hint))
}

fn web_bind(flags: &Flags) -> Result<WebBind, SettingsError> {
    match flags.web_bind.as_deref().map(str::trim) {
        None => Ok(WebBind::MinersPort),
        Some("off") => Ok(WebBind::Off),
        Some(text) => text.parse().map(WebBind::Own).map_err(|_| {
            let hint = "give an IP address of this machine with a port, as 127.0.0.1:8080 or [::1]:8080, or off";
            SettingsError::wrong("-web-bind", text, hint)
        }),
    }
}

/// Returns the host names that browsers may use, each without a port.
///
/// # Errors
/// One is no host name.
pub fn web_hosts(flags: &Flags) -> Result<Vec<String>, SettingsError> {
    let list = flags.web_hosts.as_deref().unwrap_or_default();
    let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    match names.iter().find(|name| !is_host_name(name)) {
        Some(name) => {
            Err(SettingsError::wrong("-web-hosts", name, "give host names as pool.example.org, without port"))
        }
        None => Ok(names.into_iter().map(str::to_owned).collect()),
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= NAME_LEN_MAX && name.split('.').all(is_label)
}
