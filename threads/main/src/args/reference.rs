//! The files that are made from [`Flags`](super::Flags): the example of a settings file, the man page, shell completions, and the
//! tables of the guide. The test compares them with those in the tree; `P2POOL_WRITE_REFERENCE=1 cargo test -p p2pool reference`
//! writes them.

use std::path::Path;

use super::command_line::command_names;
use super::{all, settings, FlagInfo, InstructionKind, Question, GROUPS, VARIABLES};
use crate::settings::{parse_file, resolve, Content};

/// Variable that makes the test write the files.
const WRITE: &str = "P2POOL_WRITE_REFERENCE";
/// Columns of the example's comments.
const WIDTH: usize = 100;
/// Example values of flags whose description has no default that could stand there.
const EXAMPLES: &[(&str, &str)] = &[
    ("address", "\"bc1q...\""),
    ("stratum-bind", "\"192.168.1.5\""),
    ("coinbase-tag", "\"garage\""),
    ("coinbase-outputs", "146"),
    ("rpc-port", "8332"),
    ("rpc-user", "\"p2pool\""),
    ("rpc-password", "\"...\""),
    ("rpc-cookie-file", "\"/home/bitcoin/.bitcoin/.cookie\""),
    ("signet-challenge", "\"51\""),
    ("bootnodes", "[\"/ip4/192.0.2.1/tcp/9171/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf\"]"),
    ("p2p-bind", "[\"192.168.1.5\"]"),
    ("external-address", "[\"203.0.113.5\"]"),
    ("add-peer", "[\"node.example:9171\"]"),
    ("proxy", "\"127.0.0.1:9050\""),
    ("onlynet", "\"ip\""),
    ("onion-address", "\"vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion\""),
    ("web-bind", "\"127.0.0.1:8080\""),
    ("web-hosts", "[\"pool.example.org\"]"),
    ("activation-height", "1000"),
];

/// Returns an example of the value as TOML: the one in [`EXAMPLES`], else the default in the description.
fn example(flag: FlagInfo) -> String {
    if let Some((_, example)) = EXAMPLES.iter().find(|(name, _)| *name == flag.name) {
        return (*example).to_owned();
    }
    let (_, default) = flag.about.rsplit_once("(default ").unwrap_or_else(|| panic!("-{} has no example", flag.name));
    let default = default.split([')', ';', ' ', ',']).next().unwrap();
    match default.parse::<f64>().is_ok() || ["true", "false"].contains(&default) {
        true => default.to_owned(),
        false => format!("\"{default}\""),
    }
}

/// Breaks a text into lines with a prefix.
fn wrapped(prefix: &str, text: &str) -> String {
    let mut lines = vec![prefix.to_owned()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().unwrap();
        if last.len() + 1 + word.len() > WIDTH && *last != prefix {
            lines.push(format!("{prefix}{word}"));
        } else {
            if *last != prefix {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

fn settings_file() -> String {
    let mut text = "\
# Settings of p2pool. A setting takes effect when its `#` is removed and the node is restarted.
#
# The node reads this file from p2pool.toml in its data directory, else from /etc/p2pool/p2pool.toml, or from the
# place that -config names. Environment variables and flags have precedence. If the file has a password, no other
# user should be able to read it.
"
    .to_owned();
    for group in &GROUPS {
        text += &format!("\n# {}: {}\n", group.name, group.about);
        for flag in group.flags().into_iter().filter(|flag| flag.value.is_some() && flag.name != "config") {
            text += "\n";
            text += &wrapped("# ", flag.about);
            text += &format!("#{} = {}\n", flag.name, example(flag));
        }
    }
    text
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

/// Escapes a text for troff.
fn troff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

fn man_page() -> String {
    let mut text = "\
.TH P2POOL 1
.SH NAME
p2pool \\- node of a decentralised Bitcoin mining pool
.SH SYNOPSIS
.B p2pool
[\\fIflags\\fR]
.br
.B p2pool export
[\\fIflags\\fR]
.br
.B p2pool health\\fR|\\fBstatus\\fR|\\fBminers\\fR|\\fBpeers\\fR|\\fBbans\\fR|\\fBshares\\fR|\\fBpayouts\\fR|\\fBblocks
[\\fB\\-json\\fR] [\\fIflags\\fR]
.br
.B p2pool ban\\fR|\\fBunban\\fR|\\fBconnect\\fR|\\fBdisconnect\\fR|\\fBlog\\-level
\\fIvalue\\fR [\\fB\\-hours\\fR \\fInumber\\fR] [\\fB\\-json\\fR] [\\fIflags\\fR]
.br
.B p2pool help
[\\fIgroup\\fR]
.SH DESCRIPTION
Runs a node next to bitcoind: miners connect to it by Stratum, it keeps the sharechain together with other nodes, and its
blocks pay all of the pool's miners. The miners' port also serves a dashboard, a JSON API and metrics.
.SH COMMANDS
.TP
.B export
Prints the stored sharechain as JSON lines, oldest share first; may run beside the node.
.TP
.B help
Prints all flags, or those of a group.
.PP
These ask the node that runs with the same settings, as its user or root; with \\fB\\-json\\fR they print what the API has.
"
    .to_owned();
    for question in Question::ALL {
        text += &format!(".TP\n.B {}\nPrints {}.\n", question.name(), question.about());
    }
    text += ".PP\nThese make it do something:\n";
    for kind in InstructionKind::ALL {
        let (name, word) = (troff(kind.name()), troff(kind.word()));
        text += &format!(".TP\n\\fB{name}\\fR \\fI{word}\\fR\n{}.\n", troff(&capitalised(kind.about())));
    }
    for group in &GROUPS {
        text += &format!(".SH FLAGS: {}\n", group.name.to_uppercase());
        for flag in group.flags() {
            let value = flag.value.map(|value| format!(" \\fI{}\\fR", troff(value))).unwrap_or_default();
            text += &format!(".TP\n\\fB\\-{}\\fR{value}\n{}\n", troff(flag.name), troff(flag.about));
        }
    }
    text += "\
.SH ENVIRONMENT
Each flag can be given by a variable, which has precedence: P2POOL_ and its name in capitals, as P2POOL_RPC_PORT. These have
other names:
";
    for (variable, flag) in VARIABLES {
        text += &format!(".TP\n.B {variable}\n\\fB\\-{}\\fR\n", troff(flag));
    }
    text += "\
.SH FILES
.TP
.I /etc/p2pool/p2pool.toml
Settings, if there is no p2pool.toml in the data directory. The keys are the names of the flags.
.SH EXIT STATUS
0 after a stop by SIGTERM or SIGINT; 1 after a failure; 2 if a setting is wrong. Of
the commands that ask a node or make it do something: 0, or 2 if none runs; 1 if it refuses that, and of
.B health
if the node is not healthy.
";
    text
}

/// Returns the flags as they are typed.
fn flag_words() -> Vec<String> {
    all().map(|flag| format!("-{}", flag.name)).collect()
}

fn group_names() -> String {
    GROUPS.map(|group| group.name).join(" ")
}

fn bash() -> String {
    format!(
        "\
# Completion of p2pool for bash.
_p2pool() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    case $previous in
    help | -help) mapfile -t COMPREPLY < <(compgen -W \"{groups}\" -- \"$word\") ;;
    -network) mapfile -t COMPREPLY < <(compgen -W \"mainnet testnet3 testnet4 signet regtest\" -- \"$word\") ;;
    -log-level) mapfile -t COMPREPLY < <(compgen -W \"error warn info debug trace\" -- \"$word\") ;;
    {files}) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;
    *) mapfile -t COMPREPLY < <(compgen -W \"{commands} {flags}\" -- \"$word\") ;;
    esac
}}
complete -F _p2pool p2pool
",
        groups = group_names(),
        commands = command_names().join(" "),
        files = path_flags().join(" | "),
        flags = flag_words().join(" "),
    )
}

/// Returns the flags whose values are files or directories.
fn path_flags() -> Vec<String> {
    let is_path = |flag: &FlagInfo| matches!(flag.value, Some("file" | "directory"));
    settings().filter(is_path).map(|flag| format!("-{}", flag.name)).collect()
}

fn zsh() -> String {
    let mut text = "#compdef p2pool\n# Completion of p2pool for zsh.\n_arguments \\\n".to_owned();
    for flag in all() {
        let about = flag.about.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
        let value = match flag.value {
            None => String::new(),
            Some("file") => ":file:_files".to_owned(),
            Some("directory") => ":directory:_files -/".to_owned(),
            Some(value) => format!(":{}:", value.replace(':', " ")),
        };
        text += &format!("  '-{}[{about}]{value}' \\\n", flag.name);
    }
    text + &format!("  '1:command:({})' '2:group:({})'\n", command_names().join(" "), group_names())
}

fn fish() -> String {
    let mut text = "# Completion of p2pool for fish.\n".to_owned();
    text += &format!("complete -c p2pool -f -n __fish_use_subcommand -a '{}'\n", command_names().join(" "));
    text += &format!("complete -c p2pool -f -n '__fish_seen_subcommand_from help' -a '{}'\n", group_names());
    for flag in all() {
        let value = match flag.value {
            None => "",
            Some("file" | "directory") => " -r -F",
            Some(_) => " -x",
        };
        text += &format!("complete -c p2pool -o {}{value} -d '{}'\n", flag.name, flag.about.replace('\'', "\\'"));
    }
    text
}

/// Returns the tables of the guide.
fn tables() -> String {
    let mut text = String::new();
    for group in &GROUPS {
        text += &format!("\n### {}: {}\n\n| flag | meaning |\n|---|---|\n", group.name, group.about);
        for flag in group.flags() {
            text += &format!("| `-{}` | {} |\n", flag.name, flag.about.replace('|', "\\|"));
        }
    }
    text
}

/// Returns the variables that Compose passes to the container. The data directory is fixed there.
fn container_variables() -> String {
    let mut text = "    environment:\n".to_owned();
    for flag in settings().filter(|flag| !["config", "data-dir"].contains(&flag.name)) {
        text += &format!("      {0}: ${{{0}:-}}\n", flag.variable());
    }
    text
}

/// Files with a part that is made from the flags, between two lines with these texts.
const GUIDE: &str = "contrib/docs/settings.md";
const COMPOSE: &str = "contrib/docker/compose.yaml";
const START: &str = "made from the flags: start";
const END: &str = "made from the flags: end";

/// Returns a file with its part in a new state.
fn with_part(present: &str, part: &str) -> String {
    let is = |line: &&str, mark: &str| line.contains(mark);
    let before: Vec<&str> = present.split_inclusive('\n').take_while(|line| !is(line, START)).collect();
    let marks: Vec<&str> = present.split_inclusive('\n').filter(|line| is(line, START) || is(line, END)).collect();
    let after: Vec<&str> = present.split_inclusive('\n').skip_while(|line| !is(line, END)).skip(1).collect();
    let [start, end] = marks[..] else { panic!("no lines with {START:?} and {END:?}") };
    [&before.concat(), start, part, end, &after.concat()].concat()
}

#[test]
fn the_files_made_from_the_flags_are_current() {
    let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let read = |path: &str| std::fs::read_to_string(top.join(path)).unwrap_or_default();
    for (path, expected) in [
        ("contrib/p2pool.toml", settings_file()),
        ("contrib/p2pool.1", man_page()),
        ("contrib/completions/p2pool.bash", bash()),
        ("contrib/completions/_p2pool", zsh()),
        ("contrib/completions/p2pool.fish", fish()),
        (GUIDE, with_part(&read(GUIDE), &(tables() + "\n"))),
        (COMPOSE, with_part(&read(COMPOSE), &container_variables())),
    ] {
        if std::env::var_os(WRITE).is_some() {
            std::fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            std::fs::write(top.join(path), &expected).unwrap();
        }
        assert!(read(path) == expected, "{path} is outdated: {WRITE}=1 cargo test -p p2pool reference");
    }
}

#[test]
fn each_line_of_the_example_is_accepted() {
    let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let mut count = 0;
    for line in settings_file().lines().filter(|line| line.starts_with('#') && !line.starts_with("# ")) {
        let Some(setting) = line.strip_prefix('#').filter(|line| line.contains(" = ")) else { continue };
        count += 1;
        let mut text = setting.replace("bc1q...", address);
        for (key, needs) in [
            ("rpc-user ", "rpc-password = 'x'"),
            ("rpc-password ", "rpc-user = 'x'"),
            ("signet-challenge ", "network = 'signet'"),
            ("share-period ", "network = 'regtest'"),
            ("payout-window ", "network = 'regtest'"),
            ("retarget-window ", "network = 'regtest'"),
            ("activation-height ", "network = 'regtest'"),
            ("rules-version ", "network = 'regtest'"),
        ] {
            if setting.starts_with(key) {
                text += &format!("\n{needs}");
            }
        }
        let address = match () {
            () if text.contains("'signet'") => "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            () if text.contains("'regtest'") => "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            () => address,
        };
        if !setting.starts_with("address ") {
            text += &format!("\naddress = '{address}'");
        }
        let mut warnings = Vec::new();
        let content = Content { text: text.clone(), is_public: false };
        let values = parse_file(Path::new("example"), &content, &mut warnings).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        resolve(&super::flags_of(&values), None, &|_| false).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    }
    assert_eq!(count, settings().count() - 1, "all but -config");
}

#[test]
fn each_flag_belongs_to_one_group() {
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|group| group.flags()).map(|flag| flag.name).collect();
    assert_eq!(grouped, all().map(|flag| flag.name).collect::<Vec<_>>());
}
