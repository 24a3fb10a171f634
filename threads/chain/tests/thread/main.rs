//! Tests of the chain thread between its channels and its store. The decisions of the node are tested in `src/node`.

#![allow(clippy::panic)] // A test fails if the thread sends something unexpected.

mod disk;
mod lifecycle;
mod node;
mod small_disk;
