//! `p2pool status` and the like: what the running node says, from the JSON API, and `p2pool ban` and the like: what it is made to do.
//! Both through the Unix socket in its data directory.

mod table;

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::args::{Instruction, InstructionKind, Question};
use crate::settings::peer_multiaddr;
use crate::STATUS_USAGE;

/// Timeout of each step; the node responds at once unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a response: the largest document is below 8 MiB.
const RESPONSE_LEN_MAX: u64 = 16 * 1024 * 1024;
/// Exit status of `health` if the node is not healthy, and of instructions that it refuses.
const STATUS_REFUSED: u8 = 1;
/// Exit status if no node runs.
const STATUS_NO_RESPONSE: u8 = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(
        "no node runs with its data in {}: give the flags of its chain (-network, -data-dir, -chain-name, -share-period), or start it", .0.display()
    )]
    NotRunning(PathBuf),
    #[error("this user may not ask the node in {}: run this with sudo, or as the user that the node runs as", .0.display())]
    NotPermitted(PathBuf),
    #[error("no response from the node in {}: {cause}", .chain_dir.display())]
    NoResponse { chain_dir: PathBuf, cause: io::Error },
}

/// Asks the node that uses this directory, and prints what it says: as the API has it, or as tables.
pub fn run(question: Question, as_json: bool, chain_dir: &Path) -> ExitCode {
    match request(chain_dir, "GET", path(question)) {
        Ok((status, body)) => {
            let text = match serde_json::from_str(&body) {
                Ok(document) if !as_json => table::text(question, &document),
                _ => body.trim_end().to_owned() + "\n",
            };
            print(&text);
            match question == Question::Health && status != 200 {
                true => ExitCode::from(STATUS_REFUSED),
                false => ExitCode::SUCCESS,
            }
        }
        Err(cause) => no_response(cause, chain_dir),
    }
}

/// Has the node that uses this directory do something, and prints what it says about that.
pub fn instruct(instruction: &Instruction, hours: Option<u32>, as_json: bool, chain_dir: &Path) -> ExitCode {
    let Some(target) = target(instruction, hours) else {
        eprintln!("p2pool: {:?} is not {}", instruction.word, instruction.kind.word());
        return ExitCode::from(STATUS_USAGE);
    };
    let (status, body) = match request(chain_dir, "POST", &target) {
        Ok(response) => response,
        Err(cause) => return no_response(cause, chain_dir),
    };
    let document: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let says = |key: &str| document[key].as_str().unwrap_or(&body).to_owned() + "\n";
    match (status, as_json) {
        (_, true) => print(&(body.trim_end().to_owned() + "\n")),
        (200, false) => print(&says("done")),
        (_, false) => eprint!("p2pool: {}", says("error")),
    }
    ExitCode::from(if status == 200 { 0 } else { STATUS_REFUSED })
}

/// Returns the target of the request; `None` if the word cannot be part of one.
fn target(instruction: &Instruction, hours: Option<u32>) -> Option<String> {
    let Instruction { kind, word } = instruction;
    let value = match kind {
        InstructionKind::Connect if !word.starts_with('/') => peer_multiaddr(word)?,
        _ => word.clone(),
    };
    let hours = hours.map(|hours| format!("&hours={hours}")).unwrap_or_default();
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && !b"&#?".contains(&byte));
    is_plain.then(|| format!("/command/{}?value={value}{hours}", kind.name()))
}

/// Prints a text. A closed pipe (`| head`) is no error.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}

fn no_response(cause: io::Error, chain_dir: &Path) -> ExitCode {
    let chain_dir = chain_dir.to_owned();
    let error = match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(chain_dir),
        io::ErrorKind::PermissionDenied => AskError::NotPermitted(chain_dir),
        _ => AskError::NoResponse { chain_dir, cause },
    };
    eprintln!("p2pool: {error}");
    ExitCode::from(STATUS_NO_RESPONSE)
}

/// Path of the document in the API.
const fn path(question: Question) -> &'static str {
    match question {
        Question::Health => "/healthz",
        Question::Status => "/api/v1/status",
        Question::Miners => "/api/v1/miners",
        Question::Peers => "/api/v1/peers",
        Question::Bans => "/api/v1/bans",
        Question::Shares => "/api/v1/shares",
        Question::Payouts => "/api/v1/payouts",
        Question::Blocks => "/api/v1/blocks",
    }
}

/// Returns the HTTP status and the body of a response.
fn request(chain_dir: &Path, method: &str, target: &str) -> io::Result<(u16, String)> {
    let mut socket = p2pool_http::connect(chain_dir)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    write!(socket, "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    socket.take(RESPONSE_LEN_MAX).read_to_string(&mut response)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not HTTP");
    let (head, body) = response.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    Ok((status, body.to_owned()))
}
