//! Gives new streams more time on slow lines.
//!
//! libp2p lets the negotiation of a stream's protocol take 10 s. On a line with 140 kbit/s that is less than a long response takes
//! which is ahead of it.

use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::swarm::handler::ConnectionEvent;
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};

/// Time for the negotiation of a stream's protocol: as long as a request may take.
const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection handler whose streams have [`NEGOTIATION_TIMEOUT`].
pub struct SlowLineHandler<H>(pub H);

impl<H: ConnectionHandler> ConnectionHandler for SlowLineHandler<H> {
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.0.listen_protocol().with_timeout(NEGOTIATION_TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        self.0.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        self.0.poll(cx).map(|event| match event {
            ConnectionHandlerEvent::OutboundSubstreamRequest { protocol } => {
                let protocol = protocol.with_timeout(NEGOTIATION_TIMEOUT);
                ConnectionHandlerEvent::OutboundSubstreamRequest { protocol }
            }
            event => event,
        })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.0.poll_close(cx)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.0.on_behaviour_event(event);
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
        self.0.on_connection_event(event);
    }
}
