//! Other running nodes with this node's identity.

use std::time::Instant;

use libp2p::request_response::{self, Message};
use libp2p::PeerId;
use log::{debug, error, info};
use p2pool_core::status::DuplicateIdentity;

use super::SwarmDriver;
use crate::identity;
use crate::rate_limits::Action;

impl SwarmDriver {
    /// Exchanges statements with a peer.
    pub(super) fn send_statement(&mut self, to: &PeerId) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        let Some(left) = peer.statements_left.checked_sub(1) else { return };
        peer.statements_left = left;
        let statement = self.instance.statement();
        self.swarm.behaviour_mut().peers.inner.instance.send_request(to, statement);
    }

    pub(super) fn on_statement_event(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>) {
        let request_response::Event::Message { peer, message, .. } = event else {
            // Nodes of older versions do not support it.
            return log::trace!("instance: {event:?}");
        };
        let now = Instant::now();
        match message {
            Message::Request { request, channel, .. } => {
                if !self.may(&peer, Action::Identify) {
                    return;
                }
                let other = self.statements.exchange(peer, request, now);
                // Fails if the peer has disconnected.
                let _ = self.swarm.behaviour_mut().peers.inner.instance.send_response(channel, other);
            }
            Message::Response { response, .. } => {
                if self.instance.hear(&response, now) {
                    debug!("peer {peer} knows another instance of this node");
                    self.send_statement(&peer);
                }
            }
        }
    }

    /// Judges a statement from the local network.
    pub fn on_lan_statement(&mut self, statement: &[u8]) {
        if self.instance.hear(statement, Instant::now()) {
            debug!("another instance of this node is on the local network");
            if let Some(lan) = &mut self.lan {
                lan.send_soon();
            }
        }
    }

    /// Sends what is due, and reports when proof of another instance begins and ends.
    pub(super) fn check_identity(&mut self, now: Instant) {
        self.instance.tick(identity::random, now);
        let Self { lan, instance, .. } = self;
        if let Some(lan) = lan {
            lan.tick(|| instance.statement(), now);
        }
        let is_duplicated = instance.is_duplicated(now);
        if is_duplicated == self.duplicate.is_some() {
            return;
        }
        self.status_changed = true;
        self.metrics.identity_duplicated.set(is_duplicated.into());
        if !is_duplicated {
            self.duplicate = None;
            return info!("identity no longer used by another node");
        }
        let file = self.identity_file.display().to_string();
        error!(
            "IDENTITY USED TWICE: another running node has this node's identity, {}, so shares of both arrive late or never; \
             stop one of the two, delete its file {file} and start it again: it makes a new identity",
            self.swarm.local_peer_id()
        );
        self.duplicate = Some(DuplicateIdentity { since: self.time(), file });
    }
}
