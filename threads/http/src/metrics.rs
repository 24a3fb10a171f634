//! The metrics in Prometheus' text format. Everything is read when asked for, so nothing is stale.

use p2pool_core::status::{LatencySnapshot, SubmitCounters, LATENCY_BOUNDS_US};
use p2pool_core::sync::SyncState;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use crate::api::status::SideShares;
use crate::relay::WebCounters;
use crate::view::{difficulty, View};

/// The format's media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is measured elsewhere.
pub struct Extras<'a> {
    /// How long the node runs.
    pub uptime_secs: u64,
    /// The relay's counts.
    pub web: &'a WebCounters,
    /// Size of the sharechain's file; none if it cannot be seen.
    pub store_bytes: Option<u64>,
}

/// All metrics.
pub fn text(view: &View, extras: &Extras<'_>) -> Vec<u8> {
    let families: Vec<MetricFamily> =
        [chain(view), miners(view), blocks(view), node(view, extras), web(extras.web)].concat();
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        log::warn!("metrics cannot be written: {error}");
    }
    text
}

fn chain(view: &View) -> Vec<MetricFamily> {
    let tree = view.tree();
    let side = SideShares::of(tree);
    let height = tree.tip().map_or(0, |tip| tip.share.info.share_height.0);
    let (held, unverified) = view.chain.waiting;
    vec![
        gauge("p2pool_sharechain_height", "Height of the sharechain's tip; 0 without a chain.", f64::from(height)),
        gauge("p2pool_sharechain_shares", "Shares held, forks included.", tree.len() as f64),
        gauge("p2pool_sharechain_uncles", "Shares held that the main chain names as uncles.", side.uncles as f64),
        gauge("p2pool_sharechain_orphans", "Shares held that get no credit.", side.orphans as f64),
        family(
            "p2pool_shares_waiting",
            "Shares that wait for something, and shares of branches not looked at.",
            MetricType::GAUGE,
            vec![
                gauge_metric(&[("kind", "held")], held as f64),
                gauge_metric(&[("kind", "unverified")], unverified as f64),
            ],
        ),
        gauge("p2pool_share_difficulty", "Difficulty of the next share.", difficulty(view.share_bits())),
        gauge("p2pool_pool_hashrate", "Hashes per second of the pool, from its shares.", view.pool_hashes_per_s()),
        gauge("p2pool_local_hashrate", "Hashes per second of this node's miners.", view.local_hashes_per_s()),
    ]
}

fn miners(view: &View) -> Vec<MetricFamily> {
    let counters = &view.counters;
    let reasons = [
        ("malformed", &counters.shares_rejected_malformed),
        ("stale", &counters.shares_rejected_stale),
        ("duplicate", &counters.shares_rejected_duplicate),
        ("low_difficulty", &counters.shares_rejected_low_difficulty),
        ("unauthorised", &counters.shares_rejected_unauthorised),
        ("busy", &counters.shares_rejected_busy),
    ];
    let bytes = [("in", &counters.stratum_bytes_in), ("out", &counters.stratum_bytes_out)];
    let by_reason = reasons.iter().map(|(reason, count)| counter_metric(&[("reason", reason)], count.get())).collect();
    vec![
        gauge("p2pool_miners_connected", "Authorised miners.", view.miners.miners.len() as f64),
        gauge("p2pool_stratum_connections", "Connections on the miners' port.", counters.sessions.get() as f64),
        counter(
            "p2pool_stratum_shares_accepted_total",
            "Answers of miners that met their difficulty.",
            counters.shares_accepted.get(),
        ),
        counter("p2pool_stratum_shares_rejected_total", "Answers of miners refused.", counters.shares_rejected()),
        family("p2pool_stratum_rejects_total", "Answers of miners refused, by reason.", MetricType::COUNTER, by_reason),
        family(
            "p2pool_stratum_bytes_total",
            "Bytes from miners and for miners.",
            MetricType::COUNTER,
            bytes.iter().map(|(direction, count)| counter_metric(&[("direction", direction)], count.get())).collect(),
        ),
        histogram(
            "p2pool_stratum_submit_latency_seconds",
            "From a miner's answer in our hands to the verdict in its socket.",
            &counters.submit_latency.snapshot(),
        ),
        histogram(
            "p2pool_stratum_job_fanout_seconds",
            "From a new job to the last miner's socket.",
            &counters.job_fanout.snapshot(),
        ),
    ]
}

fn blocks(view: &View) -> Vec<MetricFamily> {
    let counters = &view.counters;
    let submissions = |counts: &SubmitCounters| {
        let results = [("success", &counts.accepted), ("rejected", &counts.rejected), ("failed", &counts.failed)];
        results.iter().map(|(result, count)| counter_metric(&[("result", result)], count.get())).collect()
    };
    vec![
        counter("p2pool_blocks_found_total", "Headers that met Bitcoin's target.", counters.blocks_found.get()),
        family(
            "p2pool_block_submissions_total",
            "Blocks of this node's miners handed to bitcoind, by what it said.",
            MetricType::COUNTER,
            submissions(&counters.own_blocks),
        ),
        family(
            "p2pool_peer_block_submissions_total",
            "Blocks that other nodes found handed to bitcoind, by what it said.",
            MetricType::COUNTER,
            submissions(&counters.peers_blocks),
        ),
    ]
}

fn node(view: &View, extras: &Extras<'_>) -> Vec<MetricFamily> {
    let (counters, sync) = (&view.counters, view.chain.sync);
    let mut families = vec![
        gauge("p2pool_peers_connected", "Connected nodes.", view.peers.peers.len() as f64),
        gauge(
            "p2pool_synced",
            "1 while this node is level with the other nodes, else 0.",
            flag(sync == SyncState::Synced),
        ),
        gauge(
            "p2pool_mining_alone",
            "1 while this node mines alone for want of other nodes, else 0.",
            flag(matches!(sync, SyncState::Alone { .. })),
        ),
        gauge(
            "p2pool_store_failing",
            "1 while the disk refuses shares, which then wait in memory, else 0.",
            flag(view.chain.unsaved),
        ),
        gauge("p2pool_peers_banned", "Nodes and addresses that are banned now.", view.peers.banned as f64),
        family(
            "p2pool_p2p_bytes_total",
            "Bytes from other nodes and for other nodes, as they are on the wire.",
            MetricType::COUNTER,
            vec![
                counter_metric(&[("direction", "in")], view.peers.bytes_in),
                counter_metric(&[("direction", "out")], view.peers.bytes_out),
            ],
        ),
        counter("p2pool_peer_offences_total", "What was held against other nodes.", view.peers.offences),
        counter("p2pool_peer_bans_total", "Nodes that were banned.", view.peers.bans),
        gauge("p2pool_uptime_seconds", "How long this node runs.", extras.uptime_secs as f64),
        counter("p2pool_templates_total", "Templates taken from bitcoind.", counters.templates.get()),
        counter("p2pool_rpc_errors_total", "Questions to bitcoind that failed.", counters.rpc_errors.get()),
        family(
            "p2pool_build_info",
            "The program's version.",
            MetricType::GAUGE,
            vec![gauge_metric(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        ),
    ];
    // What is not known is left out: an alert on absence is an alert, 0 would be a lie.
    families.extend(
        view.template_age_s()
            .map(|age_s| gauge("p2pool_template_age_seconds", "Age of the newest template.", f64::from(age_s))),
    );
    families.extend(
        extras.store_bytes.map(|bytes| gauge("p2pool_store_bytes", "Size of the sharechain's file.", bytes as f64)),
    );
    families
}

fn web(counters: &WebCounters) -> Vec<MetricFamily> {
    vec![
        gauge("p2pool_web_connections", "Web connections.", counters.connections.get() as f64),
        counter("p2pool_web_requests_total", "Web requests passed on.", counters.requests.get()),
        counter("p2pool_web_refused_total", "Web requests refused as malformed.", counters.refused.get()),
        counter(
            "p2pool_web_crowded_out_total",
            "Times a web connection found no room, or made room for another.",
            counters.crowded_out.get(),
        ),
    ]
}

fn flag(is_so: bool) -> f64 {
    if is_so {
        1.0
    } else {
        0.0
    }
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, vec![gauge_metric(&[], value)])
}

fn counter(name: &str, help: &str, value: u64) -> MetricFamily {
    family(name, help, MetricType::COUNTER, vec![counter_metric(&[], value)])
}

fn histogram(name: &str, help: &str, snapshot: &LatencySnapshot) -> MetricFamily {
    let seconds = |us: u64| us as f64 / 1e6;
    let bucket = |(bound_us, count): (&u64, &u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(*bound_us));
        bucket.set_cumulative_count(*count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(LATENCY_BOUNDS_US.iter().zip(&snapshot.cumulative).map(bucket).collect());
    histogram.set_sample_count(snapshot.count);
    histogram.set_sample_sum(seconds(snapshot.sum_us));
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(name, help, MetricType::HISTOGRAM, vec![metric])
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn gauge_metric(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(label_pairs(labels));
    metric.set_gauge(gauge);
    metric
}

fn counter_metric(labels: &[(&str, &str)], value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(label_pairs(labels));
    metric.set_counter(counter);
    metric
}

fn label_pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
