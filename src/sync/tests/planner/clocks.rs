//! Comparing clocks.

use super::fixtures::{introduce, planner, status, FakeChain, Planner, CLOCK, START};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::units::UnixTime;
use crate::wire::Response;

/// Returns a planner with peers whose clocks are this far ahead of ours.
fn with_peers(peers_ahead_s: &[i64]) -> Planner {
    let (view, mut sync) = (FakeChain::default(), planner());
    for (peer, ahead_s) in (1..).zip(peers_ahead_s) {
        let Response::Status(mut report) = status(ShareId::ZERO, 0) else { unreachable!() };
        report.clock = UnixTime((i64::from(CLOCK.0) + ahead_s) as u32);
        introduce(&mut sync, peer, Response::Status(report), &view);
    }
    sync
}

/// Returns its report on our clock, and the one a second later.
fn clock_off(peers_ahead_s: &[i64]) -> [Option<i64>; 2] {
    let mut sync = with_peers(peers_ahead_s);
    [1, 2].map(|at| sync.clock_report(START.plus(at), CLOCK.plus(at)))
}

#[test]
fn a_clock_that_differs_from_the_peers_median_is_reported_once() {
    assert_eq!(clock_off(&[5_000, -61, -70]), [Some(61), None]);
    assert_eq!(clock_off(&[600, 601, 599, 602]), [Some(-600), None]);
    assert_eq!(clock_off(&[0, 60, -60]), [None, None]);
}

#[test]
fn few_peers_or_half_of_them_cannot_put_our_clock_in_the_wrong() {
    for ahead_s in [&[][..], &[600], &[600, 600], &[600, 0, 0], &[600, 600, 0, 0], &[-600, -600, 600, 1]] {
        assert_eq!(clock_off(ahead_s), [None, None], "{ahead_s:?}");
    }
}

#[test]
fn many_peers_of_few_netgroups_cannot_put_our_clock_in_the_wrong() {
    let (view, mut sync) = (FakeChain::default(), planner());
    let introduce_from = |sync: &mut Planner, netgroup: u32, count: u64, ahead_s: u32| {
        for serial in 0..count {
            let Response::Status(mut report) = status(ShareId::ZERO, 0) else { unreachable!() };
            report.clock = CLOCK.plus(ahead_s);
            let peer = PeerHandle::new(netgroup, u64::from(netgroup) * 100 + serial).0;
            introduce(sync, peer, Response::Status(report), &view);
        }
    };
    introduce_from(&mut sync, 1, 30, 43_200);
    assert_eq!(sync.clock_ahead_s(START, CLOCK), None, "one netgroup is one voice");
    for (netgroup, ahead_s) in [(2, 0), (3, 1), (4, 1)] {
        introduce_from(&mut sync, netgroup, 1, ahead_s);
    }
    assert_eq!(sync.clock_ahead_s(START, CLOCK), Some(-1));
    introduce_from(&mut sync, 5, 1, 43_200);
    assert_eq!(sync.clock_ahead_s(START, CLOCK), Some(-1));
}

#[test]
fn a_clock_that_was_set_is_compared_at_once() {
    let sync = with_peers(&[7_200, 7_201, 7_199]);
    assert_eq!(sync.clock_ahead_s(START.plus(30), CLOCK.plus(30)), Some(-7_200));
    // No status was requested since.
    assert_eq!(sync.clock_ahead_s(START.plus(31), CLOCK.plus(7_231)), Some(0));
    assert_eq!(sync.clock_ahead_s(START.plus(32), CLOCK.minus(7_200).plus(32)), Some(-14_400));
}
