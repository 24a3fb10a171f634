//! The help, which fits a terminal of 80 columns.

use super::{FlagInfo, Group, InstructionKind, Question, GROUPS};

/// Columns of a line.
const WIDTH: usize = 80;
/// Column where the descriptions start.
const INDENT: usize = 24;

/// What all commands of a running node have in common.
const OF_RUNNING_NODE: &str = "\
-json prints the document of the API. The node is the one with its data in the
directory of the flags -network, -data-dir and -chain-name.
Exit status: 0 if it is done, 1 if the node refuses or is not healthy, 2 if no
node runs or the command line is wrong.
";

/// Returns the help on everything.
pub fn all_flags() -> String {
    let mut text = "A node of a decentralised Bitcoin mining pool.

Usage: p2pool -address <address> [flags]   run the node
       p2pool export [flags]               print the sharechain as JSON lines
       p2pool help <group>                 help on one group of flags
       p2pool <command> -help              help on one command

To ask the running node, with its own flags (-json prints the API's document):
"
    .to_owned();
    for question in Question::ALL {
        text += &command(question.name(), question.about());
    }
    text += "\nTo make it do something:\n";
    for kind in InstructionKind::ALL {
        text += &command(&format!("{} {}", kind.name(), kind.word()), kind.about());
    }
    for group in &GROUPS {
        text += "\n";
        text += &self::group(group);
    }
    text += "
-flag value, -flag=value, --flag value and --flag=value are equivalent. Each
flag can also be given by an environment variable, which has precedence
(-rpc-port: P2POOL_RPC_PORT), and in the settings file (rpc-port = 8332). These
variables have other names:
";
    for (variable, flag) in super::VARIABLES {
        text += &format!("  {variable:<22}-{flag}\n");
    }
    text += "
Example: p2pool -address bc1... -rpc-cookie-file /var/lib/bitcoind/.cookie
";
    text
}

fn command(command: &str, about: &str) -> String {
    format!("  {command:<32}{about}\n")
}

/// Returns the help on a command that prints what the running node says.
pub fn question(question: Question) -> String {
    format!("Usage: p2pool {} [-json] [flags]\n\nPrints {}.\n\n{OF_RUNNING_NODE}", question.name(), question.about())
}

/// Returns the help on a command that makes the running node do something.
pub fn instruction(kind: InstructionKind) -> String {
    let hours = if kind == InstructionKind::Ban { " [-hours <count>]" } else { "" };
    let (name, word) = (kind.name(), kind.word());
    format!("Usage: p2pool {name} {word}{hours} [-json] [flags]\n\n{}\n\n{OF_RUNNING_NODE}", kind.details())
}

/// Returns the help on a group of flags.
pub fn group(group: &Group) -> String {
    let mut text = format!("{} ({}):\n", group.name, group.about);
    for flag in group.flags() {
        text += &described(flag);
    }
    text
}

/// Returns the lines of a flag: its name, and its description beside or below it.
fn described(flag: FlagInfo) -> String {
    let name = match flag.value {
        None => format!("  -{}", flag.name),
        Some(value) => format!("  -{} <{value}>", flag.name),
    };
    let mut lines = vec![name];
    if lines[0].len() + 2 > INDENT {
        lines.push(String::new());
    }
    for word in flag.about.split_whitespace() {
        let last = lines.len() - 1;
        if lines[last].len() > INDENT && lines[last].len() + 1 + word.len() > WIDTH {
            lines.push(String::new());
        }
        let last = lines.len() - 1;
        match lines[last].len() > INDENT {
            true => lines[last] += " ",
            false => lines[last] = format!("{:<INDENT$}", lines[last]),
        }
        lines[last] += word;
    }
    lines.join("\n") + "\n"
}
