//! The command line: what may stand on it, and Go's way of writing it.

use std::collections::HashSet;

use argh::{ArgsInfo, FromArgs};

/// Stands above the help, in place of a line that names all flags.
const USAGE: &str = "Usage: p2pool -address <address> [flags]\n       p2pool export [flags]";

/// Environment variables and the flags they override.
pub const ENVIRONMENT: [(&str, &str); 7] = [
    ("PAYOUT_ADDRESS", "address"),
    ("BITCOIN_RPC_HOST", "rpc-host"),
    ("BITCOIN_RPC_USER", "rpc-user"),
    ("BITCOIN_RPC_PASSWORD", "rpc-password"),
    ("P2POOL_DATA_DIR", "data-dir"),
    ("P2POOL_BOOTNODES", "bootnodes"),
    ("LOG_LEVEL", "log-level"),
];
/// Flags whose value may be left out, which means true.
const BOOLEAN_FLAGS: [&str; 2] = ["mdns", "dht-server"];
/// Flags without a value.
const SWITCHES: [&str; 1] = ["version"];
/// The word that makes the program print the sharechain instead of mining.
const EXPORT: &str = "export";

/// A node of a decentralised Bitcoin mining pool. `p2pool export` takes the same flags, prints the stored
/// sharechain as JSON lines, oldest share first, and ends; it may run beside the node.
#[derive(FromArgs, ArgsInfo, Debug, Default, PartialEq, Eq)]
#[argh(
    note = "-flag value, -flag=value, --flag value and --flag=value are the same.",
    example = "{command_name} -address bc1... -rpc-cookie-file /var/lib/bitcoind/.cookie",
    example = "{command_name} export -data-dir /var/lib/p2pool > shares.jsonl"
)]
pub struct Flags {
    /// where blocks pay this node's miners: any standard address of the network (required)
    #[argh(option, arg_name = "address")]
    pub address: Option<String>,
    /// bitcoin network: mainnet, testnet3, testnet4, signet or regtest (default mainnet)
    #[argh(option, arg_name = "name")]
    pub network: Option<String>,
    /// host of bitcoind (default 127.0.0.1)
    #[argh(option, arg_name = "host")]
    pub rpc_host: Option<String>,
    /// RPC port of bitcoind (default per network: 8332, 18332, 48332, 38332, 18443)
    #[argh(option, arg_name = "port")]
    pub rpc_port: Option<String>,
    /// RPC user of bitcoind, with a password; without both the cookie is used
    #[argh(option, arg_name = "name")]
    pub rpc_user: Option<String>,
    /// RPC password of bitcoind; better given as BITCOIN_RPC_PASSWORD, for others can see command lines
    #[argh(option, arg_name = "password")]
    pub rpc_password: Option<String>,
    /// cookie file of bitcoind (default: looked for in the usual places)
    #[argh(option, arg_name = "file")]
    pub rpc_cookie_file: Option<String>,
    /// TCP port for miners (default 3333; 0 takes a free one)
    #[argh(option, arg_name = "port")]
    pub stratum_port: Option<String>,
    /// difficulty a new miner starts with (default 100000)
    #[argh(option, arg_name = "number")]
    pub start_difficulty: Option<String>,
    /// miners connected at once (default 1000)
    #[argh(option, arg_name = "count")]
    pub max_sessions: Option<String>,
    /// names of this machine, separated by commas, that browsers may use besides its IP addresses and own name
    /// (default none)
    #[argh(option, arg_name = "list")]
    pub web_hosts: Option<String>,
    /// TCP port for other nodes (default 9171)
    #[argh(option, arg_name = "port")]
    pub p2p_port: Option<String>,
    /// nodes to start from, separated by commas, each /ip4/.../tcp/.../p2p/... (default none)
    #[argh(option, arg_name = "list")]
    pub bootnodes: Option<String>,
    /// look for nodes on the local network (default true)
    #[argh(option, arg_name = "true|false")]
    pub mdns: Option<String>,
    /// answer others' questions in the DHT even if not known to be reachable (default false)
    #[argh(option, arg_name = "true|false")]
    pub dht_server: Option<String>,
    /// folder for all data, with one subfolder per chain (default .p2pool)
    #[argh(option, arg_name = "folder")]
    pub data_dir: Option<String>,
    /// what to log: error, warn, info, debug or trace (default info)
    #[argh(option, arg_name = "level")]
    pub log_level: Option<String>,
    /// text in the coinbase of blocks found here, at most 20 ASCII characters (default none)
    #[argh(option, arg_name = "text")]
    pub coinbase_tag: Option<String>,
    /// name of a private pool; only nodes with the same name meet (default main)
    #[argh(option, arg_name = "name")]
    pub chain_name: Option<String>,
    /// block challenge of a custom signet in hex, 51 for one that needs no signature (default: the public signet's)
    #[argh(option, arg_name = "hex")]
    pub signet_challenge: Option<String>,
    /// seconds between shares, 1 to 30, for tests on regtest and custom signets (default 30)
    #[argh(option, arg_name = "seconds")]
    pub share_period: Option<String>,
    /// shares that payouts look back, 1 to 8640, for tests on regtest and custom signets (default 8640)
    #[argh(option, arg_name = "shares")]
    pub payout_window: Option<String>,
    /// shares that set the difficulty, 6 to 72, for tests on regtest and custom signets (default 72)
    #[argh(option, arg_name = "shares")]
    pub retarget_window: Option<String>,
    /// print name and version, and end
    #[argh(switch)]
    pub version: bool,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Mine.
    Run(Flags),
    /// Print the stored sharechain.
    Export(Flags),
    /// Print this text and end.
    Print(String),
}

/// A command line that cannot be understood: one line, without the values that stood on it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No such flag.
    #[error("there is no flag -{given}; did you mean -{nearest}? (p2pool -help lists all)")]
    UnknownFlag {
        /// As written.
        given: String,
        /// The known flag most like it.
        nearest: &'static str,
    },
    /// Words that belong to no flag. The word is not repeated: it may be the second half of a password.
    #[error("unexpected word {place}; a value with spaces needs quotes, and the only command is `export`")]
    StrayWord {
        /// Where it stands.
        place: String,
    },
    /// A value where none is due.
    #[error("-{0} takes no value")]
    NeedsNoValue(String),
    /// Twice the same flag; the values are not repeated.
    #[error("-{0} is given twice: keep one of them")]
    Repeated(String),
    /// A flag at the end, without its value.
    #[error("-{0} needs a value (p2pool -help lists all flags)")]
    NeedsValue(String),
    /// Whatever else argh refuses.
    #[error("{0} (p2pool -help lists all flags)")]
    Refused(String),
}

/// Parses the words after the program's name.
///
/// # Errors
/// Unknown or repeated flags, missing values, stray words.
pub fn parse(words: &[String]) -> Result<Command, UsageError> {
    let Normal { words, export, help } = normalise(words)?;
    let words: Vec<&str> = if help { vec!["--help"] } else { words.iter().map(String::as_str).collect() };
    match Flags::from_args(&["p2pool"], &words) {
        Ok(flags) if flags.version => Ok(Command::Print(format!("p2pool {}\n", env!("CARGO_PKG_VERSION")))),
        Ok(flags) if export => Ok(Command::Export(flags)),
        Ok(flags) => Ok(Command::Run(flags)),
        Err(exit) if exit.status.is_ok() => Ok(Command::Print(help_text(&exit.output))),
        Err(exit) => Err(UsageError::Refused(exit.output.trim().replace('\n', "; ").replace("--", "-"))),
    }
}

/// argh's help with a usage line short enough to read, flags as the README writes them, and the environment.
fn help_text(of_argh: &str) -> String {
    let body = of_argh.split_once("\n\n").map_or(of_argh, |(_usage, body)| body).replace("  --", "   -");
    let mut text = format!("{USAGE}\n\n{body}\nEnvironment, stronger than flags:\n");
    for (variable, flag) in ENVIRONMENT {
        text += &format!("  {variable:<22}as -{flag}\n");
    }
    text
}

/// Names and descriptions of all flags, in the order of the help.
pub fn flag_descriptions() -> impl Iterator<Item = (&'static str, &'static str)> {
    Flags::get_args_info().flags.iter().filter(|flag| !flag.hidden).map(|flag| {
        let name = flag.long.trim_start_matches('-');
        (name, flag.description)
    })
}

/// A command line in argh's own way of writing.
struct Normal {
    words: Vec<String>,
    export: bool,
    help: bool,
}

/// Turns Go's way of writing flags into argh's: two dashes, the value a word of its own.
fn normalise(words: &[String]) -> Result<Normal, UsageError> {
    let mut normal = Normal { words: Vec::new(), export: false, help: false };
    let mut seen = HashSet::new();
    let mut rest = words.iter().peekable();
    let mut place = "at the start".to_owned();
    while let Some(word) = rest.next() {
        let Some((name, value)) = split_flag(word) else {
            match word.as_str() {
                "help" => normal.help = true,
                EXPORT if !normal.export => normal.export = true,
                _ => return Err(UsageError::StrayWord { place }),
            }
            place = format!("after {word}");
            continue;
        };
        place = format!("after the value of -{name}");
        if name == "help" || name == "h" {
            normal.help = true;
        } else if SWITCHES.contains(&name) {
            match value {
                None => normal.words.push(format!("--{name}")),
                Some(_) => return Err(UsageError::NeedsNoValue(name.to_owned())),
            }
        } else {
            known(name)?;
            let value = match value {
                Some(value) => Some(value.to_owned()),
                None if BOOLEAN_FLAGS.contains(&name) => Some(
                    rest.next_if(|next| matches!(next.as_str(), "true" | "false" | "1" | "0"))
                        .map_or_else(|| "true".to_owned(), Clone::clone),
                ),
                None => rest.next().cloned(),
            };
            if !seen.insert(name) {
                return Err(UsageError::Repeated(name.to_owned()));
            }
            let Some(value) = value else { return Err(UsageError::NeedsValue(name.to_owned())) };
            normal.words.extend([format!("--{name}"), value]);
        }
    }
    Ok(normal)
}

/// Splits `-name`, `--name`, `-name=value` and `--name=value`.
fn split_flag(word: &str) -> Option<(&str, Option<&str>)> {
    let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty())?;
    Some(match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    })
}

/// Refuses a flag that does not exist, naming the one it resembles most.
fn known(name: &str) -> Result<(), UsageError> {
    let mut nearest = ("help", usize::MAX);
    for (flag, _) in flag_descriptions() {
        let distance = strsim::damerau_levenshtein(name, flag);
        if distance == 0 {
            return Ok(());
        }
        if distance < nearest.1 {
            nearest = (flag, distance);
        }
    }
    Err(UsageError::UnknownFlag { given: name.escape_default().to_string(), nearest: nearest.0 })
}

#[cfg(test)]
mod tests;
