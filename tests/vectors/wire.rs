//! Messages between nodes: their bytes, rejected bytes, and the schema of both.

use std::fmt::Debug;
use std::sync::Arc;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::params::ChainId;
use p2pool_core::share::envelope::Envelope;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::units::{BlockHeight, ShareHeight, UnixTime, Work};
use p2pool_core::wire::{Agent, BlockAnnouncement, Frame, GossipShare, List, PeerStatus, Request, Response, WireError};
use serde::Deserialize;
use serde_json::Value;

use crate::fields::{hex, hex_array, read};

const SCHEMA: &str = include_str!("../../src/wire/wire.cddl");

#[derive(Deserialize)]
struct MessageVector {
    message: String,
    kind: String,
    fields: Value,
    cbor: String,
}

#[derive(Deserialize)]
struct RejectedVector {
    message: String,
    why: String,
    cbor: String,
}

struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn bytes(&self, name: &str) -> Vec<u8> {
        hex(self.0[name].as_str().unwrap())
    }

    fn hash(&self, name: &str) -> [u8; 32] {
        hex_array(self.0[name].as_str().unwrap())
    }

    fn number(&self, name: &str) -> u32 {
        self.0[name].as_u64().unwrap().try_into().unwrap()
    }

    fn list<T>(&self, name: &str, item: impl Fn(&Value) -> T) -> Vec<T> {
        self.0[name].as_array().unwrap().iter().map(item).collect()
    }

    fn ids(&self, name: &str) -> Vec<ShareId> {
        self.list(name, |id| ShareId(hex_array(id.as_str().unwrap())))
    }
}

fn request(kind: &str, fields: &Fields<'_>) -> Request {
    match kind {
        "status" => Request::Status,
        "inventory" => Request::Inventory { locator: fields.ids("locator").try_into().unwrap() },
        "shares" => Request::Shares { ids: fields.ids("ids").try_into().unwrap() },
        "headers" => Request::Headers { last: BlockHash::from_byte_array(fields.hash("last")) },
        "block transactions" => Request::BlockTransactions {
            block: BlockHash::from_byte_array(fields.hash("block")),
            indexes: List::try_from(fields.list("indexes", |index| index.as_u64().unwrap().try_into().unwrap()))
                .unwrap(),
        },
        "envelopes" => Request::Envelopes {
            above: fields.number("above").try_into().unwrap(),
            after: ShareId(fields.hash("after")),
        },
        other => panic!("no request {other}"),
    }
}

fn response(kind: &str, fields: &Fields<'_>) -> Response {
    match kind {
        "status" => Response::Status(PeerStatus {
            chain_id: ChainId(fields.hash("chain_id")),
            tip: ShareId(fields.hash("tip")),
            share_height: ShareHeight(fields.number("share_height")),
            chain_work: Work(u128::from_le_bytes(fields.bytes("chain_work").try_into().unwrap())),
            oldest_height: ShareHeight(fields.number("oldest_height")),
            clock: UnixTime(fields.number("clock")),
            agent: Agent::new(&String::from_utf8(fields.bytes("agent")).unwrap()).unwrap(),
        }),
        "inventory" => Response::Inventory {
            after: ShareId(fields.hash("after")),
            start_height: ShareHeight(fields.number("start_height")),
            ids: fields.ids("ids").try_into().unwrap(),
            more: fields.0["more"].as_bool().unwrap(),
        },
        "shares" => {
            let share = |raw: &Value| Arc::new(Share::decode(&hex(raw.as_str().unwrap())).unwrap());
            Response::Shares(fields.list("shares", share).try_into().unwrap())
        }
        "headers" => {
            let header = |raw: &Value| deserialize(&hex(raw.as_str().unwrap())).unwrap();
            Response::Headers(fields.list("headers", header).try_into().unwrap())
        }
        "block transactions" => {
            let all = fields.list("transactions", |raw| hex(raw.as_str().unwrap()));
            Response::block_transactions(all.iter().map(Vec::as_slice))
        }
        "envelopes" => {
            let envelope = |raw: &Value| Arc::new(Envelope::decode(&hex(raw.as_str().unwrap())).unwrap());
            Response::Envelopes(fields.list("envelopes", envelope).try_into().unwrap())
        }
        "unknown" => Response::Unknown,
        "busy" => Response::Busy,
        other => panic!("no response {other}"),
    }
}

fn assert_is<T: Frame + PartialEq + Debug>(message: &T, bytes: &[u8]) {
    assert_eq!(message.encode(), bytes, "{message:?}");
    assert_eq!(&T::decode(bytes).unwrap(), message);
}

#[test]
fn message_encodings_match_the_model() {
    let vectors: Vec<MessageVector> = read("wire/messages.json");
    assert!(vectors.len() >= 22);
    for vector in &vectors {
        let (fields, bytes) = (Fields(&vector.fields), hex(&vector.cbor));
        match vector.message.as_str() {
            "request" => assert_is(&request(&vector.kind, &fields), &bytes),
            "response" => assert_is(&response(&vector.kind, &fields), &bytes),
            "gossip share" => {
                let share = Arc::new(Share::decode(&fields.bytes("share")).unwrap());
                assert_is(&GossipShare { share }, &bytes);
            }
            "block announcement" => {
                let block = BlockAnnouncement::decode(&bytes).unwrap();
                assert_eq!(block.header, deserialize(&fields.bytes("header")).unwrap());
                assert_eq!(block.height, BlockHeight(fields.number("height")));
                assert_eq!(block.coinbase[..], fields.bytes("coinbase"));
                assert_eq!(block.short_ids.len() * 6, fields.bytes("short_ids").len());
                assert_is(&block, &bytes);
            }
            other => panic!("no message {other}"),
        }
    }
}

fn decode(message: &str, bytes: &[u8]) -> Result<(), WireError> {
    match message {
        "request" => Request::decode(bytes).map(drop),
        "response" => Response::decode(bytes).map(drop),
        "gossip share" => GossipShare::decode(bytes).map(drop),
        "block announcement" => BlockAnnouncement::decode(bytes).map(drop),
        other => panic!("no message {other}"),
    }
}

#[test]
fn other_bytes_are_rejected() {
    let vectors: Vec<RejectedVector> = read("wire/rejected.json");
    assert!(vectors.len() >= 50);
    for vector in &vectors {
        let result = decode(&vector.message, &hex(&vector.cbor));
        assert!(matches!(result, Err(WireError::Malformed(_) | WireError::NotCanonical)), "{}: {result:?}", vector.why);
        assert!(result.unwrap_err().to_string().len() < 200, "errors quote a bounded part of the message");
    }
}

#[test]
fn the_schema_accepts_every_message() {
    let rule = |message: &str| message.replace(' ', "-");
    for vector in read::<Vec<MessageVector>>("wire/messages.json") {
        let checked = cddl_cat::validate_cbor_bytes(&rule(&vector.message), SCHEMA, &hex(&vector.cbor));
        assert!(checked.is_ok(), "{} {}: {checked:?}", vector.message, vector.kind);
    }
}

/// The schema rejects values that the decoder rejects; it cannot describe encodings that are not canonical.
#[test]
fn the_schema_rejects_invalid_values() {
    let mut by_schema = 0;
    for vector in read::<Vec<RejectedVector>>("wire/rejected.json") {
        let rule = vector.message.replace(' ', "-");
        by_schema += usize::from(cddl_cat::validate_cbor_bytes(&rule, SCHEMA, &hex(&vector.cbor)).is_err());
    }
    assert!(by_schema >= 30, "the schema rejects only {by_schema}");
}
