//! Runs the real program; no process outlives its test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// An address of regtest.
pub const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// Timeout for anything that the program does; generous because the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a command that runs the program with a clean environment.
pub fn p2pool(home: &Path) -> Command {
    at(Path::new(env!("CARGO_BIN_EXE_p2pool")), home)
}

fn at(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    // The machine may have a settings file.
    command.env_clear().env("HOME", home).env("P2POOL_CONFIG", "/dev/null").current_dir(home);
    command
}

/// Runs the program to its end.
pub fn run(home: &Path, words: &[&str]) -> Output {
    p2pool(home).args(words).output().expect("the program starts")
}

/// Returns the standard error of a run, which must be a single line.
pub fn one_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    text.trim_end().to_owned()
}

/// A running node, killed when dropped.
pub struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    /// Starts the program with its log in the file `name` of `home`.
    pub fn start(home: &Path, name: &str, adapt: impl FnOnce(&mut Command)) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_p2pool")), home, name, adapt)
    }

    /// Starts a copy of the program.
    pub fn start_program(program: &Path, home: &Path, name: &str, adapt: impl FnOnce(&mut Command)) -> Self {
        let log = home.join(name).with_extension("log");
        let file = File::create(&log).expect("a log file");
        let mut command = at(program, home);
        command.args(["-network", "regtest", "-address", ADDRESS, "-stratum-port", "0", "-p2p-port", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        adapt(&mut command);
        Self { child: command.spawn().expect("the program starts"), log }
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is UTF-8")
    }

    /// Waits until the log contains `part`.
    pub fn await_log(&mut self, part: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while !self.log().contains(part) {
            if let Some(status) = self.child.try_wait().expect("a child") {
                // The line may have been written just before the end.
                assert!(self.log().contains(part), "ended with {status} without {part:?}:\n{}", self.log());
                return;
            }
            assert!(Instant::now() < deadline, "no {part:?} in:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal by its name, as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill(1)").success());
    }

    /// Waits for the end; returns how long that took.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status, started.elapsed());
            }
            assert!(started.elapsed() < TIMEOUT, "still running:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
