//! Errors in settings.

use p2pool_core::params::Network;

/// A wrong or contradictory setting. The message is one line; values in it are quoted and escaped. Settings are named as
/// given, `-flag` or `VARIABLE`; passwords are never part of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{name} is {value:?}: {hint}")]
    Wrong { name: &'static str, value: String, hint: String },
    #[error("no payout address: give -address (or set PAYOUT_ADDRESS) to a {0} address of your own")]
    NoAddress(Network),
    #[error("{address} is a {belongs_to} address, but -network is {network}: give one that starts with {starts}")]
    OtherNetworksAddress { address: String, belongs_to: String, network: Network, starts: &'static str },
    #[error("{flag} is only for tests on regtest and on signets with a -signet-challenge of their own: leave it out")]
    NotATestChain { flag: &'static str },
    #[error("-signet-challenge is given, but -network is {0}: leave it out, or use -network signet")]
    ChallengeWithoutSignet(Network),
    #[error("{given} is given without {missing}: give both, or neither to use bitcoind's cookie")]
    HalfCredentials { given: &'static str, missing: &'static str },
    #[error("both {password} and -rpc-cookie-file are given: keep one of them")]
    PasswordAndCookie { password: &'static str },
    #[error("{0} is empty: give bitcoind's password, or leave user and password out to use its cookie")]
    EmptyPassword(&'static str),
    #[error(
        "no credentials for bitcoind on {host}: give -rpc-user with -rpc-password (or BITCOIN_RPC_USER with \
         BITCOIN_RPC_PASSWORD), or -rpc-cookie-file"
    )]
    NoCredentials { host: String },
    #[error("{one} and {other} are both {port}: give one of them another port")]
    SamePort { one: &'static str, other: &'static str, port: u16 },
}

impl SettingsError {
    /// Makes a [`Self::Wrong`]. If the value is in quotation marks, which some readers of env files keep, they are what is wrong.
    pub fn wrong(name: &'static str, value: &str, hint: impl Into<String>) -> Self {
        let hint = match is_quoted(value) {
            true => "leave out the quotation marks, which are part of the value here".to_owned(),
            false => hint.into(),
        };
        Self::Wrong { name, value: value.to_owned(), hint }
    }
}

/// Whether a text is in quotation marks.
pub fn is_quoted(text: &str) -> bool {
    let mut ends = ['"', '\''].into_iter();
    text.len() > 1 && ends.any(|mark| text.starts_with(mark) && text.ends_with(mark))
}
