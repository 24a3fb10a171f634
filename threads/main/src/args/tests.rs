use super::*;

fn parse_words(words: &[&str]) -> Result<Command, UsageError> {
    parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

fn run_flags(words: &[&str]) -> Flags {
    match parse_words(words) {
        Ok(Command::Run(flags)) => flags,
        other => panic!("{words:?} gave {other:?}"),
    }
}

#[test]
fn all_four_notations_of_a_flag_are_equivalent() {
    let expected = Flags { stratum_port: Some("3334".into()), ..Flags::default() };
    for words in
        [&["-stratum-port", "3334"][..], &["-stratum-port=3334"], &["--stratum-port", "3334"], &["--stratum-port=3334"]]
    {
        assert_eq!(run_flags(words), expected, "{words:?}");
    }
}

#[test]
fn boolean_flags_need_no_value() {
    for (words, mdns) in [
        (&["-mdns"][..], "true"),
        (&["--mdns"], "true"),
        (&["-mdns=false"], "false"),
        (&["--mdns=true"], "true"),
        (&["-mdns", "false"], "false"),
        (&["-mdns", "0"], "0"),
        (&["-mdns", "1", "-dht-server"], "1"),
        (&["-mdns=0"], "0"),
        (&["-mdns", "-dht-server"], "true"),
    ] {
        assert_eq!(run_flags(words).mdns.as_deref(), Some(mdns), "{words:?}");
    }
    assert_eq!(run_flags(&["-mdns", "-dht-server=false"]).dht_server.as_deref(), Some("false"));
}

#[test]
fn values_may_look_like_flags_or_contain_equal_signs() {
    assert_eq!(run_flags(&["-rpc-password", "-x=y"]).rpc_password.as_deref(), Some("-x=y"));
    assert_eq!(run_flags(&["-rpc-password=a=b"]).rpc_password.as_deref(), Some("a=b"));
    assert_eq!(run_flags(&["-rpc-password", "help"]).rpc_password.as_deref(), Some("help"));
    assert_eq!(run_flags(&["-coinbase-tag="]).coinbase_tag.as_deref(), Some(""));
}

#[test]
fn export_may_precede_or_follow_its_flags() {
    let expected = Flags { network: Some("regtest".into()), ..Flags::default() };
    for words in [["export", "-network", "regtest"], ["-network", "regtest", "export"]] {
        match parse_words(&words) {
            Ok(Command::Export(flags)) => assert_eq!(flags, expected),
            other => panic!("{words:?} gave {other:?}"),
        }
    }
}

#[test]
fn an_unknown_flag_gets_the_nearest_one_as_suggestion() {
    for (given, nearest) in [
        ("-adress", "address"),
        ("-stratumport=1", "stratum-port"),
        ("--rpc-pasword=hunter2", "rpc-password"),
        ("-boot-nodes", "bootnodes"),
    ] {
        let error = parse_words(&[given]).unwrap_err();
        assert!(matches!(&error, UsageError::UnknownFlag { nearest: found, .. } if *found == nearest), "{error}");
        let line = error.to_string();
        assert!(!line.contains('\n') && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn a_stray_word_is_not_repeated_in_the_error() {
    let line = parse_words(&["-rpc-password", "correct", "horse"]).unwrap_err().to_string();
    assert!(line.contains("after the value of -rpc-password") && !line.contains("horse"), "{line}");
}

#[test]
fn repeated_flags_and_missing_values_are_rejected_in_one_line() {
    for (words, part) in [
        (&["-address"][..], "-address"),
        (&["-network", "regtest", "-address"], "-address needs a value"),
        (&["-rpc-password=a1b2", "-rpc-password", "c3d4"], "-rpc-password is given twice"),
        (&["-version=1"], "-version takes no value"),
        (&["mine"], "unexpected word at the start"),
        (&["export", "export"], "unexpected word after export"),
        (&["-"], "unexpected word"),
        (&["--"], "unexpected word"),
    ] {
        let line = parse_words(words).unwrap_err().to_string();
        assert!(line.contains(part) && !line.contains('\n'), "{words:?}: {line}");
        assert!(!line.contains("a1b2") && !line.contains("c3d4"), "{line}");
    }
}

#[test]
fn help_wins_over_other_flags() {
    for words in [&["-h"][..], &["-help"], &["--help"], &["help"], &["-network", "regtest", "-help"], &["export", "-h"]]
    {
        match parse_words(words) {
            Ok(Command::Print(text)) => {
                for (flag, _) in flag_descriptions() {
                    assert!(text.contains(&format!("   -{flag}")), "{flag} is not in the help");
                }
                assert!(!text.contains("  --"), "flags are listed with one dash");
                for (variable, flag) in ENVIRONMENT {
                    let mut lines = text.lines().map(str::split_whitespace).map(Vec::from_iter);
                    let expected = [variable, "overrides", &format!("-{flag}")];
                    assert!(lines.any(|line| line == expected), "{variable} is not in the help");
                }
            }
            other => panic!("{words:?} gave {other:?}"),
        }
    }
}

#[test]
fn version_prints_name_and_version() {
    let text = format!("p2pool {VERSION}\n");
    assert_eq!(parse_words(&["-version"]), Ok(Command::Print(text.clone())));
    assert_eq!(parse_words(&["--version"]), Ok(Command::Print(text)));
}

/// Names and descriptions of the README's rows ``| `-name` | description |``.
fn readme_flags() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let row = |line: &str| {
        let (name, meaning) = line.strip_prefix("| `-")?.split_once("` | ")?;
        Some((name.to_owned(), meaning.strip_suffix(" |")?.to_owned()))
    };
    readme.lines().filter_map(row).collect()
}

#[test]
fn the_readme_lists_all_flags_with_the_same_descriptions() {
    let escaped = |(name, text): (&str, &str)| (name.to_owned(), text.replace('|', "\\|"));
    assert_eq!(readme_flags(), flag_descriptions().map(escaped).collect::<Vec<_>>());
}

#[test]
fn the_readme_lists_all_environment_variables() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    for (variable, flag) in ENVIRONMENT {
        assert!(readme.contains(&format!("| `{variable}` | `-{flag}` |")), "{variable} is not in README.md");
    }
}
