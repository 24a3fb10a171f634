//! Payout address of this node's miners.

use bitcoin::address::NetworkUnchecked;
use bitcoin::Address;
use p2pool_core::params::Network;
use p2pool_core::share::PayoutScript;
use p2pool_core::stratum::looks_like_an_address;

use super::SettingsError;
use crate::args::Flags;

const FLAG: &str = "-address";

/// Returns the payout address as written, and its script.
pub fn resolve(flags: &Flags, network: Network) -> Result<(String, PayoutScript), SettingsError> {
    let text = flags.address.as_deref().ok_or(SettingsError::NoAddress(network))?.trim();
    let address: Address<NetworkUnchecked> = text.parse().map_err(|_| {
        let hint = format!("{}; give a {network} address, it starts with {}", mistake(text), starts(network));
        SettingsError::wrong(FLAG, text, hint)
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
        .map_err(|error| SettingsError::wrong(FLAG, text, error.to_string()))?;
    Ok((text.to_owned(), script))
}

/// Returns what is wrong with a text that is not an address.
fn mistake(text: &str) -> &'static str {
    let lower = text.to_ascii_lowercase();
    let is_bech32 = ["bc1", "tb1", "bcrt1"].iter().any(|start| lower.starts_with(start));
    if !looks_like_an_address(text) {
        "not a Bitcoin address"
    } else if is_bech32 && lower != text && text.to_ascii_uppercase() != text {
        "it mixes capital and small letters"
    } else {
        "its checksum is wrong, so a character is mistyped or missing: copy the address again"
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
