//! Errors of this crate, and how failed calls become a [`BitcoindError`].

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use p2pool_core::status::BitcoindError;
use thiserror::Error;

use crate::method::Method;

/// Why a thread of this crate cannot be opened.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The configured host does not fit into a URL.
    #[error("bitcoind's host '{0}' is neither a host name nor an address")]
    Host(String),
    /// The directory for found blocks cannot be used.
    #[error("the directory for found blocks, {path}: {source}")]
    BlocksDir { path: PathBuf, source: io::Error },
}

/// Message of the error that ends a long poll when bitcoind shuts down; the code is [`code::NOT_CONNECTED`].
const SHUTTING_DOWN: &str = "Shutting down";

/// bitcoind's error codes that mean a state it leaves by itself (its `rpc/protocol.h`).
mod code {
    pub const NOT_CONNECTED: i64 = -9;
    pub const INITIAL_DOWNLOAD: i64 = -10;
    pub const WARMING_UP: i64 = -28;
}

/// Classifies a JSON-RPC error.
pub(crate) fn of_code(code: i64, message: String) -> BitcoindError {
    match code {
        code::NOT_CONNECTED if message.contains(SHUTTING_DOWN) => BitcoindError::Stopping,
        code::NOT_CONNECTED => BitcoindError::NoPeers(message),
        code::INITIAL_DOWNLOAD => BitcoindError::Syncing { percent: None },
        code::WARMING_UP => BitcoindError::Starting(message),
        _ => BitcoindError::Rpc { code, message },
    }
}

/// Classifies a response without JSON by its HTTP status. bitcoind's 403 has an empty body, and so has its 503 while it shuts
/// down: then the text says what the status means.
pub(crate) fn of_http_status(method: Method, status: u16, body: &[u8]) -> BitcoindError {
    let body = excerpt(&String::from_utf8_lossy(body));
    let or = |meaning: &str| if body.is_empty() { meaning.to_owned() } else { body.clone() };
    match status {
        403 => BitcoindError::Forbidden {
            method: method.name(),
            reason: or("its -rpcwhitelist lacks it, or its -rpcallowip lacks this machine"),
        },
        503 => {
            let why = or("its work queue is full (-rpcworkqueue), or it is shutting down");
            BitcoindError::NoResponse(format!("HTTP status {status}: {why}"))
        }
        _ => BitcoindError::InvalidResponse(format!("HTTP status {status}: {}", or("no text"))),
    }
}

/// Classifies a failure below JSON-RPC. `timeout` is what the response had.
pub(crate) fn of_transport(error: ureq::Error, timeout: Option<Duration>) -> BitcoindError {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            BitcoindError::Unreachable("connecting takes too long".to_owned())
        }
        ureq::Error::Timeout(kind) => BitcoindError::NoResponse(match timeout {
            Some(timeout) => format!("{kind} timeout, {} s", timeout.as_secs()),
            None => format!("{kind} timeout"),
        }),
        ureq::Error::HostNotFound => BitcoindError::Unreachable("there is no such host".to_owned()),
        ureq::Error::Io(error) => BitcoindError::Unreachable(io_message(&error)),
        ureq::Error::BodyExceedsLimit(limit) => BitcoindError::InvalidResponse(format!("more than {limit} bytes")),
        other => BitcoindError::InvalidResponse(excerpt(&other.to_string())),
    }
}

/// Returns whether two errors mean the same state of bitcoind, whatever their details: only a change is logged.
pub(crate) fn is_same_state(one: &BitcoindError, other: &BitcoindError) -> bool {
    match (one, other) {
        (BitcoindError::Rpc { code: one, .. }, BitcoindError::Rpc { code: other, .. }) => one == other,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// Returns whether bitcoind understood the request and sent this error: the connection is in order.
pub(crate) fn is_response(error: &BitcoindError) -> bool {
    matches!(error, BitcoindError::Syncing { .. } | BitcoindError::Rpc { .. })
}

/// Returns whether the error means that bitcoind has ended or is about to: the next response is of another process, which
/// may have other settings.
pub(crate) fn is_restart(error: &BitcoindError) -> bool {
    match error {
        BitcoindError::Unreachable(_)
        | BitcoindError::Stopping
        | BitcoindError::Starting(_)
        // It removes its cookie at the end, and writes another one at the start.
        | BitcoindError::NoCookie(_)
        | BitcoindError::CookieUnreadable { .. }
        | BitcoindError::Unauthorised(_) => true,
        BitcoindError::NoResponse(_)
        | BitcoindError::Syncing { .. }
        | BitcoindError::NoPeers(_)
        | BitcoindError::WrongNetwork { .. }
        | BitcoindError::Forbidden { .. }
        | BitcoindError::InvalidResponse(_)
        | BitcoindError::UnusableTemplate(_)
        | BitcoindError::Rpc { .. } => false,
    }
}

/// The system's message without the error number.
pub(crate) fn io_message(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(&*text, |(message, _)| message).to_owned()
}

/// Most characters of foreign text in a log line.
const EXCERPT_CHARS_MAX: usize = 120;

/// The beginning of `text` on one line, without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    let mut chars = text.trim().chars();
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = chars.by_ref().take(EXCERPT_CHARS_MAX).map(clean).collect();
    if chars.next().is_some() {
        out.push_str(" ...");
    }
    out
}

#[cfg(test)]
mod tests;
