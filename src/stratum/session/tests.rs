//! Tests of sessions, line by line.

mod bytes;
mod setup;
mod submit;
mod support;
mod timers;
