//! What a peer can do wrong, and what it costs (rules, section 5).

use std::fmt;

use super::block::BlockError;
use super::cbor::WireError;
use crate::sharechain::Rule;

/// A peer with this many points is banned for a while.
pub const BAN_POINTS: u32 = 100;

/// What a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// It sent a share that breaks this rule. Rules 5 and 6 may be bad luck and cost nothing.
    BrokenRule(Rule),
    /// It offered a chain whose verifiable part is false (rules, section 6, pruned history).
    FalseChain,
    /// It announced a Bitcoin block whose header has not the work of one, or which its parts do not make.
    FalseBlock,
    /// It sent bytes that are no message.
    Malformed,
    /// It sent more bytes than a message has.
    Oversize,
    /// It answered what was not asked, or with shares that were not asked for.
    Unasked,
    /// It did not answer in time.
    Late,
    /// It left an answer of ours unread until the time was over.
    Unread,
    /// It has not what it said it has.
    Useless,
    /// It asked too often.
    TooManyRequests,
    /// It is on another chain: not worth a connection.
    OtherChain,
}

impl Offence {
    /// Points towards [`BAN_POINTS`].
    ///
    /// What no honest node does whatever its luck bans at the second time, since a share is passed on only by
    /// nodes that checked it; what slow lines and restarts do as well takes ten or more.
    pub const fn points(self) -> u32 {
        match self {
            Self::BrokenRule(rule) => {
                if rule.proves_fault() {
                    50
                } else {
                    0
                }
            }
            Self::FalseChain | Self::OtherChain => BAN_POINTS,
            Self::FalseBlock | Self::Malformed | Self::Oversize | Self::Unasked => 50,
            Self::Late | Self::Unread | Self::Useless => 10,
            Self::TooManyRequests => 5,
        }
    }
}

impl From<&WireError> for Offence {
    fn from(error: &WireError) -> Self {
        match error {
            WireError::Oversize { .. } => Self::Oversize,
            WireError::Malformed(_) | WireError::NotCanonical => Self::Malformed,
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenRule(rule) => write!(f, "sent a share that breaks rule {}", *rule as u8),
            Self::FalseChain => f.write_str("offered a false chain"),
            Self::FalseBlock => f.write_str("announced a false Bitcoin block"),
            Self::Malformed => f.write_str("sent a malformed message"),
            Self::Oversize => f.write_str("sent too large a message"),
            Self::Unasked => f.write_str("answered what was not asked"),
            Self::Late => f.write_str("did not answer in time"),
            Self::Unread => f.write_str("leaves answers unread"),
            Self::Useless => f.write_str("has not what it said it has"),
            Self::TooManyRequests => f.write_str("asked too often"),
            Self::OtherChain => f.write_str("is on another chain"),
        }
    }
}

impl From<&BlockError> for Offence {
    fn from(error: &BlockError) -> Self {
        match error {
            BlockError::Wire(error) => error.into(),
            BlockError::TooMany => Self::Unasked,
            BlockError::Bits { .. }
            | BlockError::Work
            | BlockError::Coinbase
            | BlockError::Transaction(_)
            | BlockError::MerkleRoot => Self::FalseBlock,
        }
    }
}
