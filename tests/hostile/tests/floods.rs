//! Floods of messages and connections: tables and memory stay bounded, and honest shares still propagate.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash as _;
use libp2p::StreamProtocol;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::wire::{Frame as _, Request, Response};
use p2pool_test_bitcoind::{wait_for, wait_until};
use p2pool_test_functional::network::TIMEOUT;
use p2pool_test_hostile::background_peer::BackgroundPeer;
use p2pool_test_hostile::flooder::Flooder;
use p2pool_test_hostile::names::Names;
use p2pool_test_hostile::raw_gossip;
use p2pool_test_hostile::scripted_peer::{PeerConfig, ScriptedPeer};

use crate::test_network::{invented_ids, respond_without_shares, TestNetwork, VICTIM};

/// Shares of each kind that an attacker sends.
const SHARES: u32 = 400;
/// Rate limit of `p2pool-p2p` on shares of one peer: burst, and rate per second.
const ALLOWED_BURST: f64 = 100.0;
const ALLOWED_PER_S: f64 = 20.0;
/// Memory that all floods together may take: buffers, and waiting shares of 1.2 KiB each.
const RSS_MAX_KIB: u64 = 48 << 10;
/// Longest propagation of an honest share during a flood, on a machine that is busy with other tests.
const SHARE_MAX: Duration = Duration::from_secs(10);

/// Memory of the victim during a flood of bytes by fifty connections, and what may remain of it afterwards.
const FLOODED_RSS_MAX_KIB: u64 = 128 << 10;
const RSS_KEPT_MAX_KIB: u64 = 16 << 10;
/// Length of a flood of bytes: a connection that is not read responds to no ping, and is closed after half a minute.
const FLOOD: Duration = Duration::from_secs(20);

/// Returns copies of a share with different info under one proof of work. Before rule 8 each counts as a different share.
fn variants(share: &Share, edit: fn(&mut Share, u32)) -> Vec<Share> {
    let variant = |number| {
        let mut variant = share.clone();
        edit(&mut variant, number);
        variant
    };
    (0..SHARES).map(variant).collect()
}

fn number(share: &mut Share, number: u32) {
    share.extranonce[..4].copy_from_slice(&number.to_le_bytes());
}

#[test]
fn floods_of_shares_are_bounded() {
    let mut network = TestNetwork::start(2);
    network.update_forge();
    let tip = network.forge.tip();
    let genesis = network.forge.build(&ShareId::ZERO);
    let orphan = network.forge.build(&tip);
    let unanchored = network.forge.build_edited(&tip, |share| {
        share.header.prev_blockhash = bitcoin::BlockHash::from_byte_array([0xab; 32]);
    });
    let low_work = network.forge.build_edited(&ShareId::ZERO, |share| share.info.parent = genesis.id());
    let floods = [
        ("zero-parent shares", variants(&genesis, number), "unverified"),
        ("shares of low work on those", variants(&low_work, number), "unverified"),
        (
            "orphans, each with a parent of its own",
            variants(&orphan, |share, number| {
                share.info.parent = invented_ids(SHARES)[number as usize];
            }),
            "deferred",
        ),
        ("shares on an invented Bitcoin block", variants(&unanchored, number), "deferred"),
    ];
    let before = network.rss_kib();
    let mut attackers = Vec::new();
    for (name, shares, kind) in &floods {
        let waiting = format!("p2pool_shares_waiting{{kind=\"{kind}\"}}");
        let waited = network.metric(&waiting);
        let mut attacker = network.attacker();
        let begun = Instant::now();
        shares.iter().for_each(|share| attacker.gossip(share));
        network.await_score(&mut attacker, "exceeded a rate limit", 5);
        let took = network.mine_share();
        assert!(took < SHARE_MAX, "{name}: an honest share took {took:?}");
        let more = wait_for("the metric of waiting shares", TIMEOUT, || {
            let more = network.metric(&waiting) - waited;
            (more > 0.0).then_some(more)
        });
        let allowed = ALLOWED_BURST + ALLOWED_PER_S * begun.elapsed().as_secs_f64();
        assert!(more <= allowed, "{name}: {more} more shares wait, at most {allowed} allowed");
        network.assert_unknown(&shares[..1]);
        eprintln!("{name}: {more} shares wait, an honest share took {} ms", took.as_millis());
        attackers.push(attacker);
    }
    let grown = network.rss_kib().saturating_sub(before);
    assert!(grown <= RSS_MAX_KIB, "{grown} KiB more memory");
    eprintln!("memory: {before} KiB, {grown} KiB more after the floods");
}

#[test]
fn a_flood_of_requests_is_answered_with_busy_and_scored() {
    /// At once, and in rounds that each get their responses; together fewer than the streams that a connection may open.
    const FLOOD: usize = 400;
    const ROUNDS: usize = 50;
    const ROUND: usize = 8;
    let mut network = TestNetwork::start(2);
    let mut attacker = network.attacker();
    let victim = network.addresses[VICTIM].clone();
    let before = network.rss_kib();
    let mut responses = Vec::new();
    for requests in std::iter::once(FLOOD).chain([ROUND; ROUNDS]) {
        let sent: Vec<_> =
            (0..requests).map(|_| attacker.peer.send_request(&victim, Request::Status.encode())).collect();
        responses.extend(sent.into_iter().map(|request| attacker.peer.response(request)));
    }
    network.await_score(&mut attacker, "exceeded a rate limit", 5);
    let took = network.mine_share();
    assert!(took < SHARE_MAX, "an honest share took {took:?}");
    let is_status = |response: &Vec<u8>| matches!(Response::decode(response), Ok(Response::Status(_)));
    let responded = responses.iter().flatten().filter(|response| is_status(response)).count();
    assert!((1..responses.len()).contains(&responded), "{responded} of {} requests got a status", responses.len());
    assert!(network.rss_kib().saturating_sub(before) <= RSS_MAX_KIB);
    network.mine_share();
}

/// On loopback, an own network, there are no limits per netgroup; `threads/p2p` tests those. The limits on inbound and
/// pending connections hold.
#[test]
fn a_flood_of_connections_leaves_honest_nodes_theirs() {
    /// Inbound connections, established and pending.
    const INBOUND_MAX: usize = 80;
    const PENDING_MAX: usize = 32;
    let mut network = TestNetwork::start(2);
    let victim = network.addresses[VICTIM].clone();
    let port: u16 = victim.to_string().split('/').nth(4).unwrap().parse().unwrap();
    let silent: Vec<TcpStream> =
        (0..3 * PENDING_MAX).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    silent.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let is_open = |stream: &&TcpStream| stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    let open = || silent.iter().filter(is_open).count();
    wait_until("most silent connections to be closed", TIMEOUT, || open() <= PENDING_MAX);
    network.mine_share();
    wait_until("all silent connections to be closed", TIMEOUT, || open() == 0);

    let mut peers: Vec<BackgroundPeer> = Vec::new();
    for _ in 0..INBOUND_MAX + 10 {
        let (chain, victim) = (network.chain, victim.clone());
        let peer = BackgroundPeer::start(move || {
            let mut peer = ScriptedPeer::new(PeerConfig::of(&chain).without_gossip());
            peer.set_responder(respond_without_shares(chain));
            peer
        });
        // One after the other, because pending handshakes are limited too. Connections above the limit are closed soon.
        peer.run(move |peer| drop(peer.connect(&victim)));
        peers.push(peer);
    }
    let connected = || peers.iter().filter(|peer| peer.run(|peer| peer.is_connected())).count();
    wait_until("connections above the limit to be closed", TIMEOUT, || connected() < INBOUND_MAX);
    let connected = connected();
    assert!(connected > INBOUND_MAX / 2, "only {connected} peers are connected");
    network.mine_share();
    network.mine_share();
}

/// GossipSub keeps messages for minutes before it asks the node about them, and those on other topics without asking.
#[test]
fn gossip_that_a_node_does_not_want_does_not_fill_its_memory() {
    let network = TestNetwork::start(2);
    let names = Names::of(&network.chain);
    let topic = names.shares.hash().to_string();
    let victim = network.addresses[VICTIM].clone();
    let short = |topic: &str, data: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
        let packet = |first: u32| {
            let messages = (64 * first..64 * (first + 1)).map(|number| raw_gossip::message(topic, &data(number)));
            raw_gossip::packet(&messages.collect::<Vec<_>>())
        };
        (0..2_500).flat_map(packet).collect()
    };
    let long = |number: u32| {
        let data = [&number.to_be_bytes()[..], &[7; 100_000]].concat();
        raw_gossip::packet(&[raw_gossip::message("other", &data)])
    };
    let floods = [
        ("long messages on another topic", (0..600).flat_map(long).collect()),
        ("short messages on another topic", short("", &|number| number.to_be_bytes().to_vec())),
        ("shares beyond the limit", short(&topic, &|number| raw_gossip::newer_share(number, 0))),
    ];
    for (name, bytes) in floods {
        let before = network.rss_kib();
        let protocol = StreamProtocol::new("/meshsub/1.1.0");
        let mut peer = ScriptedPeer::new(PeerConfig { protocol, ..PeerConfig::of(&network.chain).without_gossip() });
        peer.connect(&victim).unwrap();
        let (len, sent) = (bytes.len(), peer.send_request(&victim, bytes));
        drop(peer.response(sent));
        wait_until("the memory to return", TIMEOUT, || network.rss_kib() <= before + RSS_KEPT_MAX_KIB);
        eprintln!("{name}: {} KiB sent, {before} KiB before, {} KiB after", len >> 10, network.rss_kib());
    }
}

#[test]
fn fifty_connections_that_push_bytes_do_not_fill_the_memory() {
    let mut network = TestNetwork::start(2);
    let port = network.addresses[VICTIM].to_string().split('/').nth(4).unwrap().parse().unwrap();
    let before = network.rss_kib();
    let flooder = Flooder::start(([127, 0, 0, 1], port).into(), &Names::of(&network.chain), 50);
    wait_until("all connections", TIMEOUT, || network.metric("p2pool_peers_connected") >= 50.0);
    let (begun, mut most, mut unread) = (Instant::now(), 0, 0.0_f64);
    while begun.elapsed() < FLOOD {
        std::thread::sleep(Duration::from_millis(100));
        most = most.max(network.rss_kib());
        unread = unread.max(network.metric("p2pool_peer_unread_bytes"));
    }
    let took = network.mine_share();
    drop(flooder);
    wait_until("the memory to return", TIMEOUT, || network.rss_kib() <= before + RSS_KEPT_MAX_KIB);
    eprintln!(
        "memory: {before} KiB before, {most} KiB at most, {} KiB after; a share took {took:?}",
        network.rss_kib()
    );
    assert!(most <= FLOODED_RSS_MAX_KIB, "{most} KiB");
    assert!((1e5..=20e6).contains(&unread), "{unread} bytes unread");
}
