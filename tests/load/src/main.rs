//! Loads a stratum port with many sessions and prints measurements.
//!
//! Each session gets work and submits arbitrary nonces, so nearly all submits are rejected for low difficulty, after the
//! node has parsed each, rebuilt its header and hashed it. Measured are the latency and rate of responses, and the time
//! between the first and the last session's notification of a new job.

mod figures;
#[allow(clippy::unwrap_used)]
#[path = "../../../src/stratum/fixtures.rs"]
mod fixtures;
mod load;
mod own_server;
mod session;

use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;

use load::{Load, Plan};
use own_server::ServerProcess;

/// Load a stratum port with many sessions and print measurements.
#[derive(FromArgs)]
struct Arguments {
    /// the port to load, host:port (default: a stratum thread in another process, with synthetic jobs)
    #[argh(option)]
    address: Option<String>,
    /// number of sessions (default 200)
    #[argh(option, default = "200")]
    sessions: usize,
    /// number of sessions that submit; the others are idle (default all)
    #[argh(option)]
    working: Option<usize>,
    /// submits per second, all sessions together (default: each session submits as soon as it got a response)
    #[argh(option)]
    rate: Option<f64>,
    /// number of payouts in the synthetic jobs (default 48)
    #[argh(option, default = "48")]
    payees: u32,
    /// only run the stratum thread with synthetic jobs, until the input ends
    #[argh(switch)]
    serve: bool,
    /// seconds to measure (default 10)
    #[argh(option, default = "10")]
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if arguments.serve {
        return Ok(own_server::serve(arguments.sessions, arguments.payees)?);
    }
    let plan = Plan {
        sessions: arguments.sessions,
        working: arguments.working.unwrap_or(arguments.sessions).min(arguments.sessions),
        submits_per_s: arguments.rate,
        duration: Duration::from_secs(arguments.seconds),
    };
    if let Some(address) = &arguments.address {
        println!("{}", Load::connect(address, plan)?.run()?);
        return Ok(());
    }
    let server = ServerProcess::start(arguments.sessions, arguments.payees)?;
    let (before, _) = server.resident_bytes()?;
    println!("{}", Load::connect(&server.address, plan)?.run()?);
    let (_, most) = server.resident_bytes()?;
    println!("memory of the server: {} KiB before the sessions, at most {} KiB", before >> 10, most >> 10);
    println!("{}", server.finish()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_load_is_measured() {
        let own = own_server::start(20, 1_000).unwrap();
        let plan =
            Plan { sessions: 20, working: 10, submits_per_s: Some(200.0), duration: Duration::from_millis(2_500) };
        let report = Load::connect(&own.address.to_string(), plan).unwrap().run().unwrap();
        assert!(report.responses > 100, "{report}");
        assert_eq!(report.pending, 0, "{report}");
        assert!(report.fanouts.count() >= 1, "jobs come every second: {report}");
    }
}
