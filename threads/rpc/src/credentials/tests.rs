use std::fs;

use tempfile::TempDir;

use super::*;

/// Three paths for cookie files that do not exist.
fn paths() -> (TempDir, [PathBuf; 3]) {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
    (dir, paths)
}

fn keyring(paths: &[PathBuf]) -> Keyring {
    Keyring::new(RpcAuth::CookieFiles(paths.to_vec()))
}

/// Takes credentials from the keyring until they are `accepted`. Returns those taken, and the error if there is one.
fn search(keyring: &mut Keyring, accepted: &str) -> (Vec<String>, Option<String>) {
    let mut rejected = Vec::new();
    let text = |credentials: &Credentials| {
        let value = credentials.authorization.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(BASE64_STANDARD.decode(value).unwrap()).unwrap()
    };
    loop {
        match keyring.next(&rejected) {
            Ok(credentials) if text(&credentials) == accepted => {
                keyring.accepted(&credentials);
                return (rejected.iter().chain([&credentials]).map(text).collect(), None);
            }
            Ok(credentials) => rejected.push(credentials),
            Err(error) => return (rejected.iter().map(text).collect(), Some(error.to_string())),
        }
    }
}

#[test]
fn an_unreadable_cookie_is_reported_and_another_one_is_used() {
    let (_dir, [missing, closed, good]) = paths();
    // A file in the place of a directory: another error than "not found", also for root.
    fs::write(&closed, "").unwrap();
    let closed = closed.join("cookie");
    let mut keyring = keyring(&[missing, closed.clone(), good.clone()]);
    let error = keyring.next(&[]).err().unwrap();
    assert!(error.to_string().contains(&format!("read: {}: Not a directory", closed.display())), "{error}");
    assert!(error.advice().contains("rpccookieperms=group"), "{}", error.advice());
    fs::write(&good, "user:password\n").unwrap();
    assert_eq!(search(&mut keyring, "user:password"), (vec!["user:password".to_owned()], None));
}

#[test]
fn the_file_that_worked_last_is_tried_first() {
    let (_dir, paths) = paths();
    let write = |cookies: [&str; 3]| paths.iter().zip(cookies).for_each(|(path, text)| fs::write(path, text).unwrap());
    write(["x:1", "x:2", "x:3"]);
    let mut keyring = keyring(&paths);
    assert_eq!(search(&mut keyring, "x:2").0, ["x:1", "x:2"]);
    assert_eq!(search(&mut keyring, "x:2").0, ["x:2"], "cached");
    keyring.forget_cookie();
    assert_eq!(search(&mut keyring, "x:2").0, ["x:2"], "read first");
    // The same bitcoind has restarted.
    write(["x:1", "x:4", "x:3"]);
    assert_eq!(search(&mut keyring, "x:4").0, ["x:2", "x:4"]);
    // Another bitcoind runs with another directory; each file is read once.
    write(["x:5", "x:4", "x:3"]);
    assert_eq!(search(&mut keyring, "x:5").0, ["x:4", "x:3", "x:5"]);
    // The same cookie is not tried twice.
    write(["x:3", "x:3", "x:3"]);
    keyring.forget_cookie();
    assert_eq!(search(&mut keyring, "x:6").0, ["x:3"]);
}

#[test]
fn if_all_are_rejected_the_error_names_them_and_the_unreadable_one() {
    let (_dir, [first, second, closed]) = paths();
    fs::write(&first, "x:1").unwrap();
    fs::write(&second, "x:2").unwrap();
    fs::write(&closed, "").unwrap();
    let closed = closed.join("cookie");
    let mut all = keyring(&[first.clone(), second.clone(), closed.clone()]);
    let error = search(&mut all, "x:3").1.unwrap();
    for part in [&first, &second].map(|path| format!("cookie file {}", path.display())) {
        assert!(error.contains(&part), "{error}");
    }
    assert!(error.contains(&format!("; {} cannot be read: Not a directory", closed.display())), "{error}");
    assert!(error.contains("HTTP status 401") && !error.contains("x:"), "{error}");
    // The cached cookie is rejected and its file is gone: bitcoind is shutting down.
    let mut one = keyring(std::slice::from_ref(&first));
    search(&mut one, "x:1");
    fs::remove_file(&first).unwrap();
    let error = search(&mut one, "x:4").1.unwrap();
    assert!(error.contains("has left no cookie in"), "{error}");
}

#[test]
fn the_search_ends_even_if_a_file_is_rewritten_all_the_time() {
    let (_dir, paths) = paths();
    let mut keyring = keyring(&paths[..1]);
    let mut rejected = Vec::new();
    for number in 0.. {
        fs::write(&paths[0], format!("x:{number}")).unwrap();
        match keyring.next(&rejected) {
            Ok(credentials) => rejected.push(credentials),
            Err(error) => {
                assert!(matches!(error, BitcoindError::Unauthorised(_)), "{error}");
                break;
            }
        }
    }
    assert_eq!(rejected.len(), 2);
}
