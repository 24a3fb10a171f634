//! The version bits that a miner rolls (BIP-0310).

use crate::work::Job;

/// The version mask of a session, and the one that its earlier jobs were sent with.
///
/// A mask applies from the next job on, as [`Job::write_notify`] sends it.
#[derive(Debug, Default)]
pub struct VersionRolling {
    mask: u32,
    /// Sequence number of the first job that is sent with the mask.
    from_job: u64,
    /// The mask that the jobs before it were sent with.
    earlier_mask: u32,
}

impl VersionRolling {
    /// The bits that the miner may roll; none until it negotiates them.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// Sets the bits that the miner may roll. `next_job` is the sequence number of the next job that is sent to it, or less; 0 if none was sent.
    pub fn negotiate(&mut self, mask: u32, next_job: u64) {
        if self.from_job < next_job {
            self.earlier_mask = self.mask;
        }
        (self.mask, self.from_job) = (mask, next_job);
    }

    /// The header's version: the job's as it was sent, with the bits under the mask replaced by the miner's.
    ///
    /// Bits outside the mask are rejected later. Here they are used as sent, since the miner hashed them and a block must not
    /// be lost.
    pub fn header_version(&self, job: &Job, sequence: u64, bits: Option<u32>) -> i32 {
        let sent = job.version_without(if sequence < self.from_job { self.earlier_mask } else { self.mask });
        match bits {
            Some(bits) => ((sent as u32 & !self.mask) | bits) as i32,
            None => sent,
        }
    }
}
