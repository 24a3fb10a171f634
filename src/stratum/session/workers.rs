//! The workers of a session. Behind a proxy, several authorize on one connection.

use std::sync::Arc;

use crate::stratum::label::sanitized_label;
use crate::stratum::limits::{LABEL_LEN_MAX, WORKERS_MAX};
use crate::stratum::session_stats::SessionStats;
use crate::stratum::user_name::NamedAddress;
use crate::units::SteadyTime;

/// Number of bytes of a name that tell workers apart.
const COMPARED_LEN: usize = 2 * LABEL_LEN_MAX;

/// A worker that has authorized.
#[derive(Debug)]
pub struct Worker {
    /// The name as it was sent, as far as it is compared.
    sent: Box<[u8]>,
    /// The name for people, which may be empty.
    pub name: Arc<str>,
    /// The address that the name begins with.
    pub named_address: NamedAddress,
    pub stats: SessionStats,
}

/// The position of a worker in [`Workers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerIndex(usize);

impl WorkerIndex {
    /// The first worker, or what stands for it until one authorizes.
    pub const FIRST: Self = Self(0);
}

/// The workers of a session, in the order of their first authorize; at most [`WORKERS_MAX`].
#[derive(Debug)]
pub struct Workers {
    list: Vec<Worker>,
    /// The counts until the first worker authorizes, which inherits them.
    anonymous: SessionStats,
}

/// The error of a worker beyond [`WORKERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWorkers;

impl Workers {
    pub fn new(now: SteadyTime) -> Self {
        Self { list: Vec::new(), anonymous: SessionStats::new(now) }
    }

    /// Adds a worker; returns whether it is new.
    ///
    /// # Errors
    /// If there are [`WORKERS_MAX`] already.
    pub fn authorize(
        &mut self,
        sent: &str,
        named_address: NamedAddress,
        now: SteadyTime,
    ) -> Result<bool, TooManyWorkers> {
        if self.find(sent).is_some() {
            return Ok(false);
        }
        if self.list.len() >= WORKERS_MAX {
            return Err(TooManyWorkers);
        }
        let stats = if self.list.is_empty() { self.anonymous.clone() } else { SessionStats::new(now) };
        let name = sanitized_label(sent, LABEL_LEN_MAX).into();
        self.list.push(Worker { sent: compared(sent).into(), name, named_address, stats });
        Ok(true)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The worker with the name that a submit states. Another name counts as the first one's: firmware may shorten the name
    /// that it authorized with. Does not allocate.
    pub fn named(&self, sent: &str) -> WorkerIndex {
        match self.list.len() {
            0 | 1 => WorkerIndex::FIRST,
            _ => self.find(sent).unwrap_or(WorkerIndex::FIRST),
        }
    }

    /// The worker's name for people; `None` if none has authorized.
    pub fn name(&self, at: WorkerIndex) -> Option<&Arc<str>> {
        self.list.get(at.0).map(|worker| &worker.name)
    }

    pub fn stats_mut(&mut self, at: WorkerIndex) -> &mut SessionStats {
        match self.list.get_mut(at.0) {
            Some(worker) => &mut worker.stats,
            None => &mut self.anonymous,
        }
    }

    /// The worker that authorized last.
    pub fn newest(&self) -> Option<&Worker> {
        self.list.last()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.list.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.list.iter_mut()
    }

    /// Sum of the difficulties of the accepted submits of all workers.
    pub fn credited(&self) -> f64 {
        self.list.iter().map(|worker| worker.stats.credited).sum()
    }

    fn find(&self, sent: &str) -> Option<WorkerIndex> {
        let sent = compared(sent);
        self.list.iter().position(|worker| *worker.sent == *sent).map(WorkerIndex)
    }
}

fn compared(sent: &str) -> &[u8] {
    sent.as_bytes().get(..COMPARED_LEN).unwrap_or(sent.as_bytes())
}
