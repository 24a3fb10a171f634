//! GossipSub's packets, byte by byte: what its library would never send.

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Returns a field of a protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len()), bytes].concat()
}

/// Returns a message of a packet.
pub fn message(topic: &str, data: &[u8]) -> Vec<u8> {
    field(2, &[field(2, data), field(4, topic.as_bytes())].concat())
}

/// Returns the part of a packet that names messages that its sender has.
pub fn ihave(topic: &str, ids: &[[u8; 32]]) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| field(2, id)).collect();
    field(3, &field(1, &[field(1, topic.as_bytes()), ids].concat()))
}

/// Returns a packet of these messages.
pub fn packet(messages: &[Vec<u8>]) -> Vec<u8> {
    let body = messages.concat();
    [varint(body.len()), body].concat()
}

/// Returns a gossiped share of rules that are unknown to nodes, which is no misbehaviour: so many bytes after its header.
pub fn newer_share(number: u32, rest: usize) -> Vec<u8> {
    let share = [&number.to_be_bytes()[..], &[0; 76], &[3], &vec![9; rest]].concat();
    let len = u16::try_from(share.len()).expect("short enough");
    let [high, low] = len.to_be_bytes();
    let head = if high == 0 { vec![0xa1, 0, 0x58, low] } else { vec![0xa1, 0, 0x59, high, low] };
    [head, share].concat()
}
