//! The limit on open files, whose usual default is too low for a thousand miners.

use nix::errno::Errno;
use nix::sys::resource::{getrlimit, rlim_t, setrlimit, Resource};

/// Number of files that the rest of the process may open: store, bitcoind, peers, browsers.
const OTHER_FILES: rlim_t = 512;

/// Raises the process's limit for this number of sessions, as far as is allowed, and warns if that is not enough.
///
/// A sandbox may forbid reading or setting the limit, which is not an error.
pub fn raise_for(sessions_max: usize) {
    let wanted = sessions_max as rlim_t + OTHER_FILES;
    let set = |current, maximum| setrlimit(Resource::RLIMIT_NOFILE, current, maximum);
    if let Some(problem) = raise_to(wanted, getrlimit(Resource::RLIMIT_NOFILE), set) {
        log::warn!(
            "{problem}, which may be too few for {sessions_max} miners: raise the limit (LimitNOFILE) to {wanted}"
        );
    }
}

/// Raises the limit with `set`; `limits` are the current and the maximum one. Returns the problem if it stays too low.
fn raise_to(
    wanted: rlim_t,
    limits: Result<(rlim_t, rlim_t), Errno>,
    set: impl FnOnce(rlim_t, rlim_t) -> Result<(), Errno>,
) -> Option<String> {
    let (current, maximum) = match limits {
        Ok(limits) => limits,
        Err(error) => return Some(format!("the limit on open files is unknown ({error})")),
    };
    let raised = raised(current, maximum, wanted)?;
    let limit = if set(raised, maximum).is_ok() { raised } else { current };
    (limit < wanted).then(|| format!("the limit on open files is {limit}"))
}

/// The limit to set, if the current one is too low. No limit is represented by the greatest number.
fn raised(current: rlim_t, maximum: rlim_t, wanted: rlim_t) -> Option<rlim_t> {
    (current < wanted).then(|| wanted.min(maximum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_only_raised_and_stays_within_the_maximum() {
        assert_eq!(raised(1_024, 524_288, 1_512), Some(1_512));
        assert_eq!(raised(1_024, 1_200, 1_512), Some(1_200));
        assert_eq!(raised(1_024, rlim_t::MAX, 1_512), Some(1_512));
        assert_eq!(raised(4_096, 4_096, 1_512), None);
        assert_eq!(raised(rlim_t::MAX, rlim_t::MAX, 1_512), None);
    }

    #[test]
    fn failures_are_reported() {
        let unused = |_, _| -> Result<(), Errno> { unreachable!("an unknown limit is not set") };
        let problem = raise_to(1_512, Err(Errno::EPERM), unused).unwrap();
        assert!(problem.contains("EPERM"), "{problem}");
        let refused = raise_to(1_512, Ok((1_024, 4_096)), |_, _| Err(Errno::EPERM));
        assert_eq!(refused.as_deref(), Some("the limit on open files is 1024"));
        let too_low = raise_to(1_512, Ok((1_024, 1_200)), |_, _| Ok(()));
        assert_eq!(too_low.as_deref(), Some("the limit on open files is 1200"));
        let set = |current, maximum| {
            assert_eq!((current, maximum), (1_512, 4_096));
            Ok(())
        };
        assert_eq!(raise_to(1_512, Ok((1_024, 4_096)), set), None);
    }
}
