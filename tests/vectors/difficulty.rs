//! Base targets of retarget windows, and their easing.

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::sharechain::difficulty::{base_bits, eased_bits, easings_allowed, is_allowed, RetargetSample};
use p2pool_core::units::{ShareHeight, UnixTime, Work};
use serde::Deserialize;

use crate::fields::{bits, read};

#[derive(Deserialize)]
struct DifficultyVectors {
    /// Share period, seconds since the parent, easings.
    easings_allowed: Vec<(u32, i64, u32)>,
    windows: Vec<WindowVector>,
}

#[derive(Deserialize)]
struct WindowVector {
    why: String,
    easiest_bits: String,
    share_period_s: u32,
    retarget_window: u32,
    /// Time, height, compact target, work of the uncles named, compact target before easing.
    newest_first: Vec<(u32, u32, String, String, String)>,
    base_bits: String,
    eased_bits: Vec<String>,
}

impl WindowVector {
    fn params(&self) -> ChainParams {
        ChainParams {
            easiest_bits: bits(&self.easiest_bits),
            share_period_s: self.share_period_s,
            retarget_window: self.retarget_window,
            ..ChainParams::standard(Network::Mainnet)
        }
    }

    fn retarget_samples(&self) -> Vec<RetargetSample> {
        let sample = |(time, height, compact, uncles, base): &(u32, u32, String, String, String)| {
            let work = bits(compact).work().unwrap();
            RetargetSample {
                time: UnixTime(*time),
                height: ShareHeight(*height),
                work,
                base_work: bits(base).work().unwrap(),
                work_with_uncles: Work(work.0 + uncles.parse::<u128>().unwrap()),
            }
        };
        self.newest_first.iter().map(sample).collect()
    }
}

#[test]
fn base_targets() {
    let vectors: DifficultyVectors = read("difficulty.json");
    assert!(vectors.windows.len() >= 50);
    for vector in &vectors.windows {
        let base = base_bits(&vector.params(), &vector.retarget_samples());
        assert_eq!(base, bits(&vector.base_bits), "{}", vector.why);
    }
}

#[test]
fn eased_targets() {
    let vectors: DifficultyVectors = read("difficulty.json");
    for vector in &vectors.windows {
        let params = vector.params();
        let base = base_bits(&params, &vector.retarget_samples());
        let eased: Vec<_> = vector.eased_bits.iter().map(|text| bits(text)).collect();
        for (k, expected) in (0..).zip(&eased) {
            assert_eq!(eased_bits(&params, base, k), *expected, "{} eased {k} times", vector.why);
            // Allowed from the end of the interval on, but not a second earlier.
            let due = k * params.easing_interval_s();
            assert!(is_allowed(&params, base, *expected, due), "{} eased {k} times", vector.why);
            let earlier = &eased[..k as usize];
            if k > 0 && !earlier.contains(expected) {
                assert!(!is_allowed(&params, base, *expected, due - 1), "{} eased {k} times", vector.why);
            }
        }
    }
}

#[test]
fn easing_intervals() {
    let vectors: DifficultyVectors = read("difficulty.json");
    assert!(vectors.easings_allowed.len() >= 20);
    for (share_period_s, elapsed, expected) in vectors.easings_allowed {
        let params = ChainParams { share_period_s, ..ChainParams::standard(Network::Regtest) };
        let parent = UnixTime(1_700_000_000);
        let time = UnixTime(u32::try_from(1_700_000_000 + elapsed).unwrap());
        assert_eq!(easings_allowed(&params, time.since(parent)), expected, "T = {share_period_s}, {elapsed} s");
    }
}
