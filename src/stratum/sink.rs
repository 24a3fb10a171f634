//! The destination of shares, blocks and events of sessions.

use crate::work::{FoundBlock, FoundShare};

/// The error of a full inbox of the chain thread, which cannot take a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainBusy;

/// Takes what sessions produce. Called before the miner gets its response.
pub trait SessionSink {
    /// Submits a block. Must not lose it.
    fn submit_block(&mut self, block: FoundBlock);

    /// Submits a share.
    ///
    /// # Errors
    /// If it cannot be taken now; the miner's submit is then rejected.
    fn submit_share(&mut self, share: FoundShare) -> Result<(), ChainBusy>;

    /// Reports an event to the operator.
    fn report(&mut self, event: SessionEvent<'_>);
}

/// An event that operators may want to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent<'a> {
    /// A miner has subscribed and authorized.
    Authorised { worker: &'a str, user_agent: &'a str },
    /// The worker's name has an address that is not paid, with what is wrong; all its work pays `paid`.
    UnpaidAddress { worker: &'a str, user_agent: &'a str, fault: &'a str, paid: &'a str },
    /// A submit has version bits outside the mask that the session negotiated, which is zero without `mining.configure`.
    VersionBits { worker: &'a str, user_agent: &'a str, bits: u32, mask: u32 },
    /// The coinbase of `len` bytes, without witness, exceeds the `len_max` that the miner's firmware is known to support.
    /// `is_withheld`: the miner is sent no such job.
    CoinbaseTooLarge { worker: &'a str, user_agent: &'a str, len: usize, len_max: usize, is_withheld: bool },
}
