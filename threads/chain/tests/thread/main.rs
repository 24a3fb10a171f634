//! The chain thread between its channels and its store. What the node decides is tested in `src/node`.

#![allow(clippy::panic)] // A test that is out of step with the thread ends here.

mod disk;
mod lifecycle;
mod node;
mod small_disk;
