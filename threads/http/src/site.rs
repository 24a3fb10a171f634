//! Maps request paths to responses.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use p2pool_core::config::Config;
use p2pool_core::payouts::Window;
use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::api::bans::BansDocument;
use crate::api::blocks::BlocksDocument;
use crate::api::health::Health;
use crate::api::miners::MinersDocument;
use crate::api::payouts::{payout_outputs, PayoutsDocument};
use crate::api::peers::PeersDocument;
use crate::api::share::ShareDocument;
use crate::api::shares::SharesDocument;
use crate::api::status::{StatusDocument, StatusSources};
use crate::api::ErrorDocument;
use crate::assets::{self, Asset};
use crate::block_log::BlockLog;
use crate::history::{History, Sample, DIR as HISTORY_DIR, SAMPLE_INTERVAL};
use crate::metrics;
use crate::snapshot::{parse_id, Snapshot};
use crate::worker_log::WorkerLog;
use crate::{HttpError, Sources};

/// Time for which the status is cached, whatever the number of browsers.
const STATUS_CACHE: Duration = Duration::from_secs(2);
/// The API's OpenAPI description.
const OPENAPI: &str = include_str!("../openapi.json");
const JSON: &str = "application/json";

/// A response.
pub struct Reply {
    pub code: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// Entity tag of a file; `None` for a response that must not be cached.
    pub etag: Option<String>,
}

/// The state from which responses are made.
pub struct Site {
    config: Arc<Config>,
    sources: Sources,
    assets: Vec<Asset>,
    history: History,
    block_log: BlockLog,
    worker_log: WorkerLog,
    window: Window,
    /// The cached status, and when it was made.
    status: Option<(Instant, Vec<u8>)>,
    started: Instant,
    sample_due: Instant,
    /// The tree that was last searched for found blocks.
    searched: Option<Weak<p2pool_core::sharechain::Tree>>,
}

impl Site {
    /// Reads the stored history and found blocks.
    ///
    /// # Errors
    /// The folder for them cannot be created.
    pub fn open(config: Arc<Config>, sources: Sources) -> Result<Self, HttpError> {
        let history = History::open(&config.chain_dir)?;
        let dir = config.chain_dir.join(HISTORY_DIR);
        let (block_log, worker_log) = (BlockLog::open(&dir), WorkerLog::open(&dir, unix_now()));
        let now = Instant::now();
        Ok(Self {
            window: Window::new(&config.params),
            config,
            sources,
            assets: assets::all(),
            history,
            block_log,
            worker_log,
            status: None,
            started: now,
            sample_due: now,
            searched: None,
        })
    }

    /// Does the periodic work: history samples, found blocks and workers.
    pub fn tick(&mut self) {
        let snapshot = self.snapshot();
        self.worker_log.update(&snapshot.miners, snapshot.now);
        self.update_block_log(&snapshot);
        if Instant::now() >= self.sample_due {
            self.sample_due = Instant::now() + SAMPLE_INTERVAL;
            let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let sample = Sample {
                pool: snapshot.pool_hashes_per_s(),
                local: snapshot.local_hashes_per_s(),
                shares: snapshot.tree().len() as u64,
                miners: count(snapshot.miners.miners.len()),
                peers: count(snapshot.peers.peers.len()),
            };
            // Under a wrong time it would replace what is stored of other days, and appear there when these come.
            if snapshot.chain.clock.fault.is_none() {
                self.history.add(snapshot.now, sample);
            }
        }
    }

    /// Writes to disk what would be lost otherwise.
    pub fn save(&mut self) {
        self.history.save();
        self.worker_log.save();
    }

    fn update_block_log(&mut self, snapshot: &Snapshot) {
        let is_searched = self.searched.as_ref().is_some_and(|tree| tree.as_ptr() == Arc::as_ptr(&snapshot.chain.tree));
        if !is_searched {
            self.block_log.add_from_sharechain(snapshot.tree(), &self.config.payout_script);
            self.searched = Some(Arc::downgrade(&snapshot.chain.tree));
        }
        let Config { params, payout_script, .. } = &*self.config;
        self.block_log.add_own(&self.sources.own_blocks.load(), &payout_script.to_address(params.network));
        self.block_log.update_statuses(&self.sources.blocks.load());
        let tracked = self.block_log.tracked();
        if **self.sources.tracked.load() != tracked {
            self.sources.tracked.store(Arc::new(tracked));
        }
    }

    /// Responds to a request for a path with an optional query.
    pub fn reply(&mut self, target: &str, now: Instant) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(asset) = self.assets.iter().find(|asset| asset.path == path) {
            return Reply {
                code: 200,
                content_type: asset.content_type,
                body: asset.bytes.to_vec(),
                etag: Some(asset.etag.clone()),
            };
        }
        let snapshot = self.snapshot();
        match path {
            "/api/v1/status" => self.status(&snapshot, now),
            "/api/v1/payouts" => json(200, &PayoutsDocument::new(&snapshot, &mut self.window, &self.config)),
            "/api/v1/miners" => json(200, &MinersDocument::new(&snapshot)),
            "/api/v1/peers" => json(200, &PeersDocument::new(&snapshot)),
            "/api/v1/bans" => json(200, &BansDocument::new(&snapshot)),
            "/api/v1/shares" => json(200, &SharesDocument::new(&snapshot, &self.config.payout_script)),
            "/api/v1/blocks" => {
                self.update_block_log(&snapshot);
                json(200, &BlocksDocument::new(&self.block_log, &snapshot))
            }
            "/api/v1/history" => self.history(query, snapshot.now),
            "/api/v1/openapi.json" => Reply { code: 200, content_type: JSON, body: OPENAPI.into(), etag: None },
            "/healthz" => {
                let health = Health::new(&snapshot);
                json(if health.healthy { 200 } else { 503 }, &health)
            }
            "/metrics" => self.metrics(&snapshot, now),
            _ => match path.strip_prefix("/api/v1/share/") {
                Some(hash) => self.share(&snapshot, hash),
                None if path.starts_with("/api/") => error(404, "unknown path: see /api/v1/openapi.json"),
                None => error(404, "unknown path"),
            },
        }
    }

    fn snapshot(&self) -> Snapshot {
        let now = unix_now();
        Snapshot::load(&self.sources, &self.block_log, self.worker_log.gone(now), now)
    }

    fn uptime_secs(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    fn status(&mut self, snapshot: &Snapshot, now: Instant) -> Reply {
        let is_fresh = |made: &Instant| now.saturating_duration_since(*made) < STATUS_CACHE;
        let cached = self.status.as_ref().filter(|(made, _)| is_fresh(made));
        if let Some((_, body)) = cached {
            return Reply { code: 200, content_type: JSON, body: body.clone(), etag: None };
        }
        self.update_block_log(snapshot);
        let uptime_secs = self.uptime_secs(now);
        let sources = StatusSources {
            config: &self.config,
            history: &self.history,
            block_log: &self.block_log,
            window: &mut self.window,
            uptime_secs,
        };
        let reply = json(200, &StatusDocument::new(snapshot, sources));
        self.status = Some((now, reply.body.clone()));
        reply
    }

    fn share(&mut self, snapshot: &Snapshot, hash: &str) -> Reply {
        let Some(id) = parse_id(hash) else {
            return error(400, "a share hash must be 64 hexadecimal digits");
        };
        match ShareDocument::new(snapshot, &mut self.window, &id) {
            Some(share) => json(200, &share),
            None => error(404, "this node does not have the share: it is unknown or was pruned"),
        }
    }

    fn history(&self, query: &str, now: UnixTime) -> Reply {
        let window = query.split('&').find_map(|pair| pair.strip_prefix("window=")).unwrap_or("1h");
        match self.history.window(window, now) {
            Some(history) => json(200, &history),
            None => error(400, "window must be 1h, 1d, 7d or 30d"),
        }
    }

    fn metrics(&mut self, snapshot: &Snapshot, now: Instant) -> Reply {
        let outputs = payout_outputs(snapshot, &mut self.window, &self.config);
        let store_bytes = std::fs::metadata(&self.sources.store_file).ok().map(|data| data.len());
        let body = metrics::text(snapshot, &outputs, self.uptime_secs(now), store_bytes);
        Reply { code: 200, content_type: metrics::CONTENT_TYPE, body, etag: None }
    }
}

fn unix_now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

pub fn json(code: u16, document: &impl Serialize) -> Reply {
    match serde_json::to_vec(document) {
        Ok(body) => Reply { code, content_type: JSON, body, etag: None },
        Err(cause) => {
            log::warn!("cannot serialise a JSON document: {cause}");
            error(500, "the response cannot be serialised")
        }
    }
}

pub fn error(code: u16, why: &str) -> Reply {
    // Serialising a single string cannot fail.
    let body = serde_json::to_vec(&ErrorDocument { error: why }).unwrap_or_default();
    Reply { code, content_type: JSON, body, etag: None }
}

#[cfg(test)]
mod tests;
