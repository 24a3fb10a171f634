//! Waiting for a condition instead of for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at: short beside everything waited for, long beside one look.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value; panics, naming `what`, when `timeout` has passed without.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < timeout, "waited {timeout:?} in vain for {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds; panics, naming `what`, when `timeout` has passed without.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, timeout, || condition().then_some(()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_the_condition_gave() {
        let mut looks = 0;
        let value = wait_for("three looks", Duration::from_secs(10), || {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!((value, looks), ("there", 3));
    }

    #[test]
    #[should_panic(expected = "in vain for rain in the desert")]
    fn it_gives_up_at_the_timeout_and_says_what_was_missing() {
        wait_until("rain in the desert", Duration::from_millis(1), || false);
    }
}
