//! The planner's outputs, and the sync state.

use std::sync::Arc;

use crate::peer::{PeerHandle, RequestId};
use crate::share::Share;
use crate::sharechain::CandidateId;
use crate::units::{SteadyTime, UnixTime};
use crate::wire::{Misbehaviour, Request};

/// The destination of fetched shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Our chain ([`crate::sharechain::Sharechain::receive`]).
    Tree,
    /// A candidate chain ([`crate::sharechain::Sharechain::receive_candidate`]).
    Candidate(CandidateId),
}

/// One output of the planner.
#[derive(Clone, Debug, PartialEq)]
pub enum SyncAction {
    /// Send a request to a peer.
    Request {
        peer: PeerHandle,
        id: RequestId,
        request: Request,
    },
    /// Open a candidate chain ([`crate::sharechain::Sharechain::open_candidate`]).
    Open {
        candidate: CandidateId,
        /// Whether it grows from a share of ours.
        joined: bool,
    },
    /// Give shares fetched from this peer to the sharechain, oldest first.
    Deliver {
        route: Route,
        peer: PeerHandle,
        shares: Vec<Arc<Share>>,
    },
    /// Judge a candidate chain, which is complete ([`crate::sharechain::Sharechain::finish_candidate`]).
    Finish(CandidateId),
    /// Drop a candidate chain, which cannot be completed ([`crate::sharechain::Sharechain::drop_candidate`]).
    Drop(CandidateId),
    Penalize {
        peer: PeerHandle,
        misbehaviour: Misbehaviour,
    },
    /// Report the progress of fetching; every few seconds while it lasts.
    Progress(Progress),
    /// The sync state changed.
    State(SyncState<SteadyTime>),
}

/// Progress of fetching the longest list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Shares fetched.
    pub done: u32,
    /// Shares to fetch in all, as far as is known.
    pub total: u32,
    /// Shares fetched per second since the start.
    pub rate_per_s: f64,
    /// Remaining seconds at this rate; `None` before the first share.
    pub eta_s: Option<u32>,
}

/// Whether this node is synced with its peers. Moments are [`SteadyTime`] in the planner, and [`UnixTime`] when published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState<Time = UnixTime> {
    /// Since then no connected peer has reported its tip, for less than [`SOLO_AFTER_S`](super::SOLO_AFTER_S).
    NoPeers {
        since: Time,
        /// Whether this node was synced before the last such peer left.
        was_synced: bool,
    },
    /// Since then no connected peer has reported its tip, for longer than that: this node mines solo.
    Solo { since: Time },
    /// Connected peers have, or may have, shares that this node lacks, and it has not been synced since it started.
    Syncing,
    /// This node has what its peers have, or had it and fetches what they claim to have more.
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
    /// Whether miners get jobs. They get none before this node was synced, or has waited long enough for it.
    pub const fn may_mine(self) -> bool {
        match self {
            Self::NoPeers { was_synced, .. } => was_synced,
            Self::Solo { .. } | Self::Synced => true,
            Self::Syncing => false,
        }
    }
}
