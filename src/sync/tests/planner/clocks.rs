//! Whose clock is wrong, and that waits go by none that is set.

use super::kit::{meet, planner, status, Held, CLOCK, START};
use crate::share::ShareId;
use crate::sync::Sync;
use crate::units::UnixTime;
use crate::wire::Response;

/// A planner with peers whose clocks are so far ahead of ours.
fn among(peers_ahead_s: &[i64]) -> Sync {
    let (view, mut sync) = (Held::default(), planner());
    for (peer, ahead_s) in (1..).zip(peers_ahead_s) {
        let Response::Status(mut said) = status(ShareId::ZERO, 0) else { unreachable!() };
        said.clock = UnixTime((i64::from(CLOCK.0) + ahead_s) as u32);
        meet(&mut sync, peer, Response::Status(said), &view);
    }
    sync
}

/// Purpose it says of our clock; and once more a second later.
fn clock_off(peers_ahead_s: &[i64]) -> [Option<i64>; 2] {
    let mut sync = among(peers_ahead_s);
    [1, 2].map(|at| sync.clock_report(START.plus(at), CLOCK.plus(at)))
}

#[test]
fn a_wrong_clock_is_told_by_the_median_of_others_once_in_a_while() {
    assert_eq!(clock_off(&[5_000, -61, -70]), [Some(-61), None]);
    assert_eq!(clock_off(&[600, 601, 599, 602]), [Some(600), None]);
    assert_eq!(clock_off(&[0, 60, -60]), [None, None]);
}

#[test]
fn few_peers_or_half_of_them_cannot_blame_our_clock() {
    for ahead_s in [&[][..], &[600], &[600, 600], &[600, 0, 0], &[600, 600, 0, 0], &[-600, -600, 600, 1]] {
        assert_eq!(clock_off(ahead_s), [None, None], "{ahead_s:?}");
    }
}

#[test]
fn a_clock_that_was_set_is_compared_as_it_is_now() {
    let sync = among(&[7_200, 7_201, 7_199]);
    assert_eq!(sync.clock_ahead_s(START.plus(30), CLOCK.plus(30)), Some(7_200));
    // Nobody was asked again since.
    assert_eq!(sync.clock_ahead_s(START.plus(31), CLOCK.plus(7_231)), Some(0));
    assert_eq!(sync.clock_ahead_s(START.plus(32), CLOCK.minus(7_200).plus(32)), Some(14_400));
}
