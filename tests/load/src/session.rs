//! A session of the load.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use serde_json::Value;

/// A message from the server.
pub enum Received {
    /// The response to a submit: the error code, 0 if accepted, and the time at which the submit was sent.
    Response(u64, Instant),
    /// A job with this id.
    Job(String),
}

/// A session of the load.
pub struct Session {
    pub socket: TcpStream,
    unread: Vec<u8>,
    job: Option<(String, String)>,
    counter: u64,
    sent: Option<Instant>,
}

const HELLO: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"p2pool-load\"]}\n\
{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"load\",\"d=1000000000\"]}\n";
/// The id of every submit.
const SUBMIT_ID: u64 = 3;

impl Session {
    /// Subscribes and authorizes.
    pub fn new(mut socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.write_all(HELLO)?;
        Ok(Self { socket, unread: Vec::new(), job: None, counter: 0, sent: None })
    }

    /// Whether it has a job and no pending submit.
    pub fn is_ready(&self) -> bool {
        self.job.is_some() && self.sent.is_none()
    }

    /// Whether a submit waits for its response.
    pub fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    /// Sends the next submit.
    pub fn submit(&mut self) -> io::Result<()> {
        let Some((job, time)) = &self.job else { return Ok(()) };
        self.counter += 1;
        let mut line = String::with_capacity(160);
        let _ = writeln!(
            line,
            "{{\"id\":{SUBMIT_ID},\"method\":\"mining.submit\",\"params\":[\"load\",\"{job}\",\"{:016x}\",\"{time}\",\"{:08x}\"]}}",
            self.counter, self.counter as u32
        );
        self.sent = Some(Instant::now());
        // A hundred bytes always fit into an empty send buffer.
        self.socket.write_all(line.as_bytes())
    }

    /// Reads all received messages.
    pub fn read(&mut self, mut on_received: impl FnMut(Received)) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.unread.extend_from_slice(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut lines = std::mem::take(&mut self.unread);
        let complete = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in lines.get(..complete).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            if let Some(received) = self.on_line(std::str::from_utf8(line).map_err(io::Error::other)?)? {
                on_received(received);
            }
        }
        lines.drain(..complete);
        self.unread = lines;
        Ok(())
    }

    fn on_line(&mut self, line: &str) -> io::Result<Option<Received>> {
        if line.contains("\"method\":\"mining.notify\"") {
            // Only the first and the eighth parameter are needed, and the line may have 88 KB.
            let job = line.split('"').nth(9);
            let time = line.rsplit('"').nth(1);
            let (Some(job), Some(time)) = (job, time) else { return Ok(None) };
            self.job = Some((job.to_owned(), time.to_owned()));
            return Ok(Some(Received::Job(job.to_owned())));
        }
        let line: Value = serde_json::from_str(line)?;
        let is_response = line["id"] == SUBMIT_ID;
        let sent = is_response.then(|| self.sent.take()).flatten();
        Ok(sent.map(|sent| Received::Response(line["error"][0].as_u64().unwrap_or(0), sent)))
    }
}
