//! Where a request begins and ends, and whether it is passed on. Stricter than any browser needs: two programs that
//! read one byte stream must not come to different requests.

use super::hosts::Hosts;
use super::refusal::Refusal;

/// Bytes of a request's head at most. Browsers send one; a tenth of this is usual.
pub const HEAD_LEN_MAX: usize = 8 * 1024;
/// Headers of a request at most. Browsers send fifteen.
const HEADERS_MAX: usize = 64;
/// The longest tag of a file version that is passed on; ours are shorter.
const ETAG_LEN_MAX: usize = 80;

/// A request that may be passed on, as it is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of the head: the next request begins behind them.
    pub len: usize,
    /// Whether the answer has no body.
    pub is_head: bool,
    /// Whether another request may follow on the same connection.
    pub keep_alive: bool,
    /// The request as the server behind gets it: nothing of the client's but method, target and `If-None-Match`.
    pub forward: Vec<u8>,
}

/// What the bytes received so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// Not all of a head, and no reason yet to refuse it.
    Incomplete,
    /// A request.
    Request(Request),
    /// Nothing that is answered otherwise.
    Refused(Refusal),
}

/// Looks for a request at the start of `bytes`.
pub fn frame(bytes: &[u8], hosts: &Hosts) -> Framed {
    match head_len(bytes) {
        Ok(None) if bytes.len() < HEAD_LEN_MAX => Framed::Incomplete,
        Ok(None) => Framed::Refused(Refusal::HeadersTooLarge),
        Ok(Some(len)) if len > HEAD_LEN_MAX => Framed::Refused(Refusal::HeadersTooLarge),
        Ok(Some(len)) => match parse(bytes.get(..len).unwrap_or_default(), hosts) {
            Ok(request) => Framed::Request(request),
            Err(refusal) => Framed::Refused(refusal),
        },
        Err(refusal) => Framed::Refused(refusal),
    }
}

/// Length of the head with the empty line at its end. Lines end in CR LF and nothing else.
fn head_len(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let bare = || Refusal::BadRequest("lines must end in CR LF");
    let mut line_start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        if (*byte == b'\n') != (before == Some(&b'\r')) {
            return Err(bare());
        }
        if *byte == b'\n' {
            if at == line_start + 1 {
                return Ok(Some(at + 1));
            }
            line_start = at + 1;
        }
    }
    Ok(None)
}

fn parse(head: &[u8], hosts: &Hosts) -> Result<Request, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadersTooLarge),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        _ => return Err(Refusal::BadRequest("this is not an HTTP request")),
    }
    let is_head = match parsed.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::MethodNotAllowed),
    };
    let target = parsed.path.filter(|target| is_origin_form(target));
    let target = target.ok_or(Refusal::BadRequest("the target must be a path"))?;
    check_names(parsed.headers)?;
    let host = text_of(parsed.headers, "host")?.ok_or(Refusal::BadRequest("a Host header is needed"))?;
    if !hosts.allows(host) {
        return Err(Refusal::Misdirected);
    }
    let connection = text_of(parsed.headers, "connection")?.unwrap_or_default().to_ascii_lowercase();
    let mut options = connection.split(',').map(str::trim);
    if options.clone().any(|option| option == "upgrade") {
        return Err(Refusal::BadRequest("no upgrade is offered"));
    }
    let keep_alive = parsed.version == Some(1) && !options.any(|option| option == "close");
    let method = if is_head { "HEAD" } else { "GET" };
    let mut forward = format!("{method} {target} HTTP/1.1\r\nHost: p2pool\r\n");
    if let Some(etag) = text_of(parsed.headers, "if-none-match")?.filter(|etag| etag.len() <= ETAG_LEN_MAX) {
        forward.push_str("If-None-Match: ");
        forward.push_str(etag);
        forward.push_str("\r\n");
    }
    forward.push_str("\r\n");
    Ok(Request { len: head.len(), is_head, keep_alive, forward: forward.into_bytes() })
}

/// A path with an optional query, in visible ASCII.
fn is_origin_form(target: &str) -> bool {
    target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// No header twice, none that announces a body or asks for something else than an answer.
fn check_names(headers: &[httparse::Header<'_>]) -> Result<(), Refusal> {
    for (index, header) in headers.iter().enumerate() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if headers.iter().take(index).any(|earlier| is(earlier.name)) {
            return Err(Refusal::BadRequest("a header is given twice"));
        }
        if is("transfer-encoding") || (is("content-length") && header.value != b"0") {
            return Err(Refusal::BadRequest("a body is not taken"));
        }
        if is("upgrade") || is("expect") {
            return Err(Refusal::BadRequest("no upgrade and no expectation is met"));
        }
    }
    Ok(())
}

/// A header's value, which must be visible ASCII.
fn text_of<'a>(headers: &[httparse::Header<'a>], name: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(header) = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)) else { return Ok(None) };
    let is_text = header.value.iter().all(|byte| (0x20..0x7f).contains(byte));
    let text = std::str::from_utf8(header.value).ok().filter(|_| is_text);
    text.map(Some).ok_or(Refusal::BadRequest("a header holds bytes that are no text"))
}

#[cfg(test)]
mod tests;
