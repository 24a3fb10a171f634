//! The metrics in Prometheus' text format: what threads count, and what follows from the published snapshots.

use std::collections::HashSet;
use std::net::IpAddr;

use p2pool_core::metrics::register;
use p2pool_core::netgroup::Netgroup;
use p2pool_core::status::{Direction, PeerStatus};
use p2pool_core::sync::SyncState;
use prometheus::{Encoder as _, Gauge, IntCounter, Opts, Registry, TextEncoder};

use crate::api::miners::Troubled;
use crate::api::outputs::PayoutOutputs;
use crate::api::status::SideShares;
use crate::process;
use crate::snapshot::{difficulty, Snapshot};

/// The format's media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns all metrics. `store_bytes` is the size of the sharechain's file, if it can be read.
pub fn text(snapshot: &Snapshot, outputs: &PayoutOutputs, uptime_s: u64, store_bytes: Option<u64>) -> Vec<u8> {
    let derived = derived(snapshot, outputs, uptime_s, store_bytes);
    let families = [snapshot.metrics.registry.gather(), derived.gather()].concat();
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        log::warn!("cannot write metrics: {error}");
    }
    text
}

/// Returns the netgroup of a multiaddr that begins with a peer's own IP address; own networks have none.
fn netgroup(address: &str) -> Option<Netgroup> {
    let ip = address.split('/').nth(2)?.parse::<IpAddr>().ok()?;
    Netgroup::of(ip).filter(|_| !address.contains("/p2p-circuit"))
}

/// Returns the metrics that follow from the snapshots.
fn derived(snapshot: &Snapshot, outputs: &PayoutOutputs, uptime_s: u64, store_bytes: Option<u64>) -> Registry {
    let registry = Registry::new();
    let with = |options: Opts, value: f64| register(&registry, Gauge::with_opts(options)).set(value);
    let gauge = |name, help, value| with(Opts::new(name, help), value);
    let flag = |name, help, is_set| gauge(name, help, if is_set { 1.0 } else { 0.0 });
    let (tree, sync) = (snapshot.tree(), snapshot.chain.sync);
    let (side, tip) = (SideShares::count(tree), tree.tip());
    let height = tip.map_or(0, |tip| tip.share.info.share_height.0);
    gauge("p2pool_sharechain_height", "Share height of the tip, 0 without a chain.", height.into());
    gauge("p2pool_sharechain_shares", "Shares in the sharechain, side chains included.", tree.len() as f64);
    gauge("p2pool_sharechain_uncles", "Shares in side chains that the main chain credits.", side.uncles as f64);
    gauge("p2pool_sharechain_uncredited", "Shares in side chains without credit.", side.uncredited as f64);
    for (kind, count) in [("deferred", snapshot.chain.deferred), ("unverified", snapshot.chain.unverified)] {
        let help = "Shares that wait for a parent, their time or bitcoind, and shares of unverified branches.";
        with(Opts::new("p2pool_shares_waiting", help).const_label("kind", kind), count as f64);
    }
    let rules = &snapshot.chain.rules;
    gauge("p2pool_rules_version_known", "Newest version of the rules that this node knows.", rules.known.into());
    if let Some(needed) = rules.needed {
        let help = "Version of the rules that the pool follows, while this node does not know it.";
        gauge("p2pool_rules_version_needed", help, needed.into());
    }
    for (version, work_percent) in &rules.signals {
        let help = "Part of the work in the payout window whose finders know this version of the rules, 0 to 1.";
        let options = Opts::new("p2pool_rules_version_signalled", help).const_label("version", version.to_string());
        with(options, work_percent / 100.0);
    }
    let help = "Part of the work in the payout window whose finders know later rules than this node, 0 to 1.";
    let unsupported = rules.signals.iter().find(|(version, _)| *version > rules.known);
    gauge("p2pool_rules_unsupported_signalled", help, unsupported.map_or(0.0, |(_, percent)| percent / 100.0));
    gauge("p2pool_payout_outputs_max", "Most payout outputs of a coinbase.", outputs.max.into());
    gauge("p2pool_payout_outputs_vote", "Number of payout outputs that this node votes for.", outputs.vote.into());
    for votes in &outputs.votes {
        let options =
            Opts::new("p2pool_payout_outputs_votes", "Part of the work in the payout window by its vote, 0 to 1.");
        with(options.const_label("outputs", votes.outputs.to_string()), votes.work_pct / 100.0);
    }
    gauge("p2pool_share_difficulty", "Difficulty of the next share.", difficulty(snapshot.share_bits()));
    gauge("p2pool_pool_hashrate", "Hashes per second of the pool, from its shares.", snapshot.pool_hashes_per_s());
    gauge("p2pool_local_hashrate", "Hashes per second of this node's miners.", snapshot.local_hashes_per_s());
    flag("p2pool_store_failing", "1 while shares cannot be stored and wait in memory.", snapshot.chain.unsaved);
    gauge("p2pool_miners_connected", "Authorised miners.", snapshot.miners.miners.len() as f64);
    let Troubled { silent, gone, retired, unpaid_address } = Troubled::count(snapshot);
    for (state, count) in [("silent", silent), ("gone", gone), ("retired", retired), ("unpaid_address", unpaid_address)]
    {
        let help = "Workers that are connected but silent; gone for a day at most; gone for longer or after a short visit; and with a user name that has an address which is not paid.";
        with(Opts::new("p2pool_workers_troubled", help).const_label("state", state), count as f64);
    }
    let no_work = snapshot.miners.no_work;
    let is_refused = no_work.is_some_and(|no_work| no_work.refuses);
    flag("p2pool_miners_refused", "1 while miners are refused because there is no work.", is_refused);
    if let Some(no_work) = no_work {
        let options = Opts::new("p2pool_no_work", "1 while there is no work for miners, with the reason.");
        with(options.const_label("reason", no_work.why.name()), 1.0);
    }
    let rejected = IntCounter::new("p2pool_stratum_shares_rejected_total", "Rejected submits.");
    register(&registry, rejected).inc_by(snapshot.metrics.shares_rejected.total());
    gauge("p2pool_peers_connected", "Connected peers.", snapshot.peers.peers.len() as f64);
    for direction in [Direction::Inbound, Direction::Outbound] {
        let peers: Vec<&PeerStatus> = snapshot.peers.peers.iter().filter(|peer| peer.direction == direction).collect();
        let netgroups: HashSet<Netgroup> = peers.iter().filter_map(|peer| netgroup(&peer.address)).collect();
        let labelled =
            |name, help, value| with(Opts::new(name, help).const_label("direction", direction.name()), value);
        labelled("p2pool_peers_by_direction", "Connected peers, by who dialled.", peers.len() as f64);
        let help = "Netgroups (IPv4 /24, IPv6 /48) of peers on the Internet, by who dialled.";
        labelled("p2pool_peer_netgroups", help, netgroups.len() as f64);
    }
    gauge("p2pool_peers_banned", "Banned peers and addresses.", snapshot.peers.banned() as f64);
    flag("p2pool_synced", "1 while this node is synced with its peers.", sync == SyncState::Synced);
    let is_solo = matches!(sync, SyncState::Solo { .. });
    flag("p2pool_mining_solo", "1 while this node mines solo because it has no peers.", is_solo);
    let not_accepted = snapshot.blocks_not_accepted.len();
    let help = "Blocks found by this node's miners that bitcoind has not accepted yet.";
    gauge("p2pool_blocks_not_accepted", help, not_accepted as f64);
    let help = "1 while bitcoind would accept a block, by a test every few seconds.";
    flag("p2pool_submission_ready", help, snapshot.submission.is_ready());
    let help = "1 while templates come by long poll, 0 while bitcoind has no RPC thread left for one.";
    flag("p2pool_long_poll", help, snapshot.bitcoind.long_poll_off_since.is_none());
    gauge("p2pool_uptime_seconds", "Time since the node started.", uptime_s as f64);
    process::register_metrics(&registry, snapshot.now, uptime_s);
    let clock = &snapshot.chain.clock;
    flag("p2pool_clock_wrong", "1 while miners get no work because the clock is wrong.", clock.fault.is_some());
    // An unknown value is left out: 0 would be wrong, and an alert can watch for absence.
    for (than, ahead_s) in [("bitcoind", clock.ahead_of_bitcoind_s), ("peers", clock.ahead_of_peers_s)] {
        let help = "Seconds that this machine's clock is ahead of bitcoind's, and of the peers'.";
        if let Some(ahead_s) = ahead_s {
            with(Opts::new("p2pool_clock_ahead_seconds", help).const_label("of", than), ahead_s as f64);
        }
    }
    if let Some(age_s) = snapshot.template_age_s() {
        gauge("p2pool_template_age_seconds", "Age of the newest block template.", age_s.into());
    }
    if let Some(bytes) = store_bytes {
        gauge("p2pool_store_bytes", "Size of the sharechain's file.", bytes as f64);
    }
    registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_netgroup_of_a_peer_is_that_of_its_own_public_address() {
        for (one, other) in [
            ("/ip4/8.8.8.8/tcp/9171", Some("/ip4/8.8.8.9/tcp/1")),
            ("/ip6/2001:db8:7::1/tcp/9171", Some("/ip6/2001:db8:7:5::1/tcp/1")),
            ("/ip4/192.168.1.5/tcp/9171", None),
            ("/ip4/8.8.8.8/tcp/9171/p2p/12D3/p2p-circuit", None),
            ("/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:9171", None),
            ("", None),
        ] {
            assert_eq!(netgroup(one), other.and_then(netgroup), "{one}");
            assert_eq!(netgroup(one).is_some(), other.is_some(), "{one}");
        }
    }
}
