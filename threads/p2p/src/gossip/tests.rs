use libp2p::core::ConnectedPoint;
use libp2p::swarm::behaviour::ConnectionEstablished;
use p2pool_core::params::{ChainParams, Network};

use super::*;

fn gossip() -> Gossip {
    Gossip::new(&Names::new(&ChainParams::standard(Network::Regtest).chain_id()), TorAddresses::default()).unwrap()
}

/// Connects a new peer of the same netgroup as others.
fn connect(gossip: &mut Gossip) -> PeerId {
    let (peer, address): (_, Multiaddr) = (PeerId::random(), "/ip4/8.8.8.8/tcp/9171".parse().unwrap());
    let connection = ConnectionId::new_unchecked(gossip.senders.len());
    gossip.handle_established_inbound_connection(connection, peer, &address, &address).unwrap();
    gossip.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id: peer,
        connection_id: connection,
        endpoint: &ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address.clone() },
        failed_addresses: &[],
        other_established: 0,
    }));
    peer
}

/// Sends messages and returns how many of them were beyond the limits of the peer, and of its netgroup.
fn send(
    gossip: &mut Gossip,
    peer: PeerId,
    topic: &IdentTopic,
    numbers: impl Iterator<Item = u32>,
    now: Instant,
) -> [usize; 2] {
    let message = |number: u32| RawMessage {
        source: None,
        data: vec![number.to_be_bytes(); 100].concat(),
        sequence_number: None,
        topic: topic.hash(),
        signature: None,
        key: None,
        validated: false,
    };
    let mut messages: Vec<RawMessage> = numbers.map(message).collect();
    gossip.limit(peer, &mut messages, now);
    let of_own = |event: &GossipEvent| matches!(event, GossipEvent::Beyond { is_own: true, .. });
    let (own, others): (Vec<_>, Vec<_>) = gossip.events.drain(..).partition(of_own);
    let replaced = messages.iter().filter(|message| message.source.is_some() && message.data.len() == 32);
    assert_eq!(replaced.count(), own.len() + others.len());
    [own.len(), others.len()]
}

#[test]
fn what_a_peer_sends_counts_against_its_own_limit_if_its_netgroup_has_sent_too_much() {
    let (mut gossip, now) = (gossip(), Instant::now() + Duration::from_secs(1));
    for (topic, limit) in [(gossip.names.shares.clone(), 100), (gossip.names.blocks.clone(), 10)] {
        for number in 0..4 {
            let peer = connect(&mut gossip);
            assert_eq!(send(&mut gossip, peer, &topic, number * limit..(number + 1) * limit, now), [0, 0]);
        }
        let peer = connect(&mut gossip);
        let flood = send(&mut gossip, peer, &topic, 5 * limit..8 * limit, now);
        assert_eq!(flood, [2 * limit as usize, limit as usize]);
    }
}

#[test]
fn copies_of_a_message_cost_no_tokens_while_gossipsub_knows_it() {
    let (mut gossip, now) = (gossip(), Instant::now() + Duration::from_secs(1));
    let peers: Vec<PeerId> = (0..30).map(|_| connect(&mut gossip)).collect();
    for (topic, limit) in [(gossip.names.shares.clone(), 100), (gossip.names.blocks.clone(), 10)] {
        for (peer, round) in peers.iter().flat_map(|peer| [(*peer, 0), (*peer, 1), (*peer, 2)]) {
            assert_eq!(send(&mut gossip, peer, &topic, 0..limit, now), [0, 0], "{round}");
        }
        let later = now + DUPLICATE_CACHE_TIME;
        assert_eq!(send(&mut gossip, peers[1], &topic, 0..limit + 1, later), [1, 0]);
    }
}

#[test]
fn a_bounded_number_of_messages_is_known() {
    let (mut gossip, start) = (gossip(), Instant::now() + Duration::from_secs(1));
    let (peer, topic) = (connect(&mut gossip), gossip.names.shares.clone());
    for number in 0..2 * KNOWN_MAX as u32 {
        let now = start + Duration::from_millis(50) * number;
        assert_eq!(send(&mut gossip, peer, &topic, number..=number, now), [0, 0]);
        assert!(gossip.known.len() <= KNOWN_MAX);
    }
}
