//! What the node counts and measures, as Prometheus metrics.
//!
//! Threads update the metrics without locks or allocation, and the HTTP server gathers [`Metrics::registry`].

use prometheus::core::Collector;
pub use prometheus::IntCounter;
use prometheus::{Histogram, HistogramOpts, IntGauge, Opts, Registry};

use crate::status::Rejections;
use crate::units::UnixTime;

/// Upper bounds of the latency buckets in seconds: from one submit on a fast machine to where a miner's hardware goes
/// idle.
const LATENCY_BUCKETS_S: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0];

/// The metrics that threads update. Each has one thread that writes it.
#[derive(Debug)]
pub struct Metrics {
    /// Holds all metrics below except [`Self::template_time_s`].
    pub registry: Registry,
    /// Submits that met the miner's difficulty (stratum).
    pub shares_accepted: IntCounter,
    /// Rejected submits by reason (stratum).
    pub shares_rejected: Rejections<IntCounter>,
    /// Open connections on the miners' port (stratum).
    pub sessions: IntGauge,
    /// Connections of miners refused because of a limit (stratum).
    pub sessions_refused: IntCounter,
    /// Bytes received from miners (stratum).
    pub stratum_bytes_in: IntCounter,
    /// Bytes sent to miners (stratum).
    pub stratum_bytes_out: IntCounter,
    /// Seconds from reading a submit to writing its response (stratum).
    pub submit_latency: Histogram,
    /// Seconds from a new job until it is written or queued for the last miner (stratum).
    pub job_fanout: Histogram,
    /// Submits that met Bitcoin's target (stratum).
    pub blocks_found: IntCounter,
    /// Submissions of blocks found by this node's miners (rpc/submit).
    pub own_blocks: SubmitCounters,
    /// Submissions of blocks found by peers (rpc/submit).
    pub peer_blocks: SubmitCounters,
    /// Failed requests to bitcoind (rpc).
    pub rpc_errors: IntCounter,
    /// Block templates received from bitcoind (rpc/poll and rpc/anchor).
    pub templates: IntCounter,
    /// Unix time in seconds of the newest template, 0 before the first (rpc/poll and rpc/anchor). Its age is exported.
    pub template_time_s: IntGauge,
    /// Bytes received from peers, with encryption and framing (p2p).
    pub p2p_bytes_in: IntCounter,
    /// Bytes sent to peers, with encryption and framing (p2p).
    pub p2p_bytes_out: IntCounter,
    /// Peers that have subscribed to shares; this node sends shares to them alone (p2p).
    pub peers_subscribed: IntGauge,
    /// Bytes that peers have sent and no stream has read, which connections hold in memory (p2p).
    pub peers_unread: IntGauge,
    /// Gossip of shares (p2p).
    pub share_gossip: GossipMetrics,
    /// Gossip of found blocks (p2p).
    pub block_gossip: GossipMetrics,
    /// Connections that were replaced by a new one of the same peer (p2p).
    pub peer_connections_replaced: IntCounter,
    /// Peers that were disconnected because they did not subscribe to shares (p2p).
    pub peer_reconnects: IntCounter,
    /// 1 while another running node has this node's identity (p2p).
    pub identity_duplicated: IntGauge,
    /// 1 while this node is known to be reachable from the Internet (p2p).
    pub reachable: IntGauge,
    /// Peers that relay connections to this node (p2p).
    pub relays: IntGauge,
    /// Peers that this node relays connections to (p2p).
    pub relayed_for: IntGauge,
    /// Connected peers whose connection is relayed (p2p).
    pub peers_relayed: IntGauge,
    /// Connected peers to which a hole was made through routers (p2p).
    pub peers_punched: IntGauge,
    /// Misbehaviours of peers that raised a ban score (p2p).
    pub peer_misbehaviours: IntCounter,
    /// Bans of peers (p2p).
    pub peer_bans: IntCounter,
    /// Inbound peers that were evicted to make room for others (p2p).
    pub peer_evictions: IntCounter,
    /// Inbound connections that were refused, by reason (p2p).
    pub connections_refused: RefusalCounters,
    /// Open connections of browsers (http/relay).
    pub web_connections: IntGauge,
    /// HTTP requests passed to the server (http/relay).
    pub web_requests: IntCounter,
    /// HTTP requests refused by the relay (http/relay).
    pub web_refused: IntCounter,
    /// HTTP connections evicted or refused at the connection limit (http/relay).
    pub web_limit_reached: IntCounter,
}

/// Gossip on one topic.
#[derive(Debug)]
pub struct GossipMetrics {
    /// Peers that messages are exchanged with directly.
    pub mesh_peers: IntGauge,
    /// Messages that this node announced.
    pub announced: IntCounter,
    /// Messages of peers, each once.
    pub received: IntCounter,
    /// Those that were relayed.
    pub accepted: IntCounter,
    /// Those that were not relayed, although their senders may be honest.
    pub ignored: IntCounter,
    /// Those for which their senders were penalised.
    pub rejected: IntCounter,
}

/// Counts of refused inbound connections, by reason.
#[derive(Debug)]
pub struct RefusalCounters {
    pub banned: IntCounter,
    pub graylisted: IntCounter,
    pub netgroup_full: IntCounter,
    pub too_frequent: IntCounter,
    /// The limits of all connections.
    pub full: IntCounter,
}

/// Counts of blocks handed to bitcoind, by result.
#[derive(Debug)]
pub struct SubmitCounters {
    pub accepted: IntCounter,
    pub rejected: IntCounter,
    /// Attempts that did not reach bitcoind.
    pub failed: IntCounter,
}

impl Metrics {
    /// Time of the newest template; `None` before the first.
    pub fn template_time(&self) -> Option<UnixTime> {
        u32::try_from(self.template_time_s.get()).ok().filter(|time_s| *time_s > 0).map(UnixTime)
    }
}

impl Rejections<IntCounter> {
    /// Returns the number of rejected submits, whatever the reason.
    pub fn total(&self) -> u64 {
        self.values().map(IntCounter::get).iter().sum()
    }
}

impl Default for Metrics {
    /// Creates all metrics and registers them.
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name, help| register(&registry, IntCounter::new(name, help));
        let gauge = |name, help| register(&registry, IntGauge::new(name, help));
        let labelled = |name, help, label, value| {
            register(&registry, IntCounter::with_opts(Opts::new(name, help).const_label(label, value)))
        };
        let latency = |name, help| {
            let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS_S.to_vec());
            register(&registry, Histogram::with_opts(options))
        };
        let submissions = |name, help| {
            let by_result = |result| labelled(name, help, "result", result);
            SubmitCounters {
                accepted: by_result("success"),
                rejected: by_result("rejected"),
                failed: by_result("failed"),
            }
        };
        let rejects =
            |reason| labelled("p2pool_stratum_rejects_total", "Rejected submits, by reason.", "reason", reason);
        let stratum_bytes =
            |direction| labelled("p2pool_stratum_bytes_total", "Bytes exchanged with miners.", "direction", direction);
        let p2p_bytes = |direction| {
            let help = "Bytes exchanged with peers, with encryption and framing.";
            labelled("p2pool_p2p_bytes_total", help, "direction", direction)
        };
        let gossip = |topic| {
            let event = |event| {
                let help = "Gossip: messages that this node announced; received ones, and what became of them.";
                let options = Opts::new("p2pool_gossip_messages_total", help);
                let options = options.const_label("topic", topic).const_label("event", event);
                register(&registry, IntCounter::with_opts(options))
            };
            let help = "Peers that messages of a topic are exchanged with directly.";
            let mesh = Opts::new("p2pool_gossip_mesh_peers", help).const_label("topic", topic);
            GossipMetrics {
                mesh_peers: register(&registry, IntGauge::with_opts(mesh)),
                announced: event("announced"),
                received: event("received"),
                accepted: event("accepted"),
                ignored: event("ignored"),
                rejected: event("rejected"),
            }
        };
        let refused = |reason| {
            let help = "Inbound connections of peers that were refused, by reason.";
            labelled("p2pool_peer_connections_refused_total", help, "reason", reason)
        };
        let build = Opts::new("p2pool_build_info", "The program's version.");
        let build = build.const_label("version", env!("CARGO_PKG_VERSION"));
        register(&registry, IntGauge::with_opts(build)).set(1);
        Self {
            shares_accepted: counter("p2pool_stratum_shares_accepted_total", "Accepted submits."),
            shares_rejected: Rejections {
                malformed: rejects("malformed"),
                busy: rejects("busy"),
                stale: rejects("stale"),
                duplicate: rejects("duplicate"),
                low_difficulty: rejects("low_difficulty"),
                unauthorised: rejects("unauthorised"),
            },
            sessions: gauge("p2pool_stratum_connections", "Open connections on the miners' port."),
            sessions_refused: counter(
                "p2pool_stratum_refused_total",
                "Connections of miners refused because of a limit on their number.",
            ),
            stratum_bytes_in: stratum_bytes("in"),
            stratum_bytes_out: stratum_bytes("out"),
            submit_latency: latency(
                "p2pool_stratum_submit_latency_seconds",
                "Time from reading a submit to writing its response.",
            ),
            job_fanout: latency(
                "p2pool_stratum_job_fanout_seconds",
                "Time from a new job until it is sent to the last miner.",
            ),
            blocks_found: counter("p2pool_blocks_found_total", "Submits that met Bitcoin's target."),
            own_blocks: submissions(
                "p2pool_block_submissions_total",
                "Blocks found by this node's miners and handed to bitcoind, by result.",
            ),
            peer_blocks: submissions(
                "p2pool_peer_block_submissions_total",
                "Blocks found by peers and handed to bitcoind, by result.",
            ),
            rpc_errors: counter("p2pool_rpc_errors_total", "Failed requests to bitcoind."),
            templates: counter("p2pool_templates_total", "Block templates received from bitcoind."),
            template_time_s: valid(IntGauge::new("p2pool_template_time_seconds", "Time of the newest template.")),
            p2p_bytes_in: p2p_bytes("in"),
            p2p_bytes_out: p2p_bytes("out"),
            peers_unread: gauge("p2pool_peer_unread_bytes", "Bytes of peers that are in memory and not read yet."),
            peers_subscribed: gauge("p2pool_peers_subscribed", "Connected peers that have subscribed to shares."),
            share_gossip: gossip("shares"),
            block_gossip: gossip("blocks"),
            peer_connections_replaced: counter(
                "p2pool_peer_connections_replaced_total",
                "Connections of peers that were replaced by a new one of the same peer.",
            ),
            peer_reconnects: counter(
                "p2pool_peer_reconnects_total",
                "Peers that were disconnected because they did not subscribe to shares.",
            ),
            identity_duplicated: gauge(
                "p2pool_identity_duplicated",
                "1 while another running node has this node's identity.",
            ),
            reachable: gauge("p2pool_reachable", "1 while this node is known to be reachable from the Internet."),
            relays: gauge("p2pool_relays", "Peers that relay connections to this node."),
            relayed_for: gauge("p2pool_relayed_for", "Peers that this node relays connections to."),
            peers_relayed: gauge("p2pool_peers_relayed", "Connected peers whose connection is relayed."),
            peers_punched: gauge(
                "p2pool_peers_punched",
                "Connected peers that were relayed before a direct connection through both routers was made.",
            ),
            peer_misbehaviours: counter(
                "p2pool_peer_misbehaviours_total",
                "Misbehaviours of peers that raised a ban score.",
            ),
            peer_bans: counter("p2pool_peer_bans_total", "Bans of peers."),
            peer_evictions: counter("p2pool_peer_evictions_total", "Inbound peers that made room for others."),
            connections_refused: RefusalCounters {
                banned: refused("banned"),
                graylisted: refused("graylisted"),
                netgroup_full: refused("netgroup_full"),
                too_frequent: refused("too_frequent"),
                full: refused("full"),
            },
            web_connections: gauge("p2pool_web_connections", "Open connections of browsers."),
            web_requests: counter("p2pool_web_requests_total", "HTTP requests passed to the server."),
            web_refused: counter("p2pool_web_refused_total", "HTTP requests refused as malformed."),
            web_limit_reached: counter(
                "p2pool_web_limit_reached_total",
                "HTTP connections evicted or refused at the connection limit.",
            ),
            registry,
        }
    }
}

/// Registers a metric.
///
/// # Panics
/// If the name or a label is invalid or registered already: all of them are constants.
pub fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    let metric = valid(metric);
    registry.register(Box::new(metric.clone())).expect("the metric is registered once");
    metric
}

fn valid<M>(metric: prometheus::Result<M>) -> M {
    metric.expect("the metric's name and labels are valid")
}
