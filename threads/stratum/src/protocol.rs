//! Detects the protocol of a connection from its first bytes.

/// Number of bytes needed at most; they stay in the socket.
pub const PEEK_LEN: usize = 16;

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
    Unknown,
}

/// HTTP methods whose target need not be a path, with the following space.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"TRACE ", b"CONNECT "];

/// Detects the protocol from the first bytes of a connection.
pub fn detect(bytes: &[u8]) -> Protocol {
    let rest = bytes.trim_ascii_start();
    let may_continue = bytes.len() < PEEK_LEN;
    match rest.first() {
        None if may_continue => Protocol::Undecided,
        Some(b'{') => Protocol::Stratum,
        Some(_) if METHODS.iter().any(|method| rest.starts_with(method)) => Protocol::Http,
        Some(b'A'..=b'Z') => detect_method(rest, may_continue),
        _ => Protocol::Unknown,
    }
}

/// Bytes that start with a capital letter are an unknown HTTP method if a path follows; the web threads respond with an error.
fn detect_method(bytes: &[u8], may_continue: bool) -> Protocol {
    let method_len = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match bytes.get(method_len..) {
        Some([b' ', b'/', ..]) => Protocol::Http,
        Some([] | [b' ']) if may_continue => Protocol::Undecided,
        _ => Protocol::Unknown,
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
            (b"BREW x", Protocol::Unknown),
            (b"BREW{", Protocol::Unknown),
            (b"SSH-2.0-", Protocol::Unknown),
            (b"AAAAAAAAAAAAAAA", Protocol::Undecided),
            (&[b'A'; PEEK_LEN], Protocol::Unknown),
            (b"AAAAAAAAAAAAAAA ", Protocol::Unknown),
            (b"get /", Protocol::Unknown),
            (b"\x16\x03\x01", Protocol::Unknown),
            (b"[1]", Protocol::Unknown),
            (&[b' '; PEEK_LEN], Protocol::Unknown),
        ] {
            assert_eq!(detect(bytes), protocol, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
