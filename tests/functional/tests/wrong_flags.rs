//! Wrong settings give one line and exit status 2.

use p2pool_test_bitcoind::Chain;
use p2pool_test_functional::payees::p2tr_address;
use p2pool_test_functional::pool::run_to_end;

const USAGE: i32 = 2;

/// Runs `p2pool`; its one line must contain all words.
#[track_caller]
fn assert_rejected(flags: &[&str], words: &[&str]) {
    let output = run_to_end(flags);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{flags:?}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{flags:?}: {text}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(text.contains(word), "{flags:?}: no {word:?} in: {text}");
    }
}

#[test]
fn errors_name_the_flag_and_what_to_give_instead() {
    let address = format!("-address={}", p2tr_address(Chain::Regtest, 0));
    assert_rejected(&["-network=regtest"], &["address"]);
    assert_rejected(&["-network=regtest", "-address=nonsense"], &["address", "nonsense"]);
    assert_rejected(&["-network=mainnet", &address], &["regtest", "mainnet"]);
    assert_rejected(&["-network=elsewhere", &address], &["elsewhere", "mainnet", "regtest"]);
    assert_rejected(&["-network=regtest", &address, "-rpc-host=10.0.0.1"], &["rpc-cookie-file", "rpc-user"]);
    assert_rejected(&["-network=regtest", &address, "-rpc-password=hunter2"], &["rpc-user"]);
    assert_rejected(&["-adress=x"], &["adress", "address"]);
    assert_rejected(&["-address"], &["address"]);
    let valid = ["-network=regtest", &address, "-rpc-cookie-file=/nonexistent/cookie"];
    for (flag, words) in [
        ("-stratum-port=65536", &["stratum-port", "65536", "65535"][..]),
        ("-rpc-port=x", &["rpc-port", "x"]),
        ("-start-difficulty=-1", &["start-difficulty", "-1"]),
        ("-log-level=loud", &["log-level", "loud", "info"]),
        ("-coinbase-tag=much longer than twenty", &["coinbase-tag", "20"]),
        ("-coinbase-outputs=47", &["coinbase-outputs", "47", "48, 146, 366 or 1000"]),
        ("-mdns=perhaps", &["mdns", "perhaps", "true"]),
        ("-share-period=31", &["share-period", "31", "30"]),
        ("-signet-challenge=51", &["signet"]),
        ("-network=signet", &["network", "twice"]),
    ] {
        assert_rejected(&[&valid[..], &[flag]].concat(), words);
    }
}

#[test]
fn a_password_is_never_printed() {
    let address = format!("-address={}", p2tr_address(Chain::Regtest, 0));
    for flags in [
        ["-network=regtest", &address, "-rpc-password=hunter2", "-rpc-pasword=hunter2"],
        ["-network=regtest", &address, "-rpc-password", "hunter2"],
    ] {
        let output = run_to_end(&flags);
        assert_eq!(output.status.code(), Some(USAGE));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    }
}

#[test]
fn help_and_version_succeed() {
    for flags in [["-help"], ["--help"], ["-version"]] {
        let output = run_to_end(&flags);
        assert!(output.status.success());
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}
