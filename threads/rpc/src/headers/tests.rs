use p2pool_core::config::{Config, RpcAuth};
use p2pool_core::params::ChainParams;
use p2pool_test_bitcoind::{Bitcoind, Chain};

use super::*;

fn client_of(bitcoind: &Bitcoind) -> VerifiedClient {
    let rpc_auth = RpcAuth::CookieFiles(vec![bitcoind.cookie_file()]);
    VerifiedClient::new(&Config { rpc_port: bitcoind.rpc_port(), rpc_auth, ..config() }).unwrap()
}

fn config() -> Config {
    Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere")
}

/// A best chain of 60 blocks and a fork of ten blocks on block 30.
struct Fork {
    bitcoind: Bitcoind,
    best: Vec<BlockHash>,
    side: Vec<BlockHash>,
}

fn fork() -> Fork {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let mut best = vec![bitcoind.block_hash(0)];
    best.extend(bitcoind.mine(30));
    let side = bitcoind.mine(10);
    bitcoind.call("invalidateblock", json!([side[0].to_string()]));
    let others = bitcoind.call("generatetodescriptor", json!([30, "raw(51)"]));
    best.extend(others.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse::<BlockHash>().unwrap()));
    bitcoind.call("reconsiderblock", json!([side[0].to_string()]));
    assert_eq!(bitcoind.tip(), best[60]);
    Fork { bitcoind, best, side }
}

#[test]
fn ancestors_are_on_the_same_branch() {
    let Fork { bitcoind, best, side } = fork();
    let mut client = client_of(&bitcoind);
    for (from, branch) in [(best[60], &best), (side[9], &[&best[..=30], &side].concat())] {
        for height in [0u32, 1, 29, 30, 31, 38, 39] {
            let mut headers = HeaderCache::default();
            let (tip, is_on_best_chain) = headers.request(&mut client, from).unwrap().unwrap();
            assert_eq!(is_on_best_chain, from == best[60]);
            let ancestor = headers.ancestor(&mut client, &tip, BlockHeight(height)).unwrap();
            assert_eq!(ancestor.header.block_hash(), branch[height as usize], "height {height} from {from}");
            assert_eq!(ancestor.height.0, height);
        }
        // The same ancestors come from the cache, without bitcoind.
        let mut headers = HeaderCache::default();
        let (tip, _) = headers.request(&mut client, from).unwrap().unwrap();
        for height in (0..tip.height.0).rev() {
            headers.ancestor(&mut client, &tip, BlockHeight(height)).unwrap();
        }
        let mut unreachable = VerifiedClient::new(&config()).unwrap();
        assert_eq!(headers.ancestor(&mut unreachable, &tip, BlockHeight(0)).unwrap().header.block_hash(), best[0]);
    }
}

#[test]
fn a_retarget_uses_the_first_block_of_the_period() {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let hashes = bitcoind.mine(2_016);
    let mut client = client_of(&bitcoind);
    let mut headers = HeaderCache::default();
    let first = headers.request(&mut client, bitcoind.block_hash(0)).unwrap().unwrap().0;
    let last = headers.request(&mut client, hashes[2_014]).unwrap().unwrap().0;
    // By mainnet's rules the easy target of these blocks is scaled by their time and cut to mainnet's easiest.
    let expected = next_bits(Network::Mainnet, last.facts(), |height| {
        assert_eq!(height.0, 0);
        Ok::<_, BitcoindError>(first.facts())
    });
    let result = HeaderCache::default().next_bits(&mut client, Network::Mainnet, &last).unwrap();
    assert_eq!(result, expected.unwrap());
    assert_eq!(result.bits, Bits(0x1d00ffff));
    // Testnet's rule walks back block by block; it ends at once because regtest's target is never testnet's easiest.
    let result = HeaderCache::default().next_bits(&mut client, Network::Testnet4, &first).unwrap();
    assert_eq!(result, NextBits { bits: Bits(0x207fffff), late: Some(Bits(0x1d00ffff)) });
}

#[test]
fn the_cache_drops_the_oldest_headers() {
    let mut headers = HeaderCache::default();
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest).header;
    let known = KnownHeader { header: genesis, height: BlockHeight(0), median_time_past: UnixTime(0) };
    let hash = |number: usize| BlockHash::hash(&number.to_le_bytes());
    for number in 0..HEADERS_MAX + 10 {
        headers.insert(hash(number), &known);
        headers.insert(hash(number), &known);
    }
    assert_eq!((headers.by_hash.len(), headers.by_age.len()), (HEADERS_MAX, HEADERS_MAX));
    assert!(!headers.by_hash.contains_key(&hash(9)) && headers.by_hash.contains_key(&hash(10)));
}
