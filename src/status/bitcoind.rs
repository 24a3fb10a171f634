//! How bitcoind is.

use crate::units::UnixTime;

/// How bitcoind was when last asked for work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitcoindStatus {
    /// What is wrong; none while it gives work, and before the first answer.
    pub problem: Option<BitcoindProblem>,
    /// Since when it gives work, or does not, whatever the reasons were in turn.
    pub since: UnixTime,
}

/// Why bitcoind gives no work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitcoindProblem {
    /// For programs, and for advice.
    pub kind: BitcoindProblemKind,
    /// In words that follow "bitcoind"; says what is so, not what to do about it.
    pub text: String,
}

/// Kinds of problems that want different things done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitcoindProblemKind {
    /// No connection.
    Unreachable,
    /// A connection, and no answer in time, or word that it has too much to do.
    NoAnswer,
    /// It has just started and will answer soon.
    WarmingUp,
    /// It is ending.
    Stopping,
    /// It does not know the whole block chain yet.
    Syncing {
        /// How much of it has been checked, by bitcoind's own estimate; none if it does not say.
        percent: Option<u8>,
    },
    /// It is connected to no other Bitcoin node.
    NoPeers,
    /// It is on another network than this node.
    WrongNetwork,
    /// It has left no cookie to log in with.
    NoCookie,
    /// There is a cookie, and this process may not read it.
    CookieUnreadable,
    /// It refuses the credentials.
    Unauthorised,
    /// It refuses this machine, or the question.
    Forbidden,
    /// What answers speaks otherwise than bitcoind does.
    Garbage,
    /// It answers with an error, or with a template that cannot be used.
    Failing,
}
