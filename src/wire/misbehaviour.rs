//! What a peer can do wrong, and the ban score for it (rules, section 5).

use std::fmt;

use super::block::BlockError;
use super::cbor::WireError;
use crate::sharechain::Rule;

/// Ban score at which a peer is banned.
pub const BAN_THRESHOLD: u32 = 100;

/// Misbehaviour of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misbehaviour {
    /// It sent a share that breaks a rule. Rules 5 and 6 may be broken by bad luck and have a ban score of 0.
    BrokenRule(Rule),
    /// It offered a chain whose verifiable part is invalid (rules, section 6, pruned history).
    FalseChain,
    /// It announced a Bitcoin block without the required work, or sent parts that do not make the block.
    FalseBlock,
    /// It sent a Bitcoin header that Bitcoin can never accept.
    FalseHeader,
    /// It sent an envelope that is invalid under all versions of the rules.
    FalseEnvelope,
    /// It sent a malformed message.
    Malformed,
    /// It sent a message longer than its kind may be.
    Oversize,
    /// It sent a response, or shares in one, that were not requested.
    Unrequested,
    /// It did not respond in time.
    Late,
    /// It did not read a response in time.
    Unread,
    /// It does not have what it advertised.
    Useless,
    /// It exceeded a rate limit.
    TooManyRequests,
    /// It is on another chain, so a connection to it is useless.
    OtherChain,
}

impl Misbehaviour {
    /// Returns what the misbehaviour adds to the ban score. At [`BAN_THRESHOLD`] the peer is banned.
    ///
    /// Nodes relay only what they have verified, so what an honest node never does leads to a ban the second time. What slow
    /// lines and restarts can cause leads to a ban after ten times or more.
    pub const fn ban_score(self) -> u32 {
        match self {
            Self::BrokenRule(rule) if !rule.proves_fault() => 0,
            Self::FalseChain | Self::OtherChain => BAN_THRESHOLD,
            Self::BrokenRule(_)
            | Self::FalseBlock
            | Self::FalseHeader
            | Self::FalseEnvelope
            | Self::Malformed
            | Self::Oversize
            | Self::Unrequested => 50,
            Self::Late | Self::Unread | Self::Useless => 10,
            Self::TooManyRequests => 5,
        }
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrokenRule(rule) => write!(f, "sent a share that breaks rule {}", *rule as u8),
            Self::FalseChain => f.write_str("offered an invalid chain"),
            Self::FalseBlock => f.write_str("announced an invalid Bitcoin block"),
            Self::FalseHeader => f.write_str("sent an invalid Bitcoin header"),
            Self::FalseEnvelope => f.write_str("sent an invalid envelope"),
            Self::Malformed => f.write_str("sent a malformed message"),
            Self::Oversize => f.write_str("sent an oversized message"),
            Self::Unrequested => f.write_str("sent an unrequested response"),
            Self::Late => f.write_str("did not respond in time"),
            Self::Unread => f.write_str("did not read responses"),
            Self::Useless => f.write_str("advertised shares it does not have"),
            Self::TooManyRequests => f.write_str("exceeded a rate limit"),
            Self::OtherChain => f.write_str("is on another chain"),
        }
    }
}

impl From<&WireError> for Misbehaviour {
    fn from(error: &WireError) -> Self {
        match error {
            WireError::Oversize { .. } => Self::Oversize,
            WireError::Malformed(_) | WireError::NotCanonical => Self::Malformed,
        }
    }
}

impl From<&BlockError> for Misbehaviour {
    fn from(error: &BlockError) -> Self {
        match error {
            BlockError::Wire(error) => error.into(),
            BlockError::TooMany => Self::Unrequested,
            BlockError::Bits { .. }
            | BlockError::Work
            | BlockError::Coinbase
            | BlockError::Commitment
            | BlockError::Transaction(_)
            | BlockError::MerkleRoot
            | BlockError::TooLarge => Self::FalseBlock,
        }
    }
}
