//! Partitions and killed nodes: one chain remains.

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{self as bitcoind, wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::network::{
    bootnodes_flag, id, peers, share_count, start, wait_connected, wait_one_tip, wait_tip, ManualMiner, TIMEOUT,
};
use p2pool_test_functional::pool::Pool;

use crate::network::options;
use crate::EASIEST;

/// Restarts a node on a port that no peer knows, without known peers.
fn cut_off(node: &mut Pool, others: &[&Pool]) {
    assert!(node.terminate().success());
    node.flags_mut().retain(|flag| !flag.starts_with("-bootnodes"));
    for dir in std::fs::read_dir(node.data_dir()).unwrap() {
        std::fs::remove_file(dir.unwrap().path().join("peers")).unwrap();
    }
    node.move_p2p_port();
    node.launch();
    let cut = id(node);
    for other in others {
        wait_until("the others to lose their peer", TIMEOUT, || !peers(other).contains(&cut));
    }
}

#[test]
fn a_partition_ends_in_one_chain_with_stale_shares_as_uncles() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let left = start(&bitcoind, options(1), &[]);
    let mut right = start(&bitcoind, options(2), &[&left]);
    wait_connected(&[&left, &right]);
    let common = ManualMiner::at(&left).mine(&left);
    wait_tip(&[&right], &common);

    // Each side finds one share: the loser is the winner's sibling and becomes an uncle of the next share.
    cut_off(&mut right, &[&left]);
    let siblings = [ManualMiner::at(&left).mine(&left), ManualMiner::at(&right).mine(&right)];
    assert!(peers(&left).is_empty() && peers(&right).is_empty(), "not partitioned");
    // Neither node knows the other; a third one knows both.
    let mut link = start(&bitcoind, options(3), &[&left, &right]);
    let winner = wait_one_tip(&[&left, &right, &link]);
    assert!(siblings.contains(&winner), "{winner} is not one of {siblings:?}");
    // The losing side has both, and the others fetch the uncle from it.
    let (loser, of_loser) = if winner == siblings[0] { (&siblings[1], &right) } else { (&siblings[0], &left) };
    let nephew = ManualMiner::at(of_loser).mine(of_loser);
    let nodes = [&left, &right, &link];
    wait_tip(&nodes, &nephew);
    for node in nodes {
        let shares = node.shares();
        let nephew = shares.iter().find(|share| share["id"] == nephew.as_str()).unwrap();
        assert_eq!(nephew["parent"], winner.as_str());
        assert_eq!(nephew["uncles"], serde_json::json!([loser]));
    }

    // Some shares each: those of one side are lost, and all nodes agree on which.
    link.kill();
    cut_off(&mut right, &[&left]);
    let (mut left_miner, mut right_miner) = (ManualMiner::at(&left), ManualMiner::at(&right));
    let left_tips: Vec<String> = (0..5).map(|_| left_miner.mine(&left)).collect();
    let right_tips: Vec<String> = (0..2).map(|_| right_miner.mine(&right)).collect();
    assert!(peers(&left).is_empty() && peers(&right).is_empty(), "not partitioned");
    link.flags_mut().retain(|flag| !flag.starts_with("-bootnodes"));
    let flag = bootnodes_flag(&[&left, &right]);
    link.flags_mut().push(flag);
    link.launch();
    let nodes = [&left, &right, &link];
    let winner = wait_one_tip(&nodes);
    assert!([left_tips.last(), right_tips.last()].contains(&Some(&winner)), "{winner} is not a tip of either side");
    let next = right_miner.mine(&right);
    wait_tip(&nodes, &next);
}

#[test]
fn killed_nodes_return_to_one_tip() {
    const NODES: u32 = 6;
    const HASHES_PER_S: u64 = 25_000;
    let bitcoind = Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll occupies one until the next block, even if its caller has gone.
        arguments: vec![format!("-rpcthreads={}", NODES * 4)],
    });
    let mut nodes = vec![start(&bitcoind, options(0), &[])];
    for payee in 1..NODES {
        nodes.push(start(&bitcoind, options(payee), &[&nodes[0]]));
    }
    let miner = |node: &Pool| {
        let pace = Settings { hash_rate_max: Some(HASHES_PER_S), ..settings(&node.address(), "worker") };
        Miner::start(Settings { password: EASIEST.to_owned(), ..pace })
    };
    let miners: Vec<Miner> = nodes.iter().map(miner).collect();
    // The bootnode is among those killed first.
    for killed in [[0_usize, 1], [2, 3]] {
        let survivor = &nodes[5];
        let before = share_count(survivor);
        wait_until("shares to be found", TIMEOUT, || share_count(survivor) >= before + 3);
        for index in killed {
            nodes[index].kill();
        }
        let survivor = &nodes[5];
        let before = share_count(survivor);
        wait_until("the others to continue", TIMEOUT, || share_count(survivor) >= before + 3);
        for index in killed {
            nodes[index].launch();
        }
    }
    for node in &nodes {
        wait_until("killed nodes to have peers again", TIMEOUT, || peers(node).len() >= 2);
    }
    drop(miners);
    let nodes: Vec<&Pool> = nodes.iter().collect();
    wait_one_tip(&nodes);
    let share = ManualMiner::at(nodes[0]).mine(nodes[0]);
    wait_tip(&nodes, &share);
}
