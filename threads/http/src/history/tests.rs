use std::fs;

use super::*;

/// A time at which slots of all rings begin.
const START: u32 = 1_700_006_400;

fn sample(pool: f64, shares: u64) -> Sample {
    Sample { pool, local: pool / 2.0, shares, miners: 3, peers: 4 }
}

fn points(history: &History, window: &str, now: u32) -> Vec<Point> {
    history.window(window, UnixTime(now)).unwrap().points
}

#[test]
fn a_point_has_mean_rates_and_last_counts() {
    assert_eq!(START % 14_400, 0);
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path()).unwrap();
    for (second, pool, shares) in [(0, 10.0, 1), (10, 20.0, 2), (59, 30.0, 3), (60, 100.0, 4)] {
        history.add(UnixTime(START + second), sample(pool, shares));
    }
    let point = |t, ph, shares| Point { t, ph, lh: ph / 2.0, shares, miners: 3, peers: 4 };
    assert_eq!(points(&history, "1h", START + 60), [point(START, 20.0, 3), point(START + 60, 100.0, 4)]);
    assert_eq!(points(&history, "1d", START + 60), [point(START, 40.0, 4)]);
    assert_eq!(history.live().len(), 4);
    assert!(history.window("2h", UnixTime(START)).is_none());
}

#[test]
fn slots_are_reused_and_old_ones_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path()).unwrap();
    for minute in 0..90 {
        history.add(UnixTime(START + minute * 60), sample(f64::from(minute), 0));
    }
    let end = START + 89 * 60;
    let hour = points(&history, "1h", end);
    assert_eq!(hour.len(), 60);
    assert_eq!((hour[0].ph, hour[59].ph), (30.0, 89.0));
    assert!(hour.is_sorted_by_key(|point| point.t));
    // Ten minutes without samples, then a day, then a clock that was set back.
    assert_eq!(points(&history, "1h", end + 600).len(), 50);
    assert_eq!(points(&history, "1h", end + 86_400).len(), 0);
    assert!(points(&history, "1h", START + 40 * 60).iter().all(|point| point.t <= START + 40 * 60));
    assert_eq!(history.live().len(), 60);
}

#[test]
fn saved_history_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path()).unwrap();
    history.add(UnixTime(START), sample(10.0, 7));
    history.save();
    history.add(UnixTime(START), sample(30.0, 8));
    history.save();
    // Not saved, so lost.
    history.add(UnixTime(START + 60), sample(99.0, 9));
    drop(history);
    let mut history = History::open(folder.path()).unwrap();
    for RingKind { name, .. } in RINGS {
        let points = points(&history, name, START + 120);
        assert_eq!((points.len(), points[0].ph, points[0].shares), (1, 20.0, 8), "{name}");
    }
    // More samples go into the same slot.
    history.add(UnixTime(START + 1), sample(80.0, 9));
    assert_eq!(points(&history, "1h", START + 120)[0].ph, 40.0);
}

#[test]
fn torn_records_are_empty_and_do_not_affect_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path()).unwrap();
    for minute in 0..3 {
        history.add(UnixTime(START + minute * 60), sample(1.0, u64::from(minute)));
    }
    history.save();
    drop(history);
    let path = folder.path().join(DIR).join("1h");
    let bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    // One wrong byte invalidates its record and no other.
    let slot = (START / 60 + 1) as usize % 60;
    for at in 24 + slot * 44..24 + (slot + 1) * 44 {
        let mut torn = bytes.clone();
        torn[at] ^= 0x40;
        fs::write(&path, torn).unwrap();
        let history = History::open(folder.path()).unwrap();
        let shares: Vec<u64> = points(&history, "1h", START + 180).iter().map(|point| point.shares).collect();
        assert_eq!(shares, [0, 2], "byte {at}");
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), len as u64);
}

#[test]
fn files_of_another_format_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join(DIR);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("1h"), b"p2pool history 0, something else").unwrap();
    fs::write(dir.join("1d"), vec![0xff; 100_000]).unwrap();
    // A folder in place of a file.
    fs::create_dir(dir.join("7d")).unwrap();
    let mut history = History::open(folder.path()).unwrap();
    history.add(UnixTime(START), sample(1.0, 1));
    history.save();
    assert_eq!(points(&history, "7d", START).len(), 1);
    drop(history);
    let history = History::open(folder.path()).unwrap();
    assert_eq!((points(&history, "1h", START).len(), points(&history, "1d", START).len()), (1, 1));
    assert_eq!(points(&history, "7d", START).len(), 0);
    let len: u64 = RINGS
        .iter()
        .map(|kind| fs::metadata(dir.join(kind.name)).unwrap())
        .filter(|data| data.is_file())
        .map(|data| data.len())
        .sum();
    assert!(len < 64 * 1024, "{len} bytes");
}
