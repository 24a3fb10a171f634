//! A small CPU miner for tests and the demo.

fn main() {}
