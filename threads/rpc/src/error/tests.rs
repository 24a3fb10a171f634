use super::*;

fn kind_of(error: &CallError) -> BitcoindProblemKind {
    error.problem(None).kind
}

#[test]
fn each_failure_is_of_the_kind_that_wants_the_same_done() {
    let not_connected = |message: &str| CallError::of_answer(-9, message.to_owned());
    let http = |status| CallError::Http { status, body: String::new() };
    for (error, kind) in [
        (CallError::Unreachable("connection refused".to_owned()), BitcoindProblemKind::Unreachable),
        (CallError::Timeout("30 s".to_owned()), BitcoindProblemKind::NoAnswer),
        (http(503), BitcoindProblemKind::NoAnswer),
        (CallError::of_answer(-28, "Verifying blocks…".to_owned()), BitcoindProblemKind::WarmingUp),
        (CallError::of_answer(-10, "in initial sync".to_owned()), BitcoindProblemKind::Syncing { percent: None }),
        (not_connected("Bitcoin Core is not connected!"), BitcoindProblemKind::NoPeers),
        (not_connected("Shutting down"), BitcoindProblemKind::Stopping),
        (CallError::Unauthorised("user".to_owned()), BitcoindProblemKind::Unauthorised),
        (CallError::NoCookie { looked_at: vec!["/a".into()] }, BitcoindProblemKind::NoCookie),
        (http(403), BitcoindProblemKind::Forbidden),
        (http(500), BitcoindProblemKind::Garbage),
        (CallError::Garbage("to getblocktemplate: no JSON".to_owned()), BitcoindProblemKind::Garbage),
        (CallError::Template("no transactions".to_owned()), BitcoindProblemKind::Failing),
        (CallError::of_answer(-32_601, "Method not found".to_owned()), BitcoindProblemKind::Failing),
    ] {
        assert_eq!(kind_of(&error), kind, "{error}");
    }
    let downloading = CallError::of_answer(-10, "in initial sync".to_owned());
    assert_eq!(downloading.problem(Some(43)).kind, BitcoindProblemKind::Syncing { percent: Some(43) });
}

/// Advice goes with the kind: told in the text as well, the page would say it twice.
#[test]
fn onlookers_texts_say_what_is_so_and_not_what_to_do() {
    let refused = CallError::of_transport(ureq::Error::Io(io::Error::from_raw_os_error(111)), None);
    assert_eq!(refused.problem(None).text, "cannot be reached: Connection refused");
    assert_eq!(refused.to_string(), "cannot be reached: Connection refused; is it running, with server=1?");
    let no_cookie = CallError::NoCookie { looked_at: vec!["/a".into(), "/b".into()] };
    assert_eq!(no_cookie.problem(None).text, "has left no cookie in /a, /b");
    let unreadable = CallError::CookieUnreadable { path: "/a/.cookie".into(), reason: "permission denied".to_owned() };
    assert_eq!(unreadable.problem(None).kind, BitcoindProblemKind::CookieUnreadable);
    let text = unreadable.problem(None).text;
    assert_eq!(text, "has a cookie that this node may not read: /a/.cookie: permission denied");
    let elsewhere = CallError::WrongNetwork { ours: "signet".to_owned(), theirs: "regtest".to_owned() };
    assert_eq!(elsewhere.problem(None).kind, BitcoindProblemKind::WrongNetwork);
    assert_eq!(elsewhere.problem(None).text, "is on regtest, but this node is on signet");
}
