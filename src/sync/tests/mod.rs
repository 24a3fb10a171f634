//! The planner, run with simulated peers.
