//! The chain thread as its neighbours see it: messages in, jobs and mail out, shares on disk.

#![allow(clippy::panic)] // A test that is out of step with the thread ends here.

mod alone;
mod clock;
mod disk;
mod network;
mod node;
mod small_disk;
