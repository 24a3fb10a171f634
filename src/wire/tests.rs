//! Every limit of every message, once kept and once exceeded; found blocks taken apart and put together.

mod block;
mod limits;
