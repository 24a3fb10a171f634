//! The planner, run with simulated peers.

mod network;
mod planner;
mod serve;
mod support;
