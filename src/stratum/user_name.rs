//! Payout addresses in user names.
//!
//! Nearly every other pool pays the address that a miner authorises with. This one pays the node's, so a miner with another
//! address in its user name is configured for another pool, and its owner expects money that does not come.

use bitcoin::address::NetworkUnchecked;
use bitcoin::Address;
use serde::Serialize;

use crate::params::Network;
use crate::share::PayoutScript;

/// Characters between the address and the worker's own name, as pools use them. No address contains any of them.
const SEPARATORS: [char; 3] = ['.', '+', '_'];
/// Shortest text that is taken for a mistyped address: the length of the shortest base58 address.
const ADDRESS_LEN_MIN: usize = 26;
/// Length of the longest bech32 address (BIP-0173).
const ADDRESS_LEN_MAX: usize = 90;
/// Length of the longest base58 address, with a character too many.
const BASE58_LEN_MAX: usize = 36;

/// Which address a user name begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedAddress {
    /// None.
    #[default]
    None,
    /// This node's payout address.
    Own,
    /// Another address of this network.
    Other,
    /// An address of another Bitcoin network.
    OtherNetwork,
    /// It looks like an address, but is not valid.
    Mistyped,
}

impl NamedAddress {
    /// The address at the start of a user name.
    pub fn of(user_name: &str, own: &PayoutScript, network: Network) -> Self {
        let text = address_part(user_name);
        if text.len() > ADDRESS_LEN_MAX {
            return Self::None;
        }
        match text.parse::<Address<NetworkUnchecked>>() {
            Ok(address) if !address.is_valid_for_network(network.to_bitcoin()) => Self::OtherNetwork,
            Ok(address) if address.clone().assume_checked().script_pubkey().as_bytes() == own.as_bytes() => Self::Own,
            Ok(_) => Self::Other,
            Err(_) if looks_like_an_address(text) => Self::Mistyped,
            Err(_) => Self::None,
        }
    }

    /// Whether the owner expects a payment that does not come.
    pub const fn is_unpaid(self) -> bool {
        matches!(self, Self::Other | Self::OtherNetwork | Self::Mistyped)
    }

    /// What is wrong, for sentences; empty if nothing.
    pub const fn fault(self) -> &'static str {
        match self {
            Self::None | Self::Own => "",
            Self::Other => "another address than this node's",
            Self::OtherNetwork => "an address of another Bitcoin network",
            Self::Mistyped => "a mistyped address",
        }
    }
}

/// The part of a user name that other pools take for the address.
pub fn address_part(user_name: &str) -> &str {
    user_name.trim().split(SEPARATORS).next().unwrap_or_default()
}

/// Whether a text that is no address has the form of one, so it is mistyped.
pub fn looks_like_an_address(text: &str) -> bool {
    if text.len() < ADDRESS_LEN_MIN || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let is_bech32 = ["bc1", "tb1", "bcrt1"]
        .iter()
        .any(|prefix| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)));
    // Base58 mixes digits and letters of both cases; names hardly do.
    let is_base58 = text.len() <= BASE58_LEN_MAX
        && text.starts_with(['1', '3', 'm', 'n', '2'])
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase());
    is_bech32 || is_base58
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    const OTHER: &str = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";

    fn named(user_name: &str) -> NamedAddress {
        let own: Address<NetworkUnchecked> = OWN.parse().unwrap();
        let own = PayoutScript::new(own.assume_checked().script_pubkey().as_bytes()).unwrap();
        NamedAddress::of(user_name, &own, Network::Mainnet)
    }

    #[test]
    fn the_address_ends_at_the_separator_of_the_worker() {
        for end in ["", ".rig", "+rig", "_rig", ".a_b+c", ".", " "] {
            assert_eq!(named(&format!("{OWN}{end}")), NamedAddress::Own, "{end}");
            assert_eq!(named(&format!("{OTHER}{end}")), NamedAddress::Other, "{end}");
        }
        assert_eq!(named(&OWN.to_uppercase()), NamedAddress::Own, "bech32 has one case, either of them");
        assert_eq!(named(&format!("rig.{OTHER}")), NamedAddress::None, "only the part before a separator");
    }

    #[test]
    fn addresses_of_other_networks_are_recognised() {
        for address in [
            "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
            "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm",
        ] {
            assert_eq!(named(&format!("{address}.1")), NamedAddress::OtherNetwork, "{address}");
        }
    }

    #[test]
    fn one_wrong_missing_or_additional_character_is_a_mistyped_address() {
        for address in [OWN, OTHER, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"] {
            for at in 3..address.len() {
                let replacement = if &address[at..=at] == "z" { "y" } else { "z" };
                let wrong = format!("{}{replacement}{}", &address[..at], &address[at + 1..]);
                let missing = format!("{}{}", &address[..at], &address[at + 1..]);
                let additional = format!("{}Q{}", &address[..at], &address[at..]);
                for mistyped in [wrong, missing, additional] {
                    assert_eq!(named(&format!("{mistyped}.rig")), NamedAddress::Mistyped, "{mistyped}");
                }
            }
        }
    }

    #[test]
    fn names_are_no_addresses() {
        for name in [
            "",
            "x",
            "garage.bitaxe-1",
            "worker",
            "bc1",
            "bc1rig",
            "miner000000000000000000000000",
            "1234567890123456789012345678",
            "<img src=x onerror=alert(1)>",
            "my-miner-number-3-in-the-Garage",
            "3rd-Floor-of-the-building-B",
            "αβγδεζηθικλμνξοπρστυφχψω",
        ] {
            assert_eq!(named(name), NamedAddress::None, "{name}");
        }
        assert_eq!(named(&"1".repeat(8_000)), NamedAddress::None);
    }
}
