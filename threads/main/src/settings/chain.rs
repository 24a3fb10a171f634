//! Parameters of the sharechain.

use p2pool_core::params::{
    Activation, ChainParams, Network, RETARGET_SHARES_MIN, RULES_VERSION_FIRST, RULES_VERSION_TEST,
};
use p2pool_core::units::BlockHeight;

use super::{number, SettingsError};
use crate::args::Flags;

/// Longest name of a private pool, in bytes.
const CHAIN_NAME_LEN_MAX: usize = 32;
/// Highest block height, as nLockTime reads it (BIP-0054).
const BLOCK_HEIGHT_MAX: u32 = 499_999_999;
/// Longest signet challenge in bytes: the largest element that a Bitcoin script can push.
const CHALLENGE_LEN_MAX: usize = 520;

/// Returns the parameters of the sharechain that the flags name.
pub fn resolve(flags: &Flags) -> Result<ChainParams, SettingsError> {
    let mut params = ChainParams::standard(network(flags)?);
    if let Some(hex) = &flags.signet_challenge {
        params.signet_challenge = signet_challenge(hex, params.network)?;
    }
    if let Some(name) = &flags.chain_name {
        params.chain_name = chain_name(name)?;
    }
    let is_test_chain = params.network == Network::Regtest || params.is_custom_signet();
    for (flag, name, min, param) in [
        (&flags.share_period, "-share-period", 1, &mut params.share_period_s),
        (&flags.payout_window, "-payout-window", 1, &mut params.payout_window),
        (&flags.retarget_window, "-retarget-window", RETARGET_SHARES_MIN, &mut params.retarget_window),
    ] {
        if flag.is_some() && !is_test_chain {
            return Err(SettingsError::NotATestChain { flag: name });
        }
        // Only shorter values than the default: bounds on memory and time assume the default.
        *param = number(name, flag, *param, min..=*param)?;
    }
    for (flag, name) in [(&flags.activation_height, "-activation-height"), (&flags.rules_version, "-rules-version")] {
        if flag.is_some() && !is_test_chain {
            return Err(SettingsError::NotATestChain { flag: name });
        }
    }
    if flags.activation_height.is_some() {
        let height = BlockHeight(number("-activation-height", &flags.activation_height, 0, 0..=BLOCK_HEIGHT_MAX)?);
        params.activations = vec![Activation { version: RULES_VERSION_TEST, height }];
        params.rules_version_known = RULES_VERSION_TEST;
    }
    if let Some(version) = &flags.rules_version {
        let known = [RULES_VERSION_FIRST, RULES_VERSION_TEST].into_iter().find(|known| known.to_string() == *version);
        let wrong = || SettingsError::wrong("-rules-version", version, "give 2 or 255");
        params.rules_version_known = known.ok_or_else(wrong)?;
    }
    Ok(params)
}

fn network(flags: &Flags) -> Result<Network, SettingsError> {
    let Some(name) = &flags.network else { return Ok(Network::Mainnet) };
    Network::ALL
        .into_iter()
        .find(|network| network.name() == name)
        .ok_or_else(|| SettingsError::wrong("-network", name, "give mainnet, testnet3, testnet4, signet or regtest"))
}

fn signet_challenge(hex: &str, network: Network) -> Result<Vec<u8>, SettingsError> {
    if network != Network::Signet {
        return Err(SettingsError::ChallengeWithoutSignet(network));
    }
    let bytes = <Vec<u8> as bitcoin::hex::FromHex>::from_hex(hex).unwrap_or_default();
    if bytes.is_empty() || bytes.len() > CHALLENGE_LEN_MAX {
        let hint = format!("give the challenge script in hex, 1 to {CHALLENGE_LEN_MAX} bytes, as in bitcoin.conf");
        return Err(SettingsError::wrong("-signet-challenge", hex, hint));
    }
    Ok(bytes)
}

fn chain_name(name: &str) -> Result<String, SettingsError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > CHAIN_NAME_LEN_MAX || !name.bytes().all(allowed) {
        let hint = format!("give 1 to {CHAIN_NAME_LEN_MAX} characters out of a-z, 0-9 and -");
        return Err(SettingsError::wrong("-chain-name", name, hint));
    }
    Ok(name.to_owned())
}
