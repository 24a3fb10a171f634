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

macro_rules! assets {
    ($($path:literal => $file:literal, $content_type:expr;)*) => {
        [$(($path, $content_type, include_bytes!(concat!("../assets/", $file)).as_slice())),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Returns all files.
pub fn all() -> Vec<Asset> {
    let table = assets! {
        "/" => "index.html", HTML;
        "/style.css" => "style.css", CSS;
        "/icon.svg" => "icon.svg", SVG;
        "/api.js" => "api.js", JAVASCRIPT;
        "/app.js" => "app.js", JAVASCRIPT;
        "/blocks.js" => "blocks.js", JAVASCRIPT;
        "/cards.js" => "cards.js", JAVASCRIPT;
        "/dialog.js" => "dialog.js", JAVASCRIPT;
        "/dom.js" => "dom.js", JAVASCRIPT;
        "/format.js" => "format.js", JAVASCRIPT;
        "/graphs.js" => "graphs.js", JAVASCRIPT;
        "/identity.js" => "identity.js", JAVASCRIPT;
        "/miners.js" => "miners.js", JAVASCRIPT;
        "/more.js" => "more.js", JAVASCRIPT;
        "/payouts.js" => "payouts.js", JAVASCRIPT;
        "/peers.js" => "peers.js", JAVASCRIPT;
        "/problems.js" => "problems.js", JAVASCRIPT;
        "/shares.js" => "shares.js", JAVASCRIPT;
        "/silence.js" => "silence.js", JAVASCRIPT;
        "/tree.js" => "tree.js", JAVASCRIPT;
    };
    table.into_iter().map(|(path, content_type, bytes)| asset(path, content_type, bytes)).collect()
}

fn asset(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
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
