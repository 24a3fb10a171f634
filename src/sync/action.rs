//! Purpose the planner asks its owner to do, and what it says of itself.

use std::sync::Arc;

use crate::peer::{PeerHandle, RequestId};
use crate::share::Share;
use crate::sharechain::CandidateId;
use crate::units::{SteadyTime, UnixTime};
use crate::wire::{Offence, Request};

/// Where shares that were fetched go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// To the sharechain ([`crate::sharechain::Sharechain::receive`]).
    Tree,
    /// To a chain kept candidate ([`crate::sharechain::Sharechain::receive_candidate`]).
    Candidate(CandidateId),
}

/// Purpose is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum SyncAction {
    /// Ask a peer.
    Request {
        /// Whom.
        peer: PeerHandle,
        /// Under this number the answer is expected.
        id: RequestId,
        /// Purpose.
        request: Request,
    },
    /// Start to keep a chain candidate ([`crate::sharechain::Sharechain::open_candidate`]).
    Open {
        /// Its number.
        candidate: CandidateId,
        /// Whether it grows from a share of ours.
        joined: bool,
    },
    /// Hand over shares, oldest first.
    Deliver {
        /// To what.
        route: Route,
        /// Who sent them.
        peer: PeerHandle,
        /// The shares.
        shares: Vec<Arc<Share>>,
    },
    /// A chain kept candidate is whole: judge it ([`crate::sharechain::Sharechain::finish_candidate`]).
    Finish(CandidateId),
    /// A chain kept candidate will never be whole: forget it ([`crate::sharechain::Sharechain::drop_candidate`]).
    Drop(CandidateId),
    /// A peer did something wrong.
    Penalize {
        /// Which peer.
        peer: PeerHandle,
        /// Purpose.
        offence: Offence,
    },
    /// How far the fetching has come; every few seconds while it goes on.
    Progress(Progress),
    /// Whether we are level with the others has changed.
    State(SyncState<SteadyTime>),
}

/// How far the fetching has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Shares fetched.
    pub done: u32,
    /// Shares to fetch in all, as far as is known.
    pub total: u32,
    /// Shares fetched each second since the start.
    pub rate_per_s: f64,
    /// Seconds it will still take at this rate.
    pub eta_s: Option<u32>,
}

/// Whether we are level with the others: by the steady clock as the planner has it, by the time of day for onlookers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState<Time = UnixTime> {
    /// No peer is connected that has said where it is, for less than a minute.
    NoPeers {
        /// Since when.
        since: Time,
        /// Whether we were was_synced with the others before they left.
        was_synced: bool,
    },
    /// No such peer has been connected for a minute: we mine alone.
    Solo {
        /// Since when none is connected.
        since: Time,
    },
    /// Peers are connected and have what we have not, or may have it.
    Syncing,
    /// We have what the connected peers have.
    Synced,
}

impl SyncState<SteadyTime> {
    /// Converts its moments to the time of day.
    pub fn published(self, time_of: impl FnOnce(SteadyTime) -> UnixTime) -> SyncState {
        match self {
            Self::NoPeers { since, was_synced } => SyncState::NoPeers { since: time_of(since), was_synced },
            Self::Solo { since } => SyncState::Solo { since: time_of(since) },
            Self::Syncing => SyncState::Syncing,
            Self::Synced => SyncState::Synced,
        }
    }
}

impl<Time: Copy> SyncState<Time> {
    /// Whether miners get jobs: not on a chain that reachable peers have left behind.
    pub const fn may_mine(self) -> bool {
        match self {
            Self::NoPeers { was_synced, .. } => was_synced,
            Self::Solo { .. } | Self::Synced => true,
            Self::Syncing => false,
        }
    }
}
