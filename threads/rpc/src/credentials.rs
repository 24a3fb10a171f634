//! What proves to bitcoind who we are: a password, or the cookie of the one bitcoind out of several places that takes it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use base64::prelude::{Engine as _, BASE64_STANDARD};
use p2pool_core::config::RpcAuth;
use p2pool_core::status::BitcoindError;
use ureq::http::header::HeaderValue;

use crate::error::io_message;

/// Bytes of a cookie file at most; bitcoind's has 75.
const COOKIE_BYTES_MAX: u64 = 4_096;

/// Credentials as they are sent.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) authorization: HeaderValue,
    /// Where they are from, for error messages.
    origin: String,
    /// Of cookie files, which.
    place: usize,
}

/// The credentials to send, and which cookie file worked last.
///
/// A bitcoind that was killed leaves its cookie behind, and another one may run elsewhere: so a cookie that is refused
/// only means that the next place is to be looked at.
pub(crate) struct Keyring {
    auth: RpcAuth,
    /// `None`: not needed yet, or the cookie is to be read again.
    kept: Option<Credentials>,
    /// The cookie file to begin with: the one that worked last.
    first: usize,
}

impl Keyring {
    /// Reads nothing yet.
    pub(crate) fn new(auth: RpcAuth) -> Self {
        Self { auth, kept: None, first: 0 }
    }

    /// What to send; `refused` are those that bitcoind has refused to the same question.
    ///
    /// # Errors
    /// No cookie can be read, or all that can were refused.
    pub(crate) fn present(&mut self, refused: &[Credentials]) -> Result<Credentials, BitcoindError> {
        if let (Some(kept), []) = (&self.kept, refused) {
            return Ok(kept.clone());
        }
        let found = match &self.auth {
            // A kept cookie and then each file; whoever rewrites a file all the time gets no more than that.
            RpcAuth::CookieFiles(paths) if refused.len() <= paths.len() => read_cookie(paths, self.first, refused),
            RpcAuth::UserPassword { user, password } if refused.is_empty() => Ok(Some(Credentials {
                authorization: basic(&format!("{user}:{password}")),
                origin: format!("{:?}", self.auth),
                place: 0,
            })),
            _ => Ok(None),
        };
        match found {
            Ok(Some(credentials)) => Ok(self.kept.insert(credentials).clone()),
            Ok(None) => Err(BitcoindError::Unauthorised(origins(refused))),
            // The right one may be among those that may not be read.
            Err(BitcoindError::CookieUnreadable { path, reason }) if !refused.is_empty() => {
                Err(BitcoindError::Unauthorised(format!(
                    "{}; {} cannot be read: {reason}",
                    origins(refused),
                    path.display()
                )))
            }
            Err(error) => Err(error),
        }
    }

    /// bitcoind took these: they are the first to be tried from now on.
    pub(crate) fn taken(&mut self, credentials: &Credentials) {
        self.first = credentials.place;
    }

    /// bitcoind writes a new cookie at each start, so after an error the next question reads it anew.
    pub(crate) fn forget_cookie(&mut self) {
        if matches!(self.auth, RpcAuth::CookieFiles(_)) {
            self.kept = None;
        }
    }

    /// Without secrets.
    pub(crate) fn auth(&self) -> &RpcAuth {
        &self.auth
    }
}

fn origins(refused: &[Credentials]) -> String {
    let mut origins: Vec<&str> = refused.iter().map(|credentials| credentials.origin.as_str()).collect();
    // A kept cookie and the same file's new one.
    origins.dedup();
    origins.join(", ")
}

/// bitcoind's cookie, whose one line is `user:password`: of the first file, from `first` on and around, that can be read
/// and holds none of the `refused`. `None`: there is none but those.
fn read_cookie(paths: &[PathBuf], first: usize, refused: &[Credentials]) -> Result<Option<Credentials>, BitcoindError> {
    let mut unreadable = None;
    let mut is_any_read = false;
    let places = paths.iter().enumerate();
    for (place, path) in places.clone().skip(first).chain(places.take(first)) {
        match read_line(path) {
            Ok(cookie) => {
                is_any_read = true;
                let authorization = basic(&cookie);
                if refused.iter().all(|credentials| credentials.authorization != authorization) {
                    let origin = format!("cookie file {}", path.display());
                    return Ok(Some(Credentials { authorization, origin, place }));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let reason = io_message(&error);
                unreadable.get_or_insert(BitcoindError::CookieUnreadable { path: path.clone(), reason });
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

/// HTTP's basic authentication (RFC 7617).
fn basic(credentials: &str) -> HeaderValue {
    let text = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    let mut value = HeaderValue::from_str(&text).expect("base64 is printable ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests;
