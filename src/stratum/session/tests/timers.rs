//! Timeouts and vardiff's timers.

use super::support::*;
use crate::stratum::fixtures::*;
use crate::stratum::{CloseReason, WorkGate};
use crate::units::Bits;
use crate::work::{NoWork, NoWorkTimeout};

/// A share target that no test meets.
const HARD: JobSpec = JobSpec {
    id: 1,
    tip: 1,
    block_bits: Bits(0x1703_31db),
    share_bits: Bits(0x1703_31db),
    version: 0x2000_0000,
    payees: 1,
};

/// Advances the clock with a job every 30 s, as in the node; returns what was sent to the session.
fn run(server: &mut TestServer, name: &'static str, seconds: u32) -> Result<Vec<serde_json::Value>, CloseReason> {
    run_with(server, name, seconds, |_| HARD)
}

/// As [`run`], while the share difficulty varies around 16,000 with every job.
fn run_moving(
    server: &mut TestServer,
    name: &'static str,
    seconds: u32,
) -> Result<Vec<serde_json::Value>, CloseReason> {
    run_with(server, name, seconds, moving)
}

fn run_with(
    server: &mut TestServer,
    name: &'static str,
    seconds: u32,
    spec: impl Fn(u64) -> JobSpec,
) -> Result<Vec<serde_json::Value>, CloseReason> {
    let mut sent = Vec::new();
    for _ in 0..seconds.div_ceil(30) {
        sent.extend(server.tick_for(name, 30)?);
        let id = 1_000 + u64::from(server.now.steady.as_s());
        sent.extend(server.announce(&JobSpec { id, ..spec(id) }.make()).remove(name).unwrap());
    }
    Ok(sent)
}

fn moving(id: u64) -> JobSpec {
    JobSpec { share_bits: Bits(0x1b04_0000 + (id / 30 % 7) as u32 * 0x800), ..HARD }
}

#[test]
fn a_session_without_authorize_is_closed_after_30_seconds() {
    let mut server = TestServer::new();
    server.job(HARD);
    server.connect("a");
    server.call("a", "mining.subscribe", "[]").unwrap();
    assert!(server.tick_for("a", 30).is_ok());
    assert_eq!(server.tick_for("a", 1), Err(CloseReason::NotAuthorised));
    server.worker("b");
    assert!(server.tick_for("b", 100).is_ok());
}

#[test]
fn a_silent_session_gets_easier_work_and_is_finally_closed() {
    let mut server = TestServer::with(crate::params::Network::Mainnet, 100_000.0);
    server.job(HARD);
    server.worker("a");
    let sent = run(&mut server, "a", 90).unwrap();
    assert_eq!(difficulty(&sent), Some(25_000.0), "a quarter after a minute");
    let sent = run(&mut server, "a", 480).unwrap();
    assert_eq!(difficulty(&sent), Some(0.000_01), "finally the floor");
    assert_eq!(run(&mut server, "a", 400), Err(CloseReason::Idle), "but not forever");
}

#[test]
fn a_silent_asic_is_not_driven_below_difficulty_1() {
    let mut server = TestServer::with(crate::params::Network::Mainnet, 100_000.0);
    server.job(HARD);
    server.connect("a");
    server.call("a", "mining.subscribe", r#"["whatsminer/v1.0"]"#).unwrap();
    server.call("a", "mining.authorize", r#"["w"]"#).unwrap();
    let sent = run(&mut server, "a", 480).unwrap();
    assert_eq!(difficulty(&sent), Some(1.0));
    let closed = run(&mut server, "a", 400);
    assert_eq!(closed, Err(CloseReason::Idle), "a silent ASIC at the lowest difficulty has failed");
}

#[test]
fn a_fixed_difficulty_extends_the_idle_timeout() {
    let mut server = TestServer::with(crate::params::Network::Mainnet, 100_000.0);
    server.job(HARD);
    server.connect("a");
    server.call("a", "mining.subscribe", "[]").unwrap();
    server.call("a", "mining.authorize", r#"["w","d=1"]"#).unwrap();
    // A CPU with 1 MH/s needs 4,295 s for a share of difficulty 1; 20 shares take nearly a day.
    for _ in 0..200 {
        let sent = run(&mut server, "a", 300).unwrap();
        assert_eq!(difficulty(&sent), None, "it does not change");
    }
    assert_eq!(run(&mut server, "a", 90_000), Err(CloseReason::Idle));
}

#[test]
fn a_miners_own_floor_extends_the_idle_timeout() {
    let mut server = TestServer::with(crate::params::Network::Mainnet, 100_000.0);
    server.job(HARD);
    server.connect("a");
    server.call("a", "mining.configure", r#"[["minimum-difficulty"],{"minimum-difficulty.value":50000}]"#).unwrap();
    server.call("a", "mining.subscribe", "[]").unwrap();
    server.call("a", "mining.authorize", r#"["w","x"]"#).unwrap();
    // Vardiff lowers the difficulty to the miner's floor, where a share takes 3 minutes at 1.2 TH/s.
    let sent = run(&mut server, "a", 300).unwrap();
    assert_eq!(difficulty(&sent), Some(50_000.0));
    let sent = run(&mut server, "a", 3_600).unwrap();
    assert_eq!(difficulty(&sent), None);
}

#[test]
fn a_moving_ceiling_does_not_extend_the_idle_timeout() {
    for (minimum, password) in [("", "d=10000000"), (r#"{"minimum-difficulty.value":10000000}"#, "x")] {
        let mut server = TestServer::with(crate::params::Network::Mainnet, 100_000.0);
        server.job(moving(0));
        server.connect("a");
        if !minimum.is_empty() {
            server.call("a", "mining.configure", &format!(r#"[["minimum-difficulty"],{minimum}]"#)).unwrap();
        }
        server.call("a", "mining.subscribe", "[]").unwrap();
        server.call("a", "mining.authorize", &format!(r#"["w","{password}"]"#)).unwrap();
        let sent = run_moving(&mut server, "a", 23 * 3_600).unwrap();
        assert!(sent.len() > 4_000, "each job comes with a difficulty");
        assert_eq!(run_moving(&mut server, "a", 2 * 3_600), Err(CloseReason::Idle), "{password} {minimum}");
    }
}

#[test]
fn a_silent_session_gets_easier_work_under_a_moving_ceiling() {
    let mut server = TestServer::with(crate::params::Network::Mainnet, 10_000_000.0);
    server.job(moving(0));
    server.worker("a");
    assert!((15_000.0..17_000.0).contains(&server.status("a").difficulty), "starts at the ceiling");
    run_moving(&mut server, "a", 90).unwrap();
    assert!((3_800.0..4_200.0).contains(&server.status("a").difficulty), "a quarter after a minute");
    run_moving(&mut server, "a", 480).unwrap();
    assert_eq!(server.status("a").difficulty, 0.000_01, "finally the floor");
    assert_eq!(run_moving(&mut server, "a", 400), Err(CloseReason::Idle), "but not forever");
}

#[test]
fn a_home_miner_is_not_closed_between_two_shares() {
    let mut server = TestServer::new();
    server.job(HARD);
    server.connect("a");
    server.call("a", "mining.subscribe", "[]").unwrap();
    server.call("a", "mining.authorize", r#"["w","d=100000"]"#).unwrap();
    // At 1.2 TH/s a share of difficulty 100,000 takes 358 s, so half an hour without one is normal.
    run(&mut server, "a", 1_800).unwrap();
}

#[test]
fn any_line_restarts_the_idle_timer() {
    let mut server = TestServer::new();
    server.job(JobSpec { share_bits: EASIEST, ..HARD });
    server.worker("a");
    for _ in 0..10 {
        server.tick_for("a", 290).unwrap();
        server.call("a", "mining.ping", "[]").unwrap();
    }
    // The difficulty is at the ceiling, so vardiff does not restart the idle timer.
    assert_eq!(server.tick_for("a", 301), Err(CloseReason::Idle));
}

#[test]
fn sessions_without_work_are_not_idle() {
    let mut server = TestServer::new();
    server.job(HARD);
    server.worker("a");
    let before = server.status("a").difficulty;
    server.withdraw(NoWork::NoTemplate);
    assert_eq!(server.tick_for("a", 7_200).unwrap(), [] as [serde_json::Value; 0]);
    assert_eq!(server.status("a").difficulty, before);
    server.job(JobSpec { id: 2, ..HARD });
    assert!(server.tick_for("a", 50).is_ok());
}

#[test]
fn a_session_is_silent_only_while_it_has_work() {
    let mut server = TestServer::new();
    server.job(HARD);
    server.connect("a");
    server.call("a", "mining.subscribe", "[]").unwrap();
    server.call("a", "mining.authorize", r#"["w","d=100000"]"#).unwrap();
    run(&mut server, "a", 180).unwrap();
    assert_eq!(server.status("a").silent_s, None);
    run(&mut server, "a", 60).unwrap();
    assert_eq!(server.status("a").silent_s, Some(240));
    server.withdraw(NoWork::Syncing);
    server.tick_for("a", 600).unwrap();
    assert_eq!(server.status("a").silent_s, None, "without work");
    server.job(JobSpec { id: 2, ..HARD });
    server.tick_for("a", 180).unwrap();
    assert_eq!(server.status("a").silent_s, None, "its silence begins with the work");
    server.tick_for("a", 1).unwrap();
    assert_eq!(server.status("a").silent_s, Some(181));
}

#[test]
fn a_session_that_found_something_is_silent_after_twelve_usual_pauses() {
    let mut server = TestServer::new();
    let job = server.job(JobSpec { share_bits: EASIEST, ..HARD });
    server.worker("a");
    for second in 0..20 {
        server.pass(30.0);
        let submit = blank_submit(&job, server.extranonce1("a"), second);
        let submit = solve(&job, submit, |hashed| hashed.meets(&job.share_target));
        server.send_submit("a", &job, &submit).unwrap();
    }
    server.pass(360.0);
    assert_eq!(server.status("a").silent_s, None);
    // The clock is set back a day and ahead again: silence follows the steady clock.
    server.now.time = server.now.time.minus(86_400);
    server.pass(1.0);
    assert_eq!(server.status("a").silent_s, Some(361));
    assert_eq!(server.status("a").credited, server.status("a").accepted as f64 * server.status("a").difficulty);
}

#[test]
fn sessions_without_work_are_closed_after_the_timeout_and_say_why() {
    let mut server = TestServer::new();
    server.shared.gate = WorkGate::new(NoWorkTimeout::from_s(90));
    server.job(HARD);
    server.worker("a");
    server.connect("unauthorised");
    let sent = server.withdraw(NoWork::Syncing);
    assert_eq!(
        sent["a"][0]["params"][0],
        "No work: the node is syncing with its peers. Mining will resume automatically."
    );
    assert_eq!(server.tick_for("a", 90).unwrap(), [] as [serde_json::Value; 0]);
    assert_eq!(server.tick_for("a", 1), Err(CloseReason::NoWork(NoWork::Syncing)));
    let closed = server.with_session("unauthorised", &mut Vec::new(), |session, step| session.on_tick(step));
    assert_eq!(closed, Err(CloseReason::NoWork(NoWork::Syncing)));
    server.job(JobSpec { id: 2, ..HARD });
    server.worker("b");
    assert!(server.tick_for("b", 80).is_ok());
}

#[test]
fn an_outdated_node_closes_sessions_and_says_why() {
    let mut server = TestServer::new();
    server.job(HARD);
    server.worker("a");
    let sent = server.withdraw(NoWork::Outdated);
    assert_eq!(methods(&sent["a"]), ["client.show_message"]);
    assert_eq!(server.tick_for("a", 1), Err(CloseReason::NoWork(NoWork::Outdated)));
    server.worker("b");
    assert_eq!(server.tick_for("b", 1), Err(CloseReason::NoWork(NoWork::Outdated)));
}

#[test]
fn a_much_too_high_rate_of_shares_raises_the_difficulty_at_once() {
    let mut server = TestServer::new();
    // One hash in 43,000 meets the floor; the ceiling is far above.
    let job = server.job(JobSpec { block_bits: HARDEST, share_bits: HARDEST, ..HARD });
    server.worker_at("a", 0.000_01);
    let target = crate::stratum::Difficulty::FLOOR.target();
    let mut found = blank_submit(&job, server.extranonce1("a"), 1);
    for share in 0..8 {
        server.pass(0.5);
        found = solve(&job, crate::work::Submit { nonce: found.nonce + 1, ..found }, |hashed| hashed.meets(&target));
        let line = format!(r#"{{"id":4,"method":"mining.submit","params":[{}]}}"#, submit_params(&job, &found));
        let sent = server.send("a", &line);
        assert_eq!((methods(&sent), &sent[0]["result"]), (vec!["response"], &true.into()), "share {share}");
    }
    let sent = server.announce(&JobSpec { id: 2, block_bits: HARDEST, share_bits: HARDEST, ..HARD }.make());
    assert_eq!(methods(&sent["a"]), ["mining.set_difficulty", "mining.notify"]);
    // Eight shares in 4 s are 20 times the target rate.
    assert_eq!(difficulty(&sent["a"]), Some(0.0002));
}
