//! Seeded simulation of the difficulty rules.
