//! Credentials for bitcoind: user and password, or the cookie in one of several files.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use base64::prelude::{Engine as _, BASE64_STANDARD};
use p2pool_core::config::RpcAuth;
use p2pool_core::status::BitcoindError;
use ureq::http::header::HeaderValue;

use crate::error::io_message;

/// Most bytes read from a cookie file; bitcoind's cookie has 75.
const COOKIE_BYTES_MAX: u64 = 4_096;

/// Credentials as sent.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) authorization: HeaderValue,
    /// Description for error messages.
    origin: String,
    /// Index of the cookie file; 0 for user and password.
    index: usize,
}

/// Selects the credentials to send, and remembers which cookie file worked last.
///
/// A killed bitcoind leaves its cookie behind, and another bitcoind may run with another directory. So a rejected cookie
/// only means that the next file is to be tried.
pub(crate) struct Keyring {
    auth: RpcAuth,
    /// Credentials to send again; `None` if the cookie has to be read.
    cached: Option<Credentials>,
    /// Index of the cookie file to try first: the one that worked last.
    first: usize,
}

impl Keyring {
    /// Makes a keyring; reads no file yet.
    pub(crate) fn new(auth: RpcAuth) -> Self {
        Self { auth, cached: None, first: 0 }
    }

    /// Returns the credentials to send. `rejected` are those that bitcoind has rejected for the same request.
    ///
    /// # Errors
    /// No cookie can be read, or bitcoind has rejected all that can.
    pub(crate) fn next(&mut self, rejected: &[Credentials]) -> Result<Credentials, BitcoindError> {
        if let (Some(cached), []) = (&self.cached, rejected) {
            return Ok(cached.clone());
        }
        let found = match &self.auth {
            // The cached cookie, then each file. This also bounds the tries if a file is rewritten all the time.
            RpcAuth::CookieFiles(paths) if rejected.len() <= paths.len() => read_cookie(paths, self.first, rejected),
            RpcAuth::UserPassword { user, password } if rejected.is_empty() => Ok(Some(Credentials {
                authorization: basic(&format!("{user}:{password}")),
                origin: format!("{:?}", self.auth),
                index: 0,
            })),
            _ => Ok(None),
        };
        match found {
            Ok(Some(credentials)) => Ok(self.cached.insert(credentials).clone()),
            Ok(None) => Err(BitcoindError::Unauthorised(origins(rejected))),
            // The right cookie may be in the unreadable file.
            Err(BitcoindError::CookieUnreadable { path, reason, closed }) if !rejected.is_empty() => {
                let place = closed.map_or_else(String::new, |dir| format!(" of {}", dir.display()));
                let (tried, path) = (origins(rejected), path.display());
                Err(BitcoindError::Unauthorised(format!("{tried}; {path} cannot be read: {reason}{place}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers the cookie file that bitcoind has accepted.
    pub(crate) fn accepted(&mut self, credentials: &Credentials) {
        self.first = credentials.index;
    }

    /// Has the cookie read again for the next request: bitcoind writes a new one at each start.
    pub(crate) fn forget_cookie(&mut self) {
        if matches!(self.auth, RpcAuth::CookieFiles(_)) {
            self.cached = None;
        }
    }

    /// The credentials; their `Debug` output has no secrets.
    pub(crate) fn auth(&self) -> &RpcAuth {
        &self.auth
    }
}

fn origins(rejected: &[Credentials]) -> String {
    let mut origins: Vec<&str> = rejected.iter().map(|credentials| credentials.origin.as_str()).collect();
    // The cached cookie may be from the same file as the one after it.
    origins.dedup();
    origins.join(", ")
}

/// Reads bitcoind's cookie, one line of the form `user:password`. Tries the files in order, beginning at index `first` and
/// wrapping around, and skips cookies in `rejected`. Returns `None` if all readable cookies are rejected.
fn read_cookie(
    paths: &[PathBuf],
    first: usize,
    rejected: &[Credentials],
) -> Result<Option<Credentials>, BitcoindError> {
    let mut unreadable = None;
    let mut is_any_read = false;
    let files = paths.iter().enumerate();
    for (index, path) in files.clone().skip(first).chain(files.take(first)) {
        match read_line(path) {
            Ok(cookie) => {
                is_any_read = true;
                let authorization = basic(&cookie);
                if rejected.iter().all(|credentials| credentials.authorization != authorization) {
                    let origin = format!("cookie file {}", path.display());
                    return Ok(Some(Credentials { authorization, origin, index }));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let (reason, closed) = (io_message(&error), closed_directory(path));
                unreadable.get_or_insert(BitcoindError::CookieUnreadable { path: path.clone(), reason, closed });
            }
        }
    }
    match unreadable {
        Some(error) => Err(error),
        None if is_any_read => Ok(None),
        None => Err(BitcoindError::NoCookie(paths.to_vec())),
    }
}

fn read_line(path: &Path) -> std::io::Result<String> {
    let mut cookie = String::new();
    File::open(path)?.take(COOKIE_BYTES_MAX).read_to_string(&mut cookie)?;
    Ok(cookie.trim_end_matches(['\r', '\n']).to_owned())
}

/// Returns the first directory above a file, from the root, that this process may not enter.
fn closed_directory(file: &Path) -> Option<PathBuf> {
    let above: Vec<&Path> = file.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
    let is_closed = |dir: &Path| {
        // Metadata of an entry, unlike that of the directory, needs the right to enter it.
        dir.join(".").metadata().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    above.into_iter().rev().find(|dir| is_closed(dir)).map(Path::to_owned)
}

/// Returns the header value of HTTP basic authentication (RFC 7617).
fn basic(credentials: &str) -> HeaderValue {
    let text = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    let mut value = HeaderValue::from_str(&text).expect("base64 is printable ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests;
