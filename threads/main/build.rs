//! Passes the commit that is built to the program, as `P2POOL_COMMIT`: that variable's value if it is set, else what `.git` at the
//! top level says. Needs no git.

use std::path::Path;

/// Digits that are shown.
const COMMIT_LEN: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=P2POOL_COMMIT");
    let git = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.git");
    // The log grows with each commit; a ref may be packed and have no file.
    for file in ["HEAD", "logs/HEAD"].map(|file| git.join(file)).into_iter().filter(|file| file.exists()) {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let commit = std::env::var("P2POOL_COMMIT").ok().or_else(|| head(&git)).unwrap_or_default();
    let is_commit = commit.len() >= COMMIT_LEN && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shown = if is_commit { &commit[..COMMIT_LEN] } else { "unknown" };
    println!("cargo::rustc-env=P2POOL_COMMIT={shown}");
}

/// Returns the commit that is checked out.
fn head(git: &Path) -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(git.join(file)).ok();
    let head = read("HEAD")?;
    let head = head.trim();
    let Some(name) = head.strip_prefix("ref: ") else { return Some(head.to_owned()) };
    let packed = || read("packed-refs")?.lines().find_map(|line| Some(line.strip_suffix(name)?.trim_end().to_owned()));
    read(name).map(|commit| commit.trim().to_owned()).or_else(packed)
}
