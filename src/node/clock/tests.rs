use super::*;
use crate::sharechain::RecentTimes;
use crate::test_support::{anchor, template};
use crate::units::{BlockHeight, SteadyTime};

const TIME: UnixTime = UnixTime(1_700_000_000);
const HOUR_S: i64 = 3_600;

/// Both clocks, the system's this many seconds ahead of the truth.
fn now(steady_s: u32, ahead_s: i64) -> Now {
    let time = i64::from(TIME.0) + i64::from(steady_s) + ahead_s;
    Now { steady: SteadyTime::from_s(steady_s), time: UnixTime(u32::try_from(time).unwrap()) }
}

/// A template of a bitcoind whose clock is right.
fn template_at(steady_s: u32, response_s: u32) -> Template {
    let cur_time = now(steady_s, 0).time;
    Template { cur_time, min_time: UnixTime(1), response_s, ..(*template()).clone() }
}

/// A block found this many seconds before the start, and one ten minutes before each.
fn block(age_s: i64) -> Anchor {
    let mut block = anchor();
    block.header.time = u32::try_from(i64::from(TIME.0) - age_s).unwrap();
    block.times = RecentTimes::new((0..11).map(|back| UnixTime(block.header.time - 600 * back)));
    block.median_time_past = block.times.median();
    block
}

fn witness_at(judge: &mut ClockJudge, now: Now, network: Network, newest: &Anchor) -> Option<(ClockWitness, i64)> {
    judge.judge(now, network, Some(newest));
    judge.status.fault.map(|fault| (fault.witness, fault.ahead_s))
}

/// A judge with a template of the start, as a machine took it whose clock is this much ahead.
fn compared(ahead_s: i64) -> ClockJudge {
    let mut judge = ClockJudge::default();
    judge.template(&template_at(0, 0), now(0, ahead_s));
    judge
}

#[test]
fn a_clock_more_than_two_minutes_from_bitcoinds_is_wrong() {
    for (ahead_s, is_wrong) in [
        (-3 * 24 * HOUR_S, true),
        (-121, true),
        (-120, false),
        (-1, false),
        (0, false),
        (120, false),
        (121, true),
        (12 * HOUR_S, true),
    ] {
        let mut judge = compared(ahead_s);
        let fault = witness_at(&mut judge, now(0, ahead_s), Network::Regtest, &block(0));
        assert_eq!(fault, is_wrong.then_some((ClockWitness::Bitcoind, ahead_s)));
        assert_eq!(judge.is_right(), !is_wrong);
        assert_eq!(judge.status.ahead_of_bitcoind_s, Some(ahead_s));
    }
    assert!(!ClockJudge::default().is_right(), "not before it was compared");
}

#[test]
fn a_clock_that_is_set_is_judged_at_once_and_again_with_the_next_template() {
    let mut judge = compared(0);
    assert_eq!(judge.judge(now(10, 0), Network::Regtest, None), None);
    let fault = ClockFault { ahead_s: 12 * HOUR_S, witness: ClockWitness::Bitcoind };
    assert_eq!(judge.judge(now(11, 12 * HOUR_S), Network::Regtest, None), Some(Some(fault)));
    assert_eq!(judge.judge(now(12, 12 * HOUR_S), Network::Regtest, None), None, "said once");
    assert_eq!(judge.judge(now(13, 0), Network::Regtest, None), Some(None));
    // bitcoind's clock is this machine's: it is set as well.
    judge.judge(now(14, -2 * HOUR_S), Network::Regtest, None);
    assert!(!judge.is_right());
    let template = Template { cur_time: now(20, -2 * HOUR_S).time, ..template_at(20, 0) };
    judge.template(&template, now(20, -2 * HOUR_S));
    assert_eq!(judge.judge(now(20, -2 * HOUR_S), Network::Regtest, None), Some(None));
}

#[test]
fn the_time_that_a_response_took_puts_no_clock_in_the_wrong() {
    let mut judge = ClockJudge::default();
    // A response that was on its way for 50 s shows an old time.
    judge.template(&template_at(0, 50), now(50, 100));
    judge.judge(now(50, 100), Network::Regtest, None);
    assert_eq!(judge.status.ahead_of_bitcoind_s, Some(100));
    assert!(judge.is_right());
    // A long poll may have taken a minute; what was known more exactly before stays known.
    let mut judge = compared(130);
    judge.template(&template_at(40, 60), now(40, 130));
    assert!(witness_at(&mut judge, now(40, 130), Network::Regtest, &block(0)).is_some());
    // Until the clock is set.
    judge.template(&template_at(80, 0), now(80, 0));
    assert_eq!(witness_at(&mut judge, now(80, 0), Network::Regtest, &block(0)), None);
}

#[test]
fn a_template_whose_time_stands_still_puts_no_clock_in_the_wrong() {
    // bitcoind made the template while its clock, which is this machine's, was half a day ahead.
    let ahead = Template { cur_time: now(0, 12 * HOUR_S).time, ..template_at(0, 0) };
    let mut judge = ClockJudge::default();
    judge.template(&ahead, now(0, 12 * HOUR_S));
    for at_s in [30, 60, 90] {
        judge.judge(now(at_s - 1, 0), Network::Regtest, None);
        judge.template(&Template { response_s: 60, ..ahead.clone() }, now(at_s, 0));
        assert_eq!(witness_at(&mut judge, now(at_s, 0), Network::Regtest, &block(0)), None, "after {at_s} s");
        assert_eq!(judge.status.ahead_of_bitcoind_s, None);
    }
    // A bitcoind whose clock is behind is noticed all the same.
    judge.template(&template_at(0, 0), now(120, 0));
    judge.template(&Template { cur_time: now(150, -HOUR_S).time, ..ahead }, now(150, 0));
    let fault = witness_at(&mut judge, now(150, 0), Network::Regtest, &block(0));
    assert_eq!(fault, Some((ClockWitness::Bitcoind, HOUR_S)));
}

#[test]
fn a_median_time_past_that_runs_ahead_puts_no_clock_in_the_wrong() {
    let ahead = now(0, 12 * HOUR_S).time;
    let template = Template { cur_time: ahead, min_time: ahead, ..template_at(0, 0) };
    let mut judge = ClockJudge::default();
    judge.template(&template, now(0, 0));
    let mut newest = block(0);
    newest.header.time = ahead.0;
    newest.median_time_past = ahead;
    assert_eq!(witness_at(&mut judge, now(0, 0), Network::Testnet4, &newest), None);
    assert!(judge.is_right());
    assert_eq!(judge.status.ahead_of_bitcoind_s, None, "nothing is known");
    // Nor does the first block of a period, which BIP-0094 moves.
    let first = Template { min_time: TIME, height: BlockHeight(2_016), ..template };
    judge.template(&first, now(1, 0));
    assert_eq!(witness_at(&mut judge, now(1, 0), Network::Testnet4, &newest), None);
    // But bitcoind's clock is not later than that.
    judge.template(&Template { height: BlockHeight(5), ..first }, now(2, 15 * HOUR_S));
    assert!(witness_at(&mut judge, now(2, 15 * HOUR_S), Network::Testnet4, &newest).is_some());
}

#[test]
fn peers_alone_never_stop_a_node_whose_bitcoind_agrees_with_it() {
    for network in Network::ALL {
        for ahead_s in [-12 * HOUR_S, -600, 600, 12 * HOUR_S] {
            let mut judge = compared(0);
            judge.ahead_of_peers_s = Some(ahead_s);
            assert_eq!(witness_at(&mut judge, now(0, 0), network, &block(3_600)), None, "{ahead_s} on {network:?}");
            assert_eq!(judge.status.ahead_of_peers_s, Some(ahead_s), "it is shown");
        }
    }
}

#[test]
fn one_block_that_is_ahead_puts_no_clock_in_the_wrong() {
    let mut judge = compared(0);
    judge.ahead_of_peers_s = Some(-2 * HOUR_S);
    let mut newest = block(600);
    newest.header.time = TIME.plus(7_200).0;
    assert_eq!(witness_at(&mut judge, now(0, 0), Network::Mainnet, &newest), None, "a peer may have found it");
    newest.times = RecentTimes::new([TIME.plus(7_200), TIME.plus(7_100), TIME.minus(600)]);
    let expected = Some((ClockWitness::Peers, -2 * HOUR_S));
    assert_eq!(witness_at(&mut judge, now(0, 0), Network::Mainnet, &newest), expected);
}

#[test]
fn peers_and_bitcoins_newest_block_stop_a_node_whose_bitcoind_has_the_same_wrong_clock() {
    for (ahead_s, age_s, is_seen) in [
        (12 * HOUR_S, 600, true),
        (2 * HOUR_S, 600, true),
        (-2 * HOUR_S, 600, true),
        (-12 * HOUR_S, 600, true),
        // A block as old, or as far ahead, is not unusual.
        (HOUR_S, 600, false),
        (-900, 600, false),
    ] {
        let mut judge = ClockJudge::default();
        let template = Template { cur_time: now(0, ahead_s).time, ..template_at(0, 0) };
        judge.template(&template, now(0, ahead_s));
        judge.ahead_of_peers_s = Some(ahead_s);
        for (network, has_steady_blocks) in
            [(Network::Mainnet, true), (Network::Signet, true), (Network::Testnet4, false)]
        {
            // The median of the newest blocks is fifty minutes older.
            let before_median_s = ahead_s + age_s + 3_000;
            let alone_s = if before_median_s < 0 { before_median_s } else { ahead_s + age_s };
            let is_alone = network == Network::Mainnet && (before_median_s < 0 || alone_s > 4 * HOUR_S);
            let expected = (is_seen && has_steady_blocks).then_some((ClockWitness::Peers, ahead_s));
            assert_eq!(
                witness_at(&mut judge, now(0, ahead_s), network, &block(age_s)),
                expected,
                "{ahead_s} {network:?}"
            );
            judge.ahead_of_peers_s = None;
            let alone = is_alone.then_some((ClockWitness::Blocks, alone_s));
            assert_eq!(witness_at(&mut judge, now(0, ahead_s), network, &block(age_s)), alone, "without peers");
            judge.ahead_of_peers_s = Some(ahead_s);
        }
    }
}

#[test]
fn a_clock_behind_the_median_time_past_is_wrong_though_bitcoind_says_nothing() {
    let newest = block(0);
    let template = Template { cur_time: newest.median_time_past.plus(1), ..template_at(0, 0) };
    let template = Template { min_time: template.cur_time, ..template };
    let behind_s = |judge: &mut ClockJudge, ahead_s: i64| {
        judge.template(&template, now(0, ahead_s));
        witness_at(judge, now(0, ahead_s), Network::Mainnet, &newest).map(|(witness, ahead_s)| {
            assert_eq!((witness, judge.is_right()), (ClockWitness::Blocks, false));
            -ahead_s
        })
    };
    assert_eq!(behind_s(&mut ClockJudge::default(), -3_120), None);
    assert_eq!(behind_s(&mut ClockJudge::default(), -3_121), Some(121));
    assert_eq!(behind_s(&mut ClockJudge::default(), -72 * HOUR_S), Some(72 * HOUR_S - 3_000));
}
