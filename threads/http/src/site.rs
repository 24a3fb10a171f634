//! Which path gives what.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use p2pool_core::config::Config;
use p2pool_core::payouts::Window;
use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::api::blocks::BlocksDocument;
use crate::api::health::Health;
use crate::api::miners::MinersDocument;
use crate::api::payouts::PayoutsDocument;
use crate::api::peers::PeersDocument;
use crate::api::share::ShareDocument;
use crate::api::status::{StatusDocument, StatusSources};
use crate::api::ErrorDocument;
use crate::assets::{self, Asset};
use crate::found::Found;
use crate::history::{History, Sample, DIR as HISTORY_DIR, SAMPLE_INTERVAL};
use crate::metrics;
use crate::view::{parse_id, View};
use crate::{HttpError, Sources};

/// However many look, the status is made this often at most.
const STATUS_CACHE: Duration = Duration::from_secs(2);
/// The API's description.
const OPENAPI: &str = include_str!("../openapi.json");
const JSON: &str = "application/json";

/// An answer.
pub struct Reply {
    /// HTTP status code.
    pub code: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Names this version of a file; answers without one are never stored.
    pub etag: Option<String>,
}

/// All that answers are made of.
pub struct Site {
    config: Arc<Config>,
    sources: Sources,
    assets: Vec<Asset>,
    history: History,
    found: Found,
    window: Window,
    status: Option<(Instant, Vec<u8>)>,
    started: Instant,
    sample_due: Instant,
    /// The tree that was last searched for blocks.
    searched: Option<Weak<p2pool_core::sharechain::Tree>>,
}

impl Site {
    /// Reads what an earlier run stored.
    ///
    /// # Errors
    /// The folder for it cannot be made.
    pub fn open(config: Arc<Config>, sources: Sources) -> Result<Self, HttpError> {
        let history = History::open(&config.chain_dir)?;
        let found = Found::open(&config.chain_dir.join(HISTORY_DIR));
        let now = Instant::now();
        Ok(Self {
            window: Window::new(&config.params),
            config,
            sources,
            assets: assets::all(),
            history,
            found,
            status: None,
            started: now,
            sample_due: now,
            searched: None,
        })
    }

    /// Does what is due: samples, found blocks.
    pub fn tick(&mut self) {
        let view = self.view();
        self.search_blocks(&view);
        if Instant::now() >= self.sample_due {
            self.sample_due = Instant::now() + SAMPLE_INTERVAL;
            let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let sample = Sample {
                pool: view.pool_hashes_per_s(),
                local: view.local_hashes_per_s(),
                shares: view.tree().len() as u64,
                miners: count(view.miners.miners.len()),
                peers: count(view.peers.peers.len()),
            };
            self.history.add(view.now, sample);
        }
    }

    fn search_blocks(&mut self, view: &View) {
        let is_searched = self.searched.as_ref().is_some_and(|tree| tree.as_ptr() == Arc::as_ptr(&view.chain.tree));
        if !is_searched {
            self.found.look_at(view.tree(), &self.config.payout_script);
            self.searched = Some(Arc::downgrade(&view.chain.tree));
        }
        let Config { params, payout_script, .. } = &*self.config;
        self.found.take_own(&self.sources.own_blocks.load(), &payout_script.to_address(params.network));
        self.found.hear(&self.sources.blocks.load());
        let watched = self.found.watched();
        if **self.sources.watched.load() != watched {
            self.sources.watched.store(Arc::new(watched));
        }
    }

    /// Writes to disk what is not there yet.
    pub fn save(&mut self) {
        self.history.save();
    }

    /// Answers a request for a path with an optional query, at this moment.
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
        let view = self.view();
        match path {
            "/api/status" => self.status(&view, now),
            "/api/payouts" => {
                let Config { payout_script, payout_address, .. } = &*self.config;
                json(200, &PayoutsDocument::of(&view, &mut self.window, payout_script, payout_address))
            }
            "/api/miners" => json(200, &MinersDocument::of(&view)),
            "/api/peers" => json(200, &PeersDocument::of(&view)),
            "/api/blocks" => {
                self.search_blocks(&view);
                json(200, &BlocksDocument::of(&self.found, &view))
            }
            "/api/history" => self.history(query, view.now),
            "/api/openapi.json" => Reply { code: 200, content_type: JSON, body: OPENAPI.into(), etag: None },
            "/healthz" => {
                let health = Health::of(&view);
                json(if health.healthy { 200 } else { 503 }, &health)
            }
            "/metrics" => self.metrics(&view, now),
            _ => match path.strip_prefix("/api/share/") {
                Some(hash) => self.share(&view, hash),
                None => error(404, "there is nothing at this path"),
            },
        }
    }

    fn view(&self) -> View {
        View::take(&self.sources, UnixTime::from(SystemTime::now()))
    }

    fn uptime_secs(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    fn status(&mut self, view: &View, now: Instant) -> Reply {
        let is_fresh = |made: &Instant| now.saturating_duration_since(*made) < STATUS_CACHE;
        let cached = self.status.as_ref().filter(|(made, _)| is_fresh(made));
        if let Some((_, body)) = cached {
            return Reply { code: 200, content_type: JSON, body: body.clone(), etag: None };
        }
        self.search_blocks(view);
        let uptime_secs = self.uptime_secs(now);
        let sources = StatusSources {
            config: &self.config,
            history: &self.history,
            found: &self.found,
            window: &mut self.window,
            uptime_secs,
        };
        let reply = json(200, &StatusDocument::of(view, sources));
        self.status = Some((now, reply.body.clone()));
        reply
    }

    fn share(&mut self, view: &View, hash: &str) -> Reply {
        let Some(id) = parse_id(hash) else {
            return error(400, "a share's hash is 64 hexadecimal digits");
        };
        match ShareDocument::of(view, &mut self.window, &id) {
            Some(share) => json(200, &share),
            None => error(404, "this share is not held: it never was valid, or is too old"),
        }
    }

    fn history(&self, query: &str, now: UnixTime) -> Reply {
        let window = query.split('&').find_map(|pair| pair.strip_prefix("window=")).unwrap_or("1h");
        match self.history.window(window, now) {
            Some(history) => json(200, &history),
            None => error(400, "window is one of 1h, 1d, 7d and 30d"),
        }
    }

    fn metrics(&self, view: &View, now: Instant) -> Reply {
        let store_bytes = std::fs::metadata(&self.sources.store_file).ok().map(|data| data.len());
        let body = metrics::text(view, self.uptime_secs(now), store_bytes);
        Reply { code: 200, content_type: metrics::CONTENT_TYPE, body, etag: None }
    }
}

fn json(code: u16, document: &impl Serialize) -> Reply {
    match serde_json::to_vec(document) {
        Ok(body) => Reply { code, content_type: JSON, body, etag: None },
        Err(cause) => {
            log::warn!("a JSON document cannot be written: {cause}");
            error(500, "the answer cannot be written")
        }
    }
}

fn error(code: u16, why: &str) -> Reply {
    // A document of one string can always be written.
    let body = serde_json::to_vec(&ErrorDocument { error: why }).unwrap_or_default();
    Reply { code, content_type: JSON, body, etag: None }
}

#[cfg(test)]
mod tests;
