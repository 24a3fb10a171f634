//! Keeps this node connected to the peers that the operator added.

use std::fmt::Display;
use std::time::Instant;

use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError};
use log::warn;

use super::SwarmDriver;

impl SwarmDriver {
    pub(super) fn dial_added(&mut self, now: Instant) {
        let mut failed: Vec<(ConnectionId, DialError)> = Vec::new();
        let Self { added, peers, swarm, .. } = self;
        let is_connected = |id: &_| peers.get(id).is_some();
        added.dial_due(now, is_connected, |address| {
            let opts = DialOpts::unknown_peer_id().address(address.clone()).build();
            let connection = opts.connection_id();
            swarm.behaviour_mut().gater.exempt.insert(connection);
            if let Err(error) = swarm.dial(opts) {
                failed.push((connection, error));
            }
            connection
        });
        for (connection, error) in failed {
            self.added_ended(connection, &error);
        }
    }

    /// Notes the end of a dial or of a connection, perhaps of an added peer.
    pub(super) fn added_ended(&mut self, connection: ConnectionId, why: &dyn Display) {
        if let Some(address) = self.added.ended(connection, Instant::now()) {
            warn!("added peer at {address} not connected, retrying: {why}");
        }
    }
}
