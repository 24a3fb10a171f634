use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::core::Transport as _;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{noise, relay, StreamProtocol, Swarm, SwarmBuilder};

use super::*;

/// Timeout for what takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Encryption and streams over a transport.
macro_rules! upgraded {
    ($transport:expr, $key:expr) => {
        $transport
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new($key).unwrap())
            .multiplex(crate::muxer::Config::default())
            .map(|(peer, muxer): (PeerId, _), _| (peer, StreamMuxerBox::new(muxer)))
    };
}

fn swarm<B: NetworkBehaviour>(
    key: Keypair,
    transport: impl FnOnce(&Keypair) -> Boxed<(PeerId, StreamMuxerBox)>,
    behaviour: B,
) -> Swarm<B> {
    let builder = SwarmBuilder::with_existing_identity(key).with_tokio();
    let builder = builder.with_other_transport(|key| transport(key)).unwrap().with_behaviour(|_| behaviour);
    let idle = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(TIMEOUT);
    builder.unwrap_or_else(|never| match never {}).with_swarm_config(idle).build()
}

/// What a relay responds to a request for a reservation.
#[derive(Clone, Default)]
struct Hop;

impl request_response::Codec for Hop {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = vec![0; 100];
        let len = io.read(&mut bytes).await?;
        bytes.truncate(len);
        Ok(bytes)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, _: &mut T, _: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }
}

/// The protocol's message: a reservation at `address` that ends at the last second of 64 bits.
fn endless_reservation(address: &Multiaddr) -> Vec<u8> {
    let address = address.to_vec();
    let mut reservation = [&[0x08][..], &[0xff; 9], &[0x01, 0x12, address.len() as u8]].concat();
    reservation.extend(&address);
    let mut message = vec![0x08, 2, 0x1a, reservation.len() as u8];
    message.extend(reservation);
    message.extend([0x28, 100]);
    [&[message.len() as u8][..], &message].concat()
}

#[tokio::test]
async fn a_relay_whose_response_makes_the_library_panic_is_disconnected() {
    let protocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
    let hop = request_response::Behaviour::<Hop>::new([(protocol, ProtocolSupport::Inbound)], Default::default());
    let mut server = swarm(Keypair::generate_ed25519(), |key| upgraded!(MemoryTransport::default(), key).boxed(), hop);
    server.listen_on("/memory/0".parse().unwrap()).unwrap();
    let SwarmEvent::NewListenAddr { address, .. } = server.select_next_some().await else { panic!("not listening") };
    let address = address.with(Protocol::P2p(*server.local_peer_id()));
    let response = endless_reservation(&address);
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            }) = server.select_next_some().await
            {
                server.behaviour_mut().send_response(channel, response.clone()).unwrap();
            }
        }
    });

    let key = Keypair::generate_ed25519();
    let (transport, behaviour) = relay::client::new(key.public().to_peer_id());
    let transport = |key: &Keypair| {
        let relayed = upgraded!(transport, key);
        relayed.or_transport(upgraded!(MemoryTransport::default(), key)).map(|either, _| either.into_inner()).boxed()
    };
    let mut client = swarm(key, transport, Guarded::new(behaviour));
    client.dial(address.clone()).unwrap();
    let ended = async {
        loop {
            match client.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => {
                    client.listen_on(address.clone().with(Protocol::P2pCircuit)).unwrap();
                }
                SwarmEvent::ConnectionClosed { .. } => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(TIMEOUT, ended).await.expect("the connection ends");
    assert_eq!(client.connected_peers().count(), 0);
}
