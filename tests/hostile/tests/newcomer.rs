//! A newcomer who knows four liars and one honest node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use libp2p::Multiaddr;
use p2pool_core::params::ChainId;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::units::{ShareHeight, Work};
use p2pool_core::wire::{Frame as _, List, PeerStatus, Request, Response};
use p2pool_test_bitcoind::wait_until;
use p2pool_test_functional::network::TIMEOUT;
use p2pool_test_functional::pool::Pool;
use p2pool_test_hostile::forge::{params, script, Forge};
use p2pool_test_hostile::scripted_peer::{Kind, Reply, Stranger};

use crate::test_network::{invented_ids, now, status_of_nobody, Bench, PAYOUT_WINDOW};

/// What everybody of them claims; an honest chain of the tests' length has a ten-thousandth of a billionth of it.
const CLAIMED: Work = Work(1 << 100);

/// Somebody who listens, and serves a chain in a thread of their own.
struct Liar {
    id: String,
    address: Multiaddr,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Serves these shares, or lists ids without having them.
    fn start(chain: ChainId, shares: Vec<Arc<Share>>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = std::sync::mpsc::channel();
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let mut stranger = Stranger::new(Kind::of(&chain).mute());
            stranger.reply(move |question| Reply::bytes(serve(&chain, &shares, question).encode()));
            sender.send((stranger.id.to_string(), stranger.listen())).unwrap();
            while !ended.load(Ordering::Relaxed) {
                stranger.breathe();
            }
        });
        let (id, address) = receiver.recv().unwrap();
        Self { id, address, end, thread: Some(thread) }
    }

    /// What a node holds against it.
    fn offences(&self, node: &Pool) -> Vec<String> {
        let log = node.log();
        let lines = log.lines().filter(|line| {
            line.contains(&self.id) && [" misbehaved: ", " banned for 24 h: "].iter().any(|part| line.contains(part))
        });
        lines.map(str::to_owned).collect()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was printed.
            drop(thread.join());
        }
    }
}

fn serve(chain: &ChainId, shares: &[Arc<Share>], question: &[u8]) -> Response {
    let ids: Vec<ShareId> = match shares {
        [] => invented_ids(5_000),
        shares => shares.iter().map(|share| share.id()).collect(),
    };
    let start_height = shares.first().map_or(ShareHeight(0), |share| share.info.share_height);
    match Request::decode(question) {
        Ok(Request::Status) => Response::Status(PeerStatus {
            tip: ids.last().copied().unwrap_or_default(),
            share_height: ShareHeight(1_000_000),
            chain_work: CLAIMED,
            oldest_height: start_height,
            ..status_of_nobody(chain)
        }),
        Ok(Request::Inventory { .. }) => {
            Response::Inventory { after: ShareId::ZERO, start_height, ids: List::first_of(ids), more: false }
        }
        Ok(Request::Shares { ids }) if !shares.is_empty() => {
            let asked = ids.iter().filter_map(|id| shares.iter().find(|share| share.id() == *id));
            Response::Shares(List::first_of(asked.map(Arc::clone)))
        }
        _ => Response::Unknown,
    }
}

fn forge(bench: &Bench) -> Forge {
    // Back dated, a share each period: found all at once they would soon be too hard to find.
    Forge::new(params(1, PAYOUT_WINDOW, 10), bench.forge.anchor.clone(), now().minus(60))
}

fn add(forge: &mut Forge, share: Share) -> Arc<Share> {
    let share = Arc::new(share);
    forge.learn(&share);
    forge.now = forge.now.plus(1);
    share
}

/// The next share of somebody new, who is the only one it pays.
fn add_greedy(forge: &mut Forge, number: u32) -> Arc<Share> {
    let tip = forge.tip();
    forge.payee = script(number);
    let me = forge.payee;
    let share = forge.paying(&tip, |_| (), |payouts| payouts.iter_mut().for_each(|payout| payout.script = me));
    add(forge, share)
}

/// A true chain, mined in private.
fn private(bench: &Bench, shares: u32) -> Vec<Arc<Share>> {
    let mut forge = forge(bench);
    let grow = |_| {
        let tip = forge.tip();
        let share = forge.on(&tip);
        add(&mut forge, share)
    };
    (0..shares).map(grow).collect()
}

/// A chain from its genesis on, whose shares pay only their finder though others have work in the window.
fn greedy(bench: &Bench) -> Vec<Arc<Share>> {
    let mut forge = forge(bench);
    (0..30).map(|number| add_greedy(&mut forge, number)).collect()
}

/// A chain whose beginning is said to be pruned: its oldest shares claim what they like, and above them nobody is paid but
/// the finder.
fn false_base(bench: &Bench) -> Vec<Arc<Share>> {
    let mut forge = forge(bench);
    let root = forge.edited(&ShareId::ZERO, |share| {
        share.info.parent = invented_ids(1)[0];
        share.info.share_height = ShareHeight(1_000);
        share.info.chain_work = CLAIMED;
    });
    let mut shares = vec![add(&mut forge, root)];
    shares.extend((0..PAYOUT_WINDOW + 15).map(|number| add_greedy(&mut forge, number)));
    shares
}

#[test]
fn a_newcomer_among_liars_takes_the_honest_chain_and_mines() {
    let mut bench = Bench::start(2);
    for _ in 0..6 {
        bench.go_on();
    }
    bench.learn();
    let chain = bench.chain;
    let liars = [
        ("shares that are not there", Vec::new(), &["advertised shares it does not have"][..]),
        ("a private history that claims more work than it has", private(&bench, 3), &[]),
        ("a chain that pays only its finders", greedy(&bench), &["sent a share that breaks rule 8"]),
        ("a false base", false_base(&bench), &["offered an invalid chain", "banned for 24 h"]),
    ];
    let liars = liars.map(|(name, shares, guilty)| (name, guilty, Liar::start(chain, shares)));
    let mut bootnodes: Vec<Multiaddr> = liars.iter().map(|(_, _, liar)| liar.address.clone()).collect();
    bootnodes.push(bench.addresses[0].clone());
    let start = std::time::Instant::now();
    let newcomer = bench.newcomer(&bootnodes);
    // Each has its turn, before or after the newcomer has found its chain.
    for (name, guilty, liar) in &liars {
        for part in *guilty {
            let what = format!("{name} to be held against it: {part}");
            wait_until(&what, 2 * TIMEOUT, || liar.offences(&newcomer).iter().any(|line| line.contains(part)));
            eprintln!("{what}: after {} ms", start.elapsed().as_millis());
        }
    }
    // Its miners get work, which they get only on the honest chain.
    bench.take_in(newcomer);
    eprintln!("the newcomer's miner is connected after {} ms", start.elapsed().as_millis());
    for _ in 0..3 {
        bench.go_on();
    }
    eprintln!("the newcomer mines with the others after {} ms", start.elapsed().as_millis());
    let (_, _, private) = &liars[1];
    assert_eq!(private.offences(&bench.nodes[2]), Vec::<String>::new(), "a true chain is no offence");
}
