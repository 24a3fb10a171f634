use super::*;

#[test]
fn errors_are_classified_by_what_the_operator_has_to_do() {
    let not_connected = |message: &str| of_code(-9, message.to_owned());
    let of_status = |status, body: &[u8]| of_http_status(Method::SubmitBlock, status, body);
    let text = str::to_owned;
    for (error, expected) in [
        (of_status(403, b"no entry\n"), BitcoindError::Forbidden { method: "submitblock", reason: text("no entry") }),
        (of_status(503, b"queue full"), BitcoindError::NoResponse(text("HTTP status 503: queue full"))),
        (of_status(500, b"<html>"), BitcoindError::InvalidResponse(text("HTTP status 500: <html>"))),
        (of_code(-28, text("Verifying blocks…")), BitcoindError::Starting(text("Verifying blocks…"))),
        (of_code(-10, text("in initial sync")), BitcoindError::Syncing { percent: None }),
        (
            not_connected("Bitcoin Core is not connected!"),
            BitcoindError::NoPeers(text("Bitcoin Core is not connected!")),
        ),
        (not_connected("Shutting down"), BitcoindError::Stopping),
        (
            of_code(-32_601, text("Method not found")),
            BitcoindError::Rpc { code: -32_601, message: text("Method not found") },
        ),
        (
            of_transport(ureq::Error::Timeout(ureq::Timeout::RecvResponse), Some(Duration::from_secs(30))),
            BitcoindError::NoResponse(text("receive response timeout, 30 s")),
        ),
        (
            of_transport(ureq::Error::Timeout(ureq::Timeout::Connect), None),
            BitcoindError::Unreachable(text("connecting takes too long")),
        ),
        (
            of_transport(ureq::Error::BodyExceedsLimit(9), None),
            BitcoindError::InvalidResponse(text("more than 9 bytes")),
        ),
    ] {
        assert_eq!(error, expected);
    }
}

#[test]
fn an_empty_body_is_explained() {
    for (status, expected) in [
        (403, "refuses the method getblockhash (HTTP status 403): its -rpcwhitelist lacks it, or its -rpcallowip lacks this \
               machine"),
        (503, "does not respond: HTTP status 503: its work queue is full (-rpcworkqueue), or it is shutting down"),
        (502, "sent an invalid response: HTTP status 502: no text"),
    ] {
        assert_eq!(of_http_status(Method::GetBlockHash, status, b"\r\n").to_string(), expected);
    }
}

/// Advice has a sentence of its own: in the text as well, log and page would say it twice.
#[test]
fn texts_say_what_is_wrong_and_not_what_to_do() {
    let refused = of_transport(ureq::Error::Io(io::Error::from_raw_os_error(111)), None);
    assert_eq!(refused.to_string(), "cannot be reached: Connection refused");
    let no_cookie = BitcoindError::NoCookie(vec!["/a".into(), "/b".into()]);
    assert_eq!(no_cookie.to_string(), "has left no cookie in /a, /b");
    let unreadable = |closed| BitcoindError::CookieUnreadable {
        path: "/a/b/.cookie".into(),
        reason: "permission denied".to_owned(),
        closed,
    };
    assert_eq!(
        unreadable(None).to_string(),
        "has a cookie that this node may not read: /a/b/.cookie: permission denied"
    );
    let closed = unreadable(Some("/a".into()));
    assert!(closed.to_string().ends_with(": permission denied, because the directory /a is closed to it"), "{closed}");
    assert!(closed.advice().contains("rpccookiefile=") && closed.advice() != unreadable(None).advice());
    let elsewhere = BitcoindError::WrongNetwork { ours: "signet".to_owned(), theirs: "regtest".to_owned() };
    assert_eq!(elsewhere.to_string(), "is on regtest, but this node is on signet");
    let syncing = BitcoindError::Syncing { percent: Some(43) };
    assert_eq!(syncing.to_string(), "is still downloading the block chain: 43\u{a0}% done");
}
