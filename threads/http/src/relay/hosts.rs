//! Checks the `Host` header, against DNS rebinding: a website that resolves its own name to this node's address must not
//! be able to read this node's responses in a visitor's browser.

use std::net::IpAddr;

/// The host names that requests may use besides IP addresses.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    /// In lower case, without a final dot.
    names: Vec<String>,
}

impl AllowedHosts {
    /// Allows `localhost`, the machine's own name, also with `.local` (multicast DNS, RFC 6762), and the configured names.
    pub fn new(machine: &str, configured: &[String]) -> Self {
        let machine = normalise(machine);
        let mut names = vec!["localhost".to_owned()];
        if !machine.is_empty() {
            names.push(format!("{machine}.local"));
            // A name with dots may come from DHCP: `.local` names have only its first label.
            if let Some((first, _)) = machine.split_once('.') {
                names.push(first.to_owned());
                names.push(format!("{first}.local"));
            }
            names.push(machine);
        }
        names.extend(configured.iter().map(|name| normalise(name)).filter(|name| !name.is_empty()));
        Self { names }
    }

    /// Whether a `Host` header is an IP address or an allowed name, with any port.
    pub fn allows(&self, host: &str) -> bool {
        if let Some(bracketed) = host.strip_prefix('[') {
            let Some((address, port)) = bracketed.split_once(']') else { return false };
            return matches!(address.parse(), Ok(IpAddr::V6(_))) && is_port_suffix(port);
        }
        let (name, port) = host.find(':').map_or((host, ""), |colon| host.split_at(colon));
        is_port_suffix(port)
            && (matches!(name.parse(), Ok(IpAddr::V4(_)))
                || self.names.iter().any(|allowed| *allowed == normalise(name)))
    }
}

fn normalise(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    name.strip_suffix('.').map_or(name.clone(), str::to_owned)
}

/// Whether a text is empty, or a colon and a port.
fn is_port_suffix(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(port) => port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()),
        None => text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names_are_allowed() {
        let hosts = AllowedHosts::new("Garage.lan", &["pool.example.org".to_owned()]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:3333",
            "192.168.1.7:80",
            "[::1]",
            "[fe80::1]:3333",
            "localhost",
            "LOCALHOST:3333",
            "localhost.",
            "garage.lan:3333",
            "garage",
            "garage.local",
            "pool.example.org:3333",
            "localhost:",
        ] {
            assert!(hosts.allows(host), "{host}");
        }
    }

    #[test]
    fn other_names_are_not_allowed() {
        let hosts = AllowedHosts::new("garage", &[]);
        for host in [
            "",
            "evil.example",
            "evil.example:3333",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:3333:1",
            "localhost:port",
            "localhost:123456",
            "[::1",
            "[::1]evil",
            "[127.0.0.1]",
            "::1",
            "user@localhost",
            "localhost/",
            "2130706433",
            "0x7f.1",
        ] {
            assert!(!hosts.allows(host), "{host}");
        }
    }

    #[test]
    fn empty_names_are_not_allowed() {
        let hosts = AllowedHosts::new("", &[String::new(), " ".to_owned()]);
        assert!(!hosts.allows("") && !hosts.allows(".local") && !hosts.allows("."));
    }
}
