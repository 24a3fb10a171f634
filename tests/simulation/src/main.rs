//! Runs simulated pools: one seed, or many.

use std::process::ExitCode;
use std::time::Instant;

use p2pool_test_simulation::engine::Simulation;
use p2pool_test_simulation::scenario::Scenario;
use p2pool_test_simulation::worlds::{self, Length, World};
use p2pool_test_simulation::{figures, rules};

const USAGE: &str = "\
usage: p2pool-simulation COMMAND
  small SEED [trace]      one small pool; exit status 1 if an invariant does not hold
  large SEED [trace]      one pool of more than a hundred nodes
  seeds FROM TO           all small pools of these seeds, and a large one after each hundred
  world NAME SEED [long] [trace]
                          one world, in its short or its long version
  worlds FROM TO [long]   all worlds of these seeds
  figures [NAME]          all figures, written into README.md; or one of them, only printed
  attack RULE PERCENT MEANS
                          what the best attack found gains; RULE: bounded, asert; MEANS: times, withholding, all, ramp
  rules                   the figures of consensus.md, section 6";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let is_good = match &args[..] {
        ["attack", rule, percent, means] => {
            figures::difficulty::print_attack(rule, number(percent) as f64 / 100.0, means)
        }
        ["rules"] => {
            rules::report::print();
            true
        }
        ["figures"] => {
            figures::print(None);
            true
        }
        ["figures", name] => {
            figures::print(Some(name));
            true
        }
        [kind @ ("small" | "large"), seed] => run(kind, number(seed), false),
        [kind @ ("small" | "large"), seed, "trace"] => run(kind, number(seed), true),
        ["seeds", from, to] => seeds(number(from), number(to)),
        ["world", name, seed, rest @ ..] => match worlds::by_name(name) {
            Some(world) => run_world(world, number(seed), length(rest), rest.contains(&"trace")),
            None => {
                eprintln!("no world {name}; there are: {}", worlds::ALL.map(|world| world.name).join(", "));
                false
            }
        },
        ["worlds", from, to, rest @ ..] => {
            let runs = (number(from)..number(to)).flat_map(|seed| worlds::ALL.iter().map(move |world| (world, seed)));
            let failed = runs.filter(|(world, seed)| !run_world(world, *seed, length(rest), false)).count();
            println!("{failed} runs failed");
            failed == 0
        }
        _ => {
            eprintln!("{USAGE}");
            false
        }
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("{text} is not a number\n{USAGE}");
        std::process::exit(2)
    })
}

fn length(args: &[&str]) -> Length {
    if args.contains(&"long") {
        Length::Long
    } else {
        Length::Short
    }
}

fn run_world(world: &World, seed: u64, length: Length, is_traced: bool) -> bool {
    let started = Instant::now();
    let (simulation, wrong) = world.run(seed, length, is_traced);
    println!(
        "{} {seed}: {} nodes, {:.0} s, {} shares, {} steps, {:.2} s, {:016x}, {} violations",
        world.name,
        simulation.hosts.len(),
        simulation.now_ms as f64 / 1_000.0,
        simulation.checks.shares.len(),
        simulation.steps,
        started.elapsed().as_secs_f64(),
        simulation.fingerprint_so_far(),
        wrong.len(),
    );
    wrong.iter().take(10).for_each(|wrong| println!("  {wrong}"));
    if !wrong.is_empty() {
        println!("  replay: {}", world.replay(seed, length));
    }
    wrong.is_empty()
}

fn seeds(from: u64, to: u64) -> bool {
    let mut failed = Vec::new();
    for seed in from..to {
        let is_good = run("small", seed, false) && (seed % 100 != 99 || run("large", seed, false));
        if !is_good {
            failed.push(seed);
        }
    }
    println!("{} seeds run, {} failed: {failed:?}", to - from, failed.len());
    failed.is_empty()
}

fn run(kind: &str, seed: u64, is_traced: bool) -> bool {
    let started = Instant::now();
    let scenario = if kind == "small" { Scenario::small(seed) } else { Scenario::large(seed) };
    let mut simulation = Simulation::new(seed, scenario);
    simulation.is_traced = is_traced;
    simulation.run();
    let checks = &simulation.checks;
    println!(
        "{kind} {seed}: {} nodes, {:.0} s, {} shares, {} blocks, {} transactions fetched, {} steps, {:.2} s, {:016x}, {} violations",
        simulation.hosts.len(),
        simulation.now_ms as f64 / 1_000.0,
        checks.shares.len(),
        checks.blocks.len(),
        checks.transactions_given,
        simulation.steps,
        started.elapsed().as_secs_f64(),
        simulation.fingerprint_so_far(),
        checks.violations.len(),
    );
    for violation in checks.violations.iter().take(10) {
        println!("  {violation}");
    }
    if is_traced {
        for (name, (len, max)) in &checks.tables {
            println!("  table of {name}: at most {len} of {max}");
        }
    }
    if !checks.violations.is_empty() {
        println!("  replay: cargo run --release -p p2pool-test-simulation -- {kind} {seed} trace");
    }
    checks.violations.is_empty()
}
