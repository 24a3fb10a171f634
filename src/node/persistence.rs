//! Collects changes of the store, and decides what to do while the disk refuses them.
//!
//! Changes are committed as one before the effects of the same turn are performed, so a share is on disk before it is
//! announced. While the disk refuses shares they wait in memory and are announced all the same: peers are the safest place
//! left for them, and a share that is announced three shares later counts nowhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::BlockHash;

use super::report::Report;
use crate::share::{Share, ShareId};
use crate::sharechain::{Anchor, HeaderIndex, Tree};
use crate::units::SteadyTime;

/// A refused commit is repeated after this many seconds: each attempt reopens the store and writes the whole backlog.
const RETRY_S: u32 = 1;
/// While the disk refuses shares the log says so this often: often enough to stay visible, rarely enough not to help fill
/// the disk that is full.
const ALARM_S: u32 = 300;

/// A share as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredShare {
    pub id: ShareId,
    pub share: Arc<Share>,
    /// Whether it passed every rule. Shares at the base of pruned history cannot be checked by rule 8 and have `false`
    /// (rules, section 6).
    pub verified: bool,
}

/// One atomic change of the store. Deletions come before insertions; deleting what is absent is not an error, inserting
/// what is present replaces it.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Shares to store.
    pub put_shares: Vec<StoredShare>,
    /// Shares to delete.
    pub delete_shares: Vec<ShareId>,
    /// Anchors to store.
    pub put_anchors: Vec<Anchor>,
    /// Anchors to delete.
    pub delete_anchors: Vec<BlockHash>,
    /// The new tip; `None` leaves it unchanged, [`ShareId::ZERO`] says that there is no chain any more.
    pub tip: Option<ShareId>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.put_shares.is_empty()
            && self.delete_shares.is_empty()
            && self.put_anchors.is_empty()
            && self.delete_anchors.is_empty()
            && self.tip.is_none()
    }
}

/// The changes that the store does not have yet.
#[derive(Debug)]
pub struct Persistence {
    /// Everything that the store does not have.
    pub pending: Changes,
    /// Anchors in the store, or about to be.
    anchors: BTreeSet<BlockHash>,
    failing: Option<Failing>,
}

/// The disk refuses.
#[derive(Debug)]
struct Failing {
    since: SteadyTime,
    retry_at: SteadyTime,
    alarm_at: SteadyTime,
}

impl Persistence {
    /// Starts from a store that holds these anchors.
    pub fn new(anchors: BTreeSet<BlockHash>) -> Self {
        Self { pending: Changes::default(), anchors, failing: None }
    }

    /// Whether the disk refused the last commit.
    pub const fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Stores a share that was linked, with the anchor it builds on and the side headers below that.
    pub fn put_share(&mut self, id: &ShareId, tree: &Tree) {
        let node = tree.get(id).expect("a linked share is in the tree");
        let mut hash = node.share.header.prev_blockhash;
        while let Some(anchor) = tree.anchor(&hash).filter(|_| tree.headers().is_named(&hash)) {
            if !self.anchors.insert(hash) {
                break;
            }
            self.pending.put_anchors.push(anchor.clone());
            hash = anchor.header.prev_blockhash;
        }
        // Deletions come first: what was left and comes back stays.
        self.pending.put_shares.push(StoredShare { id: *id, share: Arc::clone(&node.share), verified: node.verified });
    }

    /// Stores the headers that shares need since bitcoind's best chain changed.
    pub fn put_headers(&mut self, headers: &HeaderIndex) {
        for (hash, anchor) in headers.named() {
            if self.anchors.insert(*hash) {
                self.pending.put_anchors.push(anchor.clone());
            }
        }
    }

    /// Deletes a share whose chain was left.
    pub fn delete_share(&mut self, id: ShareId) {
        self.pending.put_shares.retain(|stored| stored.id != id);
        self.pending.delete_shares.push(id);
    }

    /// Deletes what was pruned: these shares, and the headers that no share needs any more.
    pub fn prune(&mut self, shares: Vec<ShareId>, headers: &HeaderIndex) {
        self.pending.put_shares.retain(|stored| !shares.contains(&stored.id));
        self.pending.delete_shares.extend(shares);
        self.pending.put_anchors.retain(|anchor| headers.is_named(&anchor.header.block_hash()));
        let unused = self.anchors.iter().filter(|hash| !headers.is_named(hash));
        self.pending.delete_anchors.extend(unused);
        self.anchors.retain(|hash| headers.is_named(hash));
    }

    /// What to commit now, if anything.
    pub fn due(&self, now: SteadyTime) -> Option<&Changes> {
        let is_due = self.failing.as_ref().is_none_or(|failing| now >= failing.retry_at);
        (is_due && !self.pending.is_empty()).then_some(&self.pending)
    }

    /// When to look again at what could not be written; `None` while all is well.
    pub fn wake_at(&self) -> Option<SteadyTime> {
        self.failing.as_ref().map(|failing| failing.retry_at)
    }

    /// Takes the outcome of a commit of everything that was [due](Self::due).
    pub fn committed(&mut self, result: Result<(), String>, now: SteadyTime) -> Option<Report> {
        match result {
            Ok(()) => {
                let shares = self.pending.put_shares.len();
                self.pending = Changes::default();
                self.failing.take().map(|_| Report::StoreRecovered { shares })
            }
            Err(cause) => {
                let shares = self.pending.put_shares.len();
                let failing = self.failing.get_or_insert(Failing { since: now, retry_at: now, alarm_at: now });
                failing.retry_at = now.plus(RETRY_S);
                if now < failing.alarm_at {
                    return None;
                }
                failing.alarm_at = now.plus(ALARM_S);
                Some(Report::StoreFailing { shares, for_s: now.since(failing.since), cause })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(persistence: &mut Persistence, at_s: u32) -> Option<(usize, u32)> {
        match persistence.committed(Err("full".to_owned()), SteadyTime::from_s(at_s)) {
            Some(Report::StoreFailing { shares, for_s, .. }) => Some((shares, for_s)),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// With something to write.
    fn waiting() -> Persistence {
        let mut persistence = Persistence::new(BTreeSet::new());
        persistence.delete_share(ShareId([1; 32]));
        persistence
    }

    #[test]
    fn a_refused_commit_is_repeated_after_a_second_whatever_else_happens() {
        let mut persistence = waiting();
        let at = SteadyTime::from_s;
        assert!(persistence.due(at(10)).is_some(), "new changes are written at once");
        assert!(!persistence.is_failing());
        refused(&mut persistence, 10);
        persistence.pending.tip = Some(ShareId([2; 32]));
        assert!(persistence.due(at(10)).is_none());
        assert_eq!(persistence.wake_at(), Some(at(11)));
        assert_eq!(persistence.due(at(11)).map(|changes| changes.delete_shares.len()), Some(1), "nothing is dropped");
        assert!(matches!(persistence.committed(Ok(()), at(11)), Some(Report::StoreRecovered { shares: 0 })));
        assert_eq!((persistence.is_failing(), persistence.wake_at()), (false, None));
        assert!(persistence.due(at(11)).is_none());
        persistence.pending.tip = Some(ShareId([3; 32]));
        assert!(persistence.due(at(11)).is_some(), "new changes are written at once again");
        assert!(persistence.committed(Ok(()), at(11)).is_none());
    }

    #[test]
    fn the_alarm_is_raised_at_once_and_then_every_five_minutes() {
        let mut persistence = waiting();
        let alarms = [0, 1, 299, 300, 599, 604, 900].map(|at_s| refused(&mut persistence, at_s));
        assert_eq!(alarms, [Some((0, 0)), None, None, Some((0, 300)), None, Some((0, 604)), None]);
    }
}
