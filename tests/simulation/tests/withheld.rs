//! Hostile peers take hardly any time from a node's miners.

use p2pool_test_simulation::figures::withheld::{seconds_without_jobs, Situation, MANNERS};

#[test]
fn hostile_peers_take_no_work_from_a_lone_node_and_little_from_one_that_starts() {
    for manner in MANNERS {
        for situation in Situation::ALL {
            let seconds = seconds_without_jobs(1, situation, Some(manner));
            let most = match situation {
                Situation::Lone => 0,
                // A minute until it mines solo, or five for what peers claim.
                Situation::Restarted => 365,
                Situation::Newcomer => 965,
            };
            assert!(seconds <= most, "{manner:?} keep a {situation:?} node from mining for {seconds} s");
        }
    }
}
