//! The load: all sessions in one loop, so that the measuring disturbs as little as it can.

use std::collections::HashMap;
use std::io;
use std::net::ToSocketAddrs as _;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::figures::Report;
use crate::session::{Session, Told};

/// After the last submit, answers are waited for this long.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// All sessions must have a job by then.
const START: Duration = Duration::from_secs(30);
/// The loop looks at the time at least this often.
const PATIENCE: Duration = Duration::from_millis(1);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions that submit.
    pub working: usize,
    /// Submits a second in all; as many as are answered if `None`.
    pub submits_per_s: Option<f64>,
    /// How long.
    pub duration: Duration,
}

/// When a job came.
struct Arrivals {
    first: Instant,
    last: Instant,
    count: usize,
}

/// Sessions under load.
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
        let deadline = Instant::now() + START;
        while !self.sessions.iter().all(Session::is_ready) {
            if Instant::now() > deadline {
                return Err(io::Error::other("not all sessions got a job"));
            }
            self.turn(PATIENCE)?;
        }
        self.report = Report::default();
        // Jobs from now on are measured.
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
            self.turn(PATIENCE)?;
        }
        self.report.duration = start.elapsed();
        let deadline = Instant::now() + LAST_ANSWERS;
        while self.sessions.iter().any(Session::is_waiting) && Instant::now() < deadline {
            self.turn(PATIENCE)?;
        }
        Ok(self.finish())
    }

    fn turn(&mut self, patience: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.poll.poll(&mut events, Some(patience))?;
        for event in &events {
            let Some(session) = self.sessions.get_mut(event.token().0) else { continue };
            let (report, jobs) = (&mut self.report, &mut self.jobs);
            session.read(|told| match told {
                Told::Verdict(code, sent) => {
                    report.answered += 1;
                    report.latencies.add(sent.elapsed());
                    *report.verdicts.entry(code).or_insert(0) += 1;
                }
                Told::Job(name) => {
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
        report.unanswered = self.sessions.iter().filter(|session| session.is_waiting()).count();
        for arrivals in self.jobs.values().filter(|arrivals| arrivals.count == self.sessions.len()) {
            report.fanouts.add(arrivals.last - arrivals.first);
        }
        report
    }
}
