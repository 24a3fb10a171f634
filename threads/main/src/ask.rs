//! `p2pool health`, `status`, `miners`, `peers`, `bans`, `payouts` and `blocks`: what the running node says, from the JSON API, through the
//! Unix socket in its data directory.

mod table;

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::args::Question;

/// Timeout of each step; the node responds at once unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a response: the largest document is below 8 MiB.
const RESPONSE_LEN_MAX: u64 = 16 * 1024 * 1024;
/// Exit status of `health` if the node is not healthy.
const STATUS_UNHEALTHY: u8 = 1;
/// Exit status if there is no response.
const STATUS_NO_RESPONSE: u8 = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(
        "no node runs with its data in {}: give its own -network, -data-dir and -chain-name, or start it", .0.display()
    )]
    NotRunning(PathBuf),
    #[error("this user may not ask the node in {}: run this with sudo, or as the user that the node runs as", .0.display())]
    NotPermitted(PathBuf),
    #[error("no response from the node in {}: {cause}", .chain_dir.display())]
    NoResponse { chain_dir: PathBuf, cause: io::Error },
}

/// Asks the node that uses this directory, and prints what it says: as the API has it, or as tables.
pub fn run(question: Question, as_json: bool, chain_dir: &Path) -> ExitCode {
    match request(chain_dir, path(question)) {
        Ok((status, body)) => {
            let text = match serde_json::from_str(&body) {
                Ok(document) if !as_json => table::text(question, &document),
                _ => body.trim_end().to_owned() + "\n",
            };
            // A closed pipe (`| head`) is no error.
            drop(io::stdout().write_all(text.as_bytes()));
            match question == Question::Health && status != 200 {
                true => ExitCode::from(STATUS_UNHEALTHY),
                false => ExitCode::SUCCESS,
            }
        }
        Err(cause) => {
            let chain_dir = chain_dir.to_owned();
            let error = match cause.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(chain_dir),
                io::ErrorKind::PermissionDenied => AskError::NotPermitted(chain_dir),
                _ => AskError::NoResponse { chain_dir, cause },
            };
            eprintln!("p2pool: {error}");
            ExitCode::from(STATUS_NO_RESPONSE)
        }
    }
}

/// Path of the document in the API.
const fn path(question: Question) -> &'static str {
    match question {
        Question::Health => "/healthz",
        Question::Status => "/api/v1/status",
        Question::Miners => "/api/v1/miners",
        Question::Peers => "/api/v1/peers",
        Question::Bans => "/api/v1/bans",
        Question::Payouts => "/api/v1/payouts",
        Question::Blocks => "/api/v1/blocks",
    }
}

/// Returns the HTTP status and the body of a response.
fn request(chain_dir: &Path, path: &str) -> io::Result<(u16, String)> {
    let mut socket = p2pool_http::connect(chain_dir)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    socket.take(RESPONSE_LEN_MAX).read_to_string(&mut response)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not HTTP");
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    Ok((status, body.to_owned()))
}
