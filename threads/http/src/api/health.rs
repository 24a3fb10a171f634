//! Whether this node does its job, for programs that restart or alarm.

use serde::Serialize;

use super::state::{states, Level};
use crate::view::View;

/// The document.
#[derive(Serialize)]
pub struct Health {
    /// Whether miners have fresh work on a chain that is level with the others', or is mined alone.
    pub healthy: bool,
    /// What is wrong, in words.
    reasons: Vec<String>,
}

impl Health {
    /// Every state at which nothing is earned makes a node unhealthy.
    pub fn of(view: &View) -> Self {
        let errors = states(view).into_iter().filter(|state| state.level == Level::Error);
        let reasons: Vec<String> = errors.map(|state| state.text).collect();
        Self { healthy: reasons.is_empty(), reasons }
    }
}
