//! Where the bitcoind is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Path of the bitcoind to test with: found, or built once per machine, by `bitcoind.sh` beside this crate.
pub fn bitcoind_exe() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bitcoind.sh");
        let output = Command::new(&script)
            .stderr(std::process::Stdio::inherit())
            .output()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
        assert!(output.status.success(), "{} found no bitcoind: {}", script.display(), output.status);
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
    })
}
