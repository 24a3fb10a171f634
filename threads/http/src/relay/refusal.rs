//! Answers the relay gives by itself.

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP/1.x as its specification wants it, or not what this node takes.
    BadRequest(&'static str),
    /// Neither GET nor HEAD.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// For another host.
    Misdirected,
    /// More or longer headers than anybody needs.
    HeadersTooLarge,
    /// The server behind the relay failed.
    BadGateway,
    /// Too many connections.
    Busy,
    /// The server behind the relay did not answer.
    GatewayTimeout,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

impl Refusal {
    const fn status(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "400 Bad Request",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::Timeout => "408 Request Timeout",
            Self::Misdirected => "421 Misdirected Request",
            Self::HeadersTooLarge => "431 Request Header Fields Too Large",
            Self::BadGateway => "502 Bad Gateway",
            Self::Busy => "503 Service Unavailable",
            Self::GatewayTimeout => "504 Gateway Timeout",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }

    const fn why(self) -> &'static str {
        match self {
            Self::BadRequest(why) => why,
            Self::MethodNotAllowed => "only GET and HEAD are answered",
            Self::Timeout => "the request did not arrive in time",
            Self::Misdirected => {
                "this node does not answer to this name: use its IP address, or allow the name with -web-hosts"
            }
            Self::HeadersTooLarge => "the request's head is larger than 8192 bytes or has more than 64 headers",
            Self::BadGateway => "the answer could not be made",
            Self::Busy => "too many connections",
            Self::GatewayTimeout => "the answer took too long",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
        }
    }

    /// The whole answer, after which the connection is closed.
    pub fn answer(self) -> Vec<u8> {
        // The reasons are ours and hold nothing that JSON would have to escape.
        let body = format!("{{\"error\":\"{}\"}}", self.why());
        let allow = if self == Self::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
        format!(
            "HTTP/1.1 {}\r\n{allow}Content-Type: application/json\r\nContent-Length: {}\r\n\
             X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
            self.status(),
            body.len(),
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_state_their_length_and_are_json() {
        for refusal in [
            Refusal::BadRequest("a body is not taken"),
            Refusal::MethodNotAllowed,
            Refusal::Timeout,
            Refusal::Misdirected,
            Refusal::HeadersTooLarge,
            Refusal::BadGateway,
            Refusal::Busy,
            Refusal::GatewayTimeout,
            Refusal::Version,
        ] {
            let text = String::from_utf8(refusal.answer()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
            assert!(head.ends_with("\r\nConnection: close"), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(json["error"].is_string());
        }
    }
}
