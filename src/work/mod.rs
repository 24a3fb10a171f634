//! Bitcoin block template to job, and back from a miner's answer to header and block.

mod job;
mod template;

pub use job::{Job, JobId};
pub use template::{Template, TemplateTx};
