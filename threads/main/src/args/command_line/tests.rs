use super::*;
use crate::args::VARIABLES;

fn parse_words(words: &[&str]) -> Result<Command, UsageError> {
    parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

/// Returns what a command line that runs the node gives.
fn given(words: &[&str]) -> Given {
    match parse_words(words) {
        Ok(Command::Run(given)) => given,
        other => panic!("{words:?} gave {other:?}"),
    }
}

/// Returns the value that a command line gives for a flag.
fn value(words: &[&str], flag: &str) -> Option<String> {
    given(words).remove(flag)
}

#[test]
fn all_four_notations_of_a_flag_are_equivalent() {
    let expected = Given::from([("stratum-port", "3334".to_owned())]);
    for words in
        [&["-stratum-port", "3334"][..], &["-stratum-port=3334"], &["--stratum-port", "3334"], &["--stratum-port=3334"]]
    {
        assert_eq!(given(words), expected, "{words:?}");
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
        assert_eq!(value(words, "mdns").as_deref(), Some(mdns), "{words:?}");
    }
    assert_eq!(value(&["-mdns", "-dht-server=false"], "dht-server").as_deref(), Some("false"));
}

#[test]
fn values_may_look_like_flags_or_contain_equal_signs() {
    assert_eq!(value(&["-rpc-password", "-x=y"], "rpc-password").as_deref(), Some("-x=y"));
    assert_eq!(value(&["-rpc-password=a=b"], "rpc-password").as_deref(), Some("a=b"));
    assert_eq!(value(&["-rpc-password", "help"], "rpc-password").as_deref(), Some("help"));
    assert_eq!(value(&["-coinbase-tag="], "coinbase-tag").as_deref(), Some(""));
}

#[test]
fn a_command_may_precede_or_follow_its_flags() {
    let expected = Given::from([("network", "regtest".to_owned())]);
    for words in [["export", "-network", "regtest"], ["-network", "regtest", "export"]] {
        assert_eq!(parse_words(&words), Ok(Command::Export(expected.clone())), "{words:?}");
    }
    for question in Question::ALL {
        let ask = |as_json| Ok(Command::Ask { question, given: expected.clone(), as_json });
        assert_eq!(parse_words(&[question.name(), "-network=regtest"]), ask(false));
        assert_eq!(parse_words(&[question.name(), "--json", "-network=regtest"]), ask(true));
    }
    for kind in InstructionKind::ALL {
        let instruction = || Instruction { kind, word: "x".to_owned() };
        let instruct = |hours, as_json| {
            Ok(Command::Instruct { instruction: instruction(), hours, given: expected.clone(), as_json })
        };
        assert_eq!(parse_words(&[kind.name(), "x", "-network=regtest"]), instruct(None, false));
        assert_eq!(parse_words(&["-network=regtest", kind.name(), "-json", "x"]), instruct(None, true));
        assert_eq!(parse_words(&[kind.name()]), Err(UsageError::NeedsWord(kind)));
        let with_hours = [kind.name(), "x", "-network=regtest", "-hours", "5"];
        match kind {
            InstructionKind::Ban => assert_eq!(parse_words(&with_hours), instruct(Some(5), false)),
            _ => assert_eq!(parse_words(&with_hours), Err(UsageError::WrongHours)),
        }
    }
    assert_eq!(parse_words(&["export", "-json"]), Err(UsageError::NeedsQuestion));
    assert_eq!(parse_words(&["status", "-hours=5"]), Err(UsageError::WrongHours));
}

#[test]
fn a_word_may_be_that_of_a_command() {
    let instruction = Instruction { kind: InstructionKind::Unban, word: "status".to_owned() };
    let expected = Command::Instruct { instruction, hours: None, given: Given::new(), as_json: false };
    assert_eq!(parse_words(&["unban", "status"]), Ok(expected));
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
fn a_stray_word_is_named_unless_it_may_belong_to_a_password() {
    let line = parse_words(&["-coinbase-tag", "my", "garage"]).unwrap_err().to_string();
    assert!(line.starts_with("unexpected word \"garage\" after the value of -coinbase-tag: "), "{line}");
    for rest in ["horse", "-horse"] {
        let line = parse_words(&["-rpc-password", "correct", rest]).unwrap_err().to_string();
        assert!(line.contains("after the value of -rpc-password") && !line.contains("horse"), "{line}");
    }
    let line = parse_words(&["-rpc-password:hunter2"]).unwrap_err().to_string();
    assert!(line.contains("there is no flag -rpc-password;") && !line.contains("hunter2"), "{line}");
}

#[test]
fn repeated_flags_and_missing_values_are_rejected_in_one_line() {
    for (words, part) in [
        (&["-address"][..], "-address"),
        (&["-network", "regtest", "-address"], "-address needs a value"),
        (&["-rpc-password=a1b2", "-rpc-password", "c3d4"], "-rpc-password is given twice"),
        (&["-version=1"], "-version takes no value"),
        (&["mine"], "unexpected word \"mine\": "),
        (&["export", "export"], "unexpected word \"export\" after export"),
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
        assert_eq!(parse_words(words), Ok(Command::Print(help::all_flags())), "{words:?}");
    }
}

#[test]
fn help_on_a_group_fits_a_screen() {
    for group in &GROUPS {
        for words in [["help", group.name], ["-help", group.name], ["-h", group.name]] {
            let Ok(Command::Print(text)) = parse_words(&words) else { panic!("{words:?}") };
            assert!(text.lines().count() <= 24 && text.lines().all(|line| line.len() <= 80), "{text}");
            for flag in group.flags() {
                assert!(text.contains(&format!("  -{}", flag.name)), "{} is not in: {text}", flag.name);
            }
        }
    }
    let line = parse_words(&["-help", "minors"]).unwrap_err().to_string();
    assert!(
        line.contains("\"minors\"") && line.contains("miners, bitcoind, network, tor, peers, web, files, testing"),
        "{line}"
    );
}

#[test]
fn help_on_a_command_says_what_it_does() {
    for (words, part) in [
        (&["ban", "-help"][..], "Usage: p2pool ban <peer|address> [-hours <count>]"),
        (&["help", "ban"], "-add-peer are never banned"),
        (&["connect", "1.2.3.4", "-h", "-json"], "Usage: p2pool connect <host:port|multiaddr> [-json]"),
        (&["peers", "-network", "regtest", "--help"], "Prints the nodes that it is connected to."),
    ] {
        let Ok(Command::Print(text)) = parse_words(words) else { panic!("{words:?}") };
        assert!(text.contains(part), "{words:?}: {text}");
    }
    for name in &command_names()[2..] {
        let Ok(Command::Print(text)) = parse_words(&["help", name]) else { panic!("{name}") };
        assert!(text.lines().count() <= 24 && text.lines().all(|line| line.len() <= 80), "{text}");
    }
}

#[test]
fn help_has_all_flags_once_and_the_variables() {
    let text = help::all_flags();
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    for flag in all() {
        assert_eq!(
            text.matches(&format!("\n  -{} ", flag.name)).count()
                + text.matches(&format!("\n  -{}\n", flag.name)).count(),
            1,
            "{}",
            flag.name
        );
    }
    for (variable, flag) in VARIABLES {
        assert!(text.contains(&format!("  {variable:<22}-{flag}\n")), "{variable} is not in the help");
    }
    assert!(text.lines().all(|line| line.len() <= 90), "{text}");
}

#[test]
fn version_prints_name_and_version() {
    let text = format!("p2pool {VERSION}\n");
    assert_eq!(parse_words(&["-version"]), Ok(Command::Print(text.clone())));
    assert_eq!(parse_words(&["--version"]), Ok(Command::Print(text)));
}
