//! A wrapper of behaviours whose connection handlers may panic on what a peer sends.
//!
//! tokio ends the task of a connection that panics, but the swarm is never notified, so the connection would be listed, and
//! hold its slot, until the program ends. libp2p-relay 0.22 panics when a relay promises a reservation that lasts longer than
//! the clock can express, libp2p-dcutr 0.15 at the 256th stream of a relayed connection. Here a panic ends the connection.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::swarm::handler::ConnectionEvent;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use log::warn;

/// A behaviour whose connections end when their handler panics.
pub struct Guarded<B> {
    pub inner: B,
    /// Connections to be closed.
    broken: VecDeque<(PeerId, ConnectionId)>,
}

impl<B> Guarded<B> {
    pub const fn new(inner: B) -> Self {
        Self { inner, broken: VecDeque::new() }
    }
}

/// A handler that is not called again after it has panicked.
pub struct GuardedHandler<H> {
    inner: H,
    state: HandlerState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandlerState {
    Working,
    /// It has panicked, which is not reported yet.
    Broken,
    Reported,
}

/// What a guarded handler reports.
#[derive(Debug)]
pub enum HandlerReport<E> {
    Inner(E),
    Panicked,
}

impl<H> GuardedHandler<H> {
    const fn new(inner: H) -> Self {
        Self { inner, state: HandlerState::Working }
    }

    /// Calls the handler; `None` if it panics, or has panicked before.
    fn call<R>(&mut self, call: impl FnOnce(&mut H) -> R) -> Option<R> {
        if self.state != HandlerState::Working {
            return None;
        }
        let result = catch_unwind(AssertUnwindSafe(|| call(&mut self.inner)));
        if result.is_err() {
            self.state = HandlerState::Broken;
        }
        result.ok()
    }
}

impl<H: ConnectionHandler> ConnectionHandler for GuardedHandler<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = HandlerReport<H::ToBehaviour>;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.state == HandlerState::Working && self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if let Some(polled) = self.call(|inner| inner.poll(cx)) {
            return polled.map(|event| event.map_custom(HandlerReport::Inner));
        }
        match self.state {
            HandlerState::Broken => {
                self.state = HandlerState::Reported;
                Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(HandlerReport::Panicked))
            }
            HandlerState::Working | HandlerState::Reported => Poll::Pending,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        let polled = self.call(|inner| inner.poll_close(cx)).unwrap_or(Poll::Ready(None));
        polled.map(|event| event.map(HandlerReport::Inner))
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.call(|inner| inner.on_behaviour_event(event));
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        self.call(|inner| inner.on_connection_event(event));
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Guarded<B> {
    type ConnectionHandler = GuardedHandler<B::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.inner.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(GuardedHandler::new(handler))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let handler = self.inner.handle_established_outbound_connection(connection, peer, address, role, port)?;
        Ok(GuardedHandler::new(handler))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            HandlerReport::Inner(event) => self.inner.on_connection_handler_event(peer, connection, event),
            HandlerReport::Panicked => {
                warn!("peer {peer} sent what a library cannot handle: disconnected");
                self.broken.push_back((peer, connection));
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.broken.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) });
        }
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests;
