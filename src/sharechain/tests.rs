//! Tests of the sharechain as a whole: each rule with an accepted and a rejected share, and each attack.

mod adoption;
mod attacks;
mod branches;
mod candidates;
mod convergence;
mod early;
mod forks;
mod headers;
mod pools;
mod rules;
mod side_shares;
mod spam;
pub(crate) mod support;
mod uncles;
