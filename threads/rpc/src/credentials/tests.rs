use std::fs;

use tempfile::TempDir;

use super::*;

/// Three places for a cookie, none of them there.
fn places() -> (TempDir, [PathBuf; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let places = ["a", "b", "c"].map(|name| folder.path().join(name));
    (folder, places)
}

fn keyring(places: &[PathBuf]) -> Keyring {
    Keyring::new(RpcAuth::CookieFiles(places.to_vec()))
}

/// Presents credentials until `right` are among them; gives what was presented, or the error.
fn search(keyring: &mut Keyring, right: &str) -> (Vec<String>, Option<String>) {
    let mut refused = Vec::new();
    let text = |credentials: &Credentials| {
        let value = credentials.authorization.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(BASE64_STANDARD.decode(value).unwrap()).unwrap()
    };
    loop {
        match keyring.present(&refused) {
            Ok(credentials) if text(&credentials) == right => {
                keyring.taken(&credentials);
                return (refused.iter().chain([&credentials]).map(text).collect(), None);
            }
            Ok(credentials) => refused.push(credentials),
            Err(error) => return (refused.iter().map(text).collect(), Some(error.to_string())),
        }
    }
}

#[test]
fn a_cookie_that_may_not_be_read_is_named_with_the_reason_and_another_one_still_serves() {
    let (_folder, [missing, closed, good]) = places();
    // A file in a folder's place: an error other than "not there", also for the superuser.
    fs::write(&closed, "").unwrap();
    let closed = closed.join("cookie");
    let mut keyring = keyring(&[missing, closed.clone(), good.clone()]);
    let error = keyring.present(&[]).err().unwrap();
    assert!(error.to_string().contains(&format!("read: {}: Not a directory", closed.display())), "{error}");
    assert!(error.advice().contains("rpccookieperms=group"), "{}", error.advice());
    fs::write(&good, "user:password\n").unwrap();
    assert_eq!(search(&mut keyring, "user:password"), (vec!["user:password".to_owned()], None));
}

#[test]
fn the_places_go_round_from_the_one_that_worked_last() {
    let (_folder, places) = places();
    let write = |cookies: [&str; 3]| places.iter().zip(cookies).for_each(|(path, text)| fs::write(path, text).unwrap());
    write(["x:1", "x:2", "x:3"]);
    let mut keyring = keyring(&places);
    assert_eq!(search(&mut keyring, "x:2").0, ["x:1", "x:2"]);
    assert_eq!(search(&mut keyring, "x:2").0, ["x:2"], "kept");
    keyring.forget_cookie();
    assert_eq!(search(&mut keyring, "x:2").0, ["x:2"], "read first");
    // The same bitcoind, started again.
    write(["x:1", "x:4", "x:3"]);
    assert_eq!(search(&mut keyring, "x:4").0, ["x:2", "x:4"]);
    // Another one, elsewhere; each place is asked once.
    write(["x:5", "x:4", "x:3"]);
    assert_eq!(search(&mut keyring, "x:5").0, ["x:4", "x:3", "x:5"]);
    // What is the same text need not be refused twice.
    write(["x:3", "x:3", "x:3"]);
    keyring.forget_cookie();
    assert_eq!(search(&mut keyring, "x:6").0, ["x:3"]);
}

#[test]
fn where_all_are_refused_they_are_named_and_so_is_one_that_could_not_be_read() {
    let (_folder, [first, second, closed]) = places();
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
    // A kept cookie was refused, and its file is gone: bitcoind is stopping.
    let mut one = keyring(std::slice::from_ref(&first));
    search(&mut one, "x:1");
    fs::remove_file(&first).unwrap();
    let error = search(&mut one, "x:4").1.unwrap();
    assert!(error.contains("has left no cookie in"), "{error}");
}

#[test]
fn a_file_that_is_rewritten_all_the_time_ends_the_search_as_well() {
    let (_folder, places) = places();
    let mut keyring = keyring(&places[..1]);
    let mut refused = Vec::new();
    for number in 0.. {
        fs::write(&places[0], format!("x:{number}")).unwrap();
        match keyring.present(&refused) {
            Ok(credentials) => refused.push(credentials),
            Err(error) => {
                assert!(matches!(error, BitcoindError::Unauthorised(_)), "{error}");
                break;
            }
        }
    }
    assert_eq!(refused.len(), 2);
}
