//! Parses the head of a request and decides whether it is forwarded. Stricter than any browser needs: relay and server
//! must never see different requests in the same bytes (request smuggling).

use super::hosts::AllowedHosts;
use super::refusal::Refusal;

/// Most bytes of a head: ten times what browsers usually send.
pub const HEAD_LEN_MAX: usize = 8 * 1024;
/// Most headers of a request. Browsers send about fifteen.
const HEADERS_MAX: usize = 64;
/// The host of all requests to the server, by which it recognises them.
pub const FORWARDED_HOST: &str = "p2pool";
/// Longest `If-None-Match` value that is forwarded; the server's tags are shorter.
const ETAG_LEN_MAX: usize = 80;

/// A valid request, rewritten for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// Length of the head as received; the next request follows it.
    pub head_len: usize,
    /// Whether it is a HEAD request, so the response has no body.
    pub is_head: bool,
    /// Whether another request may follow on the same connection.
    pub keep_alive: bool,
    /// The request for the server: method, target and `If-None-Match`, and nothing else from the client.
    pub bytes: Vec<u8>,
}

/// Parses a request at the start of `bytes`; `None` if the head is incomplete, but valid so far.
pub fn parse(bytes: &[u8], hosts: &AllowedHosts) -> Result<Option<ForwardedRequest>, Refusal> {
    match head_len(bytes)? {
        None if bytes.len() < HEAD_LEN_MAX => Ok(None),
        Some(len) if len <= HEAD_LEN_MAX => parse_head(bytes.get(..len).unwrap_or_default(), hosts).map(Some),
        _ => Err(Refusal::HeadersTooLarge),
    }
}

/// Returns the length of the head including the empty line at its end. Only CR LF ends a line.
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

fn parse_head(head: &[u8], hosts: &AllowedHosts) -> Result<ForwardedRequest, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadersTooLarge),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        _ => return Err(Refusal::BadRequest("not an HTTP request")),
    }
    let is_head = match parsed.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err(Refusal::MethodNotAllowed),
    };
    let target = parsed.path.filter(|target| is_origin_form(target));
    let target = target.ok_or(Refusal::BadRequest("the target must be a path"))?;
    check_names(parsed.headers)?;
    let host = text_of(parsed.headers, "host")?.ok_or(Refusal::BadRequest("a Host header is required"))?;
    if !hosts.allows(host) {
        let accept = text_of(parsed.headers, "accept")?.unwrap_or_default();
        return Err(Refusal::Misdirected { as_page: accept.contains("text/html") });
    }
    let connection = text_of(parsed.headers, "connection")?.unwrap_or_default().to_ascii_lowercase();
    let mut options = connection.split(',').map(str::trim);
    if options.clone().any(|option| option == "upgrade") {
        return Err(Refusal::BadRequest("upgrades are not supported"));
    }
    let keep_alive = parsed.version == Some(1) && !options.any(|option| option == "close");
    let method = if is_head { "HEAD" } else { "GET" };
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {FORWARDED_HOST}\r\n");
    if let Some(etag) = text_of(parsed.headers, "if-none-match")?.filter(|etag| etag.len() <= ETAG_LEN_MAX) {
        request.push_str("If-None-Match: ");
        request.push_str(etag);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    Ok(ForwardedRequest { head_len: head.len(), is_head, keep_alive, bytes: request.into_bytes() })
}

/// Whether a target is a path with an optional query, in visible ASCII.
fn is_origin_form(target: &str) -> bool {
    target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Checks that no header is repeated, announces a body, or requests an upgrade or expectation.
fn check_names(headers: &[httparse::Header<'_>]) -> Result<(), Refusal> {
    for (index, header) in headers.iter().enumerate() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if headers.iter().take(index).any(|earlier| is(earlier.name)) {
            return Err(Refusal::BadRequest("a header is repeated"));
        }
        if is("transfer-encoding") || (is("content-length") && header.value != b"0") {
            return Err(Refusal::BadRequest("a body is not allowed"));
        }
        if is("upgrade") || is("expect") {
            return Err(Refusal::BadRequest("upgrades and expectations are not supported"));
        }
    }
    Ok(())
}

/// Returns a header's value, which must be printable ASCII.
fn text_of<'a>(headers: &[httparse::Header<'a>], name: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(header) = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)) else { return Ok(None) };
    let is_text = header.value.iter().all(|byte| (0x20..0x7f).contains(byte));
    let text = std::str::from_utf8(header.value).ok().filter(|_| is_text);
    text.map(Some).ok_or(Refusal::BadRequest("a header contains bytes that are not printable ASCII"))
}

#[cfg(test)]
mod tests;
