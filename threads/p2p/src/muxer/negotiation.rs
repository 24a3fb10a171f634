//! Reads what the other end says at the start of a stream, where the ends agree on its protocol (multistream-select 1.0).

/// Messages of a negotiation: the header, and a name for each version of a protocol. No node proposes more than a few.
const MESSAGES_MAX: usize = 16;
/// Bytes of a message, longer than all names. What is longer is not part of a negotiation.
const MESSAGE_LEN_MAX: usize = 256;
/// A request for the names of all protocols. No node makes it, and the response is a hundred times as long.
const LIST: &[u8] = b"ls\n";
/// What the names of the protocols of circuits start with.
const CIRCUIT: &[u8] = b"/libp2p/circuit/relay/";

/// What bytes of a stream show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    /// The stream is a circuit of a relay.
    Circuit,
    /// The other end wants the list of protocols, or proposes one after the other without end.
    Abuse,
}

/// A stream's negotiation as far as it has been read.
#[derive(Debug, Default)]
pub struct Negotiation {
    /// The incomplete message, with its length in front.
    message: Vec<u8>,
    messages: usize,
    is_over: bool,
}

impl Negotiation {
    /// Reads the next bytes of the stream.
    pub fn read(&mut self, bytes: &[u8]) -> Seen {
        for byte in bytes {
            if self.is_over {
                break;
            }
            self.message.push(*byte);
            let seen = self.judge();
            if seen != Seen::Nothing {
                return seen;
            }
        }
        Seen::Nothing
    }

    /// Judges the message if it is complete. The stream's own data, which is no message, ends the negotiation.
    fn judge(&mut self) -> Seen {
        let (len, body) = match *self.message {
            [low, ref body @ ..] if low < 0x80 => (usize::from(low), body),
            [low, high, ref body @ ..] if high < 0x80 => (usize::from(low & 0x7f) | usize::from(high) << 7, body),
            ref begun => return self.end_if(begun.len() >= 2),
        };
        if body.len() < len {
            let is_message = len <= MESSAGE_LEN_MAX && body.first().is_none_or(|first| matches!(first, b'/' | b'l'));
            return self.end_if(!is_message);
        }
        let (is_list, is_circuit, is_name) = (body == LIST, body.starts_with(CIRCUIT), body.starts_with(b"/"));
        self.message.clear();
        self.messages += 1;
        self.is_over = is_circuit || !is_name;
        match () {
            () if is_circuit => Seen::Circuit,
            () if is_list || self.messages > MESSAGES_MAX => Seen::Abuse,
            () => Seen::Nothing,
        }
    }

    fn end_if(&mut self, is_over: bool) -> Seen {
        self.is_over |= is_over;
        if self.is_over {
            self.message = Vec::new();
        }
        Seen::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Vec<u8> {
        let len = text.len() + 1;
        let prefix = if len < 0x80 { vec![len as u8] } else { vec![len as u8 & 0x7f | 0x80, (len >> 7) as u8] };
        [&prefix[..], text.as_bytes(), b"\n"].concat()
    }

    fn messages(texts: &[&str]) -> Vec<u8> {
        [&["/multistream/1.0.0"], texts].concat().into_iter().flat_map(message).collect()
    }

    /// What whole bytes show, which must be the same when they arrive one by one.
    fn seen(bytes: &[u8]) -> Seen {
        let whole = Negotiation::default().read(bytes);
        let mut negotiation = Negotiation::default();
        let single = bytes.iter().map(|byte| negotiation.read(&[*byte])).find(|seen| *seen != Seen::Nothing);
        assert_eq!(single.unwrap_or(Seen::Nothing), whole);
        whole
    }

    #[test]
    fn circuits_are_recognised_by_the_whole_name_and_requests_for_lists_wherever_they_stand() {
        assert_eq!(seen(&messages(&["/libp2p/circuit/relay/0.2.0/hop"])), Seen::Circuit);
        assert_eq!(seen(&messages(&["/other/libp2p/circuit/relay/0.2.0/hop"])), Seen::Nothing);
        assert_eq!(seen(&messages(&["ls"])), Seen::Abuse);
        let long = format!("/{}", "x".repeat(200));
        assert_eq!(seen(&messages(&["/unknown/1.0.0", &long, "ls"])), Seen::Abuse);
        assert_eq!(seen(&messages(&["/unknown/1.0.0"; MESSAGES_MAX - 1])), Seen::Nothing);
        assert_eq!(seen(&messages(&["/unknown/1.0.0"; MESSAGES_MAX])), Seen::Abuse);
    }

    #[test]
    fn data_after_the_negotiation_is_not_looked_at() {
        for data in [&[0xa1, 0x00, 0x58, 0x50][..], &[0x12, 0x0a, 0x07], &[0xff; 8], &[0], &message("na")] {
            let stream = [&messages(&["/p2pool/sync/1.0.0"]), data, &messages(&["ls"])].concat();
            assert_eq!(seen(&stream), Seen::Nothing, "{data:?}");
        }
    }
}
