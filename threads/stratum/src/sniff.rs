//! Which protocol a client speaks, told by its first bytes.

/// Bytes looked at; they stay in the socket.
pub const PEEK_LEN: usize = 16;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A JSON object: a miner.
    Stratum,
    /// A method of HTTP: a browser or a tool of that kind.
    Http,
    /// Too few bytes to tell.
    Undecided,
    /// Neither; nothing worth answering.
    Unknown,
}

/// HTTP's methods, with the space that follows them.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"TRACE ", b"CONNECT "];

/// Looks at the first bytes of a connection.
pub fn sniff(bytes: &[u8]) -> Protocol {
    let rest = bytes.trim_ascii_start();
    match rest.first() {
        None if bytes.len() < PEEK_LEN => Protocol::Undecided,
        Some(b'{') => Protocol::Stratum,
        Some(_) if METHODS.iter().any(|method| rest.starts_with(method)) => Protocol::Http,
        Some(_) if METHODS.iter().any(|method| method.starts_with(rest)) => Protocol::Undecided,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        for (bytes, protocol) in [
            (&b"{"[..], Protocol::Stratum),
            (b" \r\n\t{\"id\"", Protocol::Stratum),
            (b"GET / HTTP/1.1", Protocol::Http),
            (b"HEAD /", Protocol::Http),
            (b"POST ", Protocol::Http),
            (b"", Protocol::Undecided),
            (b" \n", Protocol::Undecided),
            (b"G", Protocol::Undecided),
            (b"HEAD", Protocol::Undecided),
            (b"GETX", Protocol::Unknown),
            (b"get /", Protocol::Unknown),
            (b"\x16\x03\x01", Protocol::Unknown),
            (b"[1]", Protocol::Unknown),
            (&[b' '; PEEK_LEN], Protocol::Unknown),
        ] {
            assert_eq!(sniff(bytes), protocol, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
