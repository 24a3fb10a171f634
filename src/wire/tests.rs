//! Limits of messages, kept and exceeded, and the reassembly of announced blocks.

mod block;
mod limits;
