//! The table of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2pool_test_bitcoind::delay::Lateness;
use p2pool_test_functional::journal::{journeys, Journey};
use serde_json::Value;

use super::member::Member;
use super::Plan;
use crate::load_averages;
use crate::propagation::Outcomes;
use crate::quantiles::Quantiles;

/// What a run gave.
pub struct Measured<'a> {
    pub plan: &'a Plan,
    pub members: &'a [Member],
    /// Time of mining.
    pub mined: Duration,
    pub kills: u64,
    /// Time from the end of mining until all had one tip.
    pub one_tip: Duration,
    pub lateness: Lateness,
    /// Load of the machine at the start.
    pub load: String,
}

/// Prints everything as a table.
pub fn print(measured: &Measured<'_>) {
    let Measured { plan, members, mined, .. } = measured;
    let public = members.iter().filter(|member| member.is_public).count();
    println!(
        "\n{} nodes ({public} public, {} behind routers), {} hostile peers, T = {} s, {} min, {} bitcoinds, seed {}\n",
        members.len(),
        members.len() - public,
        plan.hostile,
        plan.period,
        plan.minutes,
        plan.bitcoinds,
        plan.seed
    );
    println!("| what | figure |\n|---|---|");
    row("one tip on all nodes after mining ended", &format!("{:.0} s", measured.one_tip.as_secs_f64()));
    let logs: Vec<String> = members.iter().map(Member::log).collect();
    print_shares(&journeys(&logs), &members[0].shares(), *mined);
    print_connections(measured);
    let per_minute = |bytes: f64| bytes / 1e3 / (mined.as_secs_f64() / 60.0);
    for (place, is_public) in [("public", true), ("home", false)] {
        let of_place = || members.iter().filter(|member| member.is_public == is_public);
        let spread = |value: fn(&Member) -> f64| Spread::of(of_place().map(|member| per_minute(value(member))));
        row(&format!("KB received per minute, {place}"), &spread(|member| member.used().bytes_in).to_string());
        row(&format!("KB sent per minute, {place}"), &spread(|member| member.used().bytes_out).to_string());
    }
    let cpu = members.iter().map(|member| 100.0 * member.used().cpu_s / mined.as_secs_f64());
    row("processor time per node, % of one core", &Spread::of(cpu).to_string());
    let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
    let most = members.iter().filter_map(|member| member.resident.iter().max()).map(mib);
    row("most resident memory per node, MiB", &Spread::of(most).to_string());
    print_blame(members, &logs);
    let late = measured.lateness;
    let mean = late.sum.checked_div(u32::try_from(late.packets).unwrap_or(u32::MAX)).unwrap_or_default();
    row(
        "packets, and how late the line sent them",
        &format!("{}, mean {mean:.1?}, max {:.1?}", late.packets, late.max),
    );
    row("load averages at the start; at the end", &format!("{}; {}", measured.load, load_averages()));
}

fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

fn print_shares(journeys: &[Journey], stored: &[Value], mined: Duration) {
    row("shares", &format!("{}", Outcomes::of(journeys, stored)));
    row("seconds per share found", &format!("{:.2}", mined.as_secs_f64() / journeys.len().max(1) as f64));
    let others = || {
        journeys.iter().flat_map(|journey| {
            let arrivals = journey.arrivals.iter().enumerate().filter(|(node, _)| *node != journey.finder);
            arrivals.map(move |(_, arrival)| (journey.found_us, arrival))
        })
    };
    let gossiped = others().filter(|(_, arrival)| arrival.by_gossip);
    let times = gossiped.filter_map(|(found_us, arrival)| arrival.accepted_us.map(|at_us| at_us - found_us)).collect();
    row("time of a share to another node by gossip", &format!("{}", Quantiles::of(times)));
    let all = others().count();
    let missing = others().filter(|(_, arrival)| arrival.accepted_us.is_none()).count();
    let fetched = others().filter(|(_, arrival)| arrival.accepted_us.is_some() && !arrival.by_gossip).count();
    row("pairs of share and node; fetched, not by gossip; missing", &format!("{all}; {fetched}; {missing}"));
}

fn print_connections(measured: &Measured<'_>) {
    let Measured { members, .. } = measured;
    let statuses: Vec<Value> = members.iter().filter_map(Member::status).collect();
    let peers = |status: &Value| status["peers"].as_array().cloned().unwrap_or_default();
    for (is_public, place) in [(true, "public"), (false, "home")] {
        let of_place = || members.iter().zip(&statuses).filter(|(member, _)| member.is_public == is_public);
        for direction in ["inbound", "outbound"] {
            let count = |status: &Value| peers(status).iter().filter(|peer| peer["direction"] == direction).count();
            let counts = of_place().map(|(_, status)| count(status) as f64);
            row(&format!("{direction} connections at the end, {place}"), &Spread::of(counts).to_string());
        }
        let least = of_place().filter_map(|(member, _)| member.connections.iter().copied().reduce(f64::min));
        row(&format!("least connections of a node that runs for two minutes, {place}"), &Spread::of(least).to_string());
    }
    for name in ["state", "route"] {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let values: Vec<Value> = match name {
            "state" => statuses.iter().map(|status| status["reach"]["state"].clone()).collect(),
            _ => statuses.iter().flat_map(&peers).map(|peer| peer["route"].clone()).collect(),
        };
        values.iter().filter_map(Value::as_str).for_each(|value| *counts.entry(value.to_owned()).or_default() += 1);
        let what =
            if name == "state" { "reachability of nodes" } else { "routes of connections, counted at both ends" };
        row(what, &counts.iter().map(|(value, count)| format!("{value} {count}")).collect::<Vec<_>>().join(", "));
    }
    let latency = |peer: &Value| Some(peer["latency_us"].as_u64()? as f64 / 1e3);
    let latencies = statuses.iter().flat_map(&peers).filter_map(|peer| latency(&peer));
    row("round trips of pings, ms", &Spread::of(latencies).to_string());
    let first = members.iter().filter_map(|member| member.first_connected).map(|time| time.as_secs_f64());
    row("seconds from a first start to four connections", &Spread::of(first).to_string());
    let again = members.iter().flat_map(|member| &member.connected_again).map(Duration::as_secs_f64);
    row(&format!("seconds to four connections after {} kills", measured.kills), &Spread::of(again).to_string());
}

/// Prints who was blamed by whom.
fn print_blame(members: &[Member], logs: &[String]) {
    let honest: BTreeSet<String> = members.iter().flat_map(|member| [member.id(), member.ip()]).collect();
    let (mut bans, mut misbehaviours, mut other_bans) = (0, BTreeMap::new(), 0);
    for line in logs.iter().flat_map(|log| log.lines()) {
        let Some((_, reason)) = line.split_once(" misbehaved: ").or_else(|| line.split_once(" banned for 24 h: "))
        else {
            continue;
        };
        let is_ban = line.contains(" banned for 24 h: ");
        let is_honest = line.split([' ', '/']).any(|word| honest.contains(word));
        if !is_honest {
            other_bans += u32::from(is_ban);
            continue;
        }
        eprintln!("honest node blamed: {line}");
        bans += u32::from(is_ban);
        let reason = reason.split(" (").next().unwrap_or_default().to_owned();
        *misbehaviours.entry(reason).or_insert(0) += 1;
    }
    row("honest nodes banned by honest nodes", &bans.to_string());
    let all: Vec<String> = misbehaviours.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    row("misbehaviours of honest nodes", if all.is_empty() { "none".to_owned() } else { all.join(", ") }.as_str());
    row("bans of hostile peers", &other_bans.to_string());
}

/// Least, median and largest of some values.
struct Spread(Vec<f64>);

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Some(least), Some(most)) = (self.0.first(), self.0.last()) else { return write!(f, "none") };
        let (median, count) = (self.0[self.0.len() / 2], self.0.len());
        write!(f, "median {median:.1}, min {least:.1}, max {most:.1} ({count})")
    }
}
