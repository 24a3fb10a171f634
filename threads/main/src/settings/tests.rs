use p2pool_core::config::RpcAuth;
use p2pool_core::params::{Activation, Network, RULES_VERSION_TEST};
use p2pool_core::units::BlockHeight;

mod merging;

use super::sources::SourceError;
use super::*;
use crate::args::{self, Command};

const MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const REGTEST: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const TEST: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
const PEER: &str = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";

/// The sources of a command line and variables; network and address default to those of regtest.
fn sources(words: &[&str], pairs: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Sources, SourceError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let Ok(Command::Run(mut given)) = args::parse(&words) else { panic!("{words:?}") };
    given.entry("network").or_insert("regtest".to_owned());
    given.entry("address").or_insert(REGTEST.to_owned());
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    merge(&given, &environment, &|path| {
        let file = files.iter().find(|(file, _)| Path::new(file) == path);
        let (_, text) = file.ok_or(std::io::ErrorKind::NotFound)?;
        match *text {
            "closed" => Err(std::io::ErrorKind::PermissionDenied.into()),
            text => Ok(file::Content {
                text: text.trim_start_matches("public").to_owned(),
                is_public: text.starts_with("public"),
            }),
        }
    })
}

/// Resolves them for a user whose home directory is `/home/me`; `cookies` exist. An error is its line.
fn with(words: &[&str], pairs: &[(&str, &str)], cookies: &[&str]) -> Result<Settings, String> {
    let sources = sources(words, pairs, &[]).map_err(|error| error.to_string())?;
    let exists = |path: &Path| cookies.iter().any(|file| Path::new(file) == path);
    let result = resolve(&sources.flags, Some(Path::new("/home/me")), &exists);
    result.map_err(|error| one_line(error.message(&sources)))
}

fn settings(words: &[&str]) -> Settings {
    with(words, &[], &[]).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn config(words: &[&str]) -> Config {
    settings(words).config
}

/// The error that `words` give, which must be one line.
fn error_line(words: &[&str]) -> String {
    with(words, &[], &[]).expect_err("rejected")
}

fn one_line(line: String) -> String {
    assert!(!line.contains('\n'), "{line}");
    line
}

fn cookies(config: &Config) -> Vec<&str> {
    match &config.rpc_auth {
        RpcAuth::CookieFiles(paths) => paths.iter().map(|path| path.to_str().unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_match_the_help() {
    let Settings { config, log_level } = settings(&["-network", "mainnet", "-address", MAINNET]);
    assert_eq!(config.params, ChainParams::standard(Network::Mainnet));
    assert_eq!(config.payout_address, MAINNET);
    assert_eq!(config.rpc_host, "127.0.0.1");
    assert_eq!(config.rpc_port, 8332);
    assert_eq!((config.stratum_bind, config.stratum_port, config.web_bind), (None, 3333, WebBind::MinersPort));
    assert_eq!(config.start_difficulty, 100_000.0);
    assert_eq!(config.max_sessions, 1_000);
    assert_eq!(config.no_work_timeout, NoWorkTimeout::from_s(90));
    assert_eq!((config.p2p_port, config.mdns, config.dht_server), (9171, true, false));
    assert_eq!((config.max_inbound, config.max_outbound, config.max_upload_per_s), (80, 10, 625_000));
    assert!(config.bootnodes.is_empty() && config.coinbase_tag.as_bytes().is_empty());
    assert_eq!(config.outputs_vote, None);
    assert_eq!(log_level, LevelFilter::Info);
    let chain_dir = format!(".p2pool/mainnet-{}", config.params.chain_id().prefix());
    assert_eq!(config.chain_dir, PathBuf::from(chain_dir));
}

#[test]
fn the_default_network_is_mainnet() {
    let flags = Flags { address: Some(MAINNET.into()), ..Flags::default() };
    let config = resolve(&flags, Some(Path::new("/home/me")), &|_| false).unwrap().config;
    assert_eq!(config.params.network, Network::Mainnet);
}

#[test]
fn each_network_has_bitcoinds_port_and_directory() {
    for (network, address, port, file) in [
        ("mainnet", MAINNET, 8332, "/home/me/.bitcoin/.cookie"),
        ("testnet3", TEST, 18332, "/home/me/.bitcoin/testnet3/.cookie"),
        ("testnet4", TEST, 48332, "/home/me/.bitcoin/testnet4/.cookie"),
        ("signet", TEST, 38332, "/home/me/.bitcoin/signet/.cookie"),
        ("regtest", REGTEST, 18443, "/home/me/.bitcoin/regtest/.cookie"),
    ] {
        let config = config(&["-network", network, "-address", address]);
        assert_eq!((config.rpc_port, cookies(&config)[0]), (port, file), "{network}");
        assert_eq!(config.params.network.name(), network);
    }
}

#[test]
fn flags_reach_the_config() {
    let node = format!("/ip4/10.0.0.1/tcp/9171/p2p/{PEER}");
    let Settings { config, log_level } = settings(&[
        "-rpc-host=bitcoind.lan",
        "-rpc-port=1234",
        "-rpc-user=me",
        "-rpc-password=secret",
        "-stratum-bind=192.168.1.5",
        "-stratum-port=0",
        "-web-bind=[::1]:8080",
        "-start-difficulty=0.5",
        "-no-work-timeout=0",
        "-max-sessions=5",
        "-p2p-port=9",
        "-bootnodes",
        &node,
        "-mdns=false",
        "-dht-server",
        "-max-inbound=0",
        "-max-outbound=4",
        "-max-upload=8",
        "-data-dir=/srv/pool",
        "-log-level=debug",
        "-coinbase-tag=garage",
        "-coinbase-outputs=366",
        "-chain-name=garage-1",
        "-share-period=1",
        "-payout-window=20",
        "-retarget-window=6",
        "-activation-height=150",
    ]);
    assert_eq!((config.rpc_host.as_str(), config.rpc_port), ("bitcoind.lan", 1234));
    assert!(
        matches!(&config.rpc_auth, RpcAuth::UserPassword { user, password } if user == "me" && password == "secret")
    );
    assert!(!format!("{config:?}").contains("secret"));
    assert_eq!(config.stratum_bind, Some([192, 168, 1, 5].into()));
    assert_eq!(config.web_bind, WebBind::Own("[::1]:8080".parse().unwrap()));
    assert_eq!((config.stratum_port, config.start_difficulty, config.max_sessions), (0, 0.5, 5));
    assert_eq!(config.no_work_timeout, NoWorkTimeout::NEVER);
    assert_eq!((config.p2p_port, config.mdns, config.dht_server), (9, false, true));
    assert_eq!((config.max_inbound, config.max_outbound, config.max_upload_per_s), (0, 4, 1_000_000));
    assert_eq!(config.bootnodes, [node]);
    assert!(config.chain_dir.starts_with("/srv/pool"));
    assert_eq!(log_level, LevelFilter::Debug);
    assert_eq!((config.coinbase_tag.as_bytes(), config.outputs_vote), (&b"garage"[..], Some(2)));
    let params = &config.params;
    assert_eq!((params.chain_name.as_str(), params.share_period_s), ("garage-1", 1));
    assert_eq!((params.payout_window, params.retarget_window), (20, 6));
    let activation = Activation { version: RULES_VERSION_TEST, height: BlockHeight(150) };
    assert_eq!((&params.activations[..], params.rules_version_known), (&[activation][..], RULES_VERSION_TEST));
}

#[test]
fn a_node_may_know_fewer_rules_than_its_chain_has_for_tests() {
    let known = |flags: &[&str]| config(flags).params.rules_version_known;
    assert_eq!(known(&[]), 2);
    assert_eq!(known(&["-activation-height=150", "-rules-version=2"]), 2);
    let chain_id = |flags: &[&str]| config(flags).params.chain_id();
    assert_eq!(
        chain_id(&["-activation-height=150"]),
        chain_id(&["-activation-height=150", "-rules-version=2"]),
        "both are nodes of one chain"
    );
    assert_ne!(chain_id(&[]), chain_id(&["-activation-height=150"]));
}

#[test]
fn an_address_must_belong_to_the_network() {
    let p2tr = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0";
    for (network, address) in [
        ("mainnet", MAINNET),
        ("mainnet", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        ("mainnet", p2tr),
        ("mainnet", "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"),
        ("signet", TEST),
        ("testnet4", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
        ("regtest", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
    ] {
        assert_eq!(config(&["-network", network, "-address", address]).payout_address, address);
    }
    assert_eq!(
        error_line(&["-address", MAINNET]),
        format!("{MAINNET} is a mainnet address, but -network is regtest: give one that starts with bcrt1, m, n or 2")
    );
    let line = error_line(&["-network", "mainnet", "-address", TEST]);
    assert!(line.contains("is a testnet3/testnet4/signet address, but -network is mainnet"), "{line}");
}

#[test]
fn an_invalid_address_is_rejected() {
    for (address, mistake) in [
        ("", "not a Bitcoin address"),
        ("me", "not a Bitcoin address"),
        ("bc1qw508\nd6qe", "not a Bitcoin address"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081", "checksum is wrong"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt08", "checksum is wrong"),
        ("BCRT1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "mixes capital and small letters"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfm", "checksum is wrong"),
    ] {
        let line = error_line(&["-address", address]);
        assert!(line.contains(mistake) && line.contains("starts with bcrt1"), "{line}");
    }
    for mark in ['"', '\''] {
        let line = error_line(&["-address", &format!("{mark}{REGTEST}{mark}")]);
        assert!(line.contains("leave out the quotation marks"), "{line}");
        let line = error_line(&["-rpc-user", &format!("{mark}me{mark}"), "-rpc-password", "secret"]);
        assert!(line.contains("leave out the quotation marks") && !line.contains("secret"), "{line}");
    }
    // A witness version that the rules of the sharechain do not allow.
    let line = error_line(&["-network", "mainnet", "-address", "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs"]);
    assert!(line.contains("not a P2PKH, P2SH, P2WPKH, P2WSH or P2TR script"), "{line}");
    let mut sources = sources(&[], &[], &[]).unwrap();
    sources.flags.address = None;
    let line = one_line(resolve(&sources.flags, None, &|_| false).unwrap_err().message(&sources));
    assert!(line.contains("give -address (or PAYOUT_ADDRESS, or address in p2pool.toml) a regtest address"), "{line}");
}

#[test]
fn errors_name_the_flag_its_value_and_what_to_give_instead() {
    for (words, parts) in [
        (&["-network", "testnet"][..], &["-network is \"testnet\"", "testnet3, testnet4"][..]),
        (&["-rpc-port", "0"], &["-rpc-port is \"0\"", "1 to 65535"]),
        (&["-rpc-port", "http"], &["-rpc-port is \"http\"", "1 to 65535"]),
        (&["-stratum-port", "65536"], &["-stratum-port is \"65536\"", "0 to 65535"]),
        (&["-stratum-bind", "eth0"], &["-stratum-bind is \"eth0\"", "192.168.1.5"]),
        (&["-stratum-bind", "192.168.1.5:3333"], &["-stratum-bind is", "the port goes into -stratum-port"]),
        (&["-web-bind", "8080"], &["-web-bind is \"8080\"", "127.0.0.1:8080", "or off"]),
        (&["-p2p-port", "-1"], &["-p2p-port is \"-1\"", "0 to 65535"]),
        (&["-no-work-timeout", "44"], &["-no-work-timeout is \"44\"", "from 45 to 86400, or 0 for never"]),
        (&["-no-work-timeout", "never"], &["-no-work-timeout is \"never\""]),
        (&["-no-work-timeout", "-1"], &["-no-work-timeout is \"-1\""]),
        (&["-start-difficulty", "0"], &["-start-difficulty is \"0\"", "from 0.00001"]),
        (&["-start-difficulty", "NaN"], &["-start-difficulty is \"NaN\""]),
        (&["-start-difficulty", "inf"], &["-start-difficulty is \"inf\""]),
        (&["-max-sessions", "0"], &["-max-sessions is \"0\"", "1 to 20000"]),
        (&["-mdns", "-dht-server=maybe"], &["-dht-server is \"maybe\"", "true or false"]),
        (&["-max-inbound", "81"], &["-max-inbound is \"81\"", "0 to 80"]),
        (&["-max-outbound", "41"], &["-max-outbound is \"41\"", "0 to 40"]),
        (&["-max-upload", "0"], &["-max-upload is \"0\"", "1 to 10000"]),
        (&["-mdns=yes"], &["-mdns is \"yes\"", "true or false"]),
        (&["-log-level", "loud"], &["-log-level is \"loud\"", "error, warn, info, debug or trace"]),
        (&["-log-level", "off"], &["-log-level is \"off\""]),
        (&["-coinbase-tag", "a text that is longer"], &["-coinbase-tag", "21 bytes exceed the limit of 20"]),
        (&["-coinbase-tag", "caf\u{e9}"], &["-coinbase-tag", "not printable ASCII"]),
        (&["-coinbase-outputs", "100"], &["-coinbase-outputs is \"100\"", "48, 146, 366 or 1000"]),
        (&["-coinbase-outputs", "0"], &["-coinbase-outputs is \"0\""]),
        (&["-coinbase-outputs", "all"], &["-coinbase-outputs is \"all\""]),
        (&["-chain-name", "My Pool"], &["-chain-name is \"My Pool\"", "a-z, 0-9 and -"]),
        (&["-chain-name", ""], &["-chain-name is \"\""]),
        (&["-data-dir", ""], &["-data-dir is \"\"", "name a directory"]),
        (&["-rpc-host", "http://localhost"], &["-rpc-host", "without http://"]),
        (&["-rpc-host", "localhost:8332"], &["-rpc-host", "the port goes into -rpc-port"]),
        (&["-rpc-host", ""], &["-rpc-host is \"\""]),
        (&["-rpc-host", "my host"], &["-rpc-host is \"my host\""]),
        (&["-share-period", "0"], &["-share-period is \"0\"", "1 to 30"]),
        (&["-payout-window", "8641"], &["-payout-window is \"8641\"", "1 to 8640"]),
        (&["-retarget-window", "5"], &["-retarget-window is \"5\"", "6 to 72"]),
        (&["-activation-height", "500000000"], &["-activation-height is \"500000000\"", "0 to 499999999"]),
        (&["-rules-version", "3"], &["-rules-version is \"3\"", "2 or 255"]),
        (&["-rpc-cookie-file", ""], &["-rpc-cookie-file is \"\""]),
    ] {
        let line = error_line(words);
        for part in parts {
            assert!(line.contains(part), "{words:?}: {line}");
        }
    }
}

#[test]
fn test_parameters_are_allowed_on_test_chains_only() {
    for (flag, value) in [
        ("-share-period", "10"),
        ("-payout-window", "10"),
        ("-retarget-window", "10"),
        ("-activation-height", "10"),
        ("-rules-version", "2"),
    ] {
        for (network, address) in [("mainnet", MAINNET), ("testnet3", TEST), ("testnet4", TEST), ("signet", TEST)] {
            let line = error_line(&["-network", network, "-address", address, flag, value]);
            assert!(line.starts_with(&format!("{flag} is only for tests on regtest")), "{line}");
        }
        config(&["-network", "signet", "-address", TEST, "-signet-challenge", "51", flag, value]);
    }
}

#[test]
fn a_signet_challenge_is_allowed_on_signet_only() {
    let params = config(&["-network", "signet", "-address", TEST, "-signet-challenge", "51"]).params;
    assert_eq!(params.signet_challenge, [0x51]);
    assert!(!params.needs_block_signature());
    let line = error_line(&["-signet-challenge", "51"]);
    assert!(line.contains("-network is regtest") && line.contains("-network signet"), "{line}");
    for hex in ["", "5", "zz", &"51".repeat(521)] {
        let line = error_line(&["-network", "signet", "-address", TEST, "-signet-challenge", hex]);
        assert!(line.contains("in hex, 1 to 520 bytes"), "{line}");
    }
}

#[test]
fn the_cookie_is_searched_in_all_usual_places() {
    let places = [
        "/home/me/.bitcoin/regtest/.cookie",
        "/var/lib/bitcoind/regtest/.cookie",
        "/var/lib/bitcoin/regtest/.cookie",
        "/home/bitcoin/.bitcoin/regtest/.cookie",
        "/home/umbrel/umbrel/app-data/bitcoin/data/bitcoin/regtest/.cookie",
        "/mnt/hdd/mynode/bitcoin/regtest/.cookie",
        "/data/bitcoin/regtest/.cookie",
    ];
    // bitcoind may start later, or have left a cookie in any of these places.
    assert_eq!(cookies(&with(&[], &[], &[]).unwrap().config), places, "the user's own directory comes first");
    for file in places {
        assert_eq!(cookies(&with(&[], &[], &[file]).unwrap().config), places);
        // A bitcoind on another machine may share a volume.
        assert_eq!(cookies(&with(&["-rpc-host", "bitcoind"], &[], &[file]).unwrap().config), places);
    }
    let sources = sources(&[], &[], &[]).unwrap();
    let homeless = resolve(&sources.flags, None, &|_| false).unwrap();
    assert_eq!(cookies(&homeless.config), places[1..], "a service may have no home directory");
    let given = with(&["-rpc-cookie-file", "/tmp/not-there-yet"], &[], &places).unwrap();
    assert_eq!(
        cookies(&given.config),
        ["/tmp/not-there-yet"],
        "a given file is the only one, whether it exists or not"
    );
}

#[test]
fn a_bitcoind_on_another_machine_needs_credentials() {
    let line = error_line(&["-rpc-host", "192.168.1.5"]);
    assert!(line.starts_with("no credentials for bitcoind on 192.168.1.5: give -rpc-user"), "{line}");
}

#[test]
fn contradictory_credentials_are_rejected_without_showing_them() {
    for (words, pairs, part) in [
        (&["-rpc-user", "me"][..], &[][..], "-rpc-user is given without -rpc-password"),
        (&["-rpc-password", "hunter2"], &[], "-rpc-password is given without -rpc-user"),
        (&[], &[("BITCOIN_RPC_USER", "me")], "BITCOIN_RPC_USER is given without"),
        (
            &["-rpc-user=me", "-rpc-password=hunter2", "-rpc-cookie-file=/c"],
            &[],
            "both -rpc-password and -rpc-cookie-file",
        ),
        (
            &["-rpc-user=me", "-rpc-cookie-file=/c"],
            &[("BITCOIN_RPC_PASSWORD", "hunter2")],
            "both BITCOIN_RPC_PASSWORD and -rpc-cookie-file",
        ),
        (&["-rpc-user=me", "-rpc-password="], &[], "-rpc-password is empty"),
        (&["-rpc-user=m:hunter2", "-rpc-password=hunter2"], &[], "-rpc-user is \"m:\": give a name without a colon"),
        (&["-rpc-host=http://me:hunter2@10.0.0.1:8332"], &[], "-rpc-host is \"...@10.0.0.1:8332\""),
        (&["-proxy=me:hunter2@127.0.0.1:9050"], &[], "-proxy is \"...@127.0.0.1:9050\""),
    ] {
        let line = with(words, pairs, &[]).unwrap_err();
        assert!(line.contains(part) && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn hosts_may_be_names_or_addresses() {
    for (given, taken) in [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.2", "127.0.0.2"), ("localhost", "localhost")] {
        assert_eq!(config(&["-rpc-host", given]).rpc_host, taken);
    }
}

#[test]
fn web_hosts_are_host_names() {
    assert!(config(&[]).web_hosts.is_empty());
    assert_eq!(config(&["-web-hosts", "pool.example.org, my_nas ,"]).web_hosts, ["pool.example.org", "my_nas"]);
    for name in ["pool.example.org:3333", "http://pool", "a..b", "a b", "*.example.org"] {
        let line = error_line(&["-web-hosts", name]);
        assert!(line.contains("-web-hosts is") && line.contains("without port"), "{line}");
    }
}

#[test]
fn two_listeners_cannot_share_a_port() {
    let line = error_line(&["-stratum-port", "9171"]);
    assert!(line.contains("-stratum-port and -p2p-port are both 9171"), "{line}");
    let line = error_line(&["-stratum-port", "18443"]);
    assert!(line.contains("bitcoind's -rpc-port are both 18443"), "{line}");
    config(&["-stratum-port", "0", "-p2p-port", "0"]);
    let line = error_line(&["-web-bind", "127.0.0.1:3333"]);
    assert!(line.contains("-web-bind and -stratum-port are both 3333"), "{line}");
    config(&["-web-bind", "127.0.0.1:3333", "-stratum-bind", "192.168.1.5"]);
    let line = error_line(&["-web-bind", "127.0.0.1:9171"]);
    assert!(line.contains("-web-bind and -p2p-port are both 9171"), "{line}");
    assert_eq!(config(&["-web-bind", "off"]).web_bind, WebBind::Off);
    config(&["-stratum-port", "18443", "-rpc-host", "other", "-rpc-user", "u", "-rpc-password", "p"]);
}

#[test]
fn bootnodes_are_multiaddrs_with_a_peer_id() {
    let rsa = "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC";
    let list = format!(" /ip6/::1/tcp/1/p2p/{PEER}, /dns4/a.example/tcp/9171/p2p/{rsa} ,");
    assert_eq!(config(&["-bootnodes", &list]).bootnodes.len(), 2);
    assert!(config(&["-bootnodes", ""]).bootnodes.is_empty());
    for (node, part) in [
        ("10.0.0.1:9171".to_owned(), "starts with /"),
        (format!("/udp/10.0.0.1/tcp/9171/p2p/{PEER}"), "neither /ip4"),
        (format!("/ip4/10.0.0/tcp/9171/p2p/{PEER}"), "the host is wrong"),
        (format!("/dns//tcp/9171/p2p/{PEER}"), "the host is wrong"),
        (format!("/ip4/10.0.0.1/tcp/0/p2p/{PEER}"), "/tcp/PORT"),
        (format!("/ip4/10.0.0.1/udp/9171/p2p/{PEER}"), "/tcp/PORT"),
        ("/ip4/10.0.0.1/tcp/9171".to_owned(), "/p2p/PEER"),
        ("/ip4/10.0.0.1/tcp/9171/p2p/12D3KooW".to_owned(), "/p2p/PEER"),
        (format!("/ip4/10.0.0.1/tcp/9171/p2p/{PEER}/x"), "something follows"),
    ] {
        let line = error_line(&["-bootnodes", &node]);
        assert!(line.contains(part) && line.contains("give /ip4/1.2.3.4/tcp/9171"), "{line}");
    }
    let many = vec![format!("/ip4/10.0.0.1/tcp/9171/p2p/{PEER}"); 65].join(",");
    assert!(error_line(&["-bootnodes", &many]).contains("give at most 64"));
}

#[test]
fn export_needs_no_address() {
    let flags = Flags { network: Some("regtest".into()), data_dir: Some("/d".into()), ..Flags::default() };
    let chain = resolve_export(&flags).unwrap();
    assert_eq!(chain.chain_dir, PathBuf::from(format!("/d/regtest-{}", chain.params.chain_id().prefix())));
}
