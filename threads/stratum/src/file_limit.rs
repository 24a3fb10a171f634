//! Room for as many sockets as sessions: the system's usual limit on open files is just too low for a thousand miners.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Files that the rest of the process may have open: store, bitcoind, peers, browsers.
const OTHER_FILES: u64 = 512;

/// Raises the process's own limit as far as it may, and says so if that is not enough.
pub fn make_room_for(sessions_max: usize) {
    let wanted = sessions_max as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(raised) = raised(current, maximum, wanted) else { return };
    let result = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    let limit = if result.is_ok() { raised } else { current.unwrap_or(raised) };
    if limit < wanted {
        log::warn!(
            "only {limit} files may be open, too few for {sessions_max} miners; raise the limit (LimitNOFILE) to {wanted}"
        );
    }
}

/// The limit to ask for, if the present one is too low; `None` stands for no limit.
fn raised(current: Option<u64>, maximum: Option<u64>, wanted: u64) -> Option<u64> {
    (current? < wanted).then(|| maximum.map_or(wanted, |maximum| wanted.min(maximum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_only_ever_raised_and_within_the_maximum() {
        assert_eq!(raised(Some(1_024), Some(524_288), 1_512), Some(1_512));
        assert_eq!(raised(Some(1_024), Some(1_200), 1_512), Some(1_200));
        assert_eq!(raised(Some(1_024), None, 1_512), Some(1_512));
        assert_eq!(raised(Some(4_096), Some(4_096), 1_512), None);
        assert_eq!(raised(None, None, 1_512), None);
    }
}
