//! Responses and messages to miners, appended to a reused buffer.

use std::io::Write as _;

use super::difficulty::Difficulty;
use super::reject::Reject;

/// Appends formatted text; writing to a vector cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        let _ = write!($out, $($arg)*);
    };
}

/// Appends a response with a result, given as JSON text.
pub fn result(out: &mut Vec<u8>, id: &str, json: &str) {
    put!(out, "{{\"id\":{id},\"result\":{json},\"error\":null}}\n");
}

/// Appends an error response.
pub fn error(out: &mut Vec<u8>, id: &str, reject: Reject) {
    let (code, text) = (reject.code(), reject.text());
    put!(out, "{{\"id\":{id},\"result\":null,\"error\":[{code},\"{text}\",null]}}\n");
}

/// Appends a `mining.set_difficulty`, which applies from the next job on.
pub fn set_difficulty(out: &mut Vec<u8>, difficulty: Difficulty) {
    put!(out, "{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{difficulty}]}}\n");
}

/// Appends a `client.show_message` for the miner's operator.
pub fn show_message(out: &mut Vec<u8>, text: &str) {
    // Serialising a string cannot fail.
    let text = serde_json::to_string(text).unwrap_or_default();
    put!(out, "{{\"id\":null,\"method\":\"client.show_message\",\"params\":[{text}]}}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_have_the_format_of_the_protocol() {
        assert_eq!(text(|out| result(out, "7", "true")), "{\"id\":7,\"result\":true,\"error\":null}\n");
        assert_eq!(
            text(|out| error(out, "null", Reject::Duplicate)),
            "{\"id\":null,\"result\":null,\"error\":[22,\"duplicate share\",null]}\n"
        );
        let difficulty = Difficulty::new(0.002).unwrap();
        assert_eq!(
            text(|out| set_difficulty(out, difficulty)),
            "{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[0.002]}\n"
        );
        assert_eq!(
            text(|out| show_message(out, "a \"b\"")),
            "{\"id\":null,\"method\":\"client.show_message\",\"params\":[\"a \\\"b\\\"\"]}\n"
        );
    }
}
