//! What can go wrong between us and bitcoind.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use p2pool_core::params::Network;
use p2pool_core::status::{BitcoindProblem, BitcoindProblemKind};
use thiserror::Error;

/// Why a thread of this crate cannot be opened or had to end.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The configured host cannot stand in a URL.
    #[error("bitcoind's host '{0}' is neither a host name nor an address")]
    Host(String),
    /// The folder for found blocks cannot be used.
    #[error("the folder for found blocks, {path}: {source}")]
    BlockFolder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a question to bitcoind was not answered. No variant ever holds a password or cookie.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CallError {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}; is it running, with server=1?")]
    Unreachable(String),
    /// A connection but no answer in time.
    #[error("gives no answer: {0}")]
    Timeout(String),
    /// It has just started (code -28).
    #[error("is starting: {0}")]
    WarmingUp(String),
    /// It does not know the whole block chain yet (code -10).
    #[error("is still downloading the block chain: {0}")]
    InitialDownload(String),
    /// It has no peers, or is ending (code -9).
    #[error("has no work: {0}")]
    NotConnected(String),
    /// It refuses our credentials.
    #[error("refuses our credentials (HTTP 401), {0}")]
    Unauthorised(String),
    /// There is no cookie file.
    #[error("has left no cookie in {}; is it running, with a data directory of these?", list(.looked_at))]
    NoCookie {
        /// Where it was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// There is none that can be read, and one, or the folders above it, may not be.
    #[error(
        "has no cookie that can be read: {path}: {reason}; let this process read it (bitcoind's group and \
         rpccookieperms=group), or give -rpc-cookie-file"
    )]
    CookieUnreadable {
        /// The first that failed otherwise than by not being there.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// An HTTP status that carries no answer.
    #[error("answers with HTTP status {status}: {body}")]
    Http {
        /// The status.
        status: u16,
        /// How the body begins.
        body: String,
    },
    /// No JSON-RPC answer, or not one to our question.
    #[error("gives an answer that makes no sense: {0}")]
    Garbage(String),
    /// A template that this program cannot use.
    #[error("gives a template that cannot be used: {0}")]
    Template(String),
    /// An error answer of another kind.
    #[error("answers with error {code}: {message}")]
    Rpc {
        /// bitcoind's code, see its `rpc/protocol.h`.
        code: i64,
        /// bitcoind's words.
        message: String,
    },
    /// It is on another network than this node.
    #[error(
        "is on {theirs}, but this node is on {ours}: start bitcoind for {ours}, or this node with the right network"
    )]
    WrongNetwork {
        /// What this node is configured for.
        ours: String,
        /// What bitcoind says.
        theirs: String,
    },
}

/// Paths for a line of the log.
fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// HTTP status for addresses outside `rpcallowip` and methods outside `rpcwhitelist`.
const FORBIDDEN: u16 = 403;
/// HTTP status while more questions wait than `rpcworkqueue` allows.
const TOO_BUSY: u16 = 503;
/// What bitcoind says to a long poll when it ends, with the same code as if it had no peers.
const ENDING: &str = "Shutting down";

/// bitcoind's error codes that mean a state it will leave by itself (its `rpc/protocol.h`).
mod code {
    pub const NOT_CONNECTED: i64 = -9;
    pub const INITIAL_DOWNLOAD: i64 = -10;
    pub const WARMING_UP: i64 = -28;
}

impl CallError {
    /// The kind of an error answer.
    pub(crate) fn of_answer(code: i64, message: String) -> Self {
        match code {
            code::NOT_CONNECTED => Self::NotConnected(message),
            code::INITIAL_DOWNLOAD => Self::InitialDownload(message),
            code::WARMING_UP => Self::WarmingUp(message),
            _ => Self::Rpc { code, message },
        }
    }

    /// The kind of a failure below JSON-RPC. `waited` is the time that the answer had.
    pub(crate) fn of_transport(error: ureq::Error, waited: Option<Duration>) -> Self {
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Self::Unreachable("connecting takes too long".to_owned())
            }
            ureq::Error::Timeout(timeout) => match waited {
                Some(waited) => Self::Timeout(format!("{timeout} timeout, {} s", waited.as_secs())),
                None => Self::Timeout(format!("{timeout} timeout")),
            },
            ureq::Error::HostNotFound => Self::Unreachable("there is no such host".to_owned()),
            ureq::Error::Io(error) => Self::Unreachable(words(&error)),
            ureq::Error::BodyExceedsLimit(limit) => Self::Garbage(format!("more than {limit} bytes")),
            other => Self::Garbage(excerpt(&other.to_string())),
        }
    }

    /// Whether both say the same of bitcoind's state, whatever their details: only a change is worth a log line.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rpc { code: ours, .. }, Self::Rpc { code: theirs, .. }) => ours == theirs,
            (Self::Http { status: ours, .. }, Self::Http { status: theirs, .. }) => ours == theirs,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// The same for onlookers, who get advice with the kind; how far bitcoind is if it has yet to download the chain.
    pub(crate) fn problem(&self, downloaded_percent: Option<u8>) -> BitcoindProblem {
        let text = match self {
            Self::Unreachable(reason) => format!("cannot be reached: {reason}"),
            Self::NoCookie { looked_at } => format!("has left no cookie in {}", list(looked_at)),
            Self::CookieUnreadable { path, reason } => {
                format!("has a cookie that this node may not read: {}: {reason}", path.display())
            }
            Self::WrongNetwork { ours, theirs } => format!("is on {theirs}, but this node is on {ours}"),
            other => other.to_string(),
        };
        BitcoindProblem { kind: self.kind(downloaded_percent), text }
    }

    fn kind(&self, downloaded_percent: Option<u8>) -> BitcoindProblemKind {
        match self {
            Self::Unreachable(_) => BitcoindProblemKind::Unreachable,
            Self::Timeout(_) | Self::Http { status: TOO_BUSY, .. } => BitcoindProblemKind::NoAnswer,
            Self::WarmingUp(_) => BitcoindProblemKind::WarmingUp,
            Self::InitialDownload(_) => BitcoindProblemKind::Syncing { percent: downloaded_percent },
            Self::NotConnected(message) if message.contains(ENDING) => BitcoindProblemKind::Stopping,
            Self::NotConnected(_) => BitcoindProblemKind::NoPeers,
            Self::Unauthorised(_) => BitcoindProblemKind::Unauthorised,
            Self::NoCookie { .. } => BitcoindProblemKind::NoCookie,
            Self::CookieUnreadable { .. } => BitcoindProblemKind::CookieUnreadable,
            Self::Http { status: FORBIDDEN, .. } => BitcoindProblemKind::Forbidden,
            Self::Http { .. } | Self::Garbage(_) => BitcoindProblemKind::Garbage,
            Self::Template(_) | Self::Rpc { .. } => BitcoindProblemKind::Failing,
            Self::WrongNetwork { .. } => BitcoindProblemKind::WrongNetwork,
        }
    }

    /// Whether it comes from bitcoind's understanding of the question, so that the connection is fine.
    pub(crate) fn is_an_answer(&self) -> bool {
        matches!(self, Self::InitialDownload(_) | Self::Rpc { .. })
    }
}

/// bitcoind's name for a network, and ours where they differ.
pub(crate) fn network_of_chain(chain: &str) -> Option<Network> {
    match chain {
        "main" => Some(Network::Mainnet),
        "test" => Some(Network::Testnet3),
        "testnet4" => Some(Network::Testnet4),
        "signet" => Some(Network::Signet),
        "regtest" => Some(Network::Regtest),
        _ => None,
    }
}

/// What the system says, without its number.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(&*text, |(words, _)| words).to_owned()
}

/// Characters of a stranger's words that go into a log line at most.
const EXCERPT_CHARS_MAX: usize = 120;

/// The beginning of `text` on one line, without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    let mut chars = text.trim().chars();
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = chars.by_ref().take(EXCERPT_CHARS_MAX).map(clean).collect();
    if chars.next().is_some() {
        out.push_str(" ...");
    }
    out
}

#[cfg(test)]
mod tests;
