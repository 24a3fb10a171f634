//! Too much of everything: what waits is bounded, memory stays flat, and honest shares pass as before.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash as _;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::wire::{Frame as _, Request, Response};
use p2pool_test_bitcoind::{wait_for, wait_until};
use p2pool_test_functional::network::TIMEOUT;
use p2pool_test_hostile::background_peer::Awake;
use p2pool_test_hostile::scripted_peer::{Kind, Stranger};

use crate::test_network::{as_nobody, invented_ids, Bench, VICTIM};

/// Shares that one peer sends of each kind.
const SHARES: u32 = 400;
/// Shares that `p2pool-p2p` allows one peer to pass on at once, and then each second.
const ALLOWED_AT_ONCE: f64 = 100.0;
const ALLOWED_PER_S: f64 = 20.0;
/// Memory that all floods together may take: buffers, and shares that wait (1.2 KiB each).
const RSS_MAX_KIB: u64 = 48 << 10;
/// For an honest share to get to all nodes in the middle of a flood, on a machine that is busy with other tests.
const SHARE_MAX: Duration = Duration::from_secs(10);

/// One proof of work with ever other facts beside it: before rule 8 each counts as a share of its own.
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
    let mut bench = Bench::start(2);
    bench.learn();
    let tip = bench.forge.tip();
    let genesis = bench.forge.on(&ShareId::ZERO);
    let orphan = bench.forge.on(&tip);
    let unanchored = bench.forge.edited(&tip, |share| {
        share.header.prev_blockhash = bitcoin::BlockHash::from_byte_array([0xab; 32]);
    });
    let low_work = bench.forge.edited(&ShareId::ZERO, |share| share.info.parent = genesis.id());
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
    let before = bench.rss_kib();
    let mut attackers = Vec::new();
    for (name, shares, kind) in &floods {
        let waiting = format!("p2pool_shares_waiting{{kind=\"{kind}\"}}");
        let waited = bench.metric(&waiting);
        let mut attacker = bench.attacker();
        let begun = Instant::now();
        shares.iter().for_each(|share| attacker.gossip(share));
        bench.await_points(&mut attacker, "exceeded a rate limit", 5);
        let took = bench.go_on();
        assert!(took < SHARE_MAX, "{name}: an honest share took {took:?}");
        let more = wait_for("shares to be shown to wait", TIMEOUT, || {
            let more = bench.metric(&waiting) - waited;
            (more > 0.0).then_some(more)
        });
        let allowed = ALLOWED_AT_ONCE + ALLOWED_PER_S * begun.elapsed().as_secs_f64();
        assert!(more <= allowed, "{name}: {more} more shares wait, {allowed} allowed");
        bench.assert_unknown(&shares[..1]);
        eprintln!("{name}: {more} wait, an honest share took {} ms", took.as_millis());
        attackers.push(attacker);
    }
    let grown = bench.rss_kib().saturating_sub(before);
    assert!(grown <= RSS_MAX_KIB, "{grown} KiB more memory");
    eprintln!("memory: {before} KiB, then {grown} KiB more");
}

#[test]
fn endless_questions_are_answered_busy_and_scored() {
    let mut bench = Bench::start(2);
    let mut attacker = bench.attacker();
    let victim = bench.addresses[VICTIM].clone();
    let before = bench.rss_kib();
    let questions: Vec<_> = (0..2_000).map(|_| attacker.stranger.send(&victim, Request::Status.encode())).collect();
    bench.await_points(&mut attacker, "exceeded a rate limit", 5);
    let took = bench.go_on();
    assert!(took < SHARE_MAX, "an honest share took {took:?}");
    let answers: Vec<_> = questions.into_iter().map(|question| attacker.stranger.answer(question)).collect();
    let is_status = |answer: &Vec<u8>| matches!(Response::decode(answer), Ok(Response::Status(_)));
    let answered = answers.iter().flatten().filter(|answer| is_status(answer)).count();
    assert!((1..1_000).contains(&answered), "{answered} of 2000 questions were answered");
    assert!(bench.rss_kib().saturating_sub(before) <= RSS_MAX_KIB);
    bench.go_on();
}

/// Loopback is our own network, so that no limit on neighbours holds there (`threads/p2p` tests that); that on strangers in
/// all does, and that on handshakes that never end.
#[test]
fn connections_without_end_leave_honest_nodes_theirs() {
    /// Connections that others may make, and those of them that are under way at once.
    const INBOUND_MAX: usize = 80;
    const PENDING_MAX: usize = 32;
    let mut bench = Bench::start(2);
    let victim = bench.addresses[VICTIM].clone();
    let port: u16 = victim.to_string().split('/').nth(4).unwrap().parse().unwrap();
    let silent: Vec<TcpStream> =
        (0..3 * PENDING_MAX).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    silent.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let is_open = |stream: &&TcpStream| stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    let open = || silent.iter().filter(is_open).count();
    wait_until("the silent to be turned away but for some", TIMEOUT, || open() <= PENDING_MAX);
    bench.go_on();
    wait_until("the silent to be turned away", TIMEOUT, || open() == 0);

    let mut guests: Vec<Awake> = Vec::new();
    for _ in 0..INBOUND_MAX + 10 {
        let (chain, victim) = (bench.chain, victim.clone());
        let guest = Awake::start(move || {
            let mut stranger = Stranger::new(Kind::of(&chain).mute());
            stranger.reply(as_nobody(chain));
            stranger
        });
        // One after the other, or too many handshakes are under way. Those too many are shut out at once or in a moment.
        guest.have(move |stranger| drop(stranger.connect(&victim)));
        guests.push(guest);
    }
    let connected = || guests.iter().filter(|guest| guest.have(|stranger| stranger.is_connected())).count();
    wait_until("those too many to be shut out", TIMEOUT, || connected() < INBOUND_MAX);
    let connected = connected();
    assert!(connected > INBOUND_MAX / 2, "{connected} strangers are in");
    bench.go_on();
    bench.go_on();
}
