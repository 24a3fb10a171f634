//! Hostile peers, each on a host of its own, which attack one public node after the other until they are dropped.

use std::net::{SocketAddr, TcpStream};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use p2pool_core::params::ChainId;
use p2pool_core::share::ShareId;
use p2pool_core::units::{ShareHeight, UnixTime, Work};
use p2pool_core::wire::{Agent, Frame as _, List, PeerStatus, Request, Response};
use p2pool_test_bitcoind::internet::Internet;
use p2pool_test_hostile::background_peer::BackgroundPeer;
use p2pool_test_hostile::flooder::Flooder;
use p2pool_test_hostile::malformed;
use p2pool_test_hostile::names::Names;
use p2pool_test_hostile::scripted_peer::{PeerConfig, Reply, ScriptedPeer};

use super::member::Member;
use super::Plan;

/// Time of an attack on one node, and the pause before the next.
const ATTACK: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(5);
/// Uplink of a hostile host, 10 Mbit/s, so that the attacks do not take the whole machine.
const UPLINK: &str = "table ip uplink { chain output { type filter hook output priority 0; \
                      oifname \"eth0\" limit rate over 1250 kbytes/second burst 256 kbytes drop; }; }";

/// Attacks one node.
type Attack = fn(&Target);

/// What a hostile peer does.
const KINDS: [(&str, Attack); 10] = [
    ("silent connections", be_silent),
    ("throw-away identities", change_identities),
    ("bytes without end", push_bytes),
    ("requests without end", flood_requests),
    ("malformed gossip", gossip_malformed),
    ("forged copies of shares", forge_shares),
    ("false claims of a heavy chain", claim),
    ("false blocks", gossip_false_blocks),
    ("requests whose responses are large", draw_upload),
    ("malformed requests", send_malformed),
];

/// Who is attacked.
struct Target {
    /// Multiaddress of the node, and its socket.
    address: String,
    socket: SocketAddr,
    chain: ChainId,
}

impl Target {
    fn peer(&self) -> ScriptedPeer {
        let chain = self.chain;
        let mut peer = ScriptedPeer::new(PeerConfig::of(&chain));
        peer.set_responder(move |request| respond(request, &chain, false));
        peer
    }

    /// A peer that is connected; `None` if it is refused.
    fn connected(&self) -> Option<ScriptedPeer> {
        let mut peer = self.peer();
        peer.connect(&self.address.parse().ok()?).ok()?;
        Some(peer)
    }

    /// Repeats an attack while its connection lasts.
    fn attack(&self, mut round: impl FnMut(&mut ScriptedPeer)) {
        let Some(mut peer) = self.connected() else { return };
        let begun = Instant::now();
        while begun.elapsed() < ATTACK && peer.is_connected() {
            round(&mut peer);
            peer.run_briefly();
        }
    }
}

/// The peers; they end with the program.
pub struct Hostile {
    ended: Arc<AtomicBool>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Hostile {
    pub fn start(plan: &Plan, net: &mut Internet, members: &[Member]) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let addresses: Vec<String> = members.iter().filter(|member| member.is_public).map(Member::address).collect();
        let chain = plan.params().chain_id();
        for number in 0..plan.hostile {
            let host = net.public(plan.nodes + 1 + number);
            host.filter(UPLINK);
            let (name, attack) = KINDS[usize::from(number) % KINDS.len()];
            println!("hostile peer at {}: {name}", host.address);
            let (ended, addresses, first) = (Arc::clone(&ended), addresses.clone(), plan.draw(name, 0, 1 << 16));
            // Threads have the namespace of the thread that starts them. They are not waited for.
            host.inside(|| {
                std::thread::spawn(move || {
                    for address in addresses.iter().cycle().skip(first as usize % addresses.len()) {
                        if ended.load(Ordering::Relaxed) {
                            return;
                        }
                        let Some(target) = target(address, chain) else { return };
                        // A peer that is banned in the middle panics, and goes on as another one.
                        drop(catch_unwind(AssertUnwindSafe(|| attack(&target))));
                        sleep(PAUSE);
                    }
                });
            });
        }
        Self { ended }
    }
}

fn target(address: &str, chain: ChainId) -> Option<Target> {
    let mut words = address.split('/').skip(2);
    let (ip, port) = (words.next()?.parse().ok()?, words.nth(1)?.parse().ok()?);
    Some(Target { address: address.to_owned(), socket: SocketAddr::new(ip, port), chain })
}

/// Responds like a node without shares, or one that claims the heaviest chain of all and gives nothing of it.
fn respond(request: &[u8], chain: &ChainId, is_claiming: bool) -> Reply {
    let (tip, height, work) = match is_claiming {
        true => (ShareId([0xcc; 32]), ShareHeight(1 << 20), Work(1 << 60)),
        false => (ShareId::ZERO, ShareHeight(0), Work::ZERO),
    };
    let response = match Request::decode(request) {
        Ok(Request::Status) => Response::Status(PeerStatus {
            chain_id: *chain,
            tip,
            share_height: height,
            chain_work: work,
            oldest_height: ShareHeight(0),
            clock: UnixTime::from(SystemTime::now()),
            agent: Agent::new("hostile").unwrap_or_default(),
        }),
        _ => Response::Unknown,
    };
    Reply::bytes(response.encode())
}

fn be_silent(target: &Target) {
    let streams: Vec<TcpStream> = (0..40).filter_map(|_| TcpStream::connect(target.socket).ok()).collect();
    sleep(ATTACK);
    drop(streams);
}

fn change_identities(target: &Target) {
    let begun = Instant::now();
    let mut peers = Vec::new();
    while begun.elapsed() < ATTACK {
        let (address, chain) = (target.address.clone(), target.chain);
        let socket = target.socket;
        let peer = BackgroundPeer::start(move || Target { address, socket, chain }.peer());
        let address = target.address.clone();
        peer.run(move |peer| address.parse().ok().map(|address| drop(peer.connect(&address))));
        peers.push(peer);
        sleep(Duration::from_secs(2));
    }
}

fn push_bytes(target: &Target) {
    let flooder = Flooder::start(target.socket, &Names::of(&target.chain), 4);
    sleep(ATTACK);
    drop(flooder);
}

fn flood_requests(target: &Target) {
    let Ok(address) = target.address.parse() else { return };
    target.attack(|peer| {
        for _ in 0..100 {
            peer.send_request(&address, Request::Status.encode());
        }
    });
}

fn gossip_malformed(target: &Target) {
    let mut serial: u64 = 0;
    target.attack(|peer| {
        serial += 1;
        peer.gossip_share([&[0xa1, 0, 0x58][..], &serial.to_be_bytes()].concat());
    });
}

/// Sends copies of what it receives in which one byte is another.
fn forge_shares(target: &Target) {
    let mut known: Option<Vec<u8>> = None;
    let Some(mut peer) = target.connected() else { return };
    peer.subscribe();
    let begun = Instant::now();
    while begun.elapsed() < ATTACK && peer.is_connected() {
        known = peer.collect_gossip(Duration::from_millis(200)).pop().or(known);
        for at in 0..known.as_ref().map_or(0, |share| share.len().min(20)) {
            let Some(mut forged) = known.clone() else { continue };
            let at = forged.len() - 1 - at;
            forged[at] ^= begun.elapsed().as_millis() as u8 | 1;
            peer.gossip_share(forged);
        }
    }
}

fn claim(target: &Target) {
    let chain = target.chain;
    let Some(mut peer) = target.connected() else { return };
    peer.set_responder(move |request| respond(request, &chain, true));
    let begun = Instant::now();
    while begun.elapsed() < ATTACK && peer.is_connected() {
        peer.run_briefly();
    }
}

fn gossip_false_blocks(target: &Target) {
    let mut serial: u8 = 0;
    target.attack(|peer| {
        serial = serial.wrapping_add(1);
        // An announcement's first bytes and a header without work.
        peer.gossip_block([&[0xa4, 0, 0x58, 0x50][..], &[serial; 80]].concat());
    });
}

fn draw_upload(target: &Target) {
    let Ok(address) = target.address.parse() else { return };
    target.attack(|peer| {
        for _ in 0..20 {
            peer.send_request(&address, Request::Inventory { locator: List::default() }.encode());
        }
    });
}

fn send_malformed(target: &Target) {
    let Ok(address) = target.address.parse() else { return };
    let request = Request::Headers { last: bitcoin::BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros()) };
    let variants = malformed::variants(&request.encode());
    let mut variants = variants.iter().cycle();
    target.attack(|peer| {
        if let Some((_, bytes)) = variants.next() {
            peer.send_request(&address, bytes.clone());
        }
    });
}
