//! Errors in settings.

use p2pool_core::params::Network;

/// A wrong or contradictory setting. The message is one line; values in it are quoted and escaped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value that is not allowed.
    #[error("{name} is {value:?}: {hint}")]
    Wrong {
        /// `-flag` or `VARIABLE`.
        name: &'static str,
        /// As given. Never a password.
        value: String,
        /// What to give instead.
        hint: String,
    },
    /// No payout address.
    #[error("no payout address: give -address (or set PAYOUT_ADDRESS) to a {0} address of your own")]
    NoAddress(Network),
    /// A payout address of another network.
    #[error("{address} is a {belongs_to} address, but -network is {network}: give one that starts with {starts}")]
    OtherNetworksAddress {
        /// As given.
        address: String,
        /// Networks for which the address is valid.
        belongs_to: String,
        /// This node's network.
        network: Network,
        /// What addresses of this node's network start with.
        starts: &'static str,
    },
    /// A test parameter on a public chain.
    #[error("{flag} is only for tests on regtest and on signets with a -signet-challenge of their own: leave it out")]
    NotATestChain {
        /// The flag.
        flag: &'static str,
    },
    /// A signet challenge on another network.
    #[error("-signet-challenge is given, but -network is {0}: leave it out, or use -network signet")]
    ChallengeWithoutSignet(Network),
    /// A user without a password, or a password without a user.
    #[error("{given} is given without {missing}: give both, or neither to use bitcoind's cookie")]
    HalfCredentials {
        /// The flag or variable that is given.
        given: &'static str,
        /// The flag that is missing.
        missing: &'static str,
    },
    /// Password and cookie file.
    #[error("both {password} and -rpc-cookie-file are given: keep one of them")]
    PasswordAndCookie {
        /// The flag or variable of the password.
        password: &'static str,
    },
    /// An empty password.
    #[error("{0} is empty: give bitcoind's password, or leave user and password out to use its cookie")]
    EmptyPassword(&'static str),
    /// No credentials for a bitcoind on another machine.
    #[error(
        "no credentials for bitcoind on {host}: give -rpc-user with -rpc-password (or BITCOIN_RPC_USER with \
         BITCOIN_RPC_PASSWORD), or -rpc-cookie-file"
    )]
    NoCredentials {
        /// Host of bitcoind.
        host: String,
    },
    /// The same port twice.
    #[error("{one} and {other} are both {port}: give one of them another port")]
    SamePort {
        /// A flag.
        one: &'static str,
        /// Another flag.
        other: &'static str,
        /// The port.
        port: u16,
    },
}

impl SettingsError {
    /// Makes a [`Self::Wrong`].
    pub fn wrong(name: &'static str, value: &str, hint: impl Into<String>) -> Self {
        Self::Wrong { name, value: value.to_owned(), hint: hint.into() }
    }
}
