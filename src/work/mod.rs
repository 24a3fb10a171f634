//! Bitcoin block template to job, and back from a miner's answer to header and block.
//!
//! | file | step |
//! |---|---|
//! | `json` | `getblocktemplate`'s result to [`Template`] |
//! | `transactions` | a template's transactions, with what follows from them |
//! | `trim` | how many transactions fit beside a coinbase |
//! | `make` | template and sharechain to [`Job`] |
//! | `notify` | the job as miners are told it |
//! | `submit` | a miner's answer to header and hash: the hot path |
//! | `block` | the whole block of an answer |
//! | `found` | headers that meet a target |
//! | `update` | what miners are to work on next |

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
pub use make::{make_job, JobError, NextShare};
pub use submit::{HashedHeader, Submit};
pub use template::{Template, TemplateTx};
pub use transactions::Transactions;
pub use update::{NoWork, WorkUpdate};
