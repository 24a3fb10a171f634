//! Floods that the libraries below would take: of gossip, of frames, of streams.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use p2pool_core::node::NetworkCommand;
use p2pool_core::wire::Misbehaviour;
use p2pool_test_hostile::{flooder, raw_gossip};

use super::scripted_peer::{connect, gossiping, names, requesting, PeerConfig, ScriptedPeer};
use super::support::{until, TestNode};

/// A peer that opens streams of this protocol.
fn speaking(protocol: &'static str) -> ScriptedPeer {
    ScriptedPeer::new(PeerConfig { protocol: StreamProtocol::new(protocol), ..requesting() })
}

/// GossipSub announces each long message to all peers. A peer that reads slowly cannot help that.
#[test]
fn a_flood_of_shares_by_one_peer_is_not_the_fault_of_another() {
    let node = TestNode::start(&[]);
    let mut honest = ScriptedPeer::new(gossiping());
    connect(&mut honest, &node);
    let handle = node.expect_connected();
    honest.join_mesh();
    honest.collect_gossip(Duration::from_secs(2));
    // From now on it reads nothing.
    let mut flooding = speaking("/meshsub/1.1.0");
    connect(&mut flooding, &node);
    let topic = names().shares.hash().to_string();
    let share = |number: u32| raw_gossip::packet(&[raw_gossip::message(&topic, &raw_gossip::newer_share(number, 950))]);
    let sent = flooding.send_request(&node.address, (0..36_000).flat_map(share).collect::<Vec<u8>>());
    flooding.response(sent);
    until("the ban of the sender", || (node.metrics().peer_bans.get() == 1).then_some(()));
    // Half of what leads to a ban.
    let before = node.metrics().peer_misbehaviours.get();
    node.send(NetworkCommand::Penalize { peer: handle, misbehaviour: Misbehaviour::Malformed });
    until("the misbehaviour", || (node.metrics().peer_misbehaviours.get() > before).then_some(()));
    assert_eq!(node.metrics().peer_bans.get(), 1, "the other peer had no score");
}

static YAMUX_LINES: AtomicUsize = AtomicUsize::new(0);

/// Counts the errors of Yamux.
struct YamuxLog;

impl log::Log for YamuxLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("yamux") && record.level() <= log::Level::Warn {
            YAMUX_LINES.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// Yamux writes a line for each, and goes on reading.
#[test]
fn a_connection_that_sends_pongs_without_pings_ends() {
    const PONGS: usize = 200_000;
    log::set_logger(&YamuxLog).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let node = TestNode::start(&[]);
    let port: u16 = node.address.to_string().split('/').nth(4).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let io = flooder::connect(([127, 0, 0, 1], port).into(), &names()).await.unwrap();
        let (mut reader, mut writer) = io.split();
        let pongs = flooder::header(flooder::PING, flooder::ACK, 0, 77).repeat(PONGS);
        let write = async move {
            drop(writer.write_all(&pongs).await);
            drop(writer.flush().await);
        };
        let read = async move {
            let mut buffer = vec![0; 64 << 10];
            while reader.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
        };
        futures::join!(write, read);
    });
    let lines = YAMUX_LINES.load(Ordering::Relaxed);
    assert!(lines < 100, "{lines} lines");
}

#[test]
fn a_connection_that_opens_streams_without_end_ends() {
    let node = TestNode::start(&[]);
    let mut remote = speaking("/ipfs/id/1.0.0");
    connect(&mut remote, &node);
    let (begun, mut responses) = (Instant::now(), 0);
    for _ in 0..250 {
        let requests: Vec<_> = (0..8).map(|_| remote.send_request(&node.address, Vec::new())).collect();
        responses += requests.into_iter().filter(|id| !remote.response(*id).unwrap_or_default().is_empty()).count();
    }
    let allowed = 1_100 + 50 * begun.elapsed().as_secs() as usize;
    assert!((500..=allowed).contains(&responses), "{responses} responses");
}
