//! Detects the protocol of a connection from its first bytes.

use std::fmt;

/// Number of bytes needed at most; they stay in the socket.
pub const PEEK_LEN: usize = 16;
/// The beginning of version 2 of the PROXY protocol.
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A JSON object, from a miner.
    Stratum,
    /// An HTTP method, from a browser or a similar tool.
    Http,
    /// Too few bytes to decide.
    Undecided,
    /// Neither Stratum nor HTTP.
    Foreign(Foreign),
}

/// A protocol that this port does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    Tls,
    /// The header that a load balancer puts before a connection.
    Proxy,
    /// HTTP/2 without a preceding HTTP/1.1 request.
    Http2,
    Unknown,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "it speaks TLS: use stratum+tcp:// for miners and http:// for the dashboard",
            Self::Proxy => "it sends a PROXY protocol header: turn that off in the load balancer",
            Self::Http2 => "it speaks HTTP/2: use HTTP/1.1",
            Self::Unknown => "it speaks neither Stratum nor HTTP",
        })
    }
}

/// HTTP methods whose target need not be a path, with the following space.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"TRACE ", b"CONNECT "];

/// Detects the protocol from the first bytes of a connection.
pub fn detect(bytes: &[u8]) -> Protocol {
    let may_continue = bytes.len() < PEEK_LEN;
    if bytes.starts_with(PROXY_V2) {
        return Protocol::Foreign(Foreign::Proxy);
    }
    if may_continue && bytes.len() > 4 && PROXY_V2.starts_with(bytes) {
        return Protocol::Undecided;
    }
    let rest = bytes.trim_ascii_start();
    match rest.first() {
        None if may_continue => Protocol::Undecided,
        Some(b'{') => Protocol::Stratum,
        Some(_) if METHODS.iter().any(|method| rest.starts_with(method)) => Protocol::Http,
        Some(b'A'..=b'Z') => detect_method(rest, may_continue),
        // The record of a handshake, of any version.
        Some(0x16) => match rest.get(1) {
            Some(3) => Protocol::Foreign(Foreign::Tls),
            None if may_continue => Protocol::Undecided,
            _ => Protocol::Foreign(Foreign::Unknown),
        },
        _ => Protocol::Foreign(Foreign::Unknown),
    }
}

/// Bytes that start with a capital letter are an unknown HTTP method if a path follows; the web threads respond with an error.
fn detect_method(bytes: &[u8], may_continue: bool) -> Protocol {
    if bytes.starts_with(b"PROXY ") {
        return Protocol::Foreign(Foreign::Proxy);
    }
    if bytes.starts_with(b"PRI * HTTP/2") {
        return Protocol::Foreign(Foreign::Http2);
    }
    let method_len = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match bytes.get(method_len..) {
        Some([b' ', b'/', ..]) => Protocol::Http,
        Some([] | [b' ']) if may_continue => Protocol::Undecided,
        Some(_) if may_continue && b"PRI * HTTP/2".starts_with(bytes) => Protocol::Undecided,
        _ => Protocol::Foreign(Foreign::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        for (bytes, protocol) in [
            (&b"{"[..], Protocol::Stratum),
            (b" \r\n\t{\"id\"", Protocol::Stratum),
            (b"GET / HTTP/1.1", Protocol::Http),
            (b"HEAD /", Protocol::Http),
            (b"POST ", Protocol::Http),
            (b"OPTIONS *", Protocol::Http),
            (b"PROPFIND / HTTP/1", Protocol::Http),
            (b"BREW /", Protocol::Http),
            (b"MKREDIRECTREF /x", Protocol::Http),
            (b"", Protocol::Undecided),
            (b" \n", Protocol::Undecided),
            (b"G", Protocol::Undecided),
            (b"HEAD", Protocol::Undecided),
            (b"GETX", Protocol::Undecided),
            (b"BREW ", Protocol::Undecided),
            (b"BREW x", Protocol::Foreign(Foreign::Unknown)),
            (b"BREW{", Protocol::Foreign(Foreign::Unknown)),
            (b"SSH-2.0-", Protocol::Foreign(Foreign::Unknown)),
            (b"AAAAAAAAAAAAAAA", Protocol::Undecided),
            (&[b'A'; PEEK_LEN], Protocol::Foreign(Foreign::Unknown)),
            (b"AAAAAAAAAAAAAAA ", Protocol::Foreign(Foreign::Unknown)),
            (b"get /", Protocol::Foreign(Foreign::Unknown)),
            (b"\x16\x03\x01", Protocol::Foreign(Foreign::Tls)),
            (b"\x16", Protocol::Undecided),
            (b"\x16\x04", Protocol::Foreign(Foreign::Unknown)),
            (b"PROXY TCP4 192.0", Protocol::Foreign(Foreign::Proxy)),
            (b"PROXY", Protocol::Undecided),
            (PROXY_V2, Protocol::Foreign(Foreign::Proxy)),
            (b"\r\n\r\n\0\r\nQU", Protocol::Undecided),
            (b"\r\n\r\n\0\r\nQUARK\n\n\n\n", Protocol::Foreign(Foreign::Unknown)),
            (b"\r\n\r\n{", Protocol::Stratum),
            (b"PRI * HTTP/2.0\r\n", Protocol::Foreign(Foreign::Http2)),
            (b"PRI *", Protocol::Undecided),
            (b"[1]", Protocol::Foreign(Foreign::Unknown)),
            (&[b' '; PEEK_LEN], Protocol::Foreign(Foreign::Unknown)),
        ] {
            assert_eq!(detect(bytes), protocol, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
