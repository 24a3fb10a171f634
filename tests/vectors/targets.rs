//! Compact targets, work, and targets of works.

use p2pool_core::units::{Bits, Target, Work, U256};
use serde::Deserialize;

use crate::fields::{bits, read};

#[derive(Deserialize)]
struct TargetVectors {
    bits: Vec<BitsVector>,
    rejected_bits: Vec<RejectedBits>,
    targets: Vec<TargetVector>,
    works: Vec<WorkVector>,
}

#[derive(Deserialize)]
struct BitsVector {
    bits: String,
    target: String,
    work: Option<String>,
}

#[derive(Deserialize)]
struct RejectedBits {
    bits: String,
    why: String,
}

#[derive(Deserialize)]
struct TargetVector {
    target: String,
    truncated_bits: String,
    work: Option<String>,
}

#[derive(Deserialize)]
struct WorkVector {
    work: String,
    target: String,
    truncated_bits: String,
}

fn target(text: &str) -> Target {
    Target(U256::from_str_radix(text, 16).unwrap())
}

fn work(text: &str) -> Work {
    Work(text.parse().unwrap())
}

#[test]
fn compact_targets_match_the_model() {
    let vectors: TargetVectors = read("targets.json");
    assert!(vectors.bits.len() >= 60);
    for vector in &vectors.bits {
        let compact: Bits = bits(&vector.bits);
        assert_eq!(compact.target().unwrap(), target(&vector.target), "{compact}");
        assert_eq!(target(&vector.target).to_bits(), compact);
        assert_eq!(target(&vector.target).work(), vector.work.as_deref().map(work), "{compact}");
    }
    for vector in &vectors.rejected_bits {
        assert!(bits(&vector.bits).target().is_err(), "{}: {}", vector.bits, vector.why);
    }
}

#[test]
fn truncated_targets_match_the_model() {
    let vectors: TargetVectors = read("targets.json");
    assert!(vectors.targets.len() >= 60);
    for vector in &vectors.targets {
        let full = target(&vector.target);
        assert_eq!(full.to_bits(), bits(&vector.truncated_bits), "{}", vector.target);
        assert_eq!(full.work(), vector.work.as_deref().map(work), "{}", vector.target);
    }
}

#[test]
fn targets_of_works_match_the_model() {
    let vectors: TargetVectors = read("targets.json");
    assert!(vectors.works.len() >= 60);
    for vector in &vectors.works {
        let full = work(&vector.work).target();
        assert_eq!(full, target(&vector.target), "{}", vector.work);
        assert_eq!(full.to_bits(), bits(&vector.truncated_bits), "{}", vector.work);
    }
}
