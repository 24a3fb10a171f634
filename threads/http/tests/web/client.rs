//! An HTTP client that sends exactly the given bytes, and parses responses strictly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any timeout of the relay.
const TIMEOUT: Duration = Duration::from_secs(25);

pub struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "repeated header {name}");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The message of an error response.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes; false if the connection is closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// Receives the next response; `None` if the connection closes instead.
    pub fn receive(&mut self, has_body: bool) -> Option<Response> {
        let head_len = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more() {
                assert!(self.buffer.is_empty(), "incomplete response: {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..head_len).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let mut response = Response { status, headers: lines.map(header).collect(), body: Vec::new() };
        let len = response.header("content-length").map_or(0, |len| len.parse().unwrap());
        if has_body && status != 304 {
            while self.buffer.len() < len {
                assert!(self.read_more(), "the response is too short");
            }
            response.body = self.buffer.drain(..len).collect();
        }
        Some(response)
    }

    /// Waits until the connection closes; false if anything else is received.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.read_more()
    }

    fn read_more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        // A reset connection counts as closed.
        let len = match self.socket.read(&mut chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing received: {error}"),
        };
        self.buffer.extend_from_slice(&chunk[..len]);
        len > 0
    }
}

/// Sends a GET request on a new connection and returns the response.
pub fn get(address: SocketAddr, path: &str) -> Response {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"))
}

/// Sends any request on a new connection and returns the only response.
pub fn send(address: SocketAddr, request: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(request);
    let response = client.receive(!request.starts_with("HEAD")).unwrap();
    assert!(client.is_closed(), "more than one response to {request:?}");
    response
}
