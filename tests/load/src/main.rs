//! Loads a stratum port with many miners and prints what it measured.
//!
//! Each session asks for work and then submits answers of that work with nonces that were not searched for, so
//! nearly all are refused for low difficulty: the node has parsed, rebuilt and hashed each before it knows.
//! How fast it does so is what is measured, together with how far apart in time the sessions get a new job.

mod alone;
mod figures;
#[allow(clippy::unwrap_used)]
#[path = "../../../src/stratum/fixtures.rs"]
mod fixtures;
mod load;
mod session;

use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;

use load::{Load, Plan};

/// Loads a stratum port with many miners and prints what it measured.
#[derive(FromArgs)]
struct Arguments {
    /// the port to load, host:port; without it one is started inside this program, with made-up jobs
    #[argh(option)]
    address: Option<String>,
    /// sessions in all (default 200)
    #[argh(option, default = "200")]
    sessions: usize,
    /// sessions that submit, the others are idle (default all)
    #[argh(option)]
    working: Option<usize>,
    /// submits a second, over all sessions; without it each session submits as soon as it was answered
    #[argh(option)]
    rate: Option<f64>,
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
    let own = match arguments.address {
        Some(_) => None,
        None => Some(alone::start(arguments.sessions)?),
    };
    let address = match (&arguments.address, &own) {
        (Some(address), _) => address.clone(),
        (None, own) => own.as_ref().map(|own| own.address.to_string()).unwrap_or_default(),
    };
    let plan = Plan {
        sessions: arguments.sessions,
        working: arguments.working.unwrap_or(arguments.sessions).min(arguments.sessions),
        submits_per_s: arguments.rate,
        duration: Duration::from_secs(arguments.seconds),
    };
    println!("{}", Load::connect(&address, plan)?.run()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_load_is_measured() {
        let own = alone::start(20).unwrap();
        let plan =
            Plan { sessions: 20, working: 10, submits_per_s: Some(200.0), duration: Duration::from_millis(2_500) };
        let report = Load::connect(&own.address.to_string(), plan).unwrap().run().unwrap();
        assert!(report.answered > 100, "{report}");
        assert_eq!(report.unanswered, 0, "{report}");
        assert!(report.fanouts.count() >= 1, "jobs come every second: {report}");
    }
}
