//! Environment, command line and settings file together.

use super::*;

const DATA_FILE: &str = ".p2pool/p2pool.toml";
const SYSTEM_FILE: &str = "/etc/p2pool/p2pool.toml";

/// The warnings as they are logged.
fn warnings(sources: &Sources) -> Vec<String> {
    sources.warnings.iter().map(ToString::to_string).collect()
}

/// The line of an error in the sources, or in a setting.
fn error(words: &[&str], pairs: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let line = match sources(words, pairs, files) {
        Err(error) => error.to_string(),
        Ok(sources) => match resolve(&sources.flags, None, &|_| false) {
            Err(error) => error.message(&sources),
            Ok(_) => panic!("accepted"),
        },
    };
    one_line(line)
}

#[test]
fn environment_precedes_the_command_line_and_that_the_file() {
    let file = [(SYSTEM_FILE, "rpc-host = 'file'\nrpc-port = 1\nmax-sessions = 7\n")];
    let flags = sources(&["-rpc-host=flag", "-rpc-port=2"], &[("BITCOIN_RPC_HOST", "variable")], &file).unwrap().flags;
    assert_eq!(flags.rpc_host.as_deref(), Some("variable"));
    assert_eq!(flags.rpc_port.as_deref(), Some("2"));
    assert_eq!(flags.max_sessions.as_deref(), Some("7"));
}

#[test]
fn each_setting_has_a_variable_and_a_key() {
    for flag in args::settings().filter(|flag| flag.name != "config") {
        for variable in [flag.variable().into_owned(), flag.prefixed_variable()] {
            let sources = sources(&[], &[(&variable, "some value")], &[]).unwrap();
            assert_eq!(sources.name_of(flag.name), variable);
            assert!(format!("{:?}", sources.flags).contains("\"some value\""), "{variable}");
            assert_eq!(warnings(&sources), [""; 0]);
        }
        let text = format!("{} = 'some value'", flag.name);
        let sources = sources(&["-config=/f"], &[], &[("/f", &text)]).unwrap();
        if !["address", "network"].contains(&flag.name) {
            assert_eq!(sources.name_of(flag.name), format!("{} in /f", flag.name));
            assert!(format!("{:?}", sources.flags).contains("\"some value\""), "{text}");
        }
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let pairs: Vec<(String, String)> = args::settings()
        .flat_map(|flag| [flag.variable().into_owned(), flag.prefixed_variable()])
        .map(|name| (name, String::new()))
        .collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sources = sources(&["-rpc-host=a.lan"], &pairs, &[]).unwrap();
    let expected = Flags {
        rpc_host: Some("a.lan".into()),
        address: Some(REGTEST.into()),
        network: Some("regtest".into()),
        ..Flags::default()
    };
    assert_eq!(sources.flags, expected);
}

#[test]
fn an_error_names_the_source() {
    let file = [(SYSTEM_FILE, "rpc-port = 'http'\nlog-level = 'loud'")];
    assert!(error(&["-log-level=info"], &[], &file).starts_with("rpc-port in /etc/p2pool/p2pool.toml is \"http\": "));
    assert!(error(&["-log-level=info"], &[("LOG_LEVEL", "louder")], &[]).starts_with("LOG_LEVEL is \"louder\": "));
    assert!(error(&["-rpc-port=1"], &[], &file).starts_with("log-level in /etc/p2pool/p2pool.toml is \"loud\": "));
    assert!(error(&["-rpc-port=x"], &[], &file[..0]).starts_with("-rpc-port is \"x\": "));
    let line = error(&[], &[("P2POOL_RPC_HOST", "a"), ("BITCOIN_RPC_HOST", "b")], &[]);
    assert_eq!(line, "both BITCOIN_RPC_HOST and P2POOL_RPC_HOST are set, to different values: keep one of them");
    sources(&[], &[("P2POOL_RPC_HOST", "a"), ("BITCOIN_RPC_HOST", "a")], &[]).unwrap();
}

#[test]
fn a_file_has_texts_numbers_flags_and_lists() {
    let text = "rpc-port = 8332\nstart-difficulty = 0.5\nmdns = false\ncoinbase-tag = \"a \\\"b\\\"\"\nweb-hosts = ['a', 'b']\n";
    let flags = sources(&["-config", "/f"], &[], &[("/f", text)]).unwrap().flags;
    assert_eq!(flags.rpc_port.as_deref(), Some("8332"));
    assert_eq!(flags.start_difficulty.as_deref(), Some("0.5"));
    assert_eq!(flags.mdns.as_deref(), Some("false"));
    assert_eq!(flags.coinbase_tag.as_deref(), Some("a \"b\""));
    assert_eq!(flags.web_hosts.as_deref(), Some("a,b"));
}

#[test]
fn a_wrong_file_is_named_without_what_it_holds() {
    for (text, part) in [
        ("address = 'x'\nrpc-password = hunter2\n", "/f line 2: "),
        ("rpc-password = 'hunter2", "/f line 1: "),
        ("rpc-password = 'hunter2'\nrpc-password = 'hunter3'", "/f line 2: "),
        ("[bitcoind]\nrpc-password = 'hunter2'", "/f: bitcoind is a section or a dotted key"),
        ("rpc.password = 'hunter2'", "/f: rpc is a section or a dotted key"),
        ("rpc-password = 0x10", "/f: rpc-password needs a text in quotation marks"),
        ("web-hosts = ['a', 1]", "/f: web-hosts needs a text in quotation marks"),
        ("rpc-port = 2001-01-01", "/f: rpc-port needs a text"),
        ("config = '/other'", "/f: a settings file cannot name another one"),
    ] {
        let line = error(&["-config=/f"], &[], &[("/f", text)]);
        assert!(line.contains(part) && !line.contains("hunter"), "{line}");
    }
    let line = error(&["-config=/f"], &[], &[]);
    assert!(line.starts_with("cannot read the settings file /f: "), "{line}");
    assert!(error(&["-config="], &[], &[]).starts_with("-config is empty"));
    let long = "#".repeat(1_000_001);
    assert!(error(&["-config=/f"], &[], &[("/f", &long)]).contains("more than 1000000 bytes"));
}

#[test]
fn the_first_file_of_the_usual_places_is_used() {
    let files = [
        (SYSTEM_FILE, "rpc-port = 1"),
        (DATA_FILE, "rpc-port = 2"),
        ("/srv/p2pool.toml", "rpc-port = 3"),
        ("/f", "rpc-port = 4"),
    ];
    let port = |words: &[&str], pairs: &[(&str, &str)], files: &[(&str, &str)]| {
        let sources = sources(words, pairs, files).unwrap();
        (sources.flags.rpc_port.clone().unwrap_or_default(), sources.file.clone(), warnings(&sources))
    };
    let ignored = |used| vec![format!("settings file {SYSTEM_FILE} ignored: {used} is used")];
    assert_eq!(port(&[], &[], &files[..1]), ("1".into(), Some(SYSTEM_FILE.into()), vec![]));
    assert_eq!(port(&[], &[], &files), ("2".into(), Some(DATA_FILE.into()), ignored(DATA_FILE)));
    assert_eq!(port(&["-data-dir=/srv"], &[], &files).0, "3");
    assert_eq!(port(&["-data-dir=/other"], &[("P2POOL_DATA_DIR", "/srv")], &files).0, "3");
    assert_eq!(port(&["-config=/f"], &[], &files), ("4".into(), Some("/f".into()), vec![]));
    assert_eq!(port(&["-config=/g"], &[("P2POOL_CONFIG", "/f")], &files).0, "4");
    assert_eq!(port(&[], &[], &[]), (String::new(), None, vec![]));
}

#[test]
fn a_closed_file_of_the_service_does_not_stop_another_user() {
    let sources = sources(&[], &[], &[(SYSTEM_FILE, "closed")]).unwrap();
    assert_eq!(warnings(&sources), [format!("settings file {SYSTEM_FILE} ignored: this user may not read it")]);
    let sources = super::sources(&[], &[], &[(DATA_FILE, "closed")]).unwrap();
    assert_eq!(warnings(&sources), [format!("settings file {DATA_FILE} ignored: this user may not read it")]);
    assert!(error(&["-config=/f"], &[], &[("/f", "closed")]).starts_with("cannot read the settings file /f"));
}

#[test]
fn a_file_in_the_data_directory_cannot_move_it() {
    let text = "data-dir = '/srv'";
    assert!(error(&[], &[], &[(DATA_FILE, text)]).contains("data-dir is where this file is"));
    for path in [SYSTEM_FILE, "/f"] {
        let words: &[&str] = if path == "/f" { &["-config=/f"] } else { &[] };
        assert_eq!(sources(words, &[], &[(path, text)]).unwrap().flags.data_dir.as_deref(), Some("/srv"));
    }
}

#[test]
fn what_is_unknown_is_warned_of() {
    let file = [("/f", "rpc_host = 'h'\nadress = 'a'")];
    let sources = sources(&["-config=/f"], &[("P2POOL_RPC_HSOT", "h"), ("PATH", "/bin")], &file).unwrap();
    assert_eq!(
        warnings(&sources),
        [
            "unknown environment variable \"P2POOL_RPC_HSOT\" ignored; did you mean P2POOL_RPC_HOST?",
            "unknown setting \"adress\" in /f ignored; did you mean address?",
            "unknown setting \"rpc_host\" in /f ignored; did you mean rpc-host?",
        ]
    );
}

#[test]
fn a_password_that_all_users_can_read_is_warned_of() {
    let text = "public\nrpc-user = 'u'\nrpc-password = 'hunter2'";
    let sources = sources(&["-config=/f"], &[], &[("/f", text)]).unwrap();
    assert_eq!(warnings(&sources), ["RPC password in /f is readable by all users: chmod o-r /f"]);
    let sources = super::sources(&["-config=/f"], &[], &[("/f", text.trim_start_matches("public"))]).unwrap();
    assert_eq!(warnings(&sources), [""; 0]);
}
