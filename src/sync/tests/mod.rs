//! The planner, in the real node and alone.

mod network;
mod planner;
mod serve;
mod support;
mod withheld;
