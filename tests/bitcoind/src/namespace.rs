//! Network namespaces (Linux, needs root, `ip` and `nft`).

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{move_into_link_name_space, LinkNameSpaceType};

/// Runs a function in a thread that is in this namespace: its sockets, threads and processes belong to it.
///
/// # Errors
/// There is no such namespace, or it is not permitted.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let file = File::open(format!("/run/netns/{namespace}"))?;
    let caller = std::thread::current().name().unwrap_or("inside").to_owned();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(caller).spawn_scoped(scope, || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `ip` with these arguments.
///
/// # Errors
/// The message of the program.
pub fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or_else(|| format!("ip {}: {message}", arguments.join(" ")))
}

/// Adds these rules of the packet filter, in the namespace of the calling thread.
///
/// # Errors
/// The message of the program.
pub fn nft(rules: &str) -> Result<(), String> {
    let path = std::env::temp_dir().join(format!("p2pool-nft-{}", std::process::id()));
    std::fs::write(&path, rules).map_err(|error| format!("{}: {error}", path.display()))?;
    let output = Command::new("nft").arg("-f").arg(&path).output().map_err(|error| format!("nft: {error}"));
    drop(std::fs::remove_file(&path));
    let output = output?;
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or_else(|| format!("nft: {message}"))
}
