//! The planner alone, with shares that have no proof of work.

mod blame;
mod clocks;
mod fetch;
mod fixtures;
mod lead;
mod lists;
mod missing;
mod partial_lists;
mod responses;
mod scenario;
mod spot_checks;
mod state;
mod waiting;
