//! How a miner introduces itself, and what it is told.

use serde_json::json;

use super::support::*;
use crate::params::Network;
use crate::stratum::fixtures::*;
use crate::units::Bits;
use crate::work::NoWork;

/// Difficulty 1 for shares, far more for blocks.
const EASY_SHARES: JobSpec = JobSpec {
    id: 1,
    tip: 1,
    block_bits: Bits(0x1703_31db),
    share_bits: Bits(0x1d00_ffff),
    version: 0x2000_0000,
    payees: 1,
};
/// Difficulty 2^24 for shares.
const HARD_SHARES: JobSpec = JobSpec { share_bits: Bits(0x1a00_ffff), ..EASY_SHARES };

#[test]
fn a_miner_subscribes_authorizes_and_works() {
    let mut bench = Bench::new();
    let job = bench.job(JobSpec { payees: 48, ..EASY_SHARES });
    bench.connect("a");
    let subscribed = bench.send("a", r#"{"id":1,"method":"mining.subscribe","params":["cpuminer/2.5.1"]}"#);
    let session = "a0b0c0d0";
    let expected = json!([[["mining.set_difficulty", session], ["mining.notify", session]], session, 8]);
    assert_eq!(subscribed, [json!({"id": 1, "result": expected, "error": null})]);
    let told = bench.send("a", r#"{"id":2,"method":"mining.authorize","params":["a.b","x"]}"#);
    assert_eq!(methods(&told), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(told[0], json!({"id": 2, "result": true, "error": null}));
    assert_eq!(
        told[2].to_string(),
        serde_json::from_str::<serde_json::Value>(job.notify_line(true)).unwrap().to_string()
    );
    assert_eq!(bench.outbox.news, [r#"Authorised { worker: "a.b", user_agent: "cpuminer/2.5.1" }"#]);
    let status = bench.status("a");
    assert_eq!((&*status.worker, &*status.user_agent, status.difficulty), ("a.b", "cpuminer/2.5.1", 0.001));
}

#[test]
fn the_order_of_the_first_requests_does_not_matter() {
    let mut bench = Bench::new();
    bench.job(EASY_SHARES);
    bench.connect("a");
    assert_eq!(bench.call("a", "mining.authorize", r#"["w"]"#), Ok(json!(true)));
    assert_eq!(bench.call("a", "mining.suggest_difficulty", "[0.25]"), Ok(json!(true)));
    let told = bench.send("a", r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    assert_eq!(methods(&told), ["answer", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(difficulty(&told), Some(0.25));
}

#[test]
fn a_miner_without_work_gets_its_first_job_when_there_is_one() {
    let mut bench = Bench::new();
    assert_eq!(methods(&bench.worker("a")), ["answer", "answer"]);
    let job = EASY_SHARES.make();
    let told = bench.announce(&job);
    assert_eq!(methods(&told["a"]), ["mining.set_difficulty", "mining.notify"]);
    let told = bench.announce(&JobSpec { id: 2, ..EASY_SHARES }.make());
    assert_eq!(methods(&told["a"]), ["mining.notify"], "no difficulty is repeated");
    assert_eq!(told["a"][0]["params"][8], false);
    let told = bench.announce(&JobSpec { id: 3, tip: 2, ..EASY_SHARES }.make());
    assert_eq!(told["a"][0]["params"][8], true, "a new Bitcoin tip makes older work worthless");
    let told = bench.withdraw(NoWork::NoTemplate);
    assert_eq!(methods(&told["a"]), ["client.show_message"]);
    assert_eq!(methods(&bench.worker("b")), ["answer", "answer", "client.show_message"], "newcomers are told as well");
    let told = bench.announce(&JobSpec { id: 4, tip: 2, ..EASY_SHARES }.make());
    assert_eq!(told["a"][0]["params"][8], false);
}

#[test]
fn sessions_that_are_not_ready_hear_of_no_job() {
    let mut bench = Bench::new();
    bench.connect("a");
    bench.connect("b");
    bench.call("a", "mining.subscribe", "[]").unwrap();
    bench.call("b", "mining.authorize", r#"["w"]"#).unwrap();
    let told = bench.announce(&EASY_SHARES.make());
    assert!(told["a"].is_empty() && told["b"].is_empty());
}

#[test]
fn version_rolling_is_the_common_part_of_both_masks() {
    let mut bench = Bench::new();
    bench.connect("a");
    let mut ask = |params: &str| bench.call("a", "mining.configure", params).unwrap();
    let on = |mask: &str| json!({"version-rolling": true, "version-rolling.mask": mask});
    assert_eq!(ask(r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]"#), on("1fffe000"));
    assert_eq!(
        ask(r#"[["version-rolling"],{"version-rolling.mask":"00fff0FF","version-rolling.min-bit-count":2}]"#),
        on("00ffe000")
    );
    assert_eq!(ask(r#"[["version-rolling"],{}]"#), on("1fffe000"));
    assert_eq!(ask(r#"[["version-rolling"]]"#), on("1fffe000"));
    for none in
        [r#"{"version-rolling.mask":"e0001fff"}"#, r#"{"version-rolling.mask":"x"}"#, r#"{"version-rolling.mask":5}"#]
    {
        assert_eq!(ask(&format!(r#"[["version-rolling"],{none}]"#)), json!({"version-rolling": false}), "{none}");
    }
}

#[test]
fn extensions_are_answered_one_by_one() {
    let mut bench = Bench::new();
    bench.connect("a");
    let params = r#"[["minimum-difficulty","subscribe-extranonce","info","tea\"pot"],
        {"minimum-difficulty.value":2048,"info.hw-version":"x"}]"#
        .replace('\n', "");
    let expected = json!({"minimum-difficulty": true, "subscribe-extranonce": true, "info": true, "tea\"pot": false});
    assert_eq!(bench.call("a", "mining.configure", &params), Ok(expected));
    assert_eq!(ask_minimum(&mut bench, &["-1", "null", "\"x\""]), [false; 3]);
    let unsaid = bench.call("a", "mining.configure", r#"[["minimum-difficulty"]]"#);
    assert_eq!(unsaid, Ok(json!({"minimum-difficulty": false})));
    for bad in ["[]", "{}", "[5]", "[[]]"] {
        assert_eq!(bench.call("a", "mining.configure", bad).unwrap_err().0, 20, "{bad}");
    }
}

/// Asks for minimum difficulties, one after the other; what the pool says to each.
fn ask_minimum(bench: &mut Bench, values: &[&str]) -> Vec<bool> {
    let answers = values.iter().map(|value| {
        let params = format!(r#"[["minimum-difficulty"],{{"minimum-difficulty.value":{value}}}]"#);
        bench.call("a", "mining.configure", &params).unwrap()["minimum-difficulty"].as_bool().unwrap()
    });
    answers.collect()
}

#[test]
fn minimum_difficulty_is_a_floor_below_the_ceiling() {
    for (spec, minimum, password, expected) in [
        (HARD_SHARES, "2048", "x", 2_048.0),
        (EASY_SHARES, "2048", "x", 1.0),
        (HARD_SHARES, "1.9", "x", 2.0),
        (HARD_SHARES, "1.9", "d=1.95", 2.0),
        (HARD_SHARES, "\"2048\"", "d=64", 2_048.0),
        (HARD_SHARES, "2048", "d=4096", 4_096.0),
        (HARD_SHARES, "0.0123456", "d=0.01", 0.012_4),
    ] {
        let mut bench = Bench::new();
        bench.job(spec);
        bench.connect("a");
        assert_eq!(ask_minimum(&mut bench, &[minimum]), [true]);
        bench.call("a", "mining.subscribe", "[]").unwrap();
        let told = bench.send("a", &format!(r#"{{"id":2,"method":"mining.authorize","params":["w","{password}"]}}"#));
        assert_eq!(difficulty(&told), Some(expected), "{minimum} {password}");
    }
}

#[test]
fn a_minimum_difficulty_of_zero_takes_the_wish_back() {
    for zero in ["0", "0.0", "\"0\""] {
        let mut bench = Bench::new();
        bench.job(HARD_SHARES);
        bench.connect("a");
        assert_eq!(ask_minimum(&mut bench, &["2048", zero]), [true, true], "{zero}");
        bench.call("a", "mining.subscribe", "[]").unwrap();
        let told = bench.send("a", r#"{"id":2,"method":"mining.authorize","params":["w","d=64"]}"#);
        assert_eq!(difficulty(&told), Some(64.0));
    }
}

#[test]
fn small_methods_are_answered() {
    let mut bench = Bench::new();
    bench.connect("a");
    assert_eq!(bench.call("a", "mining.extranonce.subscribe", "[]"), Ok(json!(true)));
    assert_eq!(bench.call("a", "mining.ping", "[]"), Ok(json!("pong")));
    let version = bench.call("a", "mining.get_version", "[]").unwrap();
    assert!(version.as_str().unwrap().starts_with("p2pool/"));
    // Unknown ones are refused, and the session lives.
    assert_eq!(bench.call("a", "mining.teapot", "[]"), Err((20, "unknown method".into())));
    assert_eq!(bench.call("a", "mining.authorize", "[]").unwrap_err().0, 20);
    assert_eq!(bench.call("a", "mining.authorize", "[5]").unwrap_err().0, 20);
    assert_eq!(bench.call("a", "mining.suggest_difficulty", "[0]").unwrap_err().0, 20);
    assert_eq!(bench.call("a", "mining.suggest_difficulty", r#"["x"]"#).unwrap_err().0, 20);
    assert_eq!(bench.call("a", "mining.ping", "[]"), Ok(json!("pong")));
}

#[test]
fn ids_of_any_type_come_back() {
    let mut bench = Bench::new();
    bench.connect("a");
    for id in ["0", "-7.5", "null", "\"\"", "\"x\\ny\"", "{\"a\":[1]}", "[null]", "true"] {
        for method in ["mining.ping", "mining.teapot", "mining.submit", "mining.subscribe"] {
            let told = bench.send("a", &format!(r#"{{"id":{id},"method":"{method}","params":[]}}"#));
            assert_eq!(told[0]["id"], serde_json::from_str::<serde_json::Value>(id).unwrap());
        }
    }
}

#[test]
fn a_session_is_resumed_with_its_extranonce() {
    let mut bench = Bench::new();
    bench.worker("a");
    let session = bench.call("a", "mining.subscribe", "[]").unwrap()[1].clone();
    let resume = format!(r#"["agent",{session}]"#);
    // Not while the first connection lives.
    bench.connect("b");
    assert_ne!(bench.call("b", "mining.subscribe", &resume).unwrap()[1], session);
    bench.disconnect("a");
    bench.connect("c");
    assert_eq!(bench.call("c", "mining.subscribe", &resume).unwrap()[1], session);
    bench.connect("d");
    assert_ne!(bench.call("d", "mining.subscribe", &resume).unwrap()[1], session, "once only");
    for unknown in [r#""""#, r#""zzzzzzzz""#, r#""00000001""#, "5", "null"] {
        bench.connect("e");
        let params = format!(r#"["agent",{unknown}]"#);
        assert_ne!(bench.call("e", "mining.subscribe", &params).unwrap()[1], "00000001");
        bench.disconnect("e");
    }
}

#[test]
fn no_two_sessions_share_an_extranonce() {
    let mut bench = Bench::new();
    let names = ["a", "b", "c", "d"];
    let extranonces: std::collections::HashSet<_> = names
        .map(|name| {
            bench.connect(name);
            bench.extranonce1(name)
        })
        .into();
    assert_eq!(extranonces.len(), names.len());
    assert_eq!(bench.extranonce1("a"), bench.extranonce1("a"), "subscribing twice changes nothing");
}

#[test]
fn the_start_difficulty_follows_flag_firmware_wish_and_ceiling() {
    let start = |network, flag, user_agent: &str, before: &[(&str, &str)], password: &str, spec: JobSpec| {
        let mut bench = Bench::with(network, flag);
        bench.job(spec);
        bench.connect("a");
        for (method, params) in before {
            bench.call("a", method, params).unwrap();
        }
        bench.call("a", "mining.subscribe", &format!(r#"["{user_agent}"]"#)).unwrap();
        let told = bench.send("a", &format!(r#"{{"id":2,"method":"mining.authorize","params":["w","{password}"]}}"#));
        difficulty(&told).unwrap()
    };
    let main = Network::Mainnet;
    assert_eq!(start(main, 100_000.0, "bmminer/2.0", &[], "x", HARD_SHARES), 100_000.0, "the flag");
    assert_eq!(start(main, 100_000.0, "bitaxe/BM1370", &[], "x", HARD_SHARES), 1_000.0, "known to be small");
    assert_eq!(start(main, 10.0, "bitaxe/BM1370", &[], "x", HARD_SHARES), 10.0, "the flag is lower still");
    let wish = [("mining.suggest_difficulty", "[512]")];
    assert_eq!(start(main, 100_000.0, "bmminer/2.0", &wish, "x", HARD_SHARES), 512.0, "a wish");
    assert_eq!(start(main, 100_000.0, "bmminer/2.0", &wish, "d=64", HARD_SHARES), 64.0, "fixed by the password");
    assert_eq!(start(main, 100_000.0, "bmminer/2.0", &[], "d=0.0000001", HARD_SHARES), 0.000_01, "the floor");
    assert_eq!(start(main, 100_000.0, "bmminer/2.0", &[], "x", EASY_SHARES), 1.0, "the share difficulty");
    assert_eq!(start(main, 100_000.0, "bmminer/2.0", &[], "d=64", EASY_SHARES), 1.0, "even if fixed");
    let easy_block = JobSpec { block_bits: Bits(0x1d00_ffff), ..HARD_SHARES };
    assert_eq!(start(main, 100_000.0, "bmminer/2.0", &[], "x", easy_block), 1.0, "the network's difficulty");
    assert_eq!(start(Network::Regtest, 100_000.0, "bmminer/2.0", &[], "x", easy_block), 100_000.0, "not on regtest");
    let easiest = JobSpec { share_bits: EASIEST, ..HARD_SHARES };
    assert_eq!(start(Network::Regtest, 100_000.0, "bmminer/2.0", &[], "x", easiest), 4.65e-10, "below the floor");
}

#[test]
fn wishes_after_authorize_are_announced_at_once() {
    let mut bench = Bench::new();
    bench.job(HARD_SHARES);
    bench.worker("a");
    let told = bench.send("a", r#"{"id":3,"method":"mining.suggest_difficulty","params":[4096.7]}"#);
    assert_eq!(difficulty(&told), Some(4_096.0));
    let told = bench.send("a", r#"{"id":3,"method":"mining.authorize","params":["w","d=8"]}"#);
    assert_eq!(difficulty(&told), Some(8.0));
    assert!(told[1].to_string().contains("[8]"), "whole numbers are written without a point: {}", told[1]);
    let told = bench.send("a", r#"{"id":3,"method":"mining.suggest_difficulty","params":[2]}"#);
    assert_eq!(difficulty(&told), None, "fixed is fixed");
}

#[test]
fn a_ceiling_that_falls_is_announced_before_the_job() {
    let mut bench = Bench::with(Network::Mainnet, 100.0);
    bench.job(HARD_SHARES);
    bench.worker("a");
    let told = bench.announce(&JobSpec { id: 2, ..EASY_SHARES }.make());
    assert_eq!(methods(&told["a"]), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(difficulty(&told["a"]), Some(1.0));
    let told = bench.announce(&JobSpec { id: 3, ..HARD_SHARES }.make());
    assert_eq!(difficulty(&told["a"]), Some(1.0 * 100.0), "and back");
}

#[test]
fn a_coinbase_too_large_for_the_firmware_is_told_once() {
    let mut bench = Bench::new();
    let large = JobSpec { payees: 48, ..EASY_SHARES };
    bench.job(EASY_SHARES);
    for (name, user_agent) in [("stock", "bmminer/2.0"), ("bitaxe", "bitaxe/BM1370")] {
        bench.connect(name);
        bench.call(name, "mining.subscribe", &format!(r#"["{user_agent}"]"#)).unwrap();
        bench.call(name, "mining.authorize", &format!(r#"["{name}"]"#)).unwrap();
    }
    bench.outbox.news.clear();
    let job = JobSpec { id: 2, ..large }.make();
    let len = job.coinbase.len_bytes();
    assert!(len > 2_000);
    let told = bench.announce(&job);
    assert_eq!(methods(&told["bitaxe"]), ["mining.notify"]);
    assert_eq!(methods(&told["stock"]), ["mining.notify", "client.show_message"]);
    let text = told["stock"][1]["params"][0].as_str().unwrap();
    assert!(text.contains(&len.to_string()) && text.contains("755"), "{text}");
    assert_eq!(bench.outbox.news.len(), 1);
    assert!(bench.outbox.news[0].starts_with("CoinbaseTooLarge { worker: \"stock\""), "{}", bench.outbox.news[0]);
    assert!(bench.status("stock").coinbase_too_large && !bench.status("bitaxe").coinbase_too_large);
    let told = bench.announce(&JobSpec { id: 3, ..large }.make());
    assert_eq!(methods(&told["stock"]), ["mining.notify"], "once");
    bench.announce(&JobSpec { id: 4, ..EASY_SHARES }.make());
    assert!(!bench.status("stock").coinbase_too_large);
    let told = bench.announce(&JobSpec { id: 5, ..large }.make());
    assert_eq!(methods(&told["stock"]), ["mining.notify", "client.show_message"], "and again when it is again");
}

#[test]
fn a_miner_may_have_no_name() {
    for name in ["", "  ", "\\t"] {
        let mut bench = Bench::new();
        let job = bench.job(JobSpec { block_bits: EASIEST, ..EASY_SHARES });
        bench.connect("a");
        bench.call("a", "mining.subscribe", r#"["x"]"#).unwrap();
        assert_eq!(bench.call("a", "mining.authorize", &format!(r#"["{name}"]"#)), Ok(json!(true)));
        assert_eq!(&*bench.status("a").worker, "");
        assert_eq!(bench.outbox.news, [r#"Authorised { worker: "(no name)", user_agent: "x" }"#]);
        let block = solve(&job, answer(&job, bench.extranonce1("a"), 0), |judged| judged.meets(&job.block_target));
        let _ = bench.submit_answer("a", &job, &block);
        assert_eq!(&*bench.outbox.blocks[0].worker, "(no name)");
    }
}

#[test]
fn names_are_strangers_text() {
    let mut bench = Bench::new();
    bench.connect("a");
    let long = "n".repeat(1_000);
    bench.call("a", "mining.subscribe", &format!(r#"["{long}"]"#)).unwrap();
    bench.call("a", "mining.authorize", r#"["evil\n2026 ERROR\u001b[2J"]"#).unwrap();
    let status = bench.status("a");
    assert_eq!(&*status.worker, "evil?2026 ERROR?[2J");
    assert_eq!(status.user_agent.len(), 128);
}
