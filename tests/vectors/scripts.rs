//! Runs the Python scripts: the vectors match the model, and the audit finds errors in an export.

use std::process::Command;

fn python(script: &str, arguments: &[&str]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(script);
    let output =
        Command::new("python3").arg(&path).args(arguments).output().expect("python3 is installed (3.9 or later)");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {arguments:?}: {}\n{out}\n{err}", path.display(), output.status);
}

#[test]
fn vectors_match_the_model() {
    python("generate.py", &["--check"]);
}

#[test]
fn the_audit_finds_differences() {
    python("audit_test.py", &[]);
}
