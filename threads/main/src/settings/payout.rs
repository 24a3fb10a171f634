//! Payout address of this node's miners.

use bitcoin::address::NetworkUnchecked;
use bitcoin::Address;
use p2pool_core::params::Network;
use p2pool_core::share::PayoutScript;

use super::{given, Environment, SettingsError};
use crate::args::Flags;

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
    let address: Address<NetworkUnchecked> = text.parse().map_err(|error| {
        let hint =
            format!("not a Bitcoin address ({error}); give a {network} address, it starts with {}", starts(network));
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

/// Returns what the addresses of a network start with.
const fn starts(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "bc1, 1 or 3",
        Network::Testnet3 | Network::Testnet4 | Network::Signet => "tb1, m, n or 2",
        Network::Regtest => "bcrt1, m, n or 2",
    }
}
