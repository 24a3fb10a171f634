use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::params::ChainParams;
use p2pool_test_bitcoind::{Bitcoind, Chain};

use super::*;

fn node_of(bitcoind: &Bitcoind) -> Node {
    let rpc_auth = RpcAuth::CookieFiles(vec![bitcoind.cookie_file()]);
    Node::new(&Config { rpc_port: bitcoind.rpc_port(), rpc_auth, ..config() }).unwrap()
}

fn config() -> Config {
    Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere")
}

/// A fork of ten blocks on block 30, beside a best chain of 60.
struct Fork {
    bitcoind: Bitcoind,
    best: Vec<BlockHash>,
    beside: Vec<BlockHash>,
}

fn fork() -> Fork {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut best = vec![bitcoind.block_hash(0)];
    best.extend(bitcoind.mine(30));
    let beside = bitcoind.mine(10);
    bitcoind.call("invalidateblock", json!([beside[0].to_string()]));
    let others = bitcoind.call("generatetodescriptor", json!([30, "raw(51)"]));
    best.extend(others.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse::<BlockHash>().unwrap()));
    bitcoind.call("reconsiderblock", json!([beside[0].to_string()]));
    assert_eq!(bitcoind.tip(), best[60]);
    Fork { bitcoind, best, beside }
}

#[test]
fn ancestors_are_those_of_the_same_branch() {
    let Fork { bitcoind, best, beside } = fork();
    let mut node = node_of(&bitcoind);
    for (from, branch) in [(best[60], &best), (beside[9], &[&best[..=30], &beside].concat())] {
        for height in [0u32, 1, 29, 30, 31, 38, 39] {
            let mut headers = Headers::default();
            let (tip, is_on_best_chain) = headers.ask(&mut node, from).unwrap().unwrap();
            assert_eq!(is_on_best_chain, from == best[60]);
            let ancestor = headers.ancestor(&mut node, &tip, BlockHeight(height)).unwrap();
            assert_eq!(ancestor.header.block_hash(), branch[height as usize], "height {height} from {from}");
            assert_eq!(ancestor.height.0, height);
        }
        // The same answers from what is kept, bitcoind's help not needed.
        let mut headers = Headers::default();
        let (tip, _) = headers.ask(&mut node, from).unwrap().unwrap();
        for height in (0..tip.height.0).rev() {
            headers.ancestor(&mut node, &tip, BlockHeight(height)).unwrap();
        }
        let mut unreachable = Node::new(&config()).unwrap();
        assert_eq!(headers.ancestor(&mut unreachable, &tip, BlockHeight(0)).unwrap().header.block_hash(), best[0]);
    }
}

#[test]
fn a_period_ends_with_a_look_at_its_first_block() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let hashes = bitcoind.mine(2_016);
    let mut node = node_of(&bitcoind);
    let mut headers = Headers::default();
    let first = headers.ask(&mut node, bitcoind.block_hash(0)).unwrap().unwrap().0;
    let last = headers.ask(&mut node, hashes[2_014]).unwrap().unwrap().0;
    // Were these blocks mainnet's, their easy target would be scaled by their time and cut to mainnet's easiest.
    let expected = next_bits(Network::Mainnet, last.facts(), |height| {
        assert_eq!(height.0, 0);
        Ok::<_, BitcoindError>(first.facts())
    });
    let asked = Headers::default().next_bits(&mut node, Network::Mainnet, &last).unwrap();
    assert_eq!(asked, expected.unwrap());
    assert_eq!(asked.bits, Bits(0x1d00ffff));
    // Testnet's walk goes back block by block; regtest's target is never testnet's easiest, so it ends at once.
    let asked = Headers::default().next_bits(&mut node, Network::Testnet4, &first).unwrap();
    assert_eq!(asked, NextBits { bits: Bits(0x207fffff), late: Some(Bits(0x1d00ffff)) });
}

#[test]
fn old_headers_make_room() {
    let mut headers = Headers::default();
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).header;
    let known = KnownHeader { header: genesis, height: BlockHeight(0), median_time_past: UnixTime(0) };
    let hash = |number: usize| BlockHash::hash(&number.to_le_bytes());
    for number in 0..HEADERS_MAX + 10 {
        headers.keep(hash(number), &known);
        headers.keep(hash(number), &known);
    }
    assert_eq!((headers.by_hash.len(), headers.by_age.len()), (HEADERS_MAX, HEADERS_MAX));
    assert!(!headers.by_hash.contains_key(&hash(9)) && headers.by_hash.contains_key(&hash(10)));
}
