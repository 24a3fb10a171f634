use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use p2pool_core::config::RpcAuth;
use p2pool_core::params::{ChainParams, Network};
use p2pool_test_bitcoind::{Bitcoind, Chain, Options};
use serde_json::json;

use super::*;

const PASSWORD: &str = "correct horse: battery/staple";

fn config(rpc_host: &str, rpc_port: u16, rpc_auth: RpcAuth) -> Config {
    let config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
    Config { rpc_host: rpc_host.to_owned(), rpc_port, rpc_auth, ..config }
}

fn cookie_config(port: u16, cookie_files: &[&Path]) -> Config {
    config("127.0.0.1", port, RpcAuth::CookieFiles(cookie_files.iter().map(|&path| path.to_owned()).collect()))
}

fn password_config(host: &str, port: u16, password: &str) -> Config {
    config(host, port, RpcAuth::UserPassword { user: "miner".to_owned(), password: password.to_owned() })
}

fn height(client: &mut Client) -> Result<u32, BitcoindError> {
    #[derive(Deserialize)]
    struct Info {
        blocks: u32,
    }
    Ok(client.call::<Info>(Method::GetBlockchainInfo, json!([]), ResponseLimits::SMALL)?.blocks)
}

#[test]
fn one_connection_serves_many_calls_and_a_new_cookie_is_read() {
    let mut node = Bitcoind::start(Chain::Regtest);
    node.mine(3);
    let mut client = Client::new(&cookie_config(node.rpc_port(), &[&node.cookie_file()])).unwrap();
    for _ in 0..3 {
        assert_eq!(height(&mut client), Ok(3));
    }
    assert_eq!(client.connections.load(std::sync::atomic::Ordering::Relaxed), 1);
    // bitcoind writes another cookie, and the first call after that succeeds.
    node.restart();
    assert_eq!(height(&mut client), Ok(3));
    assert!(client.connections.load(std::sync::atomic::Ordering::Relaxed) > 1);
    node.stop();
    assert!(matches!(height(&mut client), Err(BitcoindError::Unreachable(_) | BitcoindError::NoCookie(_))));
}

#[test]
fn a_cookie_that_appears_later_in_any_place_is_found() {
    let mut node = Bitcoind::start(Chain::Regtest);
    let (nowhere, elsewhere) = (node.cookie_file().with_extension("first"), node.cookie_file().with_extension("third"));
    let config = cookie_config(node.rpc_port(), &[&nowhere, &node.cookie_file(), &elsewhere]);
    node.stop();
    let mut client = Client::new(&config).unwrap();
    let error = height(&mut client).unwrap_err().to_string();
    for place in [nowhere, node.cookie_file(), elsewhere] {
        assert!(error.contains(&place.display().to_string()), "{error}");
    }
    node.launch();
    assert_eq!(height(&mut client), Ok(0));
}

/// Number of requests whose credentials bitcoind has rejected, from its log.
fn rejections(node: &Bitcoind) -> usize {
    let log = std::fs::read_to_string(node.cookie_file().with_file_name("debug.log")).unwrap();
    log.matches("incorrect password attempt").count()
}

#[test]
fn stale_cookies_are_skipped_and_the_right_place_is_remembered() {
    let mut node = Bitcoind::start(Chain::Regtest);
    let [before, after] = ["before", "after"].map(|name| node.cookie_file().with_extension(name));
    std::fs::write(&before, "__cookie__:of a killed bitcoind").unwrap();
    std::fs::write(&after, "__cookie__:of another").unwrap();
    let config = cookie_config(node.rpc_port(), &[&before, &node.cookie_file(), &after]);
    let mut client = Client::new(&config).unwrap();
    assert_eq!(height(&mut client), Ok(0));
    assert_eq!(rejections(&node), 1);
    node.stop();
    assert!(height(&mut client).is_err());
    node.launch();
    assert_eq!(height(&mut client), Ok(0));
    assert_eq!(rejections(&node), 1, "the place of the last accepted cookie is tried first");

    std::fs::remove_file(node.cookie_file()).unwrap();
    let mut client = Client::new(&config).unwrap();
    let error = height(&mut client).unwrap_err().to_string();
    let tried = format!("(HTTP status 401): cookie file {}, cookie file {}", before.display(), after.display());
    assert!(error.contains(&tried), "{error}");
}

#[test]
fn user_and_password_work_and_are_not_shown() {
    let node = Bitcoind::start_with(Options {
        chain: Chain::Regtest,
        listen: false,
        // The cookie still works, for the test itself.
        arguments: vec![format!("-rpcauth={RPC_AUTH}")],
    });
    let mut client = Client::new(&password_config("localhost", node.rpc_port(), PASSWORD)).unwrap();
    assert_eq!(height(&mut client), Ok(0));
    assert!(!format!("{client:?}").contains("horse"), "{client:?}");

    let mut client = Client::new(&password_config("localhost", node.rpc_port(), "wrong horse")).unwrap();
    let error = height(&mut client).unwrap_err();
    assert_eq!(error.to_string(), "rejects the credentials (HTTP status 401): user miner, password hidden");
    assert!(!format!("{error:?} {client:?}").contains("horse"));
}

/// `miner` and [`PASSWORD`] in the format of `-rpcauth`: salt, then HMAC-SHA256 of the password with the salt as key.
const RPC_AUTH: &str = "miner:5a17$28c303ba60469db7f38cb5a5a9679465a41929e527d840fb20e06b2a17f70c56";

#[test]
fn a_block_of_four_megabytes_can_be_sent() {
    let node = Bitcoind::start(Chain::Regtest);
    let mut client = Client::new(&cookie_config(node.rpc_port(), &[&node.cookie_file()])).unwrap();
    let hex = "ff".repeat(4_000_000);
    let response = client.call::<Option<String>>(Method::SubmitBlock, json!([hex]), ResponseLimits::BLOCK);
    assert_eq!(response, Err(BitcoindError::Rpc { code: -22, message: "Block decode failed".to_owned() }));
}

#[test]
fn a_missing_response_times_out() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = Client::new(&password_config("localhost", port, PASSWORD)).unwrap();
    // The system accepts the connection, and no one reads from it.
    let limits = ResponseLimits { timeout: Some(Duration::from_millis(100)), ..ResponseLimits::SMALL };
    let response = client.call::<u32>(Method::GetBlockHash, json!([]), limits);
    assert!(matches!(response, Err(BitcoindError::NoResponse(_))), "{response:?}");
}

#[test]
fn another_thread_can_interrupt_a_call_without_timeout() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = Client::new(&password_config("localhost", port, PASSWORD)).unwrap();
    let agent = client.agent.clone();
    let waiting =
        std::thread::spawn(move || client.call::<u32>(Method::GetBlockHash, json!([]), ResponseLimits::LONG_POLL));
    let (_connection, _) = listener.accept().unwrap();
    agent.shutdown();
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn invalid_hosts_are_rejected() {
    for host in ["", "two words", "host/path", "user@host", "host?", "[::1", "a:b:c/d"] {
        let config = password_config(host, 8332, PASSWORD);
        let error = Client::new(&config).err().unwrap_or_else(|| unreachable!("'{host}' was accepted"));
        assert!(error.to_string().contains(&format!("'{host}'")), "{error}");
    }
    for (host, url) in [
        ("localhost", "http://localhost:8332/"),
        ("::1", "http://[::1]:8332/"),
        ("[fe80::1]", "http://[fe80::1]:8332/"),
        ("umbrel.local", "http://umbrel.local:8332/"),
    ] {
        let config = password_config(host, 8332, PASSWORD);
        assert_eq!(Client::new(&config).unwrap().url, url);
    }
}
