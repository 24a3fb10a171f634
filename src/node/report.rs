//! What an operator may want to read: the node's log lines, as values.

use std::fmt;

use bitcoin::BlockHash;

use crate::peer::PeerHandle;
use crate::share::envelope::EnvelopeError;
use crate::share::ShareId;
use crate::sharechain::{CandidateOutcome, HeaderFault, Rule, Source, Verdict};
use crate::status::ClockFault;
use crate::sync::{Progress, SOLO_AFTER_S};
use crate::units::{BlockHeight, ShareHeight};
use crate::wire::{BlockError, TooLong};
use crate::work::JobError;

/// One line for the log. Its text is its [`Display`](fmt::Display) form; the driver decides at which level it is written.
#[derive(Debug)]
pub enum Report {
    /// The node starts without a synced peer.
    LookingForPeers,
    /// No synced peer is connected any more; mining continues.
    LastPeerGone,
    /// No peer is synced yet; miners get no work.
    NoPeerYet,
    /// The time to look for a peer is over.
    MiningSolo {
        /// Whether the node has ways to find peers.
        looks_for_peers: bool,
        /// Whether there is a template to mine on.
        has_work: bool,
    },
    /// Peers have, or may have, shares that this node lacks.
    Syncing,
    /// This node has what its peers have.
    Synced {
        peers: usize,
        /// Height of the tip; `None` without a chain.
        height: Option<ShareHeight>,
    },
    /// Shares are being fetched.
    Fetching(Progress),
    /// A chain that peers offered was compared with ours.
    CandidateJudged(CandidateOutcome),
    /// A heavier chain replaced ours.
    Reorganised {
        old: ShareId,
        new: ShareId,
        /// Shares of the old chain that were left.
        depth: usize,
    },
    /// A share became the tip.
    NewTip(ShareId),
    /// A verdict on a share.
    ShareVerdict { id: ShareId, source: Source, verdict: Verdict },
    /// A share of this node's miners breaks a rule: a bug, or a clock or bitcoind that changed its mind.
    OwnShareRejected { id: ShareId, rule: Rule, why: &'static str },
    /// A share of this node's miners could not be checked in time.
    OwnShareLost(ShareId),
    /// No job can be made.
    JobFailed(JobError),
    /// The payout window below the tip is not held, so no job can be made.
    NoWindow(String),
    /// bitcoind's template is for a block below those that shares may build on.
    TemplateTooLow {
        height: BlockHeight,
        /// The lowest height that counts.
        min: BlockHeight,
    },
    /// A peer found a Bitcoin block, and it is complete here.
    BlockReassembled { id: ShareId, height: BlockHeight },
    /// A peer's Bitcoin block cannot be completed: no peer gives what is missing.
    BlockIncomplete(BlockHash),
    /// A peer's Bitcoin block builds on a block that stays unknown.
    BlockUnlinked(BlockHash),
    /// A peer announced a Bitcoin block that is not valid.
    BlockInvalid { peer: PeerHandle, error: BlockError },
    /// A peer sent a Bitcoin header that Bitcoin can never accept.
    HeaderInvalid { peer: PeerHandle, fault: HeaderFault },
    /// A peer sent an envelope that is invalid under all versions of the rules.
    EnvelopeInvalid { peer: PeerHandle, error: EnvelopeError },
    /// The pool's work follows rules that this software does not know; `None` if it does no longer.
    RulesVersionNeeded {
        needed: Option<u8>,
        /// The newest version that this software knows.
        known: u8,
    },
    /// A block of this node cannot be announced to peers.
    BlockNotAnnounced { height: BlockHeight, error: TooLong },
    /// The peers' clocks disagree with this machine's.
    ClockOff {
        /// Seconds that it is ahead.
        ahead_s: i64,
    },
    /// This machine's clock is so wrong that miners get no work; `None` if it no longer is.
    ClockFault(Option<ClockFault>),
    /// By a clock that was set back, or by the right one after a start, shares have times in the future: they wait again.
    SharesEarly {
        shares: usize,
        /// The last share that has not.
        tip: Option<ShareId>,
        /// Seconds until the last of them is due.
        for_s: u32,
    },
    /// This machine's clock was set.
    ClockSet {
        /// Seconds that it was moved forward.
        by_s: i64,
    },
    /// The disk refuses shares.
    StoreFailing {
        /// Shares that wait in memory.
        shares: usize,
        for_s: u32,
        cause: String,
    },
    /// The disk takes shares again.
    StoreRecovered {
        /// Shares that waited and are saved now.
        shares: usize,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LookingForPeers | Self::NoPeerYet => {
                write!(f, "no peer yet: work withheld until one is synced, or for {SOLO_AFTER_S} s")
            }
            Self::LastPeerGone => f.write_str("no synced peer left, mining continues solo"),
            Self::MiningSolo { looks_for_peers, has_work } => {
                let once = if *has_work { "" } else { " once bitcoind gives work" };
                if *looks_for_peers {
                    write!(
                        f,
                        "no peer reachable, mining solo{once} until one is: a block found meanwhile pays the miners \
                         whose shares this node holds"
                    )
                } else {
                    write!(f, "no way to find peers configured, mining solo{once} until one connects")
                }
            }
            Self::Syncing => {
                f.write_str("syncing: comparing the sharechain with the peers' and fetching missing shares")
            }
            Self::Synced { peers, height } => match height {
                Some(height) => write!(f, "synced with {peers} peers at share height {height}"),
                None => write!(f, "synced with {peers} peers, the sharechain is empty"),
            },
            Self::Fetching(progress) => {
                let Progress { done, total, rate_per_s, eta_s } = progress;
                write!(f, "fetching shares: {done} of {total}, {rate_per_s:.0} per second, time left: ")?;
                match eta_s {
                    Some(eta_s) => write!(f, "{eta_s} s"),
                    None => f.write_str("unknown"),
                }
            }
            Self::CandidateJudged(outcome) => write!(f, "candidate chain of peers judged: {outcome:?}"),
            Self::Reorganised { old, new, depth } => write!(
                f,
                "sharechain reorganised to a heavier chain: old tip {old}, new tip {new}, {depth} shares left behind"
            ),
            Self::NewTip(id) => write!(f, "new tip: share {id}"),
            Self::ShareVerdict { id, source, verdict } => write!(f, "share {id} from {source}: {verdict:?}"),
            Self::OwnShareRejected { id, rule, why } => {
                write!(f, "own share rejected: {id} breaks rule {}: {why}", *rule as u8)
            }
            Self::OwnShareLost(id) => write!(f, "own share lost: {id} could not be verified in time"),
            Self::JobFailed(error) => write!(f, "no job: {error}"),
            Self::NoWindow(error) => write!(f, "no job: {error}"),
            Self::TemplateTooLow { height, min } => write!(
                f,
                "no work: bitcoind's template is for block {height}, but shares below block {min} no longer count"
            ),
            Self::BlockReassembled { id, height } => write!(f, "peer found Bitcoin block {id} at height {height}"),
            Self::BlockIncomplete(id) => {
                write!(f, "peer's Bitcoin block {id} given up: no peer has its missing transactions")
            }
            Self::BlockUnlinked(id) => write!(f, "peer's Bitcoin block {id} given up: its parent is unknown or not on the best chain"),
            Self::BlockInvalid { peer, error } => write!(f, "peer {peer} announced an invalid Bitcoin block: {error}"),
            Self::HeaderInvalid { peer, fault } => write!(f, "peer {peer} sent an invalid Bitcoin header: {fault}"),
            Self::EnvelopeInvalid { peer, error } => write!(f, "peer {peer} sent an invalid envelope: {error}"),
            Self::RulesVersionNeeded { needed: Some(needed), known } => write!(
                f,
                "OUTDATED SOFTWARE: the pool follows version {needed} of the rules, this software knows {known}; miners \
                 are disconnected, because their work would not be paid: update p2pool"
            ),
            Self::RulesVersionNeeded { needed: None, known } => {
                write!(f, "the pool follows version {known} of the rules again, mining resumes")
            }
            Self::BlockNotAnnounced { height, error } => {
                write!(f, "own block at height {height} not announced to peers: {error}")
            }
            Self::ClockOff { ahead_s } => {
                let relation = if *ahead_s < 0 { "behind" } else { "ahead of" };
                write!(f, "system clock is off: {} s {relation} the peers'; set it (NTP)", ahead_s.unsigned_abs())
            }
            Self::ClockFault(Some(fault)) => {
                write!(f, "SYSTEM CLOCK IS WRONG: no work for miners until it is set (NTP): it is {fault}")
            }
            Self::ClockFault(None) => f.write_str("system clock agrees with bitcoind's again"),
            Self::SharesEarly { shares, tip, for_s } => {
                write!(f, "{shares} shares are from the future, as the clock was ahead: deferred for up to {for_s} s, ")?;
                match tip {
                    Some(tip) => write!(f, "the pool continues at share {tip}"),
                    None => f.write_str("the sharechain starts again with a genesis share"),
                }
            }
            Self::ClockSet { by_s } => write!(f, "system clock was set by {by_s} s"),
            Self::StoreFailing { shares, for_s, cause } => write!(
                f,
                "SHARES ARE NOT STORED: {shares} wait in memory, for {for_s} s now, and are lost with this process \
                 unless peers have them; free disk space: {cause}"
            ),
            Self::StoreRecovered { shares } => {
                write!(f, "share store writable again, backlog of {shares} shares saved")
            }
        }
    }
}
