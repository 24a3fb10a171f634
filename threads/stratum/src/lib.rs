//! The stratum thread: one mio loop for all miners.
