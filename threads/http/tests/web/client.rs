//! A client that says exactly what it is told, and reads answers as strictly as it can.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any deadline of the relay's.
const PATIENCE: Duration = Duration::from_secs(25);

pub struct Client {
    socket: TcpStream,
    rest: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is given twice");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What an answer that refuses says.
    pub fn error(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        json["error"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, rest: Vec::new() }
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Whether the other side takes bytes still.
    pub fn can_say(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// The next answer; `None` if the connection ends instead.
    pub fn hear(&mut self, has_body: bool) -> Option<Answer> {
        let head_len = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more() {
                assert!(self.rest.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.rest));
                return None;
            }
        };
        let head = String::from_utf8(self.rest.drain(..head_len).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let mut answer = Answer { status, headers: lines.map(header).collect(), body: Vec::new() };
        let len = answer.header("content-length").map_or(0, |len| len.parse().unwrap());
        if has_body && status != 304 {
            while self.rest.len() < len {
                assert!(self.read_more(), "the answer ends early");
            }
            answer.body = self.rest.drain(..len).collect();
        }
        Some(answer)
    }

    /// Whether the connection was closed and nothing more was said.
    pub fn is_closed(&mut self) -> bool {
        self.rest.is_empty() && !self.read_more()
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        // A connection that was reset is closed as well.
        let len = match self.socket.read(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing comes: {error}"),
        };
        self.rest.extend_from_slice(&buffer[..len]);
        len > 0
    }
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"))
}

/// One request, whatever it is, and the one answer.
pub fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut client = Client::connect(address);
    client.say(request);
    let answer = client.hear(!request.starts_with("HEAD")).unwrap();
    assert!(client.is_closed(), "more than one answer to {request:?}");
    answer
}
