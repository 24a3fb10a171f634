//! The sharechain as a whole: every rule with an acceptance and a refusal, every attack with what meets it.

mod adoption;
mod attacks;
mod branches;
mod candidates;
mod convergence;
mod forks;
pub(crate) mod kit;
mod pools;
mod rules;
mod spam;
mod uncles;
