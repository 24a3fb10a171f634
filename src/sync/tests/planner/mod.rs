//! The planner alone, against a chain that exists in numbers only: limits, states, and what it makes of bad answers.

mod answers;
mod blame;
mod clocks;
mod fetch;
mod kit;
mod lead;
mod lists;
mod play;
mod singles;
mod state;
mod waiting;
