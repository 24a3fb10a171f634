//! The state of bitcoind, as the threads that call it publish it.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::units::UnixTime;

/// State of bitcoind at the last request for a block template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitcoindStatus {
    /// Why it gives no template; `None` while it gives templates, and before its first response.
    pub error: Option<BitcoindError>,
    /// When it began to give templates, or stopped giving them, even if the reason has changed meanwhile.
    pub since: UnixTime,
    /// Since when templates are polled at an interval: a long poll left bitcoind no thread for other requests. `None` while
    /// they come by long poll.
    pub long_poll_off_since: Option<UnixTime>,
}

impl BitcoindStatus {
    /// What the operator can do about [`Self::long_poll_off_since`].
    pub const LONG_POLL_OFF_ADVICE: &'static str =
        "Raise rpcthreads= in bitcoin.conf (Bitcoin Core's default is 16), and \
        look for other programs that occupy its threads.";
}

/// Why a call of bitcoind failed.
///
/// Each text continues a sentence whose subject is bitcoind. No variant holds a password or a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BitcoindError {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Connected, but no response in time, or HTTP status 503: more requests wait than `rpcworkqueue` allows.
    #[error("does not respond: {0}")]
    NoResponse(String),
    /// It has just started (code -28).
    #[error("is starting: {0}")]
    Starting(String),
    /// It is shutting down (code -9, with a message that says so).
    #[error("is shutting down")]
    Stopping,
    /// It is in initial block download (code -10), and has verified this part of the chain by its own estimate.
    #[error("is still downloading the block chain{}", Progress(*.percent))]
    Syncing { percent: Option<u8> },
    /// It is connected to no other Bitcoin node (code -9).
    #[error("has no peers: {0}")]
    NoPeers(String),
    /// It is on another network than this node.
    #[error("is on {theirs}, but this node is on {ours}")]
    WrongNetwork { ours: String, theirs: String },
    /// None of these cookie files exists.
    #[error("has left no cookie in {}", list(.0))]
    NoCookie(Vec<PathBuf>),
    /// This process may not read a cookie file, because of its own permissions or because it may not enter the directory
    /// `closed` above it, and no other one can be read.
    #[error("has a cookie that this node may not read: {}: {reason}{}", .path.display(), Closed(.closed.as_deref()))]
    CookieUnreadable { path: PathBuf, reason: String, closed: Option<PathBuf> },
    /// It rejects the credentials; the text says which were tried.
    #[error("rejects the credentials (HTTP status 401): {0}")]
    Unauthorised(String),
    /// It refuses the method (`rpcwhitelist`), or every request of this machine (`rpcallowip`).
    #[error("refuses the method {method} (HTTP status 403): {reason}")]
    Forbidden { method: &'static str, reason: String },
    /// The response is no JSON-RPC, or not one to this request.
    #[error("sent an invalid response: {0}")]
    InvalidResponse(String),
    /// The response holds a block template that this program cannot use.
    #[error("sent an unusable template: {0}")]
    UnusableTemplate(String),
    /// Any other JSON-RPC error; the codes are in bitcoind's `rpc/protocol.h`.
    #[error("responded with error {code}: {message}")]
    Rpc { code: i64, message: String },
}

impl BitcoindError {
    /// Returns what the operator can do about it, as whole sentences.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => {
                "Check that bitcoind runs, with server=1 in its bitcoin.conf, and that this node's -rpc-host and \
                 -rpc-port are right. A bitcoind on another machine needs rpcbind= with its own address and rpcallowip= with \
                 this machine's."
            }
            Self::NoResponse(_) => {
                "bitcoind may be busy: wait a moment. If this persists, raise rpcthreads= and rpcworkqueue= in bitcoin.conf, \
                 look into its debug.log, and restart it if it hangs."
            }
            Self::Starting(_) => "Wait: miners get work as soon as bitcoind has started.",
            Self::Stopping => "Nothing is needed if bitcoind is being restarted; otherwise start it again.",
            Self::Syncing { .. } => "Wait: mining begins by itself when it is done.",
            Self::NoPeers(_) => {
                "Wait a moment: bitcoind looks for other Bitcoin nodes by itself. If it finds none, check its connection \
                 to the Internet, and connect= in its bitcoin.conf."
            }
            Self::WrongNetwork { .. } => {
                "Start this node with bitcoind's -network, or give the -rpc-port of a bitcoind on this node's network."
            }
            Self::NoCookie(_) => {
                "Check that bitcoind runs. If its data directory is elsewhere, give -rpc-cookie-file; if it has a \
                 password instead, give -rpc-user and BITCOIN_RPC_PASSWORD."
            }
            Self::CookieUnreadable { closed: None, .. } => {
                "Let this node read it: run it with bitcoind's group and set rpccookieperms=group in bitcoin.conf, or \
                 give -rpc-cookie-file."
            }
            Self::CookieUnreadable { closed: Some(_), .. } => {
                "Permissions of the cookie alone are not enough: this node must enter all directories above it. Run it with \
                 bitcoind's group, set rpccookieperms=group in bitcoin.conf, and open the directory to the group with chmod \
                 g+x; or let bitcoind write the cookie elsewhere, with rpccookiefile=, and give -rpc-cookie-file."
            }
            Self::Unauthorised(_) => {
                "A bitcoind with rpcauth= or rpcpassword= in its bitcoin.conf needs -rpc-user and BITCOIN_RPC_PASSWORD; one \
                 without, its cookie: leave out user and password, or give its -rpc-cookie-file."
            }
            Self::Forbidden { .. } => {
                "If bitcoin.conf has an rpcwhitelist= for this node's user, it must have getblockchaininfo, getblockhash, \
                 getblockheader, getblocktemplate and submitblock. Otherwise allow this machine's address with rpcallowip=. \
                 Then restart bitcoind."
            }
            Self::InvalidResponse(_) => {
                "Check that -rpc-host and -rpc-port lead to bitcoind and not to another program; its debug.log may say \
                 more."
            }
            Self::UnusableTemplate(_) | Self::Rpc { .. } => {
                "Look into bitcoind's debug.log, and check that its version is a current one."
            }
        }
    }
}

/// Writes the progress of a download, if it is known.
struct Progress(Option<u8>);

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |percent| write!(f, ": {percent}\u{a0}% done"))
    }
}

/// Writes which directory is closed, if it is one.
struct Closed<'a>(Option<&'a Path>);

impl fmt::Display for Closed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |dir| write!(f, ", because the directory {} is closed to it", dir.display()))
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
