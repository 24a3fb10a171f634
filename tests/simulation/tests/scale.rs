//! The figures of large pools, on small ones.

use p2pool_test_simulation::figures::{joining, scale};

#[test]
fn every_node_hears_every_share_as_often_as_its_mesh_repeats_it() {
    let scale = scale::measure(60, 10);
    assert!(scale.shares >= 8, "{} shares", scale.shares);
    assert_eq!(scale.missing, 0);
    assert_eq!(scale.to_another_ms.len(), scale.shares * 59);
    // Each node passes a share on to its mesh except where it is from, so it comes once per connection of the mesh, less one.
    let expected = scale.mesh - 1.0;
    assert!((scale.copies / expected - 1.0).abs() < 0.25, "{} copies, {expected} expected", scale.copies);
    // Three hops suffice for sixty nodes; a hop takes 10 to 155 ms, and a node looks at it within 4 ms more.
    assert!(scale.to_all_ms.iter().all(|time_ms| (10..=3 * 160).contains(time_ms)), "{:?}", scale.to_all_ms);
}

#[test]
fn a_few_newcomers_find_slots_at_once_and_many_are_turned_away_by_a_lone_bootnode() {
    let setting = joining::Setting { newcomers: 50, public: 20, occupied: 0, bootnodes: 1, temporary_ms: 10_000 };
    let few = joining::join(setting, 1);
    assert_eq!((few.dials, few.refused, few.closed, few.lacking), (50, 0, 0, 0));
    assert!(few.enough_s.iter().all(|seconds| *seconds <= 3), "{:?}", few.enough_s);
    let many = joining::join(joining::Setting { newcomers: 300, public: 1, ..setting }, 1);
    assert_eq!(many.inbound_max, 80);
    assert!(many.refused + many.closed > 220, "{many:?}");
}
