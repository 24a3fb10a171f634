//! The files of the dashboard, built into the program. A new file in `assets/` must be added to the table here.

use bitcoin::hashes::{sha256, Hash as _};

/// A file of the dashboard.
pub struct Asset {
    pub path: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
    /// Entity tag of its content, quoted.
    pub etag: String,
}

macro_rules! files {
    [$($file:literal),* $(,)?] => {
        [$((concat!("/", $file), include_bytes!(concat!("../assets/", $file)).as_slice())),*]
    };
}

/// Returns all files.
pub fn all() -> Vec<Asset> {
    let table = files![
        "index.html",
        "style.css",
        "icon.svg",
        "api.js",
        "app.js",
        "blocks.js",
        "cards.js",
        "dialog.js",
        "dom.js",
        "format.js",
        "graphs.js",
        "identity.js",
        "miners.js",
        "more.js",
        "payouts.js",
        "peers.js",
        "problems.js",
        "shares.js",
        "tree.js",
    ];
    table.into_iter().map(|(path, bytes)| asset(path, bytes)).collect()
}

fn asset(path: &'static str, bytes: &'static [u8]) -> Asset {
    let content_type = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    let path = if path == "/index.html" { "/" } else { path };
    let etag = format!("\"{:.16}\"", sha256::Hash::hash(bytes).to_string());
    Asset { path, content_type, bytes, etag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_is_small() {
        let len: usize = all().iter().map(|asset| asset.bytes.len()).sum();
        assert!(len < 150_000, "{len} bytes");
    }

    #[test]
    fn every_file_is_in_the_table() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), all().len());
    }

    #[test]
    fn every_file_has_its_own_etag() {
        let etags: std::collections::HashSet<_> = all().into_iter().map(|asset| asset.etag).collect();
        assert_eq!(etags.len(), all().len());
        assert!(etags.iter().all(|etag| etag.len() == 18), "{etags:?}");
    }
}
