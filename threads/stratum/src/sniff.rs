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

/// Methods that may be asked for something else than a path, with the space that follows them.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"TRACE ", b"CONNECT "];

/// Looks at the first bytes of a connection.
pub fn sniff(bytes: &[u8]) -> Protocol {
    let rest = bytes.trim_ascii_start();
    let may_go_on = bytes.len() < PEEK_LEN;
    match rest.first() {
        None if may_go_on => Protocol::Undecided,
        Some(b'{') => Protocol::Stratum,
        Some(_) if METHODS.iter().any(|method| rest.starts_with(method)) => Protocol::Http,
        Some(b'A'..=b'Z') => of_method(rest, may_go_on),
        _ => Protocol::Unknown,
    }
}

/// Bytes that begin with a capital: a method nobody here knows is one if a path follows it, and gets its refusal.
fn of_method(bytes: &[u8], may_go_on: bool) -> Protocol {
    let method_len = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match bytes.get(method_len..) {
        Some([b' ', b'/', ..]) => Protocol::Http,
        Some([] | [b' ']) if may_go_on => Protocol::Undecided,
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
            assert_eq!(sniff(bytes), protocol, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
