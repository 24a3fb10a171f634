//! Missing shares that others need: parents and uncles of what was gossiped.

use std::collections::BTreeMap;

use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::units::SteadyTime;

/// Shares that are looked for at once; more are missing only when a whole chain is, which a plan fetches.
pub(super) const SINGLES_MAX: usize = 128;
/// Peers that are asked for one share before a pause.
const ASKED_MAX: usize = 3;
/// Seconds after which a share that nobody had may be looked for again.
const PAUSE_S: u32 = 30;

#[derive(Debug)]
struct Missing {
    /// Who sent what needs it: asked first.
    sender: Option<PeerHandle>,
    asked: Vec<PeerHandle>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ToAsk,
    InFlight,
    Paused(SteadyTime),
}

/// The shares looked for.
#[derive(Debug, Default)]
pub(super) struct MissingShares(BTreeMap<ShareId, Missing>);

impl MissingShares {
    /// Number of shares looked for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Looks for a share, unless it is looked for already or too many are. Returns whether it is new.
    pub fn add(&mut self, id: ShareId, sender: Option<PeerHandle>) -> bool {
        let is_new = self.0.len() < SINGLES_MAX && !self.0.contains_key(&id);
        if is_new {
            self.0.insert(id, Missing { sender, asked: Vec::new(), state: State::ToAsk });
        }
        is_new
    }

    /// Purpose to ask of whom; counts as asked.
    pub fn next(&mut self, peers: &[PeerHandle], now: SteadyTime) -> Option<(ShareId, PeerHandle)> {
        for (id, single) in self.0.iter_mut().filter(|(_, single)| single.state == State::ToAsk) {
            let is_new = |peer: &PeerHandle| !single.asked.contains(peer);
            let sender = single.sender.filter(|sender| peers.contains(sender) && is_new(sender));
            let peer = sender.or_else(|| peers.iter().copied().find(is_new));
            match peer.filter(|_| single.asked.len() < ASKED_MAX) {
                Some(peer) => {
                    single.asked.push(peer);
                    single.state = State::InFlight;
                    return Some((*id, peer));
                }
                None => single.state = State::Paused(now.plus(PAUSE_S)),
            }
        }
        None
    }

    /// A peer did not give it.
    pub fn failed(&mut self, id: &ShareId) {
        if let Some(single) = self.0.get_mut(id) {
            single.state = State::ToAsk;
        }
    }

    /// It came, or is not needed any more.
    pub fn remove(&mut self, id: &ShareId) {
        self.0.remove(id);
    }

    /// Forgets what nobody had, so that it can be looked for again.
    pub fn tick(&mut self, now: SteadyTime) {
        self.0.retain(|_, single| !matches!(single.state, State::Paused(until) if until <= now));
    }
}
