//! Room for as many sockets as sessions: the system's usual limit on open files is just too low for a thousand miners.

use nix::errno::Errno;
use nix::sys::resource::{getrlimit, rlim_t, setrlimit, Resource};

/// Files that the rest of the process may have open: store, bitcoind, peers, browsers.
const OTHER_FILES: rlim_t = 512;

/// Raises the process's own limit as far as it may, and says so if that is not enough.
///
/// A sandbox may forbid to read the limit and to set it; that is no reason to end.
pub fn make_room_for(sessions_max: usize) {
    let wanted = sessions_max as rlim_t + OTHER_FILES;
    let set = |current, maximum| setrlimit(Resource::RLIMIT_NOFILE, current, maximum);
    if let Some(complaint) = make_room(wanted, getrlimit(Resource::RLIMIT_NOFILE), set) {
        log::warn!("{complaint}, perhaps too few for {sessions_max} miners; raise the limit (LimitNOFILE) to {wanted}");
    }
}

/// Raises the `limits` read, present and greatest, with `set`; what there is to complain of otherwise.
fn make_room(
    wanted: rlim_t,
    limits: Result<(rlim_t, rlim_t), Errno>,
    set: impl FnOnce(rlim_t, rlim_t) -> Result<(), Errno>,
) -> Option<String> {
    let (current, maximum) = match limits {
        Ok(limits) => limits,
        Err(error) => return Some(format!("how many files may be open cannot be found out ({error})")),
    };
    let raised = raised(current, maximum, wanted)?;
    let limit = if set(raised, maximum).is_ok() { raised } else { current };
    (limit < wanted).then(|| format!("only {limit} files may be open"))
}

/// The limit to ask for, if the present one is too low; no limit is the greatest number.
fn raised(current: rlim_t, maximum: rlim_t, wanted: rlim_t) -> Option<rlim_t> {
    (current < wanted).then(|| wanted.min(maximum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_only_ever_raised_and_within_the_maximum() {
        assert_eq!(raised(1_024, 524_288, 1_512), Some(1_512));
        assert_eq!(raised(1_024, 1_200, 1_512), Some(1_200));
        assert_eq!(raised(1_024, rlim_t::MAX, 1_512), Some(1_512));
        assert_eq!(raised(4_096, 4_096, 1_512), None);
        assert_eq!(raised(rlim_t::MAX, rlim_t::MAX, 1_512), None);
    }

    #[test]
    fn what_the_system_refuses_is_said_and_nothing_else_happens() {
        let unused = |_, _| -> Result<(), Errno> { unreachable!("a limit not known is not set") };
        let complaint = make_room(1_512, Err(Errno::EPERM), unused).unwrap();
        assert!(complaint.contains("EPERM"), "{complaint}");
        let refused = make_room(1_512, Ok((1_024, 4_096)), |_, _| Err(Errno::EPERM));
        assert_eq!(refused.as_deref(), Some("only 1024 files may be open"));
        let too_low = make_room(1_512, Ok((1_024, 1_200)), |_, _| Ok(()));
        assert_eq!(too_low.as_deref(), Some("only 1200 files may be open"));
        let set = |current, maximum| {
            assert_eq!((current, maximum), (1_512, 4_096));
            Ok(())
        };
        assert_eq!(make_room(1_512, Ok((1_024, 4_096)), set), None);
    }
}
