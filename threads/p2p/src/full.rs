//! A word to peers: "my inbound slots are full". It has a protocol of its own, without content.
//!
//! A peer that is turned away hears it on the connection that is about to close, so its operator learns why. Connected peers hear
//! it now and then while others are turned away: those with enough other peers leave.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::Endpoint;
use libp2p::swarm::handler::{ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

/// What happened on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullReport {
    /// The peer says that it is full.
    Heard,
    /// The peer has heard that this node is, or cannot.
    Said,
}

/// Says it and hears it on one connection.
pub struct FullHandler {
    protocol: StreamProtocol,
    is_to_be_said: bool,
    reports: VecDeque<FullReport>,
}

impl FullHandler {
    /// `is_to_be_said`: at once.
    pub fn new(protocol: StreamProtocol, is_to_be_said: bool) -> Self {
        Self { protocol, is_to_be_said, reports: VecDeque::new() }
    }

    /// Reports something, once until it has been taken.
    fn report(&mut self, report: FullReport) {
        if !self.reports.contains(&report) {
            self.reports.push_back(report);
        }
    }
}

impl ConnectionHandler for FullHandler {
    /// It is to be said.
    type FromBehaviour = ();
    type ToBehaviour = FullReport;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        if std::mem::take(&mut self.is_to_be_said) {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, (): ()) {
        self.is_to_be_said = true;
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            // The streams have done their duty, and are dropped.
            ConnectionEvent::FullyNegotiatedInbound(_) => self.report(FullReport::Heard),
            ConnectionEvent::FullyNegotiatedOutbound(_) | ConnectionEvent::DialUpgradeError(_) => {
                self.report(FullReport::Said);
            }
            _ => {}
        }
    }
}

/// An event of [`Full`].
#[derive(Debug)]
pub struct FullEvent {
    pub peer: PeerId,
    pub report: FullReport,
}

/// Says it and hears it on all connections.
pub struct Full {
    protocol: StreamProtocol,
    /// At most one for each connection until it has been said.
    events: VecDeque<ToSwarm<FullEvent, ()>>,
}

impl Full {
    pub fn new(protocol: StreamProtocol) -> Self {
        Self { protocol, events: VecDeque::new() }
    }

    /// Says to a connected peer that this node is full.
    pub fn say(&mut self, peer_id: PeerId) {
        self.events.push_back(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event: () });
    }
}

impl NetworkBehaviour for Full {
    type ConnectionHandler = FullHandler;
    type ToSwarm = FullEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(FullHandler::new(self.protocol.clone(), false))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(FullHandler::new(self.protocol.clone(), false))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, report: THandlerOutEvent<Self>) {
        self.events.push_back(ToSwarm::GenerateEvent(FullEvent { peer, report }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<FullEvent, THandlerInEvent<Self>>> {
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
