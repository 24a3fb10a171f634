//! Does what the operator wants.

use std::time::Instant;

use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use log::{info, warn};

use super::SwarmDriver;
use crate::address::split_peer_id;
use crate::order::Order;

impl SwarmDriver {
    /// Handles a command of the operator, and publishes the new state at once.
    pub fn on_order(&mut self, order: Order) {
        let (time, now) = (self.time(), Instant::now());
        match order {
            Order::Ban { subject, length_s } => {
                info!("{subject} banned for {} h: by the operator", length_s / 3_600);
                self.swarm.behaviour_mut().gater.bans.ban_by_operator(subject, length_s, time);
                self.bans_file.expedite();
                self.disconnect_banned();
            }
            Order::Unban(subject) => {
                let what = subject.map_or_else(|| "all bans".to_owned(), |subject| format!("ban of {subject}"));
                info!("{what} lifted: by the operator");
                self.swarm.behaviour_mut().gater.bans.lift(subject);
                self.bans_file.expedite();
            }
            Order::Connect(address) => self.connect(address),
            Order::Disconnect(id) => {
                info!("peer {id} disconnected: by the operator");
                self.dialer.leave_alone(&id, now);
                self.disconnect(id);
            }
        }
        self.publish(now);
    }

    fn connect(&mut self, address: Multiaddr) {
        let opts = match split_peer_id(address.clone()) {
            Some((peer, address)) => DialOpts::peer_id(peer).addresses(vec![address]).build(),
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => drop(self.ordered.insert(connection, address)),
            Err(error) => warn!("{address} not connected for the operator: {error}"),
        }
    }

    /// Notes the end of a dial, perhaps for the operator.
    pub(super) fn ordered_ended(&mut self, connection: ConnectionId, result: Result<PeerId, &dyn std::fmt::Display>) {
        let Some(address) = self.ordered.remove(&connection) else { return };
        match result {
            Ok(id) => info!("{address} connected for the operator: peer {id}"),
            Err(error) => warn!("{address} not connected for the operator: {error}"),
        }
    }
}
