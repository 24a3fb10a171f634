//! Tests with more than one process: kills, full disks, readers beside the writer.
//!
//! The other process is this test program again. An environment variable gives it its task.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use small_disk::SmallDisk;

#[path = "../../../tests/thread/small_disk.rs"]
mod small_disk;

/// Holds the task of the process, then its folder.
const TASK_VARIABLE: &str = "P2POOL_TEST_STORE_TASK";
/// Nothing in these tests takes this long unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
#[ignore = "the part of other tests that runs in its own process"]
fn other_process() {
    let Ok(task) = std::env::var(TASK_VARIABLE) else { return };
    let (task, dir) = task.split_once(' ').unwrap();
    let dir = Path::new(dir);
    // The test harness leaves its line unfinished.
    println!();
    match task {
        "write" => write_until_killed(dir),
        "fill" => fill(dir),
        "read" => obey_reads(dir),
        "keep" => obey_writes(dir),
        "open" => println!("{}", error_of(Store::open(dir, &params()))),
        _ => panic!("unknown task {task}"),
    }
}

/// Another process, killed when dropped.
struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(task: &str, dir: &Path) -> Self {
        Self::run(Command::new(std::env::current_exe().unwrap()), task, dir)
    }

    fn run(mut command: Command, task: &str, dir: &Path) -> Self {
        let name = concat!(module_path!(), "::other_process");
        let name = name.split_once("::").unwrap().1;
        let mut child = command
            .args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(TASK_VARIABLE, format!("{task} {}", dir.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    /// Returns the next line that begins with `prefix`, without it; `None` at the end of the output.
    fn next(&mut self, prefix: &str) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.strip_prefix(prefix) {
                return Some(rest.trim().to_owned());
            }
            line.clear();
        }
        None
    }

    /// Sends a command and returns the response.
    fn request(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        self.next("response ").expect("the other process lives")
    }

    /// Kills it with SIGKILL and waits for its end. Its output can still be read.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn last_committed(store: &mut Store) -> Option<u32> {
    last_churn(&store.load().unwrap())
}

/// Commits one batch after another and reports each. Ends when its output is closed.
fn write_until_killed(dir: &Path) {
    let mut store = Store::open_sized(dir, &params(), TINY_MAP_BYTES).unwrap();
    let mut number = last_committed(&mut store).map_or(0, |last| last + 1);
    let mut out = std::io::stdout();
    loop {
        store.commit(&churn(number)).unwrap();
        if writeln!(out, "done {number}").is_err() {
            return;
        }
        number += 1;
    }
}

/// Number of times the writer is killed.
const KILLS: u32 = 40;

#[test]
fn kills_lose_nothing_acknowledged_and_leave_no_half_batch() {
    let dir = TempDir::new().unwrap();
    let mut last = None;
    for round in 0..KILLS {
        let mut writer = Other::start("write", dir.path());
        let before = last;
        let enough = last.map_or(0, |last| last + 1) + (round * 7) % 13;
        let start = Instant::now();
        while last < Some(enough) {
            last = Some(writer.next("done ").unwrap().parse().unwrap());
        }
        // The kills are spread over two commits, so that they hit every phase at any speed of the disk.
        let commits = last.unwrap() + 1 - before.map_or(0, |before| before + 1);
        std::thread::sleep(start.elapsed() / commits * 2 * round / KILLS);
        writer.kill();
        while let Some(number) = writer.next("done ") {
            last = number.parse().ok().or(last);
        }
        let found = last_committed(&mut Store::open(dir.path(), &params()).unwrap());
        // The next batch may have been committed without being acknowledged.
        assert!(found == last || found == last.map(|last| last + 1), "found {found:?}, acknowledged {last:?}");
        last = found;
    }
}

#[test]
fn kills_while_a_store_is_created_leave_none_or_a_complete_one() {
    let moments = ["store.lock", "store.new", "store.new/lock.mdb", "store.new/data.mdb", "store", "store/data.mdb"];
    for round in 0..18 {
        let dir = TempDir::new().unwrap();
        let moment = dir.path().join(moments[round % moments.len()]);
        let mut writer = Other::start("write", dir.path());
        let deadline = Instant::now() + TIMEOUT;
        // A later moment counts as well: the file may come and go between two checks.
        while !moment.exists() && !dir.path().join("store").exists() {
            assert!(Instant::now() < deadline, "{} never appeared", moment.display());
            std::thread::yield_now();
        }
        writer.kill();
        let mut store = Store::open(dir.path(), &params()).unwrap();
        let next = last_committed(&mut store).map_or(0, |last| last + 1);
        store.commit(&churn(next)).unwrap();
        assert_eq!(last_committed(&mut store), Some(next));
    }
}

/// A batch that only adds shares.
fn addition(number: u32) -> Changes {
    Changes {
        put_shares: (number * 20..(number + 1) * 20).map(share).collect(),
        tip: Some(header_id((number + 1) * 20 - 1)),
        ..Changes::default()
    }
}

/// Commits until the disk is full. Returns the number of the batch that did not fit.
fn fill_up(store: &mut Store) -> u32 {
    for number in 0..10_000 {
        match store.commit(&addition(number)) {
            Ok(()) => (),
            Err(StoreError::Full { .. }) => return number,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk never got full");
}

/// Asserts that the store has all batches before `number`, and nothing of that one.
fn assert_filled(store: &mut Store, number: u32) {
    let Content { tip, shares, .. } = store.load().unwrap();
    assert_eq!(tip, addition(number - 1).tip);
    assert_eq!(shares, (0..number * 20).map(share).collect::<Vec<_>>());
}

fn fill(dir: &Path) {
    let mut store = Store::open(dir, &params()).unwrap();
    let number = fill_up(&mut store);
    let text = error_of(store.commit(&addition(number)));
    assert!(text.contains("is full or failing"), "{text}");
    assert_filled(&mut store, number);
    println!("full {number}");
}

#[test]
fn a_file_size_limit_loses_nothing() {
    let dir = TempDir::new().unwrap();
    // The shell's limit is in blocks of 512 or 1,024 bytes. With the signal ignored, writes past it fail.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let number: u32 = Other::run(shell, "fill", dir.path()).next("full ").expect("it failed").parse().unwrap();
    assert!(number > 5, "{number} batches");
    let mut store = Store::open(dir.path(), &params()).unwrap();
    assert_filled(&mut store, number);
    store.commit(&addition(number)).unwrap();
    assert_filled(&mut store, number + 1);
}

#[test]
fn a_full_disk_loses_nothing_and_the_store_recovers() {
    let dir = TempDir::new().unwrap();
    let Some(disk) = SmallDisk::mount_or_skip(dir.path()) else { return };
    // No room for a new store.
    let filler = dir.path().join("filler");
    fs::write(&filler, vec![1; 2 << 20]).unwrap_err();
    assert!(matches!(Store::open(dir.path(), &params()), Err(StoreError::Full { .. })));
    fs::remove_file(&filler).unwrap();
    // No room for another batch, in this process and after a restart.
    let mut store = Store::open(dir.path(), &params()).unwrap();
    let number = fill_up(&mut store);
    assert_filled(&mut store, number);
    drop(store);
    let mut store = Store::open(dir.path(), &params()).unwrap();
    assert!(matches!(store.commit(&addition(number)), Err(StoreError::Full { .. })));
    assert_filled(&mut store, number);
    // Room again.
    assert!(disk.command("mount", &["-o", "remount,size=4m"]));
    store.commit(&addition(number)).unwrap();
    assert_filled(&mut store, number + 1);
    drop(store);
}

#[test]
fn only_one_process_can_write() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), &params()).unwrap();
    let text = Other::start("open", dir.path()).next("another p2pool is running on ").unwrap();
    assert!(text.contains("store"), "{text}");
    drop(store);
}

/// Reads the store on command. `hold` keeps a view, `again` reads that view.
fn obey_reads(dir: &Path) {
    let reader = StoreReader::open(dir, &params()).unwrap();
    let mut held: Option<View<'_>> = None;
    for command in std::io::stdin().lines() {
        match command.unwrap().as_str() {
            "now" => println!("response {:?}", seen(&reader.view().unwrap())),
            "hold" => println!("response {:?}", seen(held.insert(reader.view().unwrap()))),
            "again" => println!("response {:?}", seen(held.as_ref().unwrap())),
            "release" => println!("response {}", held.take().is_some()),
            other => panic!("unknown command {other}"),
        }
    }
}

fn seen(view: &View<'_>) -> Option<u32> {
    let content = view.content().unwrap();
    assert!(content.shares.iter().all(|share| view.share(&share.id).unwrap().as_ref() == Some(share)));
    last_churn(&content)
}

#[test]
fn a_reader_sees_complete_batches_while_the_map_grows() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open_sized(dir.path(), &params(), TINY_MAP_BYTES).unwrap();
    let mut reader = Other::start("read", dir.path());
    assert_eq!(reader.request("now"), "None");
    for number in 0..50 {
        store.commit(&churn(number)).unwrap();
        assert_eq!(reader.request("now"), format!("Some({number})"));
    }
    assert_eq!(reader.request("hold"), "Some(49)");
    for number in 50..150 {
        store.commit(&churn(number)).unwrap();
    }
    assert_eq!(reader.request("again"), "Some(49)", "a view does not change");
    assert_eq!(reader.request("release"), "true");
    // Far more than the initial map of either process. The reader's has the usual size.
    store.commit(&Changes { put_shares: (1_000_000..1_100_000).map(share).collect(), ..Changes::default() }).unwrap();
    assert!(data_len(dir.path()) as usize > MAP_START_BYTES);
    store
        .commit(&Changes { delete_shares: (1_000_000..1_100_000).map(header_id).collect(), ..Changes::default() })
        .unwrap();
    assert_eq!(reader.request("now"), "Some(149)");
}

/// Commits one batch for every line of input.
fn obey_writes(dir: &Path) {
    let mut store = Store::open(dir, &params()).unwrap();
    for (number, line) in (0..).zip(std::io::stdin().lines()) {
        line.unwrap();
        store.commit(&churn(number)).unwrap();
        println!("response {number}");
    }
}

#[test]
fn the_export_works_beside_a_running_node() {
    let dir = TempDir::new().unwrap();
    let mut node = Other::start("keep", dir.path());
    for number in 0..30 {
        assert_eq!(node.request("next"), number.to_string());
        let mut out = Vec::new();
        let summary = crate::export::export(dir.path(), &params(), &mut out).unwrap();
        let batches = (number + 1).min(CHURN_KEPT);
        assert_eq!(summary.shares, (batches * CHURN_SHARES) as usize);
        let lines = String::from_utf8(out).unwrap();
        assert_eq!(lines.lines().count(), summary.shares + 1);
        assert!(lines.contains(&format!("\"tip\":\"{}\"", header_id(churn_heights(number).end - 1))));
    }
}

#[test]
fn a_reader_killed_while_reading_does_not_make_the_file_grow_forever() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open_sized(dir.path(), &params(), TINY_MAP_BYTES).unwrap();
    store.commit(&churn(0)).unwrap();
    let mut reader = Other::start("read", dir.path());
    assert_eq!(reader.request("hold"), "Some(0)");
    reader.kill();
    for number in 1..400 {
        store.commit(&churn(number)).unwrap();
    }
    assert!(data_len(dir.path()) <= 1 << 20, "{} bytes", data_len(dir.path()));
}
