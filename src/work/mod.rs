//! From a Bitcoin block template to a job, and from a miner's submit to a header and a block.
//!
//! | file | step |
//! |---|---|
//! | `json` | the result of `getblocktemplate` to a [`Template`] |
//! | `transactions` | a template's transactions, with merkle branch and witness commitment |
//! | `trim` | the number of transactions that fit beside a coinbase |
//! | `make` | template and next share to a [`Job`] |
//! | `notify` | the job as a `mining.notify` line |
//! | `submit` | a miner's submit to a header and its hash: the hot path |
//! | `block` | the serialised block of a submit |
//! | `found` | headers that meet a target |
//! | `update` | the newest work for miners |

mod block;
mod found;
mod job;
mod json;
mod make;
mod merkle;
mod notify;
mod submit;
mod template;
mod transactions;
mod trim;
mod update;

#[cfg(test)]
mod fixtures;

pub use block::BlockError;
pub use found::{FoundBlock, FoundShare};
pub use job::{Job, JobId};
pub use json::TemplateError;
pub use make::{make_job, Finder, JobError, NextBlock, NextShare};
pub use submit::{HashedHeader, Submit};
pub use template::{Template, TemplateTx};
pub use transactions::Transactions;
pub use update::{NoWork, NoWorkTimeout, WorkUpdate};
