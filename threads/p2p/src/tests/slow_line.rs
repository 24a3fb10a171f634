//! A newcomer that syncs over a slow line (network namespaces; needs root and `tc`).

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::RequestId;
use p2pool_core::share::ShareId;
use p2pool_core::units::ShareHeight;
use p2pool_core::wire::limits::{INVENTORY_MAX, SHARES_MAX};
use p2pool_core::wire::{List, Request, Response};
use p2pool_test_bitcoind::internet::{Host, Internet};
use p2pool_test_bitcoind::skip;

use super::homes::{address, start};
use super::support::{share, TestNode};

/// Time in which the sync planner expects a response.
const PLANNER_TIMEOUT: Duration = Duration::from_secs(40);
/// Batches of shares that the planner requests from a peer at once, beside a list.
const BATCHES_AT_ONCE: usize = 2;
/// 880 KB take 50 s.
const BATCHES: usize = 4;
const LISTS: usize = 1;

/// Slows down what a host sends, with a buffer as of a modem. False if that is not possible here.
fn slow_down_or_skip(host: &Host) -> bool {
    let tbf = "qdisc add dev eth0 root tbf rate 140kbit burst 5kb latency 1s";
    let is_done = host.inside(|| Command::new("tc").args(tbf.split(' ')).status().is_ok_and(|status| status.success()));
    if !is_done {
        skip("tc with a token bucket filter");
    }
    is_done
}

fn ids(count: usize, from: usize) -> impl Iterator<Item = ShareId> {
    (from..from + count).map(|number| {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        ShareId(id)
    })
}

/// Responds to all requests as a node with a long chain.
fn respond(node: &TestNode) {
    for event in node.inbox.try_iter() {
        let Event::Request { id: to, request, .. } = event else { continue };
        let response = match request {
            Request::Inventory { .. } => Response::Inventory {
                after: ShareId::ZERO,
                start_height: ShareHeight(0),
                ids: List::first_of(ids(INVENTORY_MAX, 0)),
                more: true,
            },
            // As long as shares of blocks with thousands of transactions.
            Request::Shares { ids } => Response::Shares(List::first_of((0..ids.len()).map(|nonce| {
                let mut share = (*share(nonce as u32)).clone();
                share.merkle_branch = vec![[10; 32]; 12];
                share.into()
            }))),
            _ => Response::Unknown,
        };
        node.send(NetworkCommand::Respond { to, response });
    }
}

#[test]
fn a_newcomer_with_a_slow_line_syncs_without_a_timeout() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let (far, near) = (net.public(1), net.public(2));
    if !slow_down_or_skip(&far) {
        return;
    }
    let server = start(&far, &[]);
    let newcomer = start(&near, &[&address(&server, far.address)]);
    let peer = newcomer.expect_connected();
    let (mut batches, mut lists, mut next) = (0, 0, 0);
    let mut in_flight: HashMap<RequestId, (bool, Instant)> = HashMap::new();
    while batches < BATCHES || lists < LISTS {
        let mut send = |is_list: bool, in_flight: &mut HashMap<_, _>| {
            let (id, request) = match is_list {
                true => (RequestId(next), Request::Inventory { locator: List::default() }),
                false => (RequestId(next), Request::Shares { ids: List::first_of(ids(SHARES_MAX, 0)) }),
            };
            next += 1;
            newcomer.send(NetworkCommand::Request { peer, id, request });
            in_flight.insert(id, (is_list, Instant::now()));
        };
        let count = |kind: bool, in_flight: &HashMap<_, (bool, Instant)>| {
            in_flight.values().filter(|(is_list, _)| *is_list == kind).count()
        };
        if lists + count(true, &in_flight) < LISTS {
            send(true, &mut in_flight);
        }
        while count(false, &in_flight) < BATCHES_AT_ONCE.min(BATCHES - batches) {
            send(false, &mut in_flight);
        }
        respond(&server);
        for event in newcomer.inbox.try_iter() {
            match event {
                Event::Response { id, response, .. } => {
                    let (is_list, sent) = in_flight.remove(&id).unwrap();
                    let after = sent.elapsed();
                    assert!(response.is_ok() && after < PLANNER_TIMEOUT, "{:?} after {after:?}", response.err());
                    *if is_list { &mut lists } else { &mut batches } += 1;
                }
                Event::PeerDisconnected { .. } => panic!("disconnected after {batches} batches and {lists} lists"),
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for node in [&server, &newcomer] {
        assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
    }
}
