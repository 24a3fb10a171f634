//! Ids, numbers, headers and shares in messages.

use std::fmt;
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::consensus::encode;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use serde::{Deserialize as _, Deserializer, Serializer};
use thiserror::Error;

use super::cbor::Field;
use super::limits::AGENT_LEN_MAX;
use super::list::read_bytes;
use crate::params::ChainId;
use crate::share::envelope::Envelope;
use crate::share::{Share, ShareId};
use crate::units::{BlockHeight, ShareHeight, UnixTime, Work};

/// Implements [`Field`] as a byte string: type, conversion to bytes, name in errors, conversion from bytes.
macro_rules! byte_field {
    ($type:ty, $name:literal, $write:expr, $read:expr) => {
        impl Field for $type {
            fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                let write: fn(&$type) -> _ = $write;
                out.serialize_bytes(write(self).as_ref())
            }

            fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                read_bytes(input, $name, $read)
            }
        }
    };
}

byte_field!(ShareId, "a share id", |id| id.0, |bytes| bytes.try_into().ok().map(Self));
byte_field!(ChainId, "a chain id", |id| id.0, |bytes| bytes.try_into().ok().map(Self));
byte_field!(BlockHash, "a block hash", |hash| hash.to_byte_array(), |bytes| Self::from_slice(bytes).ok());
byte_field!(Work, "work", |work| work.0.to_le_bytes(), |bytes| bytes
    .try_into()
    .ok()
    .map(u128::from_le_bytes)
    .map(Self));
byte_field!(Header, "a block header", encode::serialize, |bytes| encode::deserialize(bytes).ok());
byte_field!(Arc<Envelope>, "an envelope", |envelope| envelope.encode(), |bytes| Envelope::decode(bytes).map(Arc::new));
byte_field!(Arc<Share>, "a share", |share| share.encode(), |bytes| Share::decode(bytes).ok().map(Arc::new));

/// Implements [`Field`] for newtypes of integers.
macro_rules! number_field {
    ($type:ty, $inner:ty) => {
        impl Field for $type {
            fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                self.0.put(out)
            }

            fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                <$inner>::get(input).map(Self)
            }
        }
    };
}

number_field!(UnixTime, u32);
number_field!(ShareHeight, u32);
number_field!(BlockHeight, u32);

/// Implements [`Field`] for types that serde supports.
macro_rules! plain_field {
    ($type:ty, $put:ident) => {
        impl Field for $type {
            fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.$put(*self)
            }

            fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                Self::deserialize(input)
            }
        }
    };
}

plain_field!(u8, serialize_u8);
plain_field!(u16, serialize_u16);
plain_field!(u32, serialize_u32);
plain_field!(bool, serialize_bool);

/// The agent string of a node: at most 64 bytes of printable ASCII, so that it can be logged as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Agent(String);

/// The error of a text that is too long or not printable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an agent string has at most {AGENT_LEN_MAX} bytes of printable ASCII")]
pub struct AgentError;

impl Agent {
    /// Validates length and characters.
    ///
    /// # Errors
    /// The text has more than 64 bytes, or one outside 0x20..=0x7e.
    pub fn new(text: &str) -> Result<Self, AgentError> {
        let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if text.len() > AGENT_LEN_MAX || !printable {
            return Err(AgentError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

byte_field!(Agent, "printable text", |agent| agent.0.clone(), |bytes| Self::new(std::str::from_utf8(bytes).ok()?).ok());
