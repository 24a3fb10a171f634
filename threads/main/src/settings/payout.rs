//! Payout address of this node's miners.

use std::ops::RangeInclusive;

use bitcoin::address::NetworkUnchecked;
use bitcoin::Address;
use p2pool_core::params::Network;
use p2pool_core::share::PayoutScript;

use super::{given, Environment, SettingsError};
use crate::args::Flags;

/// Lengths of addresses in base58.
const BASE58_LEN: RangeInclusive<usize> = 26..=35;

/// Returns the payout address as written, and its script.
pub fn resolve(
    flags: &Flags,
    environment: &Environment,
    network: Network,
) -> Result<(String, PayoutScript), SettingsError> {
    let Some(given) = given("-address", &flags.address, environment) else {
        return Err(SettingsError::NoAddress(network));
    };
    let text = given.text.trim();
    let address: Address<NetworkUnchecked> = text.parse().map_err(|_| {
        let hint = format!("{}; give a {network} address, it starts with {}", mistake(text), starts(network));
        SettingsError::wrong(given.name, text, hint)
    })?;
    if !address.is_valid_for_network(network.to_bitcoin()) {
        let valid_for = Network::ALL.iter().filter(|other| address.is_valid_for_network(other.to_bitcoin()));
        let belongs_to = valid_for.map(|other| other.name()).collect::<Vec<_>>().join("/");
        return Err(SettingsError::OtherNetworksAddress {
            address: text.to_owned(),
            belongs_to,
            network,
            starts: starts(network),
        });
    }
    let script = PayoutScript::new(address.assume_checked().script_pubkey().as_bytes())
        .map_err(|error| SettingsError::wrong(given.name, text, error.to_string()))?;
    Ok((text.to_owned(), script))
}

/// Returns what is wrong with a text that is not an address.
fn mistake(text: &str) -> &'static str {
    const CHECKSUM: &str = "its checksum is wrong, so a character is mistyped or missing: copy the address again";
    let lower = text.to_ascii_lowercase();
    let is_segwit = ["bc1", "tb1", "bcrt1"].iter().any(|start| lower.starts_with(start));
    let is_base58 = || {
        let has_length = BASE58_LEN.contains(&text.len());
        has_length && text.starts_with(['1', '3', 'm', 'n', '2']) && bitcoin::base58::decode(text).is_ok()
    };
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        "not a Bitcoin address"
    } else if is_segwit && lower != text && text.to_ascii_uppercase() != text {
        "it mixes capital and small letters"
    } else if is_segwit || is_base58() {
        CHECKSUM
    } else {
        "not a Bitcoin address"
    }
}

/// Returns what the addresses of a network start with.
const fn starts(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "bc1, 1 or 3",
        Network::Testnet3 | Network::Testnet4 | Network::Signet => "tb1, m, n or 2",
        Network::Regtest => "bcrt1, m, n or 2",
    }
}
