//! A small CPU miner for tests and the demo.

use std::io::{self, Write as _};
use std::process::ExitCode;

use argh::FromArgs;
use crossbeam_channel::never;
use p2pool_miner::mining::{run, Settings};

/// Mine with the CPU at a Stratum v1 pool. Print a line for each share, block and connection.
#[derive(FromArgs)]
struct Arguments {
    /// the pool, as host:port
    #[argh(option, short = 'o', long = "pool", default = "String::from(\"127.0.0.1:3333\")")]
    pool: String,
    /// the worker's name
    #[argh(option, short = 'u', long = "user", default = "String::from(\"miner\")")]
    user: String,
    /// the worker's password; some pools take options such as d=0.01 here
    #[argh(option, short = 'p', long = "pass", default = "String::from(\"x\")")]
    pass: String,
    /// number of search threads (default 1)
    #[argh(option, default = "1")]
    threads: usize,
    /// exit after this many accepted blocks
    #[argh(option)]
    blocks: Option<u64>,
    /// user agent (default p2pool-miner/<version>)
    #[argh(option, default = "String::from(concat!(\"p2pool-miner/\", env!(\"CARGO_PKG_VERSION\")))")]
    user_agent: String,
    /// maximum hashes per second, all threads together
    #[argh(option)]
    hashrate_limit: Option<u64>,
    /// difficulty to suggest to the pool
    #[argh(option)]
    suggest_difficulty: Option<f64>,
    /// do not roll version bits
    #[argh(switch)]
    no_version_rolling: bool,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let settings = Settings {
        pool: arguments.pool,
        worker: arguments.user,
        password: arguments.pass,
        user_agent: arguments.user_agent,
        threads: arguments.threads,
        hash_rate_max: arguments.hashrate_limit,
        roll_version: !arguments.no_version_rolling,
        suggest_difficulty: arguments.suggest_difficulty,
        blocks: arguments.blocks,
    };
    let mut out = io::stdout();
    let totals = run(&settings, &never(), |event| {
        // A closed pipe is not an error: the output is no longer read.
        drop(writeln!(out, "{event}").and_then(|()| out.flush()));
    });
    drop(writeln!(out, "{} accepted, {} rejected, {} blocks", totals.accepted, totals.rejected, totals.blocks));
    ExitCode::SUCCESS
}
