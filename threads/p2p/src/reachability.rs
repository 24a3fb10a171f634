//! Decides whether this node is reachable, and which peers relay for it while it is not. Pure: time is an argument, and the
//! caller acts.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::Netgroup;
use p2pool_core::status::Reachability;

/// Peers that relay for a node that is not reachable: one may end without cutting it off, and more would only take up places.
pub const RELAYS_WANTED: usize = 3;
/// Peers that a node which is not reachable has because a relay named them. They make the gossip independent of the few nodes
/// that are reachable; many would be a burden to the relays, and a relay chooses who they are.
pub const NAMED_WANTED: usize = 4;
/// Time before a peer that did not relay is asked again.
const RELAY_RETRY: Duration = Duration::from_secs(600);
/// Time between questions for others that a relay relays for.
const NAMES_INTERVAL: Duration = Duration::from_secs(30);
/// Peers that a relay names at once.
const NAMES_MAX: usize = 8;
/// Bytes of a peer id: the multihash of an Ed25519 key, the only kind that nodes make.
const ID_LEN: usize = 38;
/// Bytes of a response with names.
pub const NAMES_LEN_MAX: usize = NAMES_MAX * ID_LEN;
/// Time for which an inbound connection from the Internet shows that this node is reachable. A node that all others
/// dial and that dials none, such as the first bootnode, knows it by nothing else.
const INBOUND_PROOF_TIME: Duration = Duration::from_secs(6 * 3_600);

/// A peer that may relay for this node.
#[derive(Clone, Debug)]
pub struct RelayCandidate {
    pub id: PeerId,
    pub address: Multiaddr,
    pub netgroup: Option<Netgroup>,
}

/// A peer that was asked to relay for this node.
#[derive(Debug)]
struct Relay {
    /// `None` once it has refused or ended.
    listener: Option<ListenerId>,
    address: Multiaddr,
    netgroup: Option<Netgroup>,
    /// Addresses that it has given this node; 0 before it has agreed.
    addresses: u32,
    asked_at: Instant,
}

/// What is known of this node's reachability.
#[derive(Debug, Default)]
pub struct ReachState {
    /// The operator says that this node is reachable.
    is_assured: bool,
    /// Whether this node is reachable, and how, is found out.
    finds_out: bool,
    /// The router forwards the port, by UPnP.
    pub is_mapped: bool,
    /// The result of the last tests.
    tested: Option<bool>,
    /// When a peer on the Internet connected to this node last.
    inbound_at: Option<Instant>,
    /// Addresses that are announced because of tests and inbound connections.
    pub announced: Vec<Multiaddr>,
    relays: HashMap<PeerId, Relay>,
    /// Connected peers that relay for others.
    offers: HashSet<PeerId>,
    /// Connected peers that this node relays for.
    relayed_for: HashSet<PeerId>,
    names_asked_at: Option<Instant>,
    names_asked: usize,
    /// The addresses at which peers that this node dialled see it.
    observed: HashMap<PeerId, IpAddr>,
    /// What was last reported.
    reported: Option<Reachability>,
}

impl ReachState {
    /// Nothing is known but what the operator says. `finds_out` is false for a node behind a proxy, and for one that does not
    /// listen: it neither tests anything nor has itself relayed.
    pub fn new(is_assured: bool, finds_out: bool) -> Self {
        Self { is_assured, finds_out, ..Self::default() }
    }

    /// Whether this node is reachable, and how, is found out.
    pub const fn finds_out(&self) -> bool {
        self.finds_out
    }

    /// Whether this node is reachable; `None` if it is not known.
    pub fn is_reachable(&self, now: Instant) -> Option<bool> {
        let has_proof = self.inbound_at.is_some_and(|at| now.duration_since(at) < INBOUND_PROOF_TIME);
        if self.is_assured || has_proof {
            return Some(true);
        }
        if self.finds_out {
            self.tested
        } else {
            Some(false)
        }
    }

    /// Notes the address at which a peer that this node dialled sees it.
    pub fn observed(&mut self, peer: PeerId, ip: IpAddr) {
        self.observed.insert(peer, ip);
    }

    /// Whether an address that a test by this peer has shown to be reachable can be this node's: if there are others that this
    /// node dialled, one of them must see it there. One peer alone could have others sent anywhere.
    pub fn is_confirmed(&self, tester: &PeerId, ip: IpAddr) -> bool {
        let mut others = self.observed.iter().filter(|(peer, _)| *peer != tester).map(|(_, seen)| *seen).peekable();
        others.peek().is_none() || others.any(|seen| seen == ip)
    }

    /// Notes the result of tests.
    pub const fn tested(&mut self, is_reachable: Option<bool>) {
        self.tested = is_reachable;
    }

    /// Notes a connection from the Internet to an address of this machine on the Internet.
    pub const fn inbound(&mut self, now: Instant) {
        self.inbound_at = Some(now);
    }

    pub fn reachability(&self, now: Instant) -> Reachability {
        match self.is_reachable(now) {
            Some(true) => Reachability::Reachable,
            Some(false) if self.relays() > 0 => Reachability::Relayed,
            Some(false) => Reachability::OutboundOnly,
            None => Reachability::Unknown,
        }
    }

    /// Returns the reachability if it has changed since the last call.
    pub fn take_changed(&mut self, now: Instant) -> Option<Reachability> {
        let reachability = self.reachability(now);
        (self.reported.replace(reachability) != Some(reachability)).then_some(reachability)
    }

    /// Number of peers that relay for this node.
    pub fn relays(&self) -> usize {
        self.relays.values().filter(|relay| relay.listener.is_some() && relay.addresses > 0).count()
    }

    /// Number of peers that this node relays for.
    pub fn relayed_for(&self) -> usize {
        self.relayed_for.len()
    }

    /// Notes whether a connected peer relays for others.
    pub fn set_offer(&mut self, peer: PeerId, is_relay: bool) {
        if is_relay {
            self.offers.insert(peer);
        } else {
            self.offers.remove(&peer);
        }
    }

    /// Whether a connected peer relays for others.
    pub fn offers(&self, peer: &PeerId) -> bool {
        self.offers.contains(peer)
    }

    /// Forgets a peer whose connection has ended, with what was agreed on it.
    pub fn disconnected(&mut self, peer: &PeerId) {
        self.observed.remove(peer);
        self.offers.remove(peer);
        self.relayed_for.remove(peer);
    }

    /// Notes that this node relays for a peer.
    pub fn relay_for(&mut self, peer: PeerId) {
        self.relayed_for.insert(peer);
    }

    /// Returns the peers to be asked to relay, those of other netgroups than the present relays first.
    pub fn wanted_relays(&self, candidates: Vec<RelayCandidate>, now: Instant) -> Vec<RelayCandidate> {
        if !self.finds_out || self.is_reachable(now) != Some(false) {
            return Vec::new();
        }
        let active = |relay: &&Relay| relay.listener.is_some();
        let mut netgroups: HashSet<Netgroup> =
            self.relays.values().filter(active).filter_map(|relay| relay.netgroup).collect();
        let missing = RELAYS_WANTED.saturating_sub(self.relays.values().filter(active).count());
        let is_free = |candidate: &RelayCandidate| {
            self.relays
                .get(&candidate.id)
                .is_none_or(|relay| relay.listener.is_none() && now.duration_since(relay.asked_at) >= RELAY_RETRY)
        };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for candidate in candidates.into_iter().filter(is_free) {
            let is_new = candidate.netgroup.is_none_or(|netgroup| netgroups.insert(netgroup));
            if is_new { &mut first } else { &mut second }.push(candidate);
        }
        first.extend(second);
        first.truncate(missing);
        first
    }

    /// Notes that a peer was asked to relay; `listener` is `None` if that failed at once.
    pub fn relay_asked(&mut self, relay: RelayCandidate, listener: Option<ListenerId>, now: Instant) {
        let RelayCandidate { id, address, netgroup } = relay;
        self.relays.retain(|_, relay| relay.listener.is_some() || now.duration_since(relay.asked_at) < RELAY_RETRY);
        self.relays.insert(id, Relay { listener, address, netgroup, addresses: 0, asked_at: now });
    }

    /// Notes an address through a relay. Returns the relay and how many addresses it has given.
    pub fn relay_agreed(&mut self, listener: ListenerId) -> Option<(PeerId, u32)> {
        let (id, relay) = self.relays.iter_mut().find(|(_, relay)| relay.listener == Some(listener))?;
        relay.addresses += 1;
        Some((*id, relay.addresses))
    }

    /// Notes that a relay has refused or ended. It may be asked again at once if it had agreed: its connection has ended.
    pub fn relay_ended(&mut self, listener: ListenerId) -> bool {
        let Some((id, relay)) = self.relays.iter_mut().find(|(_, relay)| relay.listener == Some(listener)) else {
            return false;
        };
        relay.listener = None;
        if relay.addresses > 0 {
            let id = *id;
            self.relays.remove(&id);
        }
        true
    }

    /// Returns the relay to be asked for the names of others, if it is due; `named` is the number of peers that are connected
    /// because a relay named them.
    pub fn names_due(&mut self, named: usize, now: Instant) -> Option<PeerId> {
        if named >= NAMED_WANTED || self.is_reachable(now) != Some(false) {
            return None;
        }
        if self.names_asked_at.is_some_and(|at| now.duration_since(at) < NAMES_INTERVAL) {
            return None;
        }
        let agreed = self.relays.iter().filter(|(_, relay)| relay.listener.is_some() && relay.addresses > 0);
        let mut agreed: Vec<PeerId> = agreed.map(|(id, _)| *id).collect();
        agreed.sort_unstable();
        let relay = *agreed.get(self.names_asked.checked_rem(agreed.len())?)?;
        self.names_asked_at = Some(now);
        self.names_asked = self.names_asked.wrapping_add(1);
        Some(relay)
    }

    /// Returns the addresses through a relay of the peers that it has named.
    pub fn named(&self, relay: &PeerId, response: &[u8]) -> Vec<(PeerId, Multiaddr)> {
        let Some(Relay { address, .. }) = self.relays.get(relay) else { return Vec::new() };
        let ids = response.chunks_exact(ID_LEN).take(NAMES_MAX).filter_map(|bytes| PeerId::from_bytes(bytes).ok());
        let through = |id| Some((id, circuit(address, relay).with_p2p(id).ok()?));
        ids.filter_map(through).collect()
    }

    /// Returns the names of peers that this node relays for, for one of them; empty for others. `random` chooses which.
    pub fn names_for(&self, peer: &PeerId, random: u64) -> Vec<u8> {
        if !self.relayed_for.contains(peer) {
            return Vec::new();
        }
        let others = self.relayed_for.iter().filter(|other| *other != peer).map(|id| id.to_bytes());
        let mut others: Vec<Vec<u8>> = others.filter(|bytes| bytes.len() == ID_LEN).collect();
        others.sort_unstable();
        if !others.is_empty() {
            let first = (random % others.len() as u64) as usize;
            others.rotate_left(first);
        }
        others.truncate(NAMES_MAX);
        others.concat()
    }
}

/// Returns the address of what a relay at `address` relays to.
pub fn circuit(address: &Multiaddr, relay: &PeerId) -> Multiaddr {
    use libp2p::multiaddr::Protocol;
    address.clone().with(Protocol::P2p(*relay)).with(Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: u8) -> RelayCandidate {
        RelayCandidate {
            id: PeerId::random(),
            address: format!("/ip4/20.0.{number}.1/tcp/9171").parse().unwrap(),
            netgroup: Netgroup::of(format!("20.0.{number}.1").parse().unwrap()),
        }
    }

    fn unreachable() -> ReachState {
        let mut state = ReachState::new(false, true);
        state.tested(Some(false));
        state
    }

    /// A node that relays for itself through these.
    fn relayed_by(relays: &[RelayCandidate], now: Instant) -> (ReachState, Vec<ListenerId>) {
        let mut state = unreachable();
        let listeners: Vec<ListenerId> = relays.iter().map(|_| ListenerId::next()).collect();
        for (relay, listener) in relays.iter().zip(&listeners) {
            state.relay_asked(relay.clone(), Some(*listener), now);
            assert_eq!(state.relay_agreed(*listener), Some((relay.id, 1)));
        }
        (state, listeners)
    }

    #[test]
    fn tests_the_operator_and_inbound_connections_show_reachability() {
        let (mut state, now) = (ReachState::new(false, true), Instant::now());
        assert_eq!(state.reachability(now), Reachability::Unknown);
        state.tested(Some(false));
        assert_eq!(state.reachability(now), Reachability::OutboundOnly);
        state.inbound(now);
        assert_eq!(state.reachability(now), Reachability::Reachable);
        assert_eq!(state.reachability(now + INBOUND_PROOF_TIME), Reachability::OutboundOnly);
        state.tested(Some(true));
        assert_eq!(state.reachability(now + INBOUND_PROOF_TIME), Reachability::Reachable);
        assert_eq!(ReachState::new(true, false).reachability(now), Reachability::Reachable);
        assert_eq!(ReachState::new(false, false).reachability(now), Reachability::OutboundOnly);
        assert_eq!(state.take_changed(now), Some(Reachability::Reachable));
        assert_eq!(state.take_changed(now), None);
    }

    #[test]
    fn one_peer_alone_does_not_choose_the_announced_address() {
        let (mut state, tester, other) = (ReachState::new(false, true), PeerId::random(), PeerId::random());
        let (ours, false_one) = (IpAddr::from([20, 0, 0, 1]), IpAddr::from([20, 0, 0, 2]));
        state.observed(tester, false_one);
        assert!(state.is_confirmed(&tester, false_one), "there is no other peer");
        state.observed(other, ours);
        assert!(!state.is_confirmed(&tester, false_one));
        assert!(state.is_confirmed(&tester, ours));
        state.disconnected(&other);
        assert!(state.is_confirmed(&tester, false_one));
    }

    #[test]
    fn three_relays_of_different_netgroups_are_wanted_while_a_node_is_not_reachable() {
        let now = Instant::now();
        let candidates = vec![candidate(1), candidate(1), candidate(2), candidate(3)];
        let ids = |wanted: Vec<RelayCandidate>| wanted.iter().map(|relay| relay.id).collect::<Vec<_>>();
        let expected = [candidates[0].id, candidates[2].id, candidates[3].id];
        assert_eq!(ids(unreachable().wanted_relays(candidates.clone(), now)), expected);
        assert!(ReachState::new(false, false).wanted_relays(candidates.clone(), now).is_empty(), "it has a proxy");
        let mut reachable = unreachable();
        reachable.tested(Some(true));
        assert!(reachable.wanted_relays(candidates.clone(), now).is_empty());
        assert!(ReachState::new(false, true).wanted_relays(candidates.clone(), now).is_empty(), "it is not known");
        let (state, _) = relayed_by(&candidates[..2], now);
        assert_eq!(ids(state.wanted_relays(candidates.clone(), now)), [candidates[2].id]);
    }

    #[test]
    fn a_relay_that_ended_is_asked_again_at_once_and_one_that_refused_later() {
        let (now, relay) = (Instant::now(), candidate(1));
        let (mut state, listeners) = relayed_by(std::slice::from_ref(&relay), now);
        assert_eq!(state.reachability(now), Reachability::Relayed);
        assert!(state.relay_ended(listeners[0]) && !state.relay_ended(listeners[0]));
        assert_eq!(state.relays(), 0);
        assert_eq!(state.wanted_relays(vec![relay.clone()], now).len(), 1);
        let listener = ListenerId::next();
        state.relay_asked(relay.clone(), Some(listener), now);
        assert!(state.relay_ended(listener));
        assert!(state.wanted_relays(vec![relay.clone()], now).is_empty());
        assert_eq!(state.wanted_relays(vec![relay], now + RELAY_RETRY).len(), 1);
    }

    #[test]
    fn relays_are_asked_for_names_in_turn_until_there_are_enough_peers() {
        let now = Instant::now();
        let (mut state, _) = relayed_by(&[candidate(1), candidate(2)], now);
        let first = state.names_due(0, now).unwrap();
        assert_eq!(state.names_due(0, now), None, "just asked");
        let second = state.names_due(0, now + NAMES_INTERVAL).unwrap();
        assert_ne!(first, second);
        assert_eq!(state.names_due(NAMED_WANTED, now + 2 * NAMES_INTERVAL), None);
        assert_eq!(unreachable().names_due(0, now), None);
    }

    #[test]
    fn a_relay_names_few_peers_and_only_to_those_that_it_relays_for() {
        let (mut relay, now, us) = (ReachState::new(true, true), Instant::now(), candidate(1));
        let ed25519 = || libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
        let others: Vec<PeerId> = (0..20).map(|_| ed25519()).collect();
        let asking = ed25519();
        others.iter().for_each(|other| relay.relay_for(*other));
        assert!(relay.names_for(&asking, 0).is_empty());
        relay.relay_for(asking);
        let (state, _) = relayed_by(std::slice::from_ref(&us), now);
        let mut seen = HashSet::new();
        for random in 0..20 {
            let names = relay.names_for(&asking, random);
            assert_eq!(names.len(), NAMES_LEN_MAX);
            let named = state.named(&us.id, &names);
            assert_eq!(named.len(), NAMES_MAX);
            for (id, address) in named {
                assert!(id != asking && others.contains(&id));
                assert_eq!(address.to_string(), format!("{}/p2p/{}/p2p-circuit/p2p/{id}", us.address, us.id));
                seen.insert(id);
            }
        }
        assert_eq!(seen.len(), others.len());
        assert!(state.named(&PeerId::random(), &relay.names_for(&asking, 0)).is_empty(), "no relay of this node");
        assert!(state.named(&us.id, &[7; 100]).is_empty());
        relay.disconnected(&asking);
        assert!(relay.names_for(&asking, 0).is_empty());
    }
}
