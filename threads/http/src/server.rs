//! The loop that answers.

use std::io::Cursor;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pool_core::config::Config;
use tiny_http::{Header, Method, Request, Response, StatusCode};

use crate::site::{Reply, Site};
use crate::socket::Place;
use crate::{HttpError, Sources};

/// Samples and found blocks are looked after this often.
const TICK: Duration = Duration::from_secs(1);
/// Nothing from elsewhere, no script or style in the page itself, nobody frames it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What every answer carries.
const HEADERS: [(&str, &str); 7] = [
    ("Server", "p2pool"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
];

/// The server, opened and not yet running.
pub struct Server {
    http: Arc<tiny_http::Server>,
    site: Site,
    stop_asked: Arc<AtomicBool>,
    /// Removed after the server is gone.
    _place: Place,
}

impl Server {
    /// Listens at `place`.
    pub(crate) fn open(
        place: Place,
        config: Arc<Config>,
        sources: Sources,
        stop_asked: Arc<AtomicBool>,
    ) -> Result<Self, HttpError> {
        let site = Site::open(config, sources)?;
        let failed = |cause| HttpError::File { path: place.path().to_owned(), cause };
        let listener = UnixListener::bind(place.path()).map_err(failed)?;
        let http =
            tiny_http::Server::from_listener(listener, None).map_err(|cause| HttpError::Server(cause.to_string()))?;
        Ok(Self { http: Arc::new(http), site, stop_asked, _place: place })
    }

    /// What ends the wait for requests.
    pub(crate) fn unblocker(&self) -> Arc<tiny_http::Server> {
        Arc::clone(&self.http)
    }

    /// Answers until stopped.
    ///
    /// # Errors
    /// The library's listening thread ended.
    pub fn run(mut self) -> Result<(), HttpError> {
        let mut next_tick = Instant::now();
        while !self.stop_asked.load(Ordering::Acquire) {
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.site.tick();
            }
            let patience = next_tick.saturating_duration_since(Instant::now());
            if let Some(request) = self.http.recv_timeout(patience)? {
                self.answer(request);
            }
        }
        self.site.save();
        Ok(())
    }

    fn answer(&mut self, request: Request) {
        // The relay lets nothing else through.
        let reply = match request.method() {
            Method::Get | Method::Head => self.site.reply(request.url(), Instant::now()),
            _ => return,
        };
        let response = response(reply, if_none_match(&request));
        if let Err(error) = request.respond(response) {
            log::debug!("the web relay did not take an answer: {error}");
        }
    }
}

fn if_none_match(request: &Request) -> Option<&str> {
    let header = request.headers().iter().find(|header| header.field.equiv("If-None-Match"))?;
    Some(header.value.as_str())
}

fn response(reply: Reply, known: Option<&str>) -> Response<Cursor<Vec<u8>>> {
    let Reply { code, content_type, body, etag } = reply;
    let is_known = etag.is_some() && etag.as_deref() == known;
    let (code, body) = if is_known { (304, Vec::new()) } else { (code, body) };
    // A file is asked for again each time, and then most often need not be sent.
    let caching = if etag.is_some() { "no-cache" } else { "no-store" };
    let own = [("Content-Type", content_type), ("Cache-Control", caching)];
    let etag = etag.iter().map(|etag| ("ETag", etag.as_str()));
    let headers = HEADERS.into_iter().chain(own).chain(etag);
    // All of them are ASCII, so none is lost.
    let headers = headers.filter_map(|(name, value)| Header::from_bytes(name, value).ok()).collect();
    let len = body.len();
    // Never in chunks: the relay wants to know the length.
    Response::new(StatusCode(code), headers, Cursor::new(body), Some(len), None).with_chunked_threshold(usize::MAX)
}
