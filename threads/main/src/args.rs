//! The command line: its flags, and Go's notation for them.

use std::collections::HashSet;

use argh::{ArgsInfo, FromArgs};

/// Version and commit of the program.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("P2POOL_COMMIT"), ")");
/// Replaces argh's usage line, which names all flags.
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
/// Flags whose value defaults to true if omitted.
const BOOLEAN_FLAGS: [&str; 2] = ["mdns", "dht-server"];
/// Flags without a value.
const SWITCHES: [&str; 1] = ["version"];
/// The command that prints the sharechain instead of running a node.
const EXPORT: &str = "export";

/// A node of a decentralised Bitcoin mining pool. `p2pool export` takes the same flags, prints the stored
/// sharechain as JSON lines, oldest share first, and exits; it may run beside the node.
#[derive(FromArgs, ArgsInfo, Debug, Default, PartialEq, Eq)]
#[argh(
    note = "-flag value, -flag=value, --flag value and --flag=value are equivalent.",
    example = "{command_name} -address bc1... -rpc-cookie-file /var/lib/bitcoind/.cookie",
    example = "{command_name} export -data-dir /var/lib/p2pool > shares.jsonl"
)]
pub struct Flags {
    /// payout address of this node's miners: any standard address of the network (required)
    #[argh(option, arg_name = "address")]
    pub address: Option<String>,
    /// bitcoin network: mainnet, testnet3, testnet4, signet or regtest (default mainnet)
    #[argh(option, arg_name = "name")]
    pub network: Option<String>,
    /// host name or address of bitcoind (default 127.0.0.1)
    #[argh(option, arg_name = "host")]
    pub rpc_host: Option<String>,
    /// RPC port of bitcoind (default per network: 8332, 18332, 48332, 38332, 18443)
    #[argh(option, arg_name = "port")]
    pub rpc_port: Option<String>,
    /// RPC user of bitcoind, with a password; without both the cookie is used
    #[argh(option, arg_name = "name")]
    pub rpc_user: Option<String>,
    /// RPC password of bitcoind; prefer BITCOIN_RPC_PASSWORD, because other users can see command lines
    #[argh(option, arg_name = "password")]
    pub rpc_password: Option<String>,
    /// cookie file of bitcoind (default: search the usual places)
    #[argh(option, arg_name = "file")]
    pub rpc_cookie_file: Option<String>,
    /// TCP port for miners and browsers (default 3333; 0 takes a free one)
    #[argh(option, arg_name = "port")]
    pub stratum_port: Option<String>,
    /// difficulty a new miner starts with (default 100000)
    #[argh(option, arg_name = "number")]
    pub start_difficulty: Option<String>,
    /// most miners connected at once (default 1000)
    #[argh(option, arg_name = "count")]
    pub max_sessions: Option<String>,
    /// seconds without valid work after which miners are disconnected and refused, so that they use their backup pools, 0 or 45
    /// to 86400; 0 means never (default 90)
    #[argh(option, arg_name = "seconds")]
    pub no_work_timeout: Option<String>,
    /// host names, separated by commas, that browsers may use besides this machine's IP addresses and own name
    /// (default none)
    #[argh(option, arg_name = "list")]
    pub web_hosts: Option<String>,
    /// TCP port for peers (default 9171)
    #[argh(option, arg_name = "port")]
    pub p2p_port: Option<String>,
    /// peers to start from, separated by commas, each /ip4/.../tcp/.../p2p/... (default none)
    #[argh(option, arg_name = "list")]
    pub bootnodes: Option<String>,
    /// look for peers on the local network (default true)
    #[argh(option, arg_name = "true|false")]
    pub mdns: Option<String>,
    /// serve DHT queries even if this node is not known to be reachable (default false)
    #[argh(option, arg_name = "true|false")]
    pub dht_server: Option<String>,
    /// data directory, with one subdirectory per sharechain (default .p2pool)
    #[argh(option, arg_name = "directory")]
    pub data_dir: Option<String>,
    /// log level: error, warn, info, debug or trace (default info)
    #[argh(option, arg_name = "level")]
    pub log_level: Option<String>,
    /// text in the coinbase of blocks found by this node, at most 20 ASCII characters (default none)
    #[argh(option, arg_name = "text")]
    pub coinbase_tag: Option<String>,
    /// payouts per block that this node votes for: 48, 146, 366 or 1000 (default: what its miners' firmware supports)
    #[argh(option, arg_name = "count")]
    pub coinbase_outputs: Option<String>,
    /// name of a private pool; only nodes with the same name connect to each other (default main)
    #[argh(option, arg_name = "name")]
    pub chain_name: Option<String>,
    /// block challenge of a custom signet in hex, 51 for one that needs no signature (default: the public signet's)
    #[argh(option, arg_name = "hex")]
    pub signet_challenge: Option<String>,
    /// seconds between shares, 1 to 30, for tests on regtest and custom signets (default 30)
    #[argh(option, arg_name = "seconds")]
    pub share_period: Option<String>,
    /// shares in the payout window, 1 to 8640, for tests on regtest and custom signets (default 8640)
    #[argh(option, arg_name = "shares")]
    pub payout_window: Option<String>,
    /// shares in the difficulty window, 6 to 72, for tests on regtest and custom signets (default 72)
    #[argh(option, arg_name = "shares")]
    pub retarget_window: Option<String>,
    /// block height from which version 255 of the rules may begin, for tests on regtest and custom signets (default none)
    #[argh(option, arg_name = "height")]
    pub activation_height: Option<String>,
    /// newest version of the rules that this node knows, 2 or 255, for tests on regtest and custom signets (default 255 with
    /// -activation-height, 2 without)
    #[argh(option, arg_name = "version")]
    pub rules_version: Option<String>,
    /// print name, version and commit, and exit
    #[argh(switch)]
    pub version: bool,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the node.
    Run(Flags),
    /// Print the stored sharechain.
    Export(Flags),
    /// Print this text and exit.
    Print(String),
}

/// A command line that cannot be parsed. The message is one line, without any value: a value may be a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    #[error("there is no flag -{given}; did you mean -{nearest}? (p2pool -help lists all)")]
    UnknownFlag { given: String, nearest: &'static str },
    /// The word itself is not repeated: it may be the second half of a password.
    #[error("unexpected word {place}; a value with spaces needs quotes, and the only command is `export`")]
    StrayWord { place: String },
    #[error("-{0} takes no value")]
    NeedsNoValue(String),
    #[error("-{0} is given twice: keep one of them")]
    Repeated(String),
    #[error("-{0} needs a value (p2pool -help lists all flags)")]
    NeedsValue(String),
    #[error("{0} (p2pool -help lists all flags)")]
    Argh(String),
}

/// Parses the words after the program's name.
///
/// # Errors
/// Unknown or repeated flags, missing values, stray words.
pub fn parse(words: &[String]) -> Result<Command, UsageError> {
    let Normalised { words, export, help } = normalise(words)?;
    let words: Vec<&str> = if help { vec!["--help"] } else { words.iter().map(String::as_str).collect() };
    match Flags::from_args(&["p2pool"], &words) {
        Ok(flags) if flags.version => Ok(Command::Print(format!("p2pool {VERSION}\n"))),
        Ok(flags) if export => Ok(Command::Export(flags)),
        Ok(flags) => Ok(Command::Run(flags)),
        Err(exit) if exit.status.is_ok() => Ok(Command::Print(help_text(&exit.output))),
        Err(exit) => Err(UsageError::Argh(exit.output.trim().replace('\n', "; ").replace("--", "-"))),
    }
}

/// Returns argh's help with a short usage line, flags with one dash, and the environment variables.
fn help_text(argh_help: &str) -> String {
    let body = argh_help.split_once("\n\n").map_or(argh_help, |(_usage, body)| body).replace("  --", "   -");
    let mut text = format!("{USAGE}\n\n{body}\nEnvironment variables:\n");
    for (variable, flag) in ENVIRONMENT {
        text += &format!("  {variable:<22}overrides -{flag}\n");
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

/// A command line in argh's notation.
struct Normalised {
    words: Vec<String>,
    export: bool,
    help: bool,
}

/// Converts Go's notation of flags to argh's: two dashes, and the value as a word of its own.
fn normalise(words: &[String]) -> Result<Normalised, UsageError> {
    let mut normalised = Normalised { words: Vec::new(), export: false, help: false };
    let mut seen = HashSet::new();
    let mut rest = words.iter().peekable();
    let mut place = "at the start".to_owned();
    while let Some(word) = rest.next() {
        let Some((name, value)) = split_flag(word) else {
            match word.as_str() {
                "help" => normalised.help = true,
                EXPORT if !normalised.export => normalised.export = true,
                _ => return Err(UsageError::StrayWord { place }),
            }
            place = format!("after {word}");
            continue;
        };
        place = format!("after the value of -{name}");
        if name == "help" || name == "h" {
            normalised.help = true;
        } else if SWITCHES.contains(&name) {
            match value {
                None => normalised.words.push(format!("--{name}")),
                Some(_) => return Err(UsageError::NeedsNoValue(name.to_owned())),
            }
        } else {
            check_name(name)?;
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
            normalised.words.extend([format!("--{name}"), value]);
        }
    }
    Ok(normalised)
}

/// Splits `-name`, `--name`, `-name=value` and `--name=value`.
fn split_flag(word: &str) -> Option<(&str, Option<&str>)> {
    let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty())?;
    Some(match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    })
}

/// Checks that a flag exists; the error names the most similar one.
fn check_name(name: &str) -> Result<(), UsageError> {
    let distance = |flag: &str| strsim::damerau_levenshtein(name, flag);
    let flags = flag_descriptions().map(|(flag, _)| flag);
    match flags.min_by_key(|flag| distance(flag)) {
        Some(nearest) if nearest == name => Ok(()),
        nearest => Err(UsageError::UnknownFlag {
            given: name.escape_default().to_string(),
            nearest: nearest.unwrap_or("help"),
        }),
    }
}

#[cfg(test)]
mod tests;
