use std::io;

use tempfile::TempDir;

use super::*;
use crate::store::tests::{params, share};

fn full() -> StoreError {
    StoreError::Full { path: "store".into(), source: io::Error::from(io::ErrorKind::StorageFull) }
}

impl Saved {
    /// Has the disk refuse something.
    pub(crate) fn refuse_one(&mut self) {
        self.pending.tip = Some(ShareId::ZERO);
        self.flush_by(|_, _| Err(full()), true, Instant::now());
    }
}

/// A new store, and two shares that wait to be written to it.
fn waiting(dir: &TempDir) -> Saved {
    let (mut saved, _) = Saved::load(dir.path(), &Arc::new(params())).unwrap();
    saved.pending.put_shares = vec![share(0), share(1)];
    saved
}

#[test]
fn what_the_disk_refused_is_tried_again_only_when_that_is_said() {
    let dir = TempDir::new().unwrap();
    let (mut saved, now) = (waiting(&dir), Instant::now());
    let mut tries = 0;
    let mut flush = |saved: &mut Saved, again| {
        let refuse = |_: &mut Store, _: &Batch| {
            tries += 1;
            Err(full())
        };
        saved.flush_by(refuse, again, now);
        tries
    };
    assert_eq!(flush(&mut saved, false), 1, "what is new is written at once");
    assert!(saved.is_failing());
    saved.pending.put_shares.push(share(2));
    assert_eq!(flush(&mut saved, false), 1);
    assert_eq!(flush(&mut saved, true), 2);
    assert_eq!(flush(&mut saved, false), 2);
    assert_eq!(saved.pending.put_shares.len(), 3, "nothing is given up");
    saved.flush(false, now);
    assert!(saved.is_failing());
    saved.flush(true, now);
    assert!(!saved.is_failing());
    saved.pending.put_shares.push(share(3));
    saved.flush(false, now);
    assert!(saved.pending.is_empty(), "and from then on at once again");
}

#[test]
fn a_refusal_is_said_at_once_and_then_every_five_minutes() {
    let dir = TempDir::new().unwrap();
    let (mut saved, start) = (waiting(&dir), Instant::now());
    let next_alarm_s = |saved: &mut Saved, at_s| {
        saved.flush_by(|_, _| Err(full()), true, start + Duration::from_secs(at_s));
        let failing = saved.failing.as_ref().unwrap();
        assert_eq!(failing.since, start);
        failing.next_alarm.duration_since(start).as_secs()
    };
    let alarms = [0, 1, 299, 300, 599, 604, 900].map(|at_s| next_alarm_s(&mut saved, at_s));
    assert_eq!(alarms, [300, 300, 300, 600, 600, 904, 904]);
}

#[test]
fn shares_that_are_not_on_disk_at_the_end_are_an_error() {
    let dir = TempDir::new().unwrap();
    let mut saved = waiting(&dir);
    saved.flush_by(|_, _| Err(full()), true, Instant::now());
    let text = saved.unsaved().unwrap_err().to_string();
    assert!(text.starts_with("2 shares are not on disk") && text.contains("is full"), "{text}");

    // At the end they are tried for the last time, whatever was said before.
    let mut saved = waiting(&dir);
    saved.flush_by(|_, _| Err(full()), true, Instant::now());
    saved.close(Instant::now()).unwrap();
    let (mut saved, tree) = Saved::load(dir.path(), &Arc::new(params())).unwrap();
    assert!(tree.node(&share(1).id).is_some());

    // That something old could not be deleted is no loss.
    saved.forget((vec![share(0).id], Vec::new()));
    saved.flush_by(|_, _| Err(full()), true, Instant::now());
    saved.unsaved().unwrap();
}
