use super::*;

fn hosts() -> AllowedHosts {
    AllowedHosts::new("garage", &[])
}

fn parsed(head: &str) -> Result<Option<ForwardedRequest>, Refusal> {
    parse(head.as_bytes(), &hosts())
}

fn refused(head: &str) -> Refusal {
    match parsed(head) {
        Err(refusal) => refusal,
        other => panic!("{head:?} is not refused: {other:?}"),
    }
}

fn accepted(head: &str) -> ForwardedRequest {
    match parsed(head) {
        Ok(Some(request)) => request,
        other => panic!("{head:?} is not accepted: {other:?}"),
    }
}

#[test]
fn a_request_is_forwarded_without_other_headers() {
    let head =
        "GET /api/v1/status?x=1 HTTP/1.1\r\nHost: 127.0.0.1:3333\r\nUser-Agent: a\r\nTE: chunked\r\nAccept: */*\r\n\r\n";
    let request = accepted(&format!("{head}GET /next"));
    assert_eq!(request.head_len, head.len());
    assert!(request.keep_alive && !request.is_head);
    assert_eq!(request.bytes, b"GET /api/v1/status?x=1 HTTP/1.1\r\nHost: p2pool\r\n\r\n");
}

#[test]
fn if_none_match_is_forwarded() {
    let request = accepted("HEAD / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"abc\"\r\n\r\n");
    assert!(request.is_head);
    assert_eq!(request.bytes, b"HEAD / HTTP/1.1\r\nHost: p2pool\r\nIf-None-Match: \"abc\"\r\n\r\n");
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"{}\"\r\n\r\n", "a".repeat(80));
    assert_eq!(accepted(&long).bytes, b"GET / HTTP/1.1\r\nHost: p2pool\r\n\r\n");
}

#[test]
fn connections_are_kept_alive_only_for_http_1_1_without_close() {
    assert!(!accepted("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").keep_alive);
    assert!(!accepted("GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").keep_alive);
    assert!(!accepted("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: foo , Close\r\n\r\n").keep_alive);
    assert!(accepted("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").keep_alive);
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let head = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for len in 0..head.len() {
        assert_eq!(parsed(&head[..len]), Ok(None), "{len}");
    }
    assert_eq!(accepted(head).head_len, head.len());
}

#[test]
fn other_methods_are_not_allowed() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get", "GETS", "PRI"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(refused(&head), Refusal::MethodNotAllowed, "{method}");
    }
}

#[test]
fn bodies_and_upgrades_are_refused() {
    for header in [
        "Content-Length: 1",
        "Content-Length: 99999999999",
        "Content-Length: 00",
        "Content-Length: +0",
        "Content-Length: 0, 0",
        "content-length:\t5",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "transfer-encoding: identity",
        "Upgrade: h2c",
        "Connection: keep-alive, Upgrade",
        "Expect: 100-continue",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
        assert!(matches!(refused(&head), Refusal::BadRequest(_)), "{header}");
    }
    accepted("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nUpgrade-Insecure-Requests: 1\r\n\r\n");
}

#[test]
fn ambiguous_requests_are_refused() {
    for head in [
        "GET / HTTP/1.1\nHost: localhost\n\n",
        "GET / HTTP/1.1\r\nHost: localhost\n\r\n",
        "GET / HTTP/1.1\r\nHost: local\rhost\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: 1\r\nx: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length : 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n Content-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: loc\u{e4}lhost\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n",
        "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /\u{e4} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET /\r\n\r\n",
    ] {
        assert!(matches!(refused(head), Refusal::BadRequest(_)), "{head:?}: {:?}", refused(head));
    }
}

#[test]
fn other_versions_are_refused() {
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "http/1.1", "b HTTP/1.1"] {
        let refusal = refused(&format!("GET / {version}\r\nHost: localhost\r\n\r\n"));
        assert!(matches!(refusal, Refusal::Version), "{version}: {refusal:?}");
    }
}

#[test]
fn unknown_host_names_are_refused() {
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), Refusal::Misdirected { as_page: false });
    assert_eq!(refused("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Refusal::Misdirected { as_page: false });
    assert_eq!(
        refused("GET / HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html,*/*\r\n\r\n"),
        Refusal::Misdirected { as_page: true }
    );
}

#[test]
fn heads_are_bounded() {
    let fill = |len: usize| format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "a".repeat(len));
    assert_eq!(refused(&fill(HEAD_LEN_MAX)), Refusal::HeadersTooLarge);
    assert_eq!(parsed(&fill(HEAD_LEN_MAX - 100)), Ok(None));
    let whole = fill(HEAD_LEN_MAX - 38) + "\r\n\r\n";
    assert!(whole.len() > HEAD_LEN_MAX);
    assert_eq!(refused(&whole), Refusal::HeadersTooLarge);
    let many: String = (0..70).map(|n| format!("X{n}: 1\r\n")).collect();
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")), Refusal::HeadersTooLarge);
}

/// A pseudorandom generator (xorshift) that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn mutated_input_yields_only_plain_requests() {
    let heads: [&[u8]; 4] = [
        b"GET /api/v1/status?x=1 HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"a\"\r\nConnection: close\r\n\r\n",
        b"HEAD / HTTP/1.0\r\nHost: [::1]:3333\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: garage\r\nContent-Length: 4\r\n\r\nabcdGET / HTTP/1.1\r\n",
    ];
    let pieces: [&[u8]; 9] = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b":", b"\0", b"\xff", b"Content-Length: 9\r\n"];
    let (hosts, mut numbers, mut accepted) = (hosts(), Numbers(0x9e37_79b9_7f4a_7c15), 0);
    for _ in 0..200_000 {
        let mut bytes = heads[numbers.below(heads.len())].to_vec();
        for _ in 0..numbers.below(4) {
            let at = numbers.below(bytes.len() + 1);
            match numbers.below(3) {
                0 => drop(bytes.splice(at..at, pieces[numbers.below(pieces.len())].iter().copied())),
                1 => bytes.truncate(at),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << numbers.below(8)),
            }
        }
        let Ok(Some(request)) = parse(&bytes, &hosts) else { continue };
        accepted += 1;
        let head = &bytes[..request.head_len];
        let shown = String::from_utf8_lossy(head);
        assert!(head.ends_with(b"\r\n\r\n"), "{shown:?}");
        assert!(!shown.to_ascii_lowercase().contains("\r\ntransfer-encoding:"), "{shown:?}");
        let forwarded = std::str::from_utf8(&request.bytes).unwrap();
        let (head, rest) = forwarded.split_once("\r\n\r\n").unwrap();
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!((rest, lines[1]), ("", "Host: p2pool"));
        assert!(lines.len() <= 3 && lines.iter().all(|line| line.bytes().all(|byte| (0x20..0x7f).contains(&byte))));
        assert_eq!(lines[0].split(' ').count(), 3, "{forwarded}");
        assert!(lines[0].starts_with(if request.is_head { "HEAD /" } else { "GET /" }), "{forwarded}");
    }
    assert!(accepted > 10_000, "{accepted}");
}
