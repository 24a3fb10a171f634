//! What can be wrong with a setting.

use p2pool_core::params::Network;

/// A wrong or contradictory setting. Shown as one line: values are printed quoted and escaped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value that cannot be.
    #[error("{name} is {value:?}: {wanted}")]
    Wrong {
        /// `-flag` or `VARIABLE`.
        name: &'static str,
        /// As given. Never a password.
        value: String,
        /// What would be right.
        wanted: String,
    },
    /// A miner without an address cannot be paid.
    #[error("no payout address: give -address (or set PAYOUT_ADDRESS) to a {0} address of your own")]
    NoAddress(Network),
    /// An address, but not of this network.
    #[error("{address} is a {belongs_to} address, but -network is {network}: give one that starts with {starts}")]
    OtherNetworksAddress {
        /// As given.
        address: String,
        /// The networks it is good for.
        belongs_to: String,
        /// The network chosen.
        network: Network,
        /// How the addresses of that network start.
        starts: &'static str,
    },
    /// The test chains' parameters on a chain that others share.
    #[error("{flag} is only for tests on regtest and on signets with a -signet-challenge of their own: leave it out")]
    NotATestChain {
        /// The flag.
        flag: &'static str,
    },
    /// A signet's challenge on another network.
    #[error("-signet-challenge is given, but -network is {0}: leave it out, or use -network signet")]
    ChallengeWithoutSignet(Network),
    /// Half of the credentials.
    #[error("{given} is given without {missing}: give both, or neither to use bitcoind's cookie")]
    HalfCredentials {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// Two ways to log in.
    #[error("both {password} and -rpc-cookie-file are given: keep one of them")]
    PasswordAndCookie {
        /// Where the password was given.
        password: &'static str,
    },
    /// An empty password.
    #[error("{0} is empty: give bitcoind's password, or leave user and password out to use its cookie")]
    EmptyPassword(&'static str),
    /// No way to log in.
    #[error(
        "no credentials for bitcoind on {host}: give -rpc-user with -rpc-password (or BITCOIN_RPC_USER with \
         BITCOIN_RPC_PASSWORD), or -rpc-cookie-file"
    )]
    NoCredentials {
        /// Where bitcoind is.
        host: String,
    },
    /// One port for two.
    #[error("{one} and {other} are both {port}: give one of them another port")]
    SamePort {
        /// A flag.
        one: &'static str,
        /// Another.
        other: &'static str,
        /// The port.
        port: u16,
    },
}

impl SettingsError {
    /// A value that cannot be, and what would be right.
    pub fn wrong(name: &'static str, value: &str, wanted: impl Into<String>) -> Self {
        Self::Wrong { name, value: value.to_owned(), wanted: wanted.into() }
    }
}
