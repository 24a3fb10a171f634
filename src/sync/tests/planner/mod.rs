//! The planner alone, against a chain that exists in numbers only: limits, states, and what it makes of bad responses.

mod blame;
mod clocks;
mod fetch;
mod kit;
mod lead;
mod lists;
mod missing;
mod play;
mod responses;
mod state;
mod waiting;
