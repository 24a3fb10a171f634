//! Parses requests without building a tree of values. Parsing a submit does not allocate.

use std::borrow::Cow;
use std::fmt;

use bitcoin::hex::FromHex;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::reject::Reject;
use crate::share::EXTRANONCE2_LEN;

/// A line from a miner.
#[derive(Debug)]
pub enum Line<'a> {
    Request(RpcRequest<'a>),
    /// A response, which is ignored: the server sends no requests.
    Response,
    /// Not a JSON object with a method.
    Invalid,
}

/// A JSON-RPC request; its parts borrow from the line.
#[derive(Debug)]
pub struct RpcRequest<'a> {
    /// JSON text of the id, of any type; echoed unchanged.
    pub id: &'a str,
    pub method: Cow<'a, str>,
    /// JSON text of the parameters.
    pub params: &'a str,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    result: Option<IgnoredAny>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

impl<'a> Line<'a> {
    pub fn parse(line: &'a [u8]) -> Self {
        let Ok(wire) = serde_json::from_slice::<RawMessage<'a>>(line) else { return Self::Invalid };
        match wire.method.and_then(|method| text(method.get())) {
            Some(method) => Self::Request(RpcRequest {
                id: wire.id.map_or("null", RawValue::get),
                method,
                params: wire.params.map_or("[]", RawValue::get),
            }),
            None if wire.result.is_some() || wire.error.is_some() => Self::Response,
            None => Self::Invalid,
        }
    }
}

/// The value of a JSON string, borrowed unless it has escapes.
fn text(json: &str) -> Option<Cow<'_, str>> {
    match json.strip_prefix('"')?.strip_suffix('"')? {
        plain if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

/// The elements of an array of parameters as JSON text; `None` if it is not an array.
pub fn array<'a>(params: &'a str) -> Option<Vec<&'a RawValue>> {
    serde_json::from_str::<Vec<&'a RawValue>>(params).ok()
}

/// As [`array`]; empty if it is not an array.
pub fn elements(params: &str) -> Vec<&RawValue> {
    array(params).unwrap_or_default()
}

/// The value of a string parameter that may be missing or null.
///
/// # Errors
/// If it has another type.
pub fn optional_string<'a>(param: Option<&&'a RawValue>) -> Result<Option<Cow<'a, str>>, WrongType> {
    match param.map(|param| param.get()) {
        None | Some("null") => Ok(None),
        Some(json) => text(json).map(Some).ok_or(WrongType),
    }
}

/// The error of a parameter of the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// The value of a string parameter.
pub fn string<'a>(param: Option<&&'a RawValue>) -> Option<Cow<'a, str>> {
    text(param?.get())
}

/// The value of a parameter that is a number or a string containing one.
pub fn number(param: Option<&&RawValue>) -> Option<f64> {
    match text(param?.get()) {
        Some(number) => number.trim().parse().ok(),
        None => serde_json::from_str(param?.get()).ok(),
    }
}

/// The parameters of `mining.submit`: `[worker, job id, extranonce2, ntime, nonce, rolled version bits]`.
///
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmitParams<'a> {
    /// The worker's name as JSON text of any type.
    worker: &'a str,
    pub job: u64,
    /// The miner's part of the extranonce.
    pub extranonce2: [u8; EXTRANONCE2_LEN],
    pub time: u32,
    pub nonce: u32,
    /// Rolled version bits (BIP-0310), if any.
    pub version_bits: Option<u32>,
}

impl<'a> SubmitParams<'a> {
    /// The worker's name, borrowed unless it has escapes; `None` if it is not a string.
    pub fn worker(&self) -> Option<Cow<'a, str>> {
        text(self.worker)
    }

    /// Parses the parameters.
    ///
    /// # Errors
    /// Error 20 if they are malformed; error 21 for a job id that this server never assigns.
    pub fn parse(params: &'a str) -> Result<Self, Reject> {
        let texts: SubmitFields<'_> =
            serde_json::from_str(params).map_err(|_| Reject::Malformed("submit needs 5 or 6 strings"))?;
        Ok(Self {
            worker: texts.worker,
            extranonce2: FromHex::from_hex(texts.extranonce2)
                .map_err(|_| Reject::Malformed("extranonce2 is not 16 hex digits"))?,
            time: hex_u32(texts.time).ok_or(Reject::Malformed("ntime is not 8 hex digits"))?,
            nonce: hex_u32(texts.nonce)
                .filter(|_| texts.nonce.len() == 8)
                .ok_or(Reject::Malformed("nonce is not 8 hex digits"))?,
            version_bits: match texts.version_bits {
                Some(bits) => Some(hex_u32(bits).ok_or(Reject::Malformed("version bits are not 8 hex digits"))?),
                None => None,
            },
            job: hex_u64(texts.job).ok_or(Reject::UnknownJob)?,
        })
    }
}

struct SubmitFields<'a> {
    worker: &'a str,
    job: &'a str,
    extranonce2: &'a str,
    time: &'a str,
    nonce: &'a str,
    version_bits: Option<&'a str>,
}

impl<'de> Deserialize<'de> for SubmitFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SubmitVisitor)
    }
}

struct SubmitVisitor;

impl<'de> Visitor<'de> for SubmitVisitor {
    type Value = SubmitFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("worker, job id, extranonce2, ntime, nonce and optional version bits")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let short = |len| move || serde::de::Error::invalid_length(len, &SubmitVisitor);
        let texts = SubmitFields {
            worker: list.next_element::<&RawValue>()?.ok_or_else(short(0))?.get(),
            job: list.next_element()?.ok_or_else(short(1))?,
            extranonce2: list.next_element()?.ok_or_else(short(2))?,
            time: list.next_element()?.ok_or_else(short(3))?,
            nonce: list.next_element()?.ok_or_else(short(4))?,
            version_bits: list.next_element::<Option<&str>>()?.flatten(),
        };
        // Some firmware appends extra fields.
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(texts)
    }
}

/// One to eight hex digits; some miners omit leading zeros.
pub fn hex_u32(text: &str) -> Option<u32> {
    u32::try_from(hex_u64(text)?).ok().filter(|_| text.len() <= 8)
}

fn hex_u64(text: &str) -> Option<u64> {
    // `from_str_radix` accepts a sign too.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits && text.len() <= 16).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> (String, String, String) {
        match Line::parse(line.as_bytes()) {
            Line::Request(request) => (request.id.into(), request.method.into(), request.params.into()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn ids_of_any_type_are_kept_unchanged() {
        for id in ["1", "-1.50e3", "\"a\\\"b\"", "null", "true", "[1, {}]", r#"{"k": [null]}"#] {
            let line = format!(r#"{{"method":"mining.ping","id": {id} ,"params":[]}}"#);
            assert_eq!(request(&line), (id.into(), "mining.ping".into(), "[]".into()));
        }
        assert_eq!(request(r#"{"method":"m"}"#), ("null".into(), "m".into(), "[]".into()));
        assert_eq!(request("{\"method\":\"m\\u002ex\"}\r").1, "m.x");
    }

    #[test]
    fn responses_and_invalid_lines_are_recognised() {
        assert!(matches!(Line::parse(br#"{"id":1,"result":true,"error":null}"#), Line::Response));
        assert!(matches!(Line::parse(br#"{"id":1,"method":null,"result":"v"}"#), Line::Response));
        let nested = "[".repeat(4000);
        for invalid in ["", "x", "[]", "{}", r#"{"id":1}"#, r#"{"method":5}"#, r#"{"method":"m""#, "\"s\"", &nested] {
            assert!(matches!(Line::parse(invalid.as_bytes()), Line::Invalid), "{invalid}");
        }
        assert!(matches!(Line::parse(b"{\"method\":\"\xff\"}"), Line::Invalid));
    }

    #[test]
    fn submits_are_parsed() {
        let submit = SubmitParams {
            worker: "\"w\"",
            job: 0x1f,
            extranonce2: [0, 1, 2, 3, 4, 5, 0xab, 0xcd],
            time: 0x6553f100,
            nonce: 0xdead,
            version_bits: None,
        };
        let parse = SubmitParams::parse;
        assert_eq!(parse(r#"["w","1f","000102030405abcd","6553f100","0000dead"]"#), Ok(submit));
        assert_eq!(parse(r#"["w","1F","000102030405ABCD","6553F100","0000DEAD"]"#), Ok(submit), "case");
        assert_eq!(
            parse(r#"[null,"1f","000102030405abcd","6553f100","0000dead",null,"more",1]"#),
            Ok(SubmitParams { worker: "null", ..submit })
        );
        assert_eq!(submit.worker().as_deref(), Some("w"));
        assert_eq!(SubmitParams { worker: r#""\u00e9""#, ..submit }.worker().as_deref(), Some("é"));
        assert_eq!(SubmitParams { worker: "5", ..submit }.worker(), None);
        assert_eq!(
            parse(r#"["w","1f","000102030405abcd","6553f100","0000dead","1fffe000"]"#),
            Ok(SubmitParams { version_bits: Some(0x1fffe000), ..submit })
        );
    }

    #[test]
    fn malformed_submits_get_error_20_and_foreign_job_ids_21() {
        for (params, text) in [
            ("{}", "submit needs 5 or 6 strings"),
            ("[]", "submit needs 5 or 6 strings"),
            (r#"["w","1","0001020304050607","6553f100"]"#, "submit needs 5 or 6 strings"),
            (r#"["w",1,"0001020304050607","6553f100","0"]"#, "submit needs 5 or 6 strings"),
            (r#"["w","1","00010203040506","6553f100","0"]"#, "extranonce2 is not 16 hex digits"),
            (r#"["w","1","00010203040506xx","6553f100","0"]"#, "extranonce2 is not 16 hex digits"),
            (r#"["w","1","000102030405060\u00e9","6553f100","0"]"#, "submit needs 5 or 6 strings"),
            (r#"["w","1","00010203040506é","6553f100","0"]"#, "extranonce2 is not 16 hex digits"),
            (r#"["w","1","0001020304050607","6553f1000","0"]"#, "ntime is not 8 hex digits"),
            (r#"["w","1","0001020304050607","","0"]"#, "ntime is not 8 hex digits"),
            (r#"["w","1","0001020304050607","0","+0000001"]"#, "nonce is not 8 hex digits"),
            (r#"["w","1","0001020304050607","0","dead"]"#, "nonce is not 8 hex digits"),
            (r#"["w","1","0001020304050607","0","00000dead"]"#, "nonce is not 8 hex digits"),
            (r#"["w","1","000102030405060708","0","0000dead"]"#, "extranonce2 is not 16 hex digits"),
            (r#"["w","1","0001020304050607","0","00000001","-1"]"#, "version bits are not 8 hex digits"),
        ] {
            assert_eq!(SubmitParams::parse(params), Err(Reject::Malformed(text)), "{params}");
        }
        for job in ["", "xyz", "-1", "00000000000000001"] {
            let params = format!(r#"["w","{job}","0001020304050607","0","00000000"]"#);
            assert_eq!(SubmitParams::parse(&params), Err(Reject::UnknownJob));
        }
    }

    #[test]
    fn numbers_may_be_strings() {
        let read = |params| number(elements(params).first());
        assert_eq!(read("[512]"), Some(512.0));
        assert_eq!(read(r#"["0.01"]"#), Some(0.01));
        assert_eq!(read("[null]"), None);
        assert_eq!(read("[]"), None);
        assert_eq!(read(r#"{"a":1}"#), None);
    }
}
