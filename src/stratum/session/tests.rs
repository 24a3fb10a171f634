//! Sessions driven line by line.

mod bytes;
mod harness;
mod setup;
mod submit;
mod timers;
