//! Timeouts and the difficulty's timers.

use super::support::*;
use crate::stratum::fixtures::*;
use crate::stratum::CloseReason;
use crate::units::Bits;
use crate::work::NoWork;

/// Shares are harder than anything in these tests.
const HARD: JobSpec = JobSpec {
    id: 1,
    tip: 1,
    block_bits: Bits(0x1703_31db),
    share_bits: Bits(0x1703_31db),
    version: 0x2000_0000,
    payees: 1,
};

/// Lets seconds pass with a job every 30 s, as the node makes them; what the session was told.
fn run(bench: &mut Bench, name: &'static str, seconds: u32) -> Result<Vec<serde_json::Value>, CloseReason> {
    run_with(bench, name, seconds, |_| HARD)
}

/// The same while the share difficulty moves around 16,000 with every job, as a pool's does.
fn run_moving(bench: &mut Bench, name: &'static str, seconds: u32) -> Result<Vec<serde_json::Value>, CloseReason> {
    run_with(bench, name, seconds, moving)
}

fn run_with(
    bench: &mut Bench,
    name: &'static str,
    seconds: u32,
    spec: impl Fn(u64) -> JobSpec,
) -> Result<Vec<serde_json::Value>, CloseReason> {
    let mut told = Vec::new();
    for _ in 0..seconds.div_ceil(30) {
        told.extend(bench.tick_for(name, 30)?);
        let id = 1_000 + bench.now.uptime_ms / 1_000;
        told.extend(bench.announce(&JobSpec { id, ..spec(id) }.make()).remove(name).unwrap());
    }
    Ok(told)
}

fn moving(id: u64) -> JobSpec {
    JobSpec { share_bits: Bits(0x1b04_0000 + (id / 30 % 7) as u32 * 0x100), ..HARD }
}

#[test]
fn who_does_not_authorize_in_30_seconds_is_closed() {
    let mut bench = Bench::new();
    bench.job(HARD);
    bench.connect("a");
    bench.call("a", "mining.subscribe", "[]").unwrap();
    assert!(bench.tick_for("a", 30).is_ok());
    assert_eq!(bench.tick_for("a", 1), Err(CloseReason::NotAuthorised));
    bench.worker("b");
    assert!(bench.tick_for("b", 100).is_ok());
}

#[test]
fn a_silent_session_gets_easier_work_and_is_closed_in_the_end() {
    let mut bench = Bench::with(crate::params::Network::Mainnet, 100_000.0);
    bench.job(HARD);
    bench.worker("a");
    let told = run(&mut bench, "a", 90).unwrap();
    assert_eq!(difficulty(&told), Some(25_000.0), "a quarter after a minute");
    let told = run(&mut bench, "a", 480).unwrap();
    assert_eq!(difficulty(&told), Some(0.000_01), "in the end the floor");
    assert_eq!(run(&mut bench, "a", 400), Err(CloseReason::Idle), "but not for ever");
}

#[test]
fn a_fixed_difficulty_is_given_the_time_it_takes() {
    let mut bench = Bench::with(crate::params::Network::Mainnet, 100_000.0);
    bench.job(HARD);
    bench.connect("a");
    bench.call("a", "mining.subscribe", "[]").unwrap();
    bench.call("a", "mining.authorize", r#"["w","d=1"]"#).unwrap();
    // A CPU of 1 MH/s needs 4,295 s for a share of difficulty 1: 20 of them are nearly a day.
    for _ in 0..200 {
        let told = run(&mut bench, "a", 300).unwrap();
        assert_eq!(difficulty(&told), None, "and it stays what it is");
    }
    assert_eq!(run(&mut bench, "a", 90_000), Err(CloseReason::Idle));
}

#[test]
fn a_miners_own_floor_is_given_the_time_it_takes() {
    let mut bench = Bench::with(crate::params::Network::Mainnet, 100_000.0);
    bench.job(HARD);
    bench.connect("a");
    bench.call("a", "mining.configure", r#"[["minimum-difficulty"],{"minimum-difficulty.value":50000}]"#).unwrap();
    bench.call("a", "mining.subscribe", "[]").unwrap();
    bench.call("a", "mining.authorize", r#"["w","x"]"#).unwrap();
    // Vardiff goes down to what the miner takes, and there a share of 1.2 TH/s takes 3 minutes.
    let told = run(&mut bench, "a", 300).unwrap();
    assert_eq!(difficulty(&told), Some(50_000.0));
    let told = run(&mut bench, "a", 3_600).unwrap();
    assert_eq!(difficulty(&told), None);
}

#[test]
fn a_ceiling_that_moves_prolongs_no_silence() {
    for (ask, password) in [("", "d=10000000"), (r#"{"minimum-difficulty.value":10000000}"#, "x")] {
        let mut bench = Bench::with(crate::params::Network::Mainnet, 100_000.0);
        bench.job(moving(0));
        bench.connect("a");
        if !ask.is_empty() {
            bench.call("a", "mining.configure", &format!(r#"[["minimum-difficulty"],{ask}]"#)).unwrap();
        }
        bench.call("a", "mining.subscribe", "[]").unwrap();
        bench.call("a", "mining.authorize", &format!(r#"["w","{password}"]"#)).unwrap();
        let told = run_moving(&mut bench, "a", 23 * 3_600).unwrap();
        assert!(told.len() > 4_000, "each job with its difficulty");
        assert_eq!(run_moving(&mut bench, "a", 2 * 3_600), Err(CloseReason::Idle), "{password} {ask}");
    }
}

#[test]
fn a_silent_session_gets_easier_work_under_a_ceiling_that_moves() {
    let mut bench = Bench::with(crate::params::Network::Mainnet, 10_000_000.0);
    bench.job(moving(0));
    bench.worker("a");
    assert!((15_000.0..17_000.0).contains(&bench.status("a").difficulty), "starts at the ceiling");
    run_moving(&mut bench, "a", 90).unwrap();
    assert!((3_800.0..4_200.0).contains(&bench.status("a").difficulty), "a quarter after a minute");
    run_moving(&mut bench, "a", 480).unwrap();
    assert_eq!(bench.status("a").difficulty, 0.000_01, "in the end the floor");
    assert_eq!(run_moving(&mut bench, "a", 400), Err(CloseReason::Idle), "but not for ever");
}

#[test]
fn a_home_miner_is_not_closed_between_two_shares() {
    let mut bench = Bench::new();
    bench.job(HARD);
    bench.connect("a");
    bench.call("a", "mining.subscribe", "[]").unwrap();
    bench.call("a", "mining.authorize", r#"["w","d=100000"]"#).unwrap();
    // 1.2 TH/s at difficulty 100,000: 358 s a share, so half an hour of bad luck is nothing.
    run(&mut bench, "a", 1_800).unwrap();
}

#[test]
fn any_line_counts_as_a_sign_of_life() {
    let mut bench = Bench::new();
    bench.job(JobSpec { share_bits: EASIEST, ..HARD });
    bench.worker("a");
    for _ in 0..10 {
        bench.tick_for("a", 290).unwrap();
        bench.call("a", "mining.ping", "[]").unwrap();
    }
    // Vardiff is at the ceiling, which is as easy as it gets: no decay prolongs it.
    assert_eq!(bench.tick_for("a", 301), Err(CloseReason::Idle));
}

#[test]
fn without_work_nobody_is_idle() {
    let mut bench = Bench::new();
    bench.job(HARD);
    bench.worker("a");
    let before = bench.status("a").difficulty;
    bench.withdraw(NoWork::NoTemplate);
    assert_eq!(bench.tick_for("a", 7_200).unwrap(), [] as [serde_json::Value; 0]);
    assert_eq!(bench.status("a").difficulty, before);
    bench.job(JobSpec { id: 2, ..HARD });
    assert!(bench.tick_for("a", 50).is_ok());
}

#[test]
fn shares_that_come_too_fast_raise_the_difficulty_at_once() {
    let mut bench = Bench::new();
    // Every hash of 2^16 is worth 0.0000152, the ceiling far above.
    let job = bench.job(JobSpec { block_bits: HARDEST, share_bits: HARDEST, ..HARD });
    bench.worker_at("a", 0.000_01);
    let target = crate::stratum::Difficulty::FLOOR.target();
    let mut found = answer(&job, bench.extranonce1("a"), 1);
    let mut told = Vec::new();
    for share in 0..8 {
        bench.pass(0.5);
        found = solve(&job, crate::work::Submit { nonce: found.nonce + 1, ..found }, |judged| judged.meets(&target));
        let line = format!(r#"{{"id":4,"method":"mining.submit","params":[{}]}}"#, submit_params(&job, &found));
        told = bench.send("a", &line);
        assert_eq!(told[0]["result"], true);
        assert_eq!(told.len(), if share < 7 { 1 } else { 2 });
    }
    assert_eq!(methods(&told), ["answer", "mining.set_difficulty"], "the answer comes first");
    // Eight shares in 4 s are 20 times the aimed rate.
    assert_eq!(difficulty(&told), Some(0.0002));
}
