//! Compares the core with golden vectors from an independent model of the rules (`generate.py`).
// Test code, including the functions that read the vectors.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chain;
mod difficulty;
mod encodings;
mod fields;
mod payouts;
mod scripts;
mod targets;
mod wire;
