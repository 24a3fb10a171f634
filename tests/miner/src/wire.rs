//! Lines of JSON over TCP.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver};
use serde_json::Value;

/// For a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a line to be taken by the pool's system.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest line taken: a job whose coinbase has a thousand outputs stays below a tenth of it.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Lines read and not yet looked at; then reading pauses.
const LINES_WAITING_MAX: usize = 256;

/// What the other side sent.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A line.
    Message(Value),
    /// The end, and why.
    Closed(String),
}

/// A connection; closed when dropped.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects and starts reading; the last thing that comes is [`Incoming::Closed`].
    pub fn open(address: &str) -> io::Result<(Self, Receiver<Incoming>)> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Self::over(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn over(stream: TcpStream) -> io::Result<(Self, Receiver<Incoming>)> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let reading = stream.try_clone()?;
        let (sender, receiver) = bounded(LINES_WAITING_MAX);
        thread::Builder::new().name("stratum reader".to_owned()).spawn(move || {
            let mut reader = BufReader::new(reading);
            // Sending fails when nobody listens any more; then there is nothing left to do.
            while let Ok(message) = read_message(&mut reader).map_err(|why| drop(sender.send(Incoming::Closed(why)))) {
                if sender.send(Incoming::Message(message)).is_err() {
                    break;
                }
            }
        })?;
        Ok((Self { stream }, receiver))
    }

    /// Sends one line.
    pub fn send_line(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It may be closed already; then the reader knows.
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

fn read_message(reader: &mut BufReader<TcpStream>) -> Result<Value, String> {
    let mut line = String::new();
    match reader.take(LINE_BYTES_MAX).read_line(&mut line) {
        Ok(0) => Err("closed by the pool".to_owned()),
        Ok(_) => serde_json::from_str(&line).map_err(|error| format!("not JSON: {error}: {line:?}")),
        Err(error) => Err(error.to_string()),
    }
}
