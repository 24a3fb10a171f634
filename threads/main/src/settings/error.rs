//! Errors in settings.

use p2pool_core::params::Network;

use super::file::FILE_NAME;
use super::Sources;

/// A wrong or contradictory setting. Settings are named by their flags here, as `-rpc-host`.
#[derive(Debug, PartialEq, Eq)]
pub enum SettingsError {
    Wrong { name: &'static str, value: String, hint: String },
    NoAddress(Network),
    OtherNetworksAddress { address: String, belongs_to: String, network: Network, starts: &'static str },
    NotATestChain { flag: &'static str },
    ChallengeWithoutSignet(Network),
    HalfCredentials { given: &'static str, missing: &'static str },
    PasswordAndCookie,
    EmptyPassword,
    NoCredentials { host: String },
    Contradiction { one: &'static str, other: &'static str, why: &'static str },
    Missing { given: &'static str, missing: &'static str },
    SamePort { one: &'static str, other: &'static str, port: u16 },
}

impl SettingsError {
    /// Makes a [`Self::Wrong`]. If the value is in quotation marks, which some readers of env files keep, they are what is wrong.
    pub fn wrong(name: &'static str, value: &str, hint: impl Into<String>) -> Self {
        // What precedes an @ in an address may be a password.
        let value = &value.rsplit_once('@').map_or_else(|| value.to_owned(), |(_, after)| format!("...@{after}"));
        let hint = match is_quoted(value) {
            true => "leave out the quotation marks, which are part of the value here".to_owned(),
            false => hint.into(),
        };
        Self::Wrong { name, value: value.to_owned(), hint }
    }

    /// Returns the error as one line, with settings named as they were given: `-flag`, `VARIABLE` or `key in FILE`. Values are
    /// quoted and escaped; passwords are never part of it.
    pub fn message(&self, sources: &Sources) -> String {
        let name = |flag: &str| sources.name_of(flag);
        match self {
            Self::Wrong { name: flag, value, hint } => format!("{} is {value:?}: {hint}", name(flag)),
            Self::NoAddress(network) => format!(
                "no payout address: give -address (or PAYOUT_ADDRESS, or address in {FILE_NAME}) a {network} address of your own"
            ),
            Self::OtherNetworksAddress { address, belongs_to, network, starts } => format!(
                "{address} is a {belongs_to} address, but {} is {network}: give one that starts with {starts}",
                name("-network")
            ),
            Self::NotATestChain { flag } => format!(
                "{} is only for tests on regtest and on signets with a -signet-challenge of their own: leave it out",
                name(flag)
            ),
            Self::ChallengeWithoutSignet(network) => format!(
                "{} is given, but {} is {network}: leave it out, or use -network signet",
                name("-signet-challenge"),
                name("-network")
            ),
            Self::HalfCredentials { given, missing } => format!(
                "{} is given without {missing}: give both, or neither to use bitcoind's cookie",
                name(given)
            ),
            Self::PasswordAndCookie => format!(
                "both {} and {} are given: keep one of them",
                name("-rpc-password"),
                name("-rpc-cookie-file")
            ),
            Self::EmptyPassword => format!(
                "{} is empty: give bitcoind's password, or leave user and password out to use its cookie",
                name("-rpc-password")
            ),
            Self::NoCredentials { host } => format!(
                "no credentials for bitcoind on {host}: give -rpc-user with -rpc-password (or BITCOIN_RPC_USER with \
                 BITCOIN_RPC_PASSWORD), or -rpc-cookie-file"
            ),
            Self::Contradiction { one, other, why } => {
                let (one, other) = (name(one), name(other));
                format!("{one} and {other} contradict each other, because {why}: leave out one of them")
            }
            Self::Missing { given, missing } => format!("{} is given without {missing}", name(given)),
            Self::SamePort { one, other, port } => {
                format!("{} and {} are both {port}: give one of them another port", name(one), name(other))
            }
        }
    }
}

/// Whether a text is in quotation marks.
pub fn is_quoted(text: &str) -> bool {
    let mut ends = ['"', '\''].into_iter();
    text.len() > 1 && ends.any(|mark| text.starts_with(mark) && text.ends_with(mark))
}
