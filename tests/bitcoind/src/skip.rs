//! A test that cannot run on this machine says so where somebody sees it: cargo counts it as passed and hides its output.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Names the file that gets a line for each skipped test; `contrib/test.sh` sets it and prints them in the end.
const VARIABLE: &str = "SKIPPED_TESTS_FILE";

/// Says that the calling test is skipped, and what it `needs`. Call it on the test's own thread, which has its name.
///
/// # Panics
/// The file cannot be written: the test would count as passed.
pub fn skip(needs: &str) {
    let current = std::thread::current();
    let needs = needs.trim().replace('\n', "; ");
    let line = format!("skipped: {}: needs {needs}", current.name().unwrap_or("a test"));
    eprintln!("{line}");
    if let Some(file) = std::env::var_os(VARIABLE) {
        append(Path::new(&file), &line);
    }
}

/// Tests of several processes write at once: a line is one write.
fn append(file: &Path, line: &str) {
    let opened = OpenOptions::new().append(true).create(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("{VARIABLE} is {}: {error}", file.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_skipped_test_has_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for test in ["one", "two"] {
            append(file.path(), &format!("skipped: {test}: needs root"));
        }
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, "skipped: one: needs root\nskipped: two: needs root\n");
    }

    #[test]
    #[should_panic(expected = "SKIPPED_TESTS_FILE is /nowhere/skips")]
    fn a_skip_that_nobody_would_see_fails_the_test() {
        append(Path::new("/nowhere/skips"), "skipped: this");
    }
}
