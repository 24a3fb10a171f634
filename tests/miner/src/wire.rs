//! JSON lines over TCP.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver};
use serde_json::Value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest line accepted; a job with a thousand outputs is less than a tenth of it.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Capacity of the channel of received lines; reading pauses while it is full.
const LINES_WAITING_MAX: usize = 256;

/// What a connection received.
#[derive(Clone, Debug)]
pub enum Incoming {
    Message(Value),
    /// The connection ended, with the reason.
    Closed(String),
}

/// A connection, closed on drop.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects and starts reading. The channel ends with [`Incoming::Closed`].
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
            // Sending fails if the receiver was dropped; then the thread ends.
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
        // An error means that it is closed already.
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
