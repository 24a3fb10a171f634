//! A decentralised Bitcoin mining pool node.

fn main() {}
