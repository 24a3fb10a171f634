//! The core against golden vectors that an independent model of the rules wrote (`generate.py`).
// Everything here is a test, also the functions that read the vectors.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chain;
mod difficulty;
mod encodings;
mod fields;
mod payouts;
mod scripts;
mod targets;
mod wire;
