//! The methods that set up a session.

use serde_json::json;

use super::support::*;
use crate::config::Config;
use crate::params::{ChainParams, Network};
use crate::stratum::firmware_work::outputs_vote;
use crate::stratum::fixtures::*;
use crate::stratum::shared::AddressWarnings;
use crate::stratum::NamedAddress;
use crate::units::Bits;
use crate::work::NoWork;

/// Shares have difficulty 1, blocks a much higher one.
const EASY_SHARES: JobSpec = JobSpec {
    id: 1,
    tip: 1,
    block_bits: Bits(0x1703_31db),
    share_bits: Bits(0x1d00_ffff),
    version: 0x2000_0000,
    payees: 1,
};
/// Shares have difficulty 2^24.
const HARD_SHARES: JobSpec = JobSpec { share_bits: Bits(0x1a00_ffff), ..EASY_SHARES };

#[test]
fn a_miner_subscribes_authorizes_and_gets_work() {
    let mut server = TestServer::new();
    let job = server.job(JobSpec { payees: 48, ..EASY_SHARES });
    server.connect("a");
    let subscribed = server.send("a", r#"{"id":1,"method":"mining.subscribe","params":["cpuminer/2.5.1"]}"#);
    let session = "a0b0c0d0";
    let expected = json!([[["mining.set_difficulty", session], ["mining.notify", session]], session, 8]);
    assert_eq!(subscribed, [json!({"id": 1, "result": expected, "error": null})]);
    let sent = server.send("a", r#"{"id":2,"method":"mining.authorize","params":["a.b","x"]}"#);
    assert_eq!(methods(&sent), ["response", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(sent[0], json!({"id": 2, "result": true, "error": null}));
    let mut line = Vec::new();
    job.write_notify(0, true, &mut line);
    assert_eq!(sent[2], serde_json::from_slice::<serde_json::Value>(&line).unwrap());
    assert_eq!(server.sink.events, [r#"Authorised { worker: "a.b", user_agent: "cpuminer/2.5.1" }"#]);
    let status = server.status("a");
    assert_eq!((&*status.worker, &*status.user_agent, status.difficulty), ("a.b", "cpuminer/2.5.1", 0.001));
}

#[test]
fn the_order_of_the_first_requests_does_not_matter() {
    let mut server = TestServer::new();
    server.job(EASY_SHARES);
    server.connect("a");
    assert_eq!(server.call("a", "mining.authorize", r#"["w"]"#), Ok(json!(true)));
    assert_eq!(server.call("a", "mining.suggest_difficulty", "[0.25]"), Ok(json!(true)));
    let sent = server.send("a", r#"{"id":1,"method":"mining.subscribe","params":[]}"#);
    assert_eq!(methods(&sent), ["response", "mining.set_difficulty", "mining.notify"]);
    assert_eq!(difficulty(&sent), Some(0.25));
}

#[test]
fn a_miner_without_work_gets_the_next_job() {
    let mut server = TestServer::new();
    let sent = server.worker("a");
    assert_eq!(methods(&sent), ["response", "response", "client.show_message"]);
    let text = "No work: bitcoind has sent no block template yet. Mining will resume automatically.";
    assert_eq!(sent[2]["params"][0], text, "a miner that comes before the first template");
    let job = EASY_SHARES.make();
    let sent = server.announce(&job);
    assert_eq!(methods(&sent["a"]), ["mining.set_difficulty", "mining.notify"]);
    let sent = server.announce(&JobSpec { id: 2, ..EASY_SHARES }.make());
    assert_eq!(methods(&sent["a"]), ["mining.notify"], "an unchanged difficulty is not repeated");
    assert_eq!(sent["a"][0]["params"][8], false);
    let sent = server.announce(&JobSpec { id: 3, tip: 2, ..EASY_SHARES }.make());
    assert_eq!(sent["a"][0]["params"][8], true, "a new Bitcoin tip makes older work stale");
    let sent = server.withdraw(NoWork::NoTemplate);
    assert_eq!(methods(&sent["a"]), ["client.show_message"]);
    assert_eq!(
        methods(&server.worker("b")),
        ["response", "response", "client.show_message"],
        "new miners get the message too"
    );
    let sent = server.announce(&JobSpec { id: 4, tip: 2, ..EASY_SHARES }.make());
    assert_eq!(sent["a"][0]["params"][8], false);
}

/// An address of regtest that is not the node's.
const OTHER_ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// Authorises a worker; returns the texts of the messages to it.
fn messages_after_authorize(server: &mut TestServer, user_agent: &str, workers: &[&str]) -> Vec<String> {
    server.connect("a");
    let mut sent = server.send("a", &format!(r#"{{"id":1,"method":"mining.subscribe","params":["{user_agent}"]}}"#));
    for worker in workers {
        sent.extend(server.send("a", &format!(r#"{{"id":2,"method":"mining.authorize","params":["{worker}","x"]}}"#)));
    }
    let texts = sent.iter().filter(|line| line["method"] == "client.show_message");
    texts.map(|line| line["params"][0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_address_in_a_user_name_that_is_not_paid_is_told_once() {
    let mut server = TestServer::new();
    server.job(EASY_SHARES);
    let ours = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere").payout_address;
    let mistyped = OTHER_ADDRESS.replace("w508", "w509");
    for (worker, fault, named) in [
        (format!("{OTHER_ADDRESS}.rig"), "another address than this node's", NamedAddress::Other),
        (
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa".to_owned(),
            "an address of another Bitcoin network",
            NamedAddress::OtherNetwork,
        ),
        (format!("{mistyped}_rig"), "a mistyped address", NamedAddress::Mistyped),
    ] {
        // The second authorize is a repetition.
        let sent = messages_after_authorize(&mut server, "bitaxe", &[&worker, &worker]);
        assert_eq!(sent, [format!("Your user name has {fault}. This pool pays only {ours}. Use {ours}.name")]);
        assert_eq!(server.status("a").named_address, named);
        assert!(server.status("a").needs_attention());
        let reports = |server: &TestServer| server.sink.events.iter().filter(|event| event.contains(fault)).count();
        assert_eq!(reports(&server), 1);
        server.disconnect("a");
        messages_after_authorize(&mut server, "bitaxe", &[&worker]);
        assert_eq!(reports(&server), 1, "the operator is not warned of one address at each reconnect");
        server.disconnect("a");
    }
    for worker in [format!("{ours}.rig"), "rig".to_owned(), String::new()] {
        assert_eq!(messages_after_authorize(&mut server, "bitaxe", &[&worker]), [""; 0], "{worker}");
        assert!(!server.status("a").needs_attention());
        server.disconnect("a");
    }
}

#[test]
fn each_worker_of_a_connection_is_told_about_its_own_name() {
    let mut server = TestServer::new();
    server.job(EASY_SHARES);
    let second = format!("{OTHER_ADDRESS}.2");
    assert_eq!(messages_after_authorize(&mut server, "proxy", &["first", &second, "third"]).len(), 1);
    let session = server.sessions.get_mut("a").unwrap();
    let named: Vec<NamedAddress> = session.status(server.now.steady).map(|miner| miner.named_address).collect();
    assert_eq!(named, [NamedAddress::None, NamedAddress::Other, NamedAddress::None]);
}

#[test]
fn firmware_that_does_not_bear_messages_gets_none() {
    for user_agent in ["NiceHash/1.0", "NerdMinerV2"] {
        let mut server = TestServer::new();
        let sent = messages_after_authorize(&mut server, user_agent, &[OTHER_ADDRESS]);
        assert_eq!(sent, [""; 0], "{user_agent}, neither about its name nor about the absence of work");
        assert_eq!(server.status("a").named_address, NamedAddress::Other);
    }
}

#[test]
fn warnings_of_invented_addresses_are_bounded_in_memory() {
    let mut warnings = AddressWarnings::default();
    for number in 0..10_000 {
        assert!(warnings.is_due(&number.to_string()));
        assert!(!warnings.is_due(&number.to_string()));
        assert!(warnings.len() <= 64);
    }
}

#[test]
fn sessions_get_no_job_before_subscribe_and_authorize() {
    let mut server = TestServer::new();
    server.connect("a");
    server.connect("b");
    server.call("a", "mining.subscribe", "[]").unwrap();
    server.call("b", "mining.authorize", r#"["w"]"#).unwrap();
    let sent = server.announce(&EASY_SHARES.make());
    assert!(sent["a"].is_empty() && sent["b"].is_empty());
}

#[test]
fn the_version_mask_is_the_intersection_of_both_masks() {
    let mut server = TestServer::new();
    server.connect("a");
    let mut configure = |params: &str| server.call("a", "mining.configure", params).unwrap();
    let on = |mask: &str| json!({"version-rolling": true, "version-rolling.mask": mask});
    assert_eq!(configure(r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]"#), on("1fffe000"));
    assert_eq!(
        configure(r#"[["version-rolling"],{"version-rolling.mask":"00fff0FF","version-rolling.min-bit-count":2}]"#),
        on("00ffe000")
    );
    assert_eq!(configure(r#"[["version-rolling"],{}]"#), on("1fffe000"));
    assert_eq!(configure(r#"[["version-rolling"]]"#), on("1fffe000"));
    for none in
        [r#"{"version-rolling.mask":"e0001fff"}"#, r#"{"version-rolling.mask":"x"}"#, r#"{"version-rolling.mask":5}"#]
    {
        assert_eq!(configure(&format!(r#"[["version-rolling"],{none}]"#)), json!({"version-rolling": false}), "{none}");
    }
}

#[test]
fn each_extension_gets_its_result() {
    let mut server = TestServer::new();
    server.connect("a");
    let params = r#"[["minimum-difficulty","subscribe-extranonce","info","tea\"pot"],
        {"minimum-difficulty.value":2048,"info.hw-version":"x"}]"#
        .replace('\n', "");
    let expected = json!({"minimum-difficulty": true, "subscribe-extranonce": true, "info": true, "tea\"pot": false});
    assert_eq!(server.call("a", "mining.configure", &params), Ok(expected));
    assert_eq!(request_minimum(&mut server, &["-1", "null", "\"x\""]), [false; 3]);
    let missing = server.call("a", "mining.configure", r#"[["minimum-difficulty"]]"#);
    assert_eq!(missing, Ok(json!({"minimum-difficulty": false})));
    for bad in ["[]", "{}", "[5]", "[[]]"] {
        assert_eq!(server.call("a", "mining.configure", bad).unwrap_err().0, 20, "{bad}");
    }
}

/// Requests minimum difficulties one after the other; returns whether each is supported.
fn request_minimum(server: &mut TestServer, values: &[&str]) -> Vec<bool> {
    let results = values.iter().map(|value| {
        let params = format!(r#"[["minimum-difficulty"],{{"minimum-difficulty.value":{value}}}]"#);
        server.call("a", "mining.configure", &params).unwrap()["minimum-difficulty"].as_bool().unwrap()
    });
    results.collect()
}

#[test]
fn the_minimum_difficulty_applies_below_the_ceiling() {
    for (spec, minimum, password, expected) in [
        (HARD_SHARES, "2048", "x", 2_048.0),
        (EASY_SHARES, "2048", "x", 1.0),
        (HARD_SHARES, "1.9", "x", 2.0),
        (HARD_SHARES, "1.9", "d=1.95", 2.0),
        (HARD_SHARES, "\"2048\"", "d=64", 2_048.0),
        (HARD_SHARES, "2048", "d=4096", 4_096.0),
        (HARD_SHARES, "0.0123456", "d=0.01", 0.012_4),
    ] {
        let mut server = TestServer::new();
        server.job(spec);
        server.connect("a");
        assert_eq!(request_minimum(&mut server, &[minimum]), [true]);
        server.call("a", "mining.subscribe", "[]").unwrap();
        let sent = server.send("a", &format!(r#"{{"id":2,"method":"mining.authorize","params":["w","{password}"]}}"#));
        assert_eq!(difficulty(&sent), Some(expected), "{minimum} {password}");
    }
}

#[test]
fn a_minimum_difficulty_of_zero_cancels_the_request() {
    for zero in ["0", "0.0", "\"0\""] {
        let mut server = TestServer::new();
        server.job(HARD_SHARES);
        server.connect("a");
        assert_eq!(request_minimum(&mut server, &["2048", zero]), [true, true], "{zero}");
        server.call("a", "mining.subscribe", "[]").unwrap();
        let sent = server.send("a", r#"{"id":2,"method":"mining.authorize","params":["w","d=64"]}"#);
        assert_eq!(difficulty(&sent), Some(64.0));
    }
}

#[test]
fn other_methods_get_responses() {
    let mut server = TestServer::new();
    server.connect("a");
    assert_eq!(server.call("a", "mining.extranonce.subscribe", "[]"), Ok(json!(true)));
    assert_eq!(server.call("a", "mining.ping", "[]"), Ok(json!("pong")));
    let version = server.call("a", "mining.get_version", "[]").unwrap();
    assert!(version.as_str().unwrap().starts_with("p2pool/"));
    // Unknown methods are rejected; the session stays open.
    assert_eq!(server.call("a", "mining.teapot", "[]"), Err((20, "unknown method".into())));
    assert_eq!(server.call("a", "mining.authorize", "[]").unwrap_err().0, 20);
    assert_eq!(server.call("a", "mining.authorize", "[5]").unwrap_err().0, 20);
    assert_eq!(server.call("a", "mining.suggest_difficulty", "[0]").unwrap_err().0, 20);
    assert_eq!(server.call("a", "mining.suggest_difficulty", r#"["x"]"#).unwrap_err().0, 20);
    assert_eq!(server.call("a", "mining.ping", "[]"), Ok(json!("pong")));
}

#[test]
fn ids_of_any_type_are_echoed() {
    let mut server = TestServer::new();
    server.connect("a");
    for id in ["0", "-7.5", "null", "\"\"", "\"x\\ny\"", "{\"a\":[1]}", "[null]", "true"] {
        for method in ["mining.ping", "mining.teapot", "mining.submit", "mining.subscribe"] {
            let sent = server.send("a", &format!(r#"{{"id":{id},"method":"{method}","params":[]}}"#));
            assert_eq!(sent[0]["id"], serde_json::from_str::<serde_json::Value>(id).unwrap());
        }
    }
}

#[test]
fn a_session_is_resumed_with_its_extranonce() {
    let mut server = TestServer::new();
    server.worker("a");
    let session = server.call("a", "mining.subscribe", "[]").unwrap()[1].clone();
    let resume = format!(r#"["agent",{session}]"#);
    // Not while the first connection is open.
    server.connect("b");
    assert_ne!(server.call("b", "mining.subscribe", &resume).unwrap()[1], session);
    server.disconnect("a");
    server.connect("c");
    assert_eq!(server.call("c", "mining.subscribe", &resume).unwrap()[1], session);
    server.connect("d");
    assert_ne!(server.call("d", "mining.subscribe", &resume).unwrap()[1], session, "only once");
    for unknown in [r#""""#, r#""zzzzzzzz""#, r#""00000001""#, "null"] {
        server.connect("e");
        let params = format!(r#"["agent",{unknown}]"#);
        assert_ne!(server.call("e", "mining.subscribe", &params).unwrap()[1], "00000001");
        server.disconnect("e");
    }
}

#[test]
fn a_subscribe_with_parameters_of_the_wrong_type_is_rejected() {
    let mut server = TestServer::new();
    server.connect("a");
    for wrong in ["{}", "5", "\"x\"", "[5]", "[{}]", "[[]]", "[true]", r#"["x",5]"#, r#"["x",["00000001"]]"#] {
        assert_eq!(server.call("a", "mining.subscribe", wrong).unwrap_err().0, 20, "{wrong}");
    }
    for right in ["[]", "null", "[null]", r#"["x"]"#, r#"["x",null]"#, r#"["x","",5]"#, r#"["x",null,"host",3333]"#] {
        assert!(server.call("a", "mining.subscribe", right).is_ok(), "{right}");
    }
}

#[test]
fn sessions_have_different_extranonces() {
    let mut server = TestServer::new();
    let names = ["a", "b", "c", "d"];
    let extranonces: std::collections::HashSet<_> = names
        .map(|name| {
            server.connect(name);
            server.extranonce1(name)
        })
        .into();
    assert_eq!(extranonces.len(), names.len());
    assert_eq!(server.extranonce1("a"), server.extranonce1("a"), "subscribing again does not change it");
}

#[test]
fn the_start_difficulty_depends_on_flag_firmware_suggestion_and_ceiling() {
    let start = |network, flag, user_agent: &str, before: &[(&str, &str)], password: &str, spec: JobSpec| {
        let mut server = TestServer::with(network, flag);
        server.job(spec);
        server.connect("a");
        for (method, params) in before {
            server.call("a", method, params).unwrap();
        }
        server.call("a", "mining.subscribe", &format!(r#"["{user_agent}"]"#)).unwrap();
        let sent = server.send("a", &format!(r#"{{"id":2,"method":"mining.authorize","params":["w","{password}"]}}"#));
        difficulty(&sent).unwrap()
    };
    let main = Network::Mainnet;
    assert_eq!(start(main, 100_000.0, "tester", &[], "x", HARD_SHARES), 100_000.0, "the flag");
    assert_eq!(start(main, 100_000.0, "bitaxe/BM1370", &[], "x", HARD_SHARES), 1_000.0, "a small miner");
    assert_eq!(start(main, 10.0, "bitaxe/BM1370", &[], "x", HARD_SHARES), 10.0, "the flag is even lower");
    let suggestion = [("mining.suggest_difficulty", "[512]")];
    assert_eq!(start(main, 100_000.0, "tester", &suggestion, "x", HARD_SHARES), 512.0, "a suggestion");
    assert_eq!(start(main, 100_000.0, "tester", &suggestion, "d=64", HARD_SHARES), 64.0, "fixed by the password");
    assert_eq!(start(main, 100_000.0, "tester", &[], "d=0.0000001", HARD_SHARES), 0.000_01, "the floor");
    assert_eq!(start(main, 100_000.0, "tester", &[], "x", EASY_SHARES), 1.0, "the share difficulty");
    assert_eq!(start(main, 100_000.0, "tester", &[], "d=64", EASY_SHARES), 1.0, "even if fixed");
    let easy_block = JobSpec { block_bits: Bits(0x1d00_ffff), ..HARD_SHARES };
    assert_eq!(start(main, 100_000.0, "tester", &[], "x", easy_block), 1.0, "the network's difficulty");
    assert_eq!(start(Network::Regtest, 100_000.0, "tester", &[], "x", easy_block), 100_000.0, "but not on regtest");
    let easiest = JobSpec { share_bits: EASIEST, ..HARD_SHARES };
    assert_eq!(start(Network::Regtest, 100_000.0, "tester", &[], "x", easiest), 4.65e-10, "even below the floor");
}

#[test]
fn changes_after_authorize_are_announced_with_the_next_job() {
    let mut server = TestServer::new();
    server.job(HARD_SHARES);
    server.worker("a");
    let mut id = 1;
    let mut next_job = |server: &mut TestServer| {
        id += 1;
        server.announce(&JobSpec { id, ..HARD_SHARES }.make()).remove("a").unwrap()
    };
    for (method, params, expected) in [
        ("mining.suggest_difficulty", "[4096.7]", Some(4_096.0)),
        ("mining.suggest_difficulty", "[4100.7]", Some(4_100.0)),
        ("mining.suggest_difficulty", "[4100]", None),
        ("mining.configure", r#"[["minimum-difficulty"],{"minimum-difficulty.value":8192}]"#, Some(8_192.0)),
        ("mining.authorize", r#"["w","d=65536"]"#, Some(65_536.0)),
        ("mining.suggest_difficulty", "[2]", None),
    ] {
        let sent = server.send("a", &format!(r#"{{"id":3,"method":"{method}","params":{params}}}"#));
        assert_eq!(methods(&sent), ["response"], "no difficulty without a job");
        let sent = next_job(&mut server);
        assert_eq!(difficulty(&sent), expected, "{method} {params}");
        match expected {
            Some(_) => assert_eq!(methods(&sent), ["mining.set_difficulty", "mining.notify"]),
            None => assert_eq!(methods(&sent), ["mining.notify"]),
        }
    }
    server.call("a", "mining.authorize", r#"["w","d=8192"]"#).unwrap();
    let sent = next_job(&mut server);
    assert!(sent[0].to_string().contains("[8192]"), "integers have no decimal point: {}", sent[0]);
}

#[test]
fn firmware_is_sent_only_difficulties_that_it_bears() {
    let start = |user_agent: &str, password: &str, spec: JobSpec| {
        let mut server = TestServer::with(Network::Mainnet, 100_000.0);
        server.job(spec);
        server.connect("a");
        server.call("a", "mining.suggest_difficulty", "[0.25]").unwrap();
        server.call("a", "mining.subscribe", &format!(r#"["{user_agent}"]"#)).unwrap();
        let sent = server.send("a", &format!(r#"{{"id":2,"method":"mining.authorize","params":["w","{password}"]}}"#));
        difficulty(&sent).unwrap()
    };
    let (easiest, hardest) = (JobSpec { share_bits: EASIEST, block_bits: EASIEST, ..HARD_SHARES }, Bits(0x1703_31db));
    let hardest = JobSpec { share_bits: hardest, block_bits: hardest, ..HARD_SHARES };
    assert_eq!(start("tester", "x", HARD_SHARES), 0.25);
    assert_eq!(start("whatsminer/v1.0", "x", HARD_SHARES), 1.0, "an ASIC");
    assert_eq!(start("whatsminer/v1.0", "d=0.5", HARD_SHARES), 1.0, "even if fixed");
    assert_eq!(start("bitaxe/BM1370", "x", easiest), 1.0, "even if shares are easier");
    assert_eq!(start("bitaxe/BM1370", "d=99999999999", hardest), 2_140_000_000.0, "what it represents");
    assert_eq!(start("bmminer/2.0", "d=99999999999", hardest), 99_900_000_000.0);
    assert_eq!(start("NiceHash/1.0.0", "d=64", HARD_SHARES), 524_288.0, "NiceHash refuses less");
    assert_eq!(start("NiceHash/1.0.0", "d=64", EASY_SHARES), 1.0, "but every share is submitted");
}

#[test]
fn a_change_of_the_ceiling_is_announced_before_the_job() {
    let mut server = TestServer::with(Network::Mainnet, 100.0);
    server.job(HARD_SHARES);
    server.worker("a");
    let sent = server.announce(&JobSpec { id: 2, ..EASY_SHARES }.make());
    assert_eq!(methods(&sent["a"]), ["mining.set_difficulty", "mining.notify"]);
    assert_eq!(difficulty(&sent["a"]), Some(1.0));
    let sent = server.announce(&JobSpec { id: 3, ..HARD_SHARES }.make());
    assert_eq!(difficulty(&sent["a"]), Some(1.0 * 100.0), "and back again");
}

#[test]
fn firmware_with_a_strict_limit_gets_no_job_above_it() {
    let mut server = TestServer::new();
    let large = JobSpec { payees: 4, ..EASY_SHARES };
    let too_large = server.job(large).coinbase.len_bytes();
    for (name, user_agent) in [("nerd", "NerdMinerV2/V1.8.3"), ("stock", "bmminer/2.0")] {
        server.connect(name);
        server.call(name, "mining.subscribe", &format!(r#"["{user_agent}"]"#)).unwrap();
        server.call(name, "mining.authorize", &format!(r#"["{name}"]"#)).unwrap();
    }
    assert!((256..755).contains(&too_large), "{too_large}");
    assert!(server.status("nerd").coinbase_too_large && !server.status("stock").coinbase_too_large);
    assert_eq!(server.status("nerd").difficulty, 0.0, "no job yet");
    assert!(server.sink.events.iter().any(|event| event.contains("is_withheld: true")), "{:?}", server.sink.events);
    let sent = server.announce(&JobSpec { id: 2, payees: 1, ..EASY_SHARES }.make());
    assert_eq!(methods(&sent["nerd"]), ["mining.set_difficulty", "mining.notify"], "its first job");
    let sent = server.announce(&JobSpec { id: 3, ..large }.make());
    assert!(sent["nerd"].is_empty());
    assert_eq!(methods(&sent["stock"]), ["mining.notify"]);
}

#[test]
fn a_coinbase_too_large_for_the_firmware_is_reported_once() {
    let mut server = TestServer::new();
    let large = JobSpec { payees: 48, ..EASY_SHARES };
    server.job(EASY_SHARES);
    for (name, user_agent) in [("stock", "bmminer/2.0"), ("other", "bmminer/2.0"), ("bitaxe", "bitaxe/BM1370")] {
        server.connect(name);
        server.call(name, "mining.subscribe", &format!(r#"["{user_agent}"]"#)).unwrap();
        server.call(name, "mining.authorize", &format!(r#"["{name}"]"#)).unwrap();
    }
    server.sink.events.clear();
    let job = JobSpec { id: 2, ..large }.make();
    let len = job.coinbase.len_bytes();
    assert!(len > 2_000);
    let sent = server.announce(&job);
    assert_eq!(methods(&sent["bitaxe"]), ["mining.notify"]);
    assert_eq!(methods(&sent["stock"]), ["mining.notify", "client.show_message"]);
    assert_eq!(methods(&sent["other"]), ["mining.notify", "client.show_message"]);
    let text = sent["stock"][1]["params"][0].as_str().unwrap();
    assert!(text.contains(&len.to_string()) && text.contains("755"), "{text}");
    assert_eq!(server.sink.events.len(), 1, "once for both, whose firmware is the same");
    assert!(server.sink.events[0].starts_with("CoinbaseTooLarge { worker: \""), "{}", server.sink.events[0]);
    assert!(server.status("stock").coinbase_too_large && !server.status("bitaxe").coinbase_too_large);
    let sent = server.announce(&JobSpec { id: 3, ..large }.make());
    assert_eq!(methods(&sent["stock"]), ["mining.notify"], "once");
    server.announce(&JobSpec { id: 4, ..EASY_SHARES }.make());
    assert!(!server.status("stock").coinbase_too_large);
    let sent = server.announce(&JobSpec { id: 5, ..large }.make());
    assert_eq!(methods(&sent["stock"]), ["mining.notify", "client.show_message"], "and again after it was small");
    assert_eq!(server.sink.events.len(), 1, "the operator knows");
    let sent = server.announce(&JobSpec { id: 6, payees: 200, ..EASY_SHARES }.make());
    assert_eq!(methods(&sent["stock"]), ["mining.notify"]);
    assert_eq!(methods(&sent["bitaxe"]), ["mining.notify", "client.show_message"]);
    assert_eq!(server.sink.events.len(), 2);
    server.announce(&JobSpec { id: 7, ..EASY_SHARES }.make());
    server.announce(&JobSpec { id: 8, payees: 147, ..EASY_SHARES }.make());
    assert_eq!(
        server.sink.events.len(),
        3,
        "again for the stock firmware under a higher class, {:?}",
        server.sink.events
    );
}

#[test]
fn accepted_work_counts_for_the_firmware_that_did_it() {
    let mut server = TestServer::new();
    let job = server.job(JobSpec { share_bits: EASIEST, ..EASY_SHARES });
    for (name, user_agent, credit) in [("a", "vnish 1.2", 1), ("b", "bitaxe/BM1370", 3), ("c", "bmminer/2.0", 0)] {
        server.connect(name);
        server.call(name, "mining.subscribe", &format!(r#"["{user_agent}"]"#)).unwrap();
        server.call(name, "mining.authorize", &format!(r#"["{name}","d=0.00001"]"#)).unwrap();
        let extranonce1 = server.extranonce1(name);
        for extranonce2 in 0..credit {
            let submit =
                solve(&job, blank_submit(&job, extranonce1, extranonce2), |hashed| hashed.meets(&job.share_target));
            server.send_submit(name, &job, &submit).unwrap();
            server.send_submit(name, &job, &submit).unwrap_err();
        }
    }
    let firmware = server.shared.firmware_work.status(server.now.steady);
    let parts: Vec<_> = firmware.iter().map(|part| (part.name, part.work_percent)).collect();
    assert_eq!(parts, [("bitaxe", 75.0), ("vnish", 25.0)]);
    assert_eq!(outputs_vote(&firmware), 1);
}

#[test]
fn a_worker_name_may_be_empty() {
    for name in ["", "  ", "\\t"] {
        let mut server = TestServer::new();
        let job = server.job(JobSpec { block_bits: EASIEST, ..EASY_SHARES });
        server.connect("a");
        server.call("a", "mining.subscribe", r#"["x"]"#).unwrap();
        assert_eq!(server.call("a", "mining.authorize", &format!(r#"["{name}"]"#)), Ok(json!(true)));
        assert_eq!(&*server.status("a").worker, "");
        assert_eq!(server.sink.events, [r#"Authorised { worker: "(no name)", user_agent: "x" }"#]);
        let block =
            solve(&job, blank_submit(&job, server.extranonce1("a"), 0), |hashed| hashed.meets(&job.block_target));
        let _ = server.send_submit("a", &job, &block);
        assert_eq!(&*server.sink.blocks[0].worker, "(no name)");
    }
}

#[test]
fn names_are_sanitized_and_truncated() {
    let mut server = TestServer::new();
    server.connect("a");
    let long = "n".repeat(1_000);
    server.call("a", "mining.subscribe", &format!(r#"["{long}"]"#)).unwrap();
    server.call("a", "mining.authorize", r#"["evil\n2026 ERROR\u001b[2J"]"#).unwrap();
    let status = server.status("a");
    assert_eq!(&*status.worker, "evil?2026 ERROR?[2J");
    assert_eq!(status.user_agent.len(), 128);
}
