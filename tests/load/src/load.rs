//! Runs all sessions in one loop, so that measuring has little influence on the results.

use std::collections::HashMap;
use std::io;
use std::net::ToSocketAddrs as _;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::figures::Report;
use crate::session::{Received, Session};

/// Timeout of the last responses.
const LAST_RESPONSES: Duration = Duration::from_secs(5);
/// Timeout until all sessions have a job.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for events.
const POLL_TIMEOUT: Duration = Duration::from_millis(1);

/// The parameters of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of sessions.
    pub sessions: usize,
    /// Number of sessions that submit.
    pub working: usize,
    /// Submits per second of all sessions together; `None` for as many as get responses.
    pub submits_per_s: Option<f64>,
    pub duration: Duration,
}

/// The arrivals of a job at the sessions.
struct Arrivals {
    first: Instant,
    last: Instant,
    count: usize,
}

/// A run.
pub struct Load {
    plan: Plan,
    poll: Poll,
    sessions: Vec<Session>,
    jobs: HashMap<String, Arrivals>,
    report: Report,
}

impl Load {
    /// Opens all sessions.
    pub fn connect(address: &str, plan: Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let address = address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no such address"))?;
        let mut sessions = Vec::with_capacity(plan.sessions);
        for key in 0..plan.sessions {
            let socket = std::net::TcpStream::connect(address)?;
            socket.set_nonblocking(true)?;
            let mut session = Session::new(TcpStream::from_std(socket))?;
            poll.registry().register(&mut session.socket, Token(key), Interest::READABLE)?;
            sessions.push(session);
        }
        Ok(Self { plan, poll, sessions, jobs: HashMap::new(), report: Report::default() })
    }

    /// Runs the plan.
    pub fn run(mut self) -> io::Result<Report> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !self.sessions.iter().all(Session::is_ready) {
            if Instant::now() > deadline {
                return Err(io::Error::other("not all sessions got a job"));
            }
            self.turn(POLL_TIMEOUT)?;
        }
        self.report = Report::default();
        // Only measure jobs from now on.
        self.jobs.clear();
        let start = Instant::now();
        let mut sent = 0u64;
        let mut next = 0;
        while start.elapsed() < self.plan.duration {
            let allowed =
                self.plan.submits_per_s.map_or(u64::MAX, |rate| (start.elapsed().as_secs_f64() * rate) as u64);
            for _ in 0..self.plan.working {
                if sent >= allowed {
                    break;
                }
                next = (next + 1) % self.plan.working.max(1);
                if let Some(session) = self.sessions.get_mut(next).filter(|session| session.is_ready()) {
                    session.submit()?;
                    sent += 1;
                }
            }
            self.turn(POLL_TIMEOUT)?;
        }
        self.report.duration = start.elapsed();
        let deadline = Instant::now() + LAST_RESPONSES;
        while self.sessions.iter().any(Session::is_waiting) && Instant::now() < deadline {
            self.turn(POLL_TIMEOUT)?;
        }
        Ok(self.finish())
    }

    fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.poll.poll(&mut events, Some(timeout))?;
        for event in &events {
            let Some(session) = self.sessions.get_mut(event.token().0) else { continue };
            let (report, jobs) = (&mut self.report, &mut self.jobs);
            session.read(|received| match received {
                Received::Response(code, sent) => {
                    report.responses += 1;
                    report.latencies.add(sent.elapsed());
                    *report.results.entry(code).or_insert(0) += 1;
                }
                Received::Job(name) => {
                    let now = Instant::now();
                    let arrivals = jobs.entry(name).or_insert(Arrivals { first: now, last: now, count: 0 });
                    arrivals.last = now;
                    arrivals.count += 1;
                }
            })?;
        }
        Ok(())
    }

    fn finish(self) -> Report {
        let mut report = self.report;
        report.sessions = self.sessions.len();
        report.pending = self.sessions.iter().filter(|session| session.is_waiting()).count();
        for arrivals in self.jobs.values().filter(|arrivals| arrivals.count == self.sessions.len()) {
            report.fanouts.add(arrivals.last - arrivals.first);
        }
        report
    }
}
