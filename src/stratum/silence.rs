//! Detects workers that are connected but find nothing. Stratum has no message for it, so this is statistics.

/// By chance, one pause between submits in 160,000 is as long as twelve mean ones.
const SILENT_INTERVALS: f64 = 12.0;
/// Shorter silence is never reported: the difficulty needs this time to settle.
const SILENT_S_MIN: u32 = 180;

/// What a worker has done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activity {
    /// Seconds since its last accepted submit, or since it could submit; not while there was no work.
    pub quiet_s: u32,
    /// Seconds from its first job to its last accepted submit.
    pub mined_s: u32,
    pub accepted: u64,
    /// Sum of the difficulties of the accepted submits.
    pub credited: f64,
    /// The current difficulty, which may be new.
    pub difficulty: f64,
}

impl Activity {
    /// The seconds for which the worker has been silent; `None` if chance explains its silence.
    pub fn silent_s(&self) -> Option<u32> {
        let mined_s = f64::from(self.mined_s);
        // The mean pause so far, and the expected one at the current difficulty.
        let mean_s = if self.accepted > 0 { mined_s / self.accepted as f64 } else { 0.0 };
        let expected_s = if self.credited > 0.0 { self.difficulty * mined_s / self.credited } else { 0.0 };
        let usual_s = mean_s.max(expected_s);
        let is_silent = self.quiet_s > SILENT_S_MIN && f64::from(self.quiet_s) > SILENT_INTERVALS * usual_s;
        is_silent.then_some(self.quiet_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker with a submit of difficulty 15 every 15 s.
    const USUAL: Activity =
        Activity { quiet_s: 5, mined_s: 15_000, accepted: 1_000, credited: 15_000.0, difficulty: 15.0 };

    #[test]
    fn a_worker_is_silent_if_chance_does_not_explain_it() {
        let none = Activity { accepted: 0, credited: 0.0, mined_s: 0, ..USUAL };
        for (activity, silent_s) in [
            (USUAL, None),
            (Activity { quiet_s: 180, ..USUAL }, None),
            (Activity { quiet_s: 181, ..USUAL }, Some(181)),
            (Activity { quiet_s: 240, ..USUAL }, Some(240)),
            // A slower miner with longer pauses.
            (Activity { quiet_s: 300, accepted: 100, credited: 1_500.0, ..USUAL }, None),
            (Activity { quiet_s: 2_400, accepted: 100, credited: 1_500.0, ..USUAL }, Some(2_400)),
            // A difficulty that is ten times higher than before.
            (Activity { quiet_s: 300, difficulty: 150.0, ..USUAL }, None),
            (Activity { quiet_s: 1_801, difficulty: 150.0, ..USUAL }, Some(1_801)),
            // A lower difficulty in the silence does not make it suspicious earlier.
            (Activity { quiet_s: 300, accepted: 100, credited: 1_500.0, difficulty: 0.001, ..USUAL }, None),
            (Activity { quiet_s: 170, ..none }, None),
            (Activity { quiet_s: 400, ..none }, Some(400)),
        ] {
            assert_eq!(activity.silent_s(), silent_s, "{activity:?}");
        }
    }

    #[test]
    fn extreme_values_are_no_silence() {
        for value in [f64::MAX, f64::INFINITY, f64::NAN] {
            let activity = Activity { difficulty: value, credited: 1.0, ..USUAL };
            assert_eq!(activity.silent_s(), None, "{value}");
        }
    }
}
