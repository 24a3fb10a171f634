//! The relay's own error responses.

/// Reason for an error response of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Malformed, or with a feature that is not supported.
    BadRequest(&'static str),
    /// A method other than GET and HEAD.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// The host name is not allowed.
    Misdirected,
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
            Self::Misdirected => (
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
        let body = format!("{{\"error\":\"{why}\"}}");
        let allow = if self == Self::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\n{allow}Content-Type: application/json\r\nContent-Length: {}\r\n\
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
            Refusal::Misdirected,
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
}
