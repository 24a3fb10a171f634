//! Tests against a scripted pool.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crossbeam_channel::bounded;

use super::*;
use crate::mining::{run, Event, Settings};

/// A job in which half of the hashes meet Bitcoin's target.
fn notify(id: &str) -> Value {
    json!({"id": null, "method": "mining.notify", "params":
        [id, "00".repeat(32), "01", "02", ["03".repeat(32)], "20000000", "207fffff", "65000000", true]})
}

/// Serves `connections` one after the other. `respond` returns the lines to send for a request; none closes the connection.
/// The thread returns all requests.
fn pool(
    connections: usize,
    respond: impl Fn(&Value) -> Vec<Value> + Send + 'static,
) -> (String, JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handle = thread::spawn(move || {
        let mut seen = Vec::new();
        for _ in 0..connections {
            serve(listener.accept().unwrap().0, &respond, &mut seen);
        }
        seen
    });
    (address, handle)
}

fn serve(mut stream: TcpStream, respond: &impl Fn(&Value) -> Vec<Value>, seen: &mut Vec<Value>) {
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let Ok(line) = line else { return };
        let request: Value = serde_json::from_str(&line).unwrap();
        let lines = respond(&request);
        seen.push(request);
        if lines.is_empty() || lines.iter().any(|line| writeln!(stream, "{line}").is_err()) {
            return;
        }
    }
}

/// The lines that a pool sends for every request but `mining.submit`.
fn respond(request: &Value) -> Option<Vec<Value>> {
    let result = |result: Value| json!({"id": request["id"], "result": result, "error": null});
    Some(match request["method"].as_str()? {
        "mining.configure" => {
            vec![result(json!({"version-rolling": true, "version-rolling.mask": "00ffe000"}))]
        }
        "mining.subscribe" => vec![result(json!([[["mining.notify", "5e55"]], "abcd", 8]))],
        "mining.authorize" => vec![
            result(json!(true)),
            json!({"id": null, "method": "mining.set_difficulty", "params": [1e-9]}),
            notify("1"),
        ],
        _ => return None,
    })
}

#[test]
fn a_session_subscribes_authorizes_and_submits() {
    let (address, pool) = pool(1, |request| {
        respond(request).unwrap_or_else(|| {
            let error = json!([23, "low difficulty", null]);
            vec![notify("2"), json!({"id": request["id"], "result": null, "error": error})]
        })
    });
    let mut session = Session::connect(&address).unwrap();
    assert_eq!(session.configure(VERSION_MASK).unwrap(), 0x00ff_e000);
    session.subscribe("test", Some("old")).unwrap();
    assert_eq!((session.extranonce1(), session.extranonce2_len()), (&[0xab, 0xcd][..], 8));
    assert_eq!(session.session_id(), Some("5e55"));
    session.authorize("me", "x").unwrap();
    let job = session.wait_job(Duration::from_secs(10), |_| true).unwrap();
    assert_eq!((job.id.as_str(), job.difficulty), ("1", 1e-9));

    let (submit, hash) = session.solve_for(&job, 7, &job.block_target());
    assert_eq!(session.hash(&job, &submit), hash);
    assert_eq!(submit.extranonce2, [0, 0, 0, 0, 0, 0, 0, 7]);
    assert!(matches!(session.submit(&submit), Err(Error::Rejected(Rejection { code: 23, .. }))));
    assert_eq!(session.wait_job(Duration::from_secs(10), |job| job.id == "2").unwrap().id, "2");
    drop(session);
    let seen = pool.join().unwrap();
    assert_eq!(seen[1]["params"], json!(["test", "old"]));
    assert_eq!(seen[3]["params"], submit.params("me"));
}

#[test]
fn the_miner_reconnects_and_ends_after_its_blocks() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let (address, pool) = pool(2, move |request| {
        respond(request).unwrap_or_else(|| match first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            true => Vec::new(),
            false => vec![json!({"id": request["id"], "result": true, "error": null})],
        })
    });
    let settings = Settings {
        pool: address,
        worker: "me".to_owned(),
        password: "x".to_owned(),
        user_agent: "test".to_owned(),
        threads: 2,
        hash_rate_max: Some(1_000),
        roll_version: true,
        suggest_difficulty: None,
        blocks: Some(3),
    };
    let (_stop, never) = bounded(0);
    let mut events = Vec::new();
    let totals = run(&settings, &never, |event| events.push(event.clone()));
    assert_eq!((totals.blocks, totals.rejected), (3, 0));
    assert!(totals.accepted >= 3);
    let is_disconnect = |event: &&Event| matches!(event, Event::Disconnected(_));
    assert_eq!(events.iter().filter(is_disconnect).count(), 1, "{events:?}");
    let seen = pool.join().unwrap();
    let resumed = seen.iter().filter(|request| request["params"] == json!(["test", "5e55"])).count();
    assert_eq!(resumed, 1, "the second connection resumes the first one's session");
    let submits = seen.iter().filter(|request| request["method"] == "mining.submit").skip(1);
    let submits: Vec<String> = submits.map(|request| request["params"].to_string()).collect();
    assert!(submits.len() >= 3);
    assert_eq!(submits.iter().collect::<HashSet<_>>().len(), submits.len(), "a submit was sent twice: {submits:?}");
}

#[test]
fn extranonces_have_the_requested_length() {
    assert_eq!(extranonce2(0x0102, 4), [0, 0, 1, 2]);
    assert_eq!(extranonce2(0x0102, 1), [2]);
    assert_eq!(extranonce2(1, 10), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(extranonce2(1, 0), [0u8; 0]);
}
