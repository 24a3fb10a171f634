//! Arbitrary bytes neither panic nor use unbounded memory.

use proptest::prelude::*;

use super::support::*;
use crate::stratum::fixtures::*;
use crate::stratum::limits::LINE_LEN_MAX;
use crate::stratum::CloseReason;

#[test]
fn lines_may_arrive_in_pieces_or_together() {
    let mut server = TestServer::new();
    server.connect("a");
    let line = br#"{"id":1,"method":"mining.ping","params":[]}"#;
    for byte in line {
        assert!(server.bytes("a", &[*byte]).0.is_empty());
    }
    assert_eq!(server.bytes("a", b"\r\n").0.len(), 1);
    let two = [&line[..], b"\n\n \r\n", line, b"\n", &line[..5]].concat();
    assert_eq!(server.bytes("a", &two).0.len(), 2);
    assert_eq!(server.bytes("a", &[&line[5..], b"\n"].concat()).0.len(), 1);
}

#[test]
fn a_line_without_end_closes_the_session() {
    let mut server = TestServer::new();
    server.connect("a");
    let half = vec![b' '; LINE_LEN_MAX / 2];
    assert_eq!(server.bytes("a", &half).1, Ok(()));
    assert_eq!(server.bytes("a", &half).1, Ok(()));
    assert_eq!(server.bytes("a", b" ").1, Err(CloseReason::LineTooLong));
}

#[test]
fn ten_invalid_lines_close_the_session() {
    let mut server = TestServer::new();
    server.connect("a");
    for _ in 0..9 {
        let (sent, result) = server.bytes("a", b"\x00\xff garbage\n");
        assert_eq!((sent[0]["error"][0].as_u64(), result), (Some(20), Ok(())));
        assert!(sent[0]["id"].is_null());
    }
    assert!(server.send("a", r#"{"id":1,"result":true,"error":null}"#).is_empty(), "a response is not invalid");
    let (sent, result) = server.bytes("a", b"{}\n{}\n");
    assert_eq!((sent.len(), result), (1, Err(CloseReason::InvalidLines)));
}

/// Bytes that often resemble requests.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let methods = ["submit", "configure", "subscribe", "authorize", "suggest_difficulty", "ping", "x"];
    let json = prop_oneof![
        Just("null".to_owned()),
        "-?[0-9]{1,12}(\\.[0-9]{1,3})?(e[0-9]{1,2})?",
        "\"[ -~]{0,20}\"".prop_map(|text| text.replace('\\', "\\\\")),
        Just("\"1\"".to_owned()),
        Just("\"0000000000000001\"".to_owned()),
        Just("\"6553f200\"".to_owned()),
        Just("[\"version-rolling\",\"minimum-difficulty\",5]".to_owned()),
        Just("{\"version-rolling.mask\":\"ffffffff\",\"minimum-difficulty.value\":1e308}".to_owned()),
    ];
    let request = (prop::sample::select(methods.to_vec()), prop::collection::vec(json.clone(), 0..7), json).prop_map(
        |(method, params, id)| {
            format!("{{\"id\":{id},\"method\":\"mining.{method}\",\"params\":[{}]}}\n", params.join(",")).into_bytes()
        },
    );
    let garbage = prop::collection::vec(any::<u8>(), 0..60);
    prop::collection::vec(prop_oneof![4 => request, 1 => garbage], 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_bytes_panic_or_grow(bytes in stream(), cut in 1usize..200, easy in any::<bool>()) {
        let mut server = TestServer::new();
        let share_bits = if easy { EASIEST } else { HARDEST };
        server.job(JobSpec { share_bits, block_bits: EASIEST, ..JobSpec::default() });
        server.connect("a");
        for chunk in bytes.chunks(cut) {
            let (sent, result) = server.bytes("a", chunk);
            // Each line causes at most a response, a difficulty, a job and a message.
            prop_assert!(sent.len() <= 4 * (1 + chunk.iter().filter(|byte| **byte == b'\n').count()));
            server.pass(0.5);
            if result.is_err() || server.tick_for("a", 1).is_err() {
                break;
            }
        }
        prop_assert!(server.sessions["a"].line_capacity() <= 2 * LINE_LEN_MAX);
    }
}
