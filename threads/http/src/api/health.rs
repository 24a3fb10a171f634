//! Whether this node does its job, for programs that restart or alarm.

use serde::Serialize;

use super::state::{states, State};
use crate::view::View;

/// The document.
#[derive(Serialize)]
pub struct Health {
    /// Whether miners have fresh work on a chain that is level with the others', or is mined alone, and shares are stored.
    pub healthy: bool,
    /// What is wrong, in words.
    reasons: Vec<String>,
}

impl Health {
    /// Looks at all states.
    pub fn of(view: &View) -> Self {
        let reasons: Vec<String> =
            states(view).into_iter().filter(State::is_unhealthy).map(|state| state.text).collect();
        Self { healthy: reasons.is_empty(), reasons }
    }
}
