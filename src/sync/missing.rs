//! Single shares that are missing: parents and uncles of gossiped shares.

use std::collections::BTreeMap;

use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::units::SteadyTime;

/// Missing shares tracked at once. When more are missing, a whole chain is, which a plan fetches.
pub(super) const MISSING_MAX: usize = 128;
/// Number of peers that one share is requested from before a pause.
const ATTEMPTS_MAX: usize = 3;
/// A share that no peer had, or that was given and is not linked, may be requested again after this many seconds.
const RETRY_S: u32 = 30;

#[derive(Debug)]
struct Missing {
    /// The peer that sent the orphan; the first request goes to it.
    sender: Option<PeerHandle>,
    /// The peers that it was requested from.
    tried: Vec<PeerHandle>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due,
    InFlight,
    /// No peer had it, or one gave it and it waits for something itself; it is forgotten then.
    Settled(SteadyTime),
}

/// The missing shares.
#[derive(Debug, Default)]
pub(super) struct MissingShares(BTreeMap<ShareId, Missing>);

impl MissingShares {
    /// Number of shares tracked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tracks a share, unless it is tracked already or too many are. Returns whether it is new.
    pub fn add(&mut self, id: ShareId, sender: Option<PeerHandle>) -> bool {
        let is_new = self.0.len() < MISSING_MAX && !self.0.contains_key(&id);
        if is_new {
            self.0.insert(id, Missing { sender, tried: Vec::new(), state: State::Due });
        }
        is_new
    }

    /// Chooses the next share to request and one of these peers for it, and marks the share as in flight.
    pub fn next(&mut self, peers: &[PeerHandle], now: SteadyTime) -> Option<(ShareId, PeerHandle)> {
        for (id, missing) in self.0.iter_mut().filter(|(_, missing)| missing.state == State::Due) {
            let is_new = |peer: &PeerHandle| !missing.tried.contains(peer);
            let sender = missing.sender.filter(|sender| peers.contains(sender) && is_new(sender));
            let peer = sender.or_else(|| peers.iter().copied().find(is_new));
            match peer.filter(|_| missing.tried.len() < ATTEMPTS_MAX) {
                Some(peer) => {
                    missing.tried.push(peer);
                    missing.state = State::InFlight;
                    return Some((*id, peer));
                }
                None => missing.state = State::Settled(now.plus(RETRY_S)),
            }
        }
        None
    }

    /// A peer did not give the share.
    pub fn failed(&mut self, id: &ShareId) {
        if let Some(missing) = self.0.get_mut(id) {
            missing.state = State::Due;
        }
    }

    /// A peer gave the share. Until it is linked, the shares that wait for it go on requesting it.
    pub fn given(&mut self, id: &ShareId, now: SteadyTime) {
        if let Some(missing) = self.0.get_mut(id) {
            missing.state = State::Settled(now.plus(RETRY_S));
        }
    }

    /// A copy of the share was rejected: other peers may have the true one.
    pub fn rejected(&mut self, id: &ShareId) {
        if let Some(missing) = self.0.get_mut(id).filter(|missing| matches!(missing.state, State::Settled(_))) {
            missing.state = State::Due;
        }
    }

    /// The share was linked.
    pub fn remove(&mut self, id: &ShareId) {
        self.0.remove(id);
    }

    /// Forgets shares that were settled long enough ago.
    pub fn tick(&mut self, now: SteadyTime) {
        self.0.retain(|_, missing| !matches!(missing.state, State::Settled(until) if until <= now));
    }
}
