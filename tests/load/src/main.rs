//! Loads a stratum port with many miners.

fn main() {}
