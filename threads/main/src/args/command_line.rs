//! The command line in Go's notation of flags.

use std::collections::BTreeMap;

use super::{all, find, help, nearest, FlagInfo, GROUPS, VERSION};

/// The command that prints the sharechain instead of running a node.
const EXPORT: &str = "export";
/// The flag with the password: the word after its value may be the password's second half, and is not repeated in an error.
const SECRET: &str = "rpc-password";

/// The values of flags, by name.
pub type Given = BTreeMap<&'static str, String>;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the node.
    Run(Given),
    /// Print the stored sharechain.
    Export(Given),
    /// Ask the running node.
    Ask { question: Question, given: Given, as_json: bool },
    /// Print this text and exit.
    Print(String),
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Health,
    Status,
    Miners,
    Peers,
    Bans,
    Payouts,
    Blocks,
}

impl Question {
    pub const ALL: [Self; 7] =
        [Self::Health, Self::Status, Self::Miners, Self::Peers, Self::Bans, Self::Payouts, Self::Blocks];

    /// Returns the command.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Status => "status",
            Self::Miners => "miners",
            Self::Peers => "peers",
            Self::Bans => "bans",
            Self::Payouts => "payouts",
            Self::Blocks => "blocks",
        }
    }

    /// Returns what the command prints.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Health => "whether it is healthy, and why not",
            Self::Status => "what it does, what is wrong, what it earns",
            Self::Miners => "its miners, those in trouble first",
            Self::Peers => "the nodes that it is connected to",
            Self::Bans => "the banned peers and addresses, and why",
            Self::Payouts => "who a block found now would pay",
            Self::Blocks => "the found Bitcoin blocks",
        }
    }
}

/// A command of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Export,
    Ask(Question),
}

impl Verb {
    fn of(word: &str) -> Option<Self> {
        let question = || Question::ALL.into_iter().find(|question| question.name() == word);
        if word == EXPORT {
            Some(Self::Export)
        } else {
            question().map(Self::Ask)
        }
    }
}

/// A command line that cannot be parsed. The message is one line, without a value of a flag, which may be a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    #[error("there is no flag -{given}; did you mean -{nearest}? (p2pool -help lists all)")]
    UnknownFlag { given: String, nearest: &'static str },
    #[error(
        "unexpected word {word}{place}: a value with spaces needs quotes; the commands are {}", command_names().join(", ")
    )]
    StrayWord { word: String, place: String },
    #[error("there is no group {given:?} of flags; the groups are {}", group_names())]
    UnknownGroup { given: String },
    #[error("-json needs one of the commands {}", Question::ALL.map(Question::name).join(", "))]
    NeedsQuestion,
    #[error("-{0} takes no value")]
    NeedsNoValue(String),
    #[error("-{0} is given twice: keep one of them")]
    Repeated(String),
    #[error("-{0} needs a value (p2pool -help lists all flags)")]
    NeedsValue(String),
}

/// Returns the words that are commands.
pub fn command_names() -> Vec<&'static str> {
    [EXPORT, "help"].into_iter().chain(Question::ALL.map(Question::name)).collect()
}

fn group_names() -> String {
    GROUPS.map(|group| group.name).join(", ")
}

/// Parses the words after the program's name.
///
/// # Errors
/// Unknown or repeated flags, missing values, stray words.
pub fn parse(words: &[String]) -> Result<Command, UsageError> {
    let mut given = Given::new();
    let mut command = None;
    let (mut asks_version, mut as_json) = (false, false);
    let mut previous = Previous::Nothing;
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let Some((name, value)) = split_flag(word) else {
            match Verb::of(word).filter(|_| command.is_none()) {
                Some(verb) => command = Some(verb),
                None if word == "help" => return help_on(rest.next()),
                None => return Err(stray(word, previous)),
            }
            previous = Previous::Command(word);
            continue;
        };
        match name {
            "help" | "h" => return help_on(value.map(str::to_owned).as_ref().or_else(|| rest.next())),
            "version" | "json" if value.is_some() => return Err(UsageError::NeedsNoValue(name.to_owned())),
            "version" => asks_version = true,
            "json" => as_json = true,
            _ => {
                // After a password with a space it may be the rest of it.
                let flag = match (known(name), &previous) {
                    (Err(_), Previous::ValueOf(SECRET)) => return Err(stray(word, previous)),
                    (flag, _) => flag?,
                };
                let value = match value {
                    Some(value) => Some(value.to_owned()),
                    None if flag.is_boolean() => {
                        let is_value = |next: &&String| matches!(next.as_str(), "true" | "false" | "1" | "0");
                        Some(rest.next_if(is_value).map_or_else(|| "true".to_owned(), Clone::clone))
                    }
                    None => rest.next().cloned(),
                };
                let value = value.ok_or_else(|| UsageError::NeedsValue(name.to_owned()))?;
                if given.insert(flag.name, value).is_some() {
                    return Err(UsageError::Repeated(name.to_owned()));
                }
                previous = Previous::ValueOf(flag.name);
            }
        }
    }
    Ok(match command {
        _ if asks_version => Command::Print(format!("p2pool {VERSION}\n")),
        Some(Verb::Ask(question)) => Command::Ask { question, given, as_json },
        _ if as_json => return Err(UsageError::NeedsQuestion),
        Some(Verb::Export) => Command::Export(given),
        None => Command::Run(given),
    })
}

/// Returns the help on a group of flags, or all help if no word follows, or a flag.
fn help_on(topic: Option<&String>) -> Result<Command, UsageError> {
    match topic.filter(|topic| !topic.starts_with('-')) {
        None => Ok(Command::Print(help::all_flags())),
        Some(topic) => match GROUPS.iter().find(|group| group.name == topic) {
            Some(group) => Ok(Command::Print(help::group(group))),
            None => Err(UsageError::UnknownGroup { given: topic.clone() }),
        },
    }
}

/// What precedes a word.
enum Previous<'a> {
    Nothing,
    Command(&'a str),
    ValueOf(&'static str),
}

fn stray(word: &str, previous: Previous<'_>) -> UsageError {
    let quoted = format!("{word:?}");
    let (word, place) = match previous {
        Previous::Nothing => (quoted, String::new()),
        Previous::Command(command) => (quoted, format!(" after {command}")),
        Previous::ValueOf(SECRET) => (String::new(), format!("after the value of -{SECRET}")),
        Previous::ValueOf(flag) => (quoted, format!(" after the value of -{flag}")),
    };
    UsageError::StrayWord { word, place }
}

/// Splits `-name`, `--name`, `-name=value` and `--name=value`.
fn split_flag(word: &str) -> Option<(&str, Option<&str>)> {
    let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty())?;
    Some(match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    })
}

/// Returns the flag of this name; the error names the most similar one.
fn known(name: &str) -> Result<FlagInfo, UsageError> {
    find(name).ok_or_else(|| UsageError::UnknownFlag {
        // A value that is attached wrongly is not repeated.
        given: name
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
            .next()
            .unwrap_or_default()
            .to_owned(),
        nearest: nearest(name, all().map(|flag| flag.name)).unwrap_or("help"),
    })
}

#[cfg(test)]
mod tests;
