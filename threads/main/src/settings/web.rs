//! Host names that browsers may use.

use super::SettingsError;
use crate::args::Flags;

/// Longest DNS name in bytes (RFC 1035).
const NAME_LEN_MAX: usize = 253;

/// Returns the host names, each without a port.
pub fn hosts(flags: &Flags) -> Result<Vec<String>, SettingsError> {
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
