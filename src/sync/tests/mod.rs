//! The planner, in the real node and alone.

mod false_base;
mod junk_lists;
mod network;
mod planner;
mod restart;
mod serve;
mod support;
mod withheld;
