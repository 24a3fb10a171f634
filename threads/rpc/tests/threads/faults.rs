//! Wrong responses: each fault is logged, and templates resume after it.

use std::fs;

use p2pool_test_bitcoind::{Bitcoind, Chain};

use crate::poll::Polling;
use crate::support::{config, regtest, Fault, Log, Proxy};

/// Body of a JSON-RPC error.
macro_rules! error_body {
    ($code:literal, $message:literal) => {
        concat!("{\"result\":null,\"error\":{\"code\":", $code, ",\"message\":\"", $message, "\"},\"id\":7}")
    };
}

#[test]
fn each_fault_is_logged_and_templates_resume_after_it() {
    let node = Bitcoind::start(Chain::Regtest);
    let proxy = Proxy::start(node.rpc_port(), Fault::None);
    let port = format!(":{}/", proxy.port());
    let polling = Polling::start(&config(proxy.port(), &node.cookie_file(), regtest()));
    polling.template_on(node.tip());
    for (fault, text) in [
        (Fault::Http("500 Internal Server Error", "<html>\n"), "invalid response: HTTP status 500: <html>;"),
        (Fault::Http("503 Service Unavailable", "queue full"), "does not respond: HTTP status 503: queue full;"),
        (Fault::Http("401 Unauthorized", ""), "rejects the credentials (HTTP status 401): cookie file /"),
        (Fault::Http("200 OK", "I am JSON"), "invalid response: to getblock"),
        (Fault::Raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "invalid HTTP version"),
        (Fault::Http("200 OK", r#"{"result":1,"id":0}"#), "a response to another request"),
        (
            Fault::Http("500 Internal Server Error", error_body!(-28, "Verifying blocks\\u2026")),
            "is starting: Verifying blocks\u{2026};",
        ),
        (Fault::Http("200 OK", error_body!(-10, "in initial sync")), "is still downloading the block chain;"),
        (Fault::Http("200 OK", error_body!(-9, "is not connected!")), "has no peers: is not connected!;"),
        (Fault::Http("200 OK", error_body!(-1, "out of luck")), "responded with error -1: out of luck;"),
        (Fault::Raw(""), "cannot be reached"),
        (Fault::Endless, "invalid response: more than"),
    ] {
        let lines = Log::with(&["WARN", &port]).len();
        proxy.set(fault);
        Log::wait_after(lines, &["WARN", &port, text]);
        let connections = proxy.connections();
        proxy.set(Fault::None);
        polling.template_on(node.mine(1)[0]);
        assert!(proxy.connections() > connections);
    }
    polling.stop();
    assert_no_secret(&fs::read_to_string(node.cookie_file()).unwrap());
}

/// Checks that no line of any crate at any level contains the password, neither plain nor encoded for HTTP.
fn assert_no_secret(cookie: &str) {
    use base64::prelude::{Engine as _, BASE64_STANDARD};
    let (_, password) = cookie.trim_end().split_once(':').unwrap();
    assert_eq!(Log::with(&[password]), Vec::<String>::new());
    assert_eq!(Log::with(&[&BASE64_STANDARD.encode(cookie.trim_end())]), Vec::<String>::new());
    assert!(!Log::with(&["ureq"]).is_empty(), "lines of other crates are captured");
}
