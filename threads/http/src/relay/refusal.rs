//! The relay's own error responses.

/// The page for a browser that uses a host name that is not allowed.
const MISDIRECTED_PAGE: &str = include_str!("misdirected.html");

/// Reason for an error response of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Malformed, or with a feature that is not supported.
    BadRequest(&'static str),
    /// A method other than GET and HEAD.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// The host name is not allowed; the response is a page if the client is a browser.
    Misdirected { as_page: bool },
    /// Too many or too long headers.
    HeadersTooLarge,
    /// The server behind the relay failed.
    BadGateway,
    /// Too many connections.
    Busy,
    /// The server behind the relay did not respond in time.
    GatewayTimeout,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
}

impl Refusal {
    /// The status and the reason.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest(why) => ("400 Bad Request", why),
            Self::MethodNotAllowed => ("405 Method Not Allowed", "only GET and HEAD are supported"),
            Self::Timeout => ("408 Request Timeout", "the request did not arrive in time"),
            Self::Misdirected { .. } => (
                "421 Misdirected Request",
                "this host name is not allowed: use the IP address, or allow the name with -web-hosts",
            ),
            Self::HeadersTooLarge => (
                "431 Request Header Fields Too Large",
                "the head is larger than 8192 bytes or has more than 64 headers",
            ),
            Self::BadGateway => ("502 Bad Gateway", "the server failed"),
            Self::Busy => ("503 Service Unavailable", "too many connections"),
            Self::GatewayTimeout => ("504 Gateway Timeout", "the server did not respond in time"),
            Self::Version => ("505 HTTP Version Not Supported", "only HTTP/1.0 and HTTP/1.1 are supported"),
        }
    }

    /// Returns the response, after which the connection closes.
    pub fn response(self) -> Vec<u8> {
        // The reasons contain no characters that JSON would have to escape.
        let (status, why) = self.texts();
        let (content_type, body) = match self {
            Self::Misdirected { as_page: true } => ("text/html; charset=utf-8", MISDIRECTED_PAGE.to_owned()),
            _ => ("application/json", format!("{{\"error\":\"{why}\"}}")),
        };
        let allow = if self == Self::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\n{allow}Content-Type: {content_type}\r\nContent-Length: {}\r\n\
             X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
            body.len(),
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_have_a_length_and_a_json_body() {
        for refusal in [
            Refusal::BadRequest("a body is not allowed"),
            Refusal::MethodNotAllowed,
            Refusal::Timeout,
            Refusal::Misdirected { as_page: false },
            Refusal::HeadersTooLarge,
            Refusal::BadGateway,
            Refusal::Busy,
            Refusal::GatewayTimeout,
            Refusal::Version,
        ] {
            let text = String::from_utf8(refusal.response()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
            assert!(head.ends_with("\r\nConnection: close"), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(json["error"].is_string());
        }
    }

    #[test]
    fn a_browser_with_a_wrong_host_name_gets_a_page() {
        let text = String::from_utf8(Refusal::Misdirected { as_page: true }.response()).unwrap();
        let (head, page) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 421 ") && head.contains("\r\nContent-Type: text/html"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())), "{head}");
        assert!(page.starts_with("<!doctype html>") && page.contains("-web-hosts"), "{page}");
    }
}
