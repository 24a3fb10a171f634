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
    /// Have the running node do something.
    Instruct { instruction: Instruction, hours: Option<u32>, given: Given, as_json: bool },
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
    Shares,
    Payouts,
    Blocks,
}

impl Question {
    pub const ALL: [Self; 8] =
        [Self::Health, Self::Status, Self::Miners, Self::Peers, Self::Bans, Self::Shares, Self::Payouts, Self::Blocks];

    /// Returns the command.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Status => "status",
            Self::Miners => "miners",
            Self::Peers => "peers",
            Self::Bans => "bans",
            Self::Shares => "shares",
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
            Self::Shares => "the latest shares, and its own ones",
            Self::Payouts => "who a block found now would pay",
            Self::Blocks => "the found Bitcoin blocks",
        }
    }
}

/// What the running node can be made to do, each with the word that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub kind: InstructionKind,
    pub word: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionKind {
    Ban,
    Unban,
    Connect,
    Disconnect,
    LogLevel,
}

impl InstructionKind {
    pub const ALL: [Self; 5] = [Self::Ban, Self::Unban, Self::Connect, Self::Disconnect, Self::LogLevel];

    /// Returns the command.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::LogLevel => "log-level",
        }
    }

    /// Returns the placeholder of its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ban => "<peer|address>",
            Self::Unban => "<peer|address|all>",
            Self::Connect => "<host:port|multiaddr>",
            Self::Disconnect => "<peer>",
            Self::LogLevel => "<level>",
        }
    }

    /// Returns what the node does.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Ban => "keep out a peer or an address for -hours (24)",
            Self::Unban => "lift a ban, or all",
            Self::Connect => "dial a peer once",
            Self::Disconnect => "close a connection",
            Self::LogLevel => "change the log level until the next start",
        }
    }

    /// Returns what its help says, in lines that fit a terminal.
    pub const fn details(self) -> &'static str {
        match self {
            Self::Ban => {
                "\
Closes the connections to a peer (its id), a public IPv4 address, an IPv6
address with its /64, or an IPv6 /48, and refuses them for 24 hours or as many
as -hours says. Peers of the flag -add-peer are never banned."
            }
            Self::Unban => "Lifts a ban and forgets the ban score, or all of them.",
            Self::Connect => {
                "\
Dials a peer once, also if there are as many as -max-outbound allows. Bans and
the limit of peers per netgroup apply. The node's log says what comes of it."
            }
            Self::Disconnect => "Closes the connection to a peer, and does not dial it for ten minutes.",
            Self::LogLevel => {
                "\
Changes what is logged until the next start: off, error, warn, info, debug or
trace."
            }
        }
    }
}

/// A command of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Export,
    Ask(Question),
    Instruct(InstructionKind),
}

impl Verb {
    fn of(word: &str) -> Option<Self> {
        let question = Question::ALL.into_iter().find(|question| question.name() == word);
        let instruction = InstructionKind::ALL.into_iter().find(|instruction| instruction.name() == word);
        let export = (word == EXPORT).then_some(Self::Export);
        export.or(question.map(Self::Ask)).or(instruction.map(Self::Instruct))
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
    #[error("there is no help on {given:?}; the groups of flags are {}", group_names())]
    UnknownGroup { given: String },
    #[error("-json needs one of the commands {}", command_names()[2..].join(", "))]
    NeedsQuestion,
    #[error("-hours needs the command ban, and a number")]
    WrongHours,
    #[error("{} needs {}", .0.name(), .0.word())]
    NeedsWord(InstructionKind),
    #[error("-{0} takes no value")]
    NeedsNoValue(String),
    #[error("-{0} is given twice: keep one of them")]
    Repeated(String),
    #[error("-{0} needs a value (p2pool -help lists all flags)")]
    NeedsValue(String),
}

/// Returns the words that are commands.
pub fn command_names() -> Vec<&'static str> {
    let of_nodes = Question::ALL.map(Question::name).into_iter().chain(InstructionKind::ALL.map(InstructionKind::name));
    [EXPORT, "help"].into_iter().chain(of_nodes).collect()
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
    let (mut object, mut hours) = (None, None);
    let (mut asks_version, mut as_json) = (false, false);
    let mut previous = Previous::Nothing;
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let Some((name, value)) = split_flag(word) else {
            match Verb::of(word).filter(|_| command.is_none()) {
                Some(verb) => command = Some(verb),
                None if object.is_none() && matches!(command, Some(Verb::Instruct(_))) => object = Some(word.clone()),
                None if word == "help" => return help_on(rest.next().map(String::as_str), command),
                None => return Err(stray(word, previous)),
            }
            previous = Previous::Command(word);
            continue;
        };
        match name {
            "help" | "h" => return help_on(value.or_else(|| rest.next().map(String::as_str)), command),
            "version" | "json" if value.is_some() => return Err(UsageError::NeedsNoValue(name.to_owned())),
            "version" => asks_version = true,
            "json" => as_json = true,
            "hours" => {
                let value = value.or_else(|| rest.next().map(String::as_str));
                hours = Some(value.and_then(|value| value.parse().ok()).ok_or(UsageError::WrongHours)?);
            }
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
    if hours.is_some() && command != Some(Verb::Instruct(InstructionKind::Ban)) {
        return Err(UsageError::WrongHours);
    }
    Ok(match command {
        _ if asks_version => Command::Print(format!("p2pool {VERSION}\n")),
        Some(Verb::Ask(question)) => Command::Ask { question, given, as_json },
        Some(Verb::Instruct(kind)) => {
            let word = object.ok_or(UsageError::NeedsWord(kind))?;
            Command::Instruct { instruction: Instruction { kind, word }, hours, given, as_json }
        }
        _ if as_json => return Err(UsageError::NeedsQuestion),
        Some(Verb::Export) => Command::Export(given),
        None => Command::Run(given),
    })
}

/// Returns the help on a group of flags or a command; if no word follows, or a flag, that on the command before, or all help.
fn help_on(topic: Option<&str>, before: Option<Verb>) -> Result<Command, UsageError> {
    let topic = topic.filter(|topic| !topic.starts_with('-'));
    if let Some(group) = GROUPS.iter().find(|group| Some(group.name) == topic) {
        return Ok(Command::Print(help::group(group)));
    }
    let verb = topic.map_or(before, Verb::of);
    Ok(Command::Print(match (verb, topic) {
        (Some(Verb::Ask(question)), _) => help::question(question),
        (Some(Verb::Instruct(kind)), _) => help::instruction(kind),
        (Some(Verb::Export), _) | (None, None) => help::all_flags(),
        (None, Some(topic)) => return Err(UsageError::UnknownGroup { given: topic.to_owned() }),
    }))
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
