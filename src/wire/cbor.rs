//! CBOR (RFC 8949) with one way to write each message; the only file that names the library.
//!
//! A message is a map whose keys are the integers 0, 1, 2 ... in order, all of them there and no others. Whatever
//! the library tolerates beyond that (lengths and integers written longer than needed, indefinite lengths, tags) is
//! refused too: what was read must be what we would have written. So bytes cannot be varied to look new, and
//! nothing travels in fields that nobody reads. New fields take a new protocol version.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Characters of the library's explanation that are kept: it may repeat what a stranger sent.
const REASON_LEN_MAX: usize = 120;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// More bytes than any message of this kind has.
    #[error("{len} bytes are too many, at most {max} are read")]
    Oversize {
        /// Bytes that came.
        len: usize,
        /// Bytes that may come.
        max: usize,
    },
    /// Not the message it should be; says what was found.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The right message, written in another way than the one there is.
    #[error("not written the one way there is")]
    NotCanonical,
}

/// How a value stands inside a message.
pub trait Field: Sized {
    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error>;

    /// Reads it.
    ///
    /// # Errors
    /// Anything but what [`Self::put`] writes.
    fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error>;
}

/// A map with integer keys.
pub trait Map: Sized {
    /// What it is called in errors.
    const NAME: &'static str;

    /// How many entries it has.
    fn entries(&self) -> usize;

    /// Writes all entries, keys ascending.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Reads all entries, keys ascending.
    ///
    /// # Errors
    /// Anything but what [`Self::write`] writes.
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error>;
}

/// A message as it goes over the network by itself.
pub trait Frame: Map {
    /// Bytes it has at most.
    const LEN_MAX: usize;

    /// The bytes.
    fn encode(&self) -> Vec<u8> {
        serde_cbor::to_vec(&Put(self)).expect("maps, integers and byte strings in memory are written without failure")
    }

    /// Reads a message that is all of `bytes`.
    ///
    /// # Errors
    /// Whatever [`Self::encode`] would not have written.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > Self::LEN_MAX {
            return Err(WireError::Oversize { len: bytes.len(), max: Self::LEN_MAX });
        }
        let Get(message) = serde_cbor::from_slice::<Get<Self>>(bytes)
            .map_err(|error| WireError::Malformed(error.to_string().chars().take(REASON_LEN_MAX).collect()))?;
        if message.encode() != bytes {
            return Err(WireError::NotCanonical);
        }
        Ok(message)
    }
}

/// Writes a field the way of [`Field`].
pub(super) struct Put<'a, T>(pub &'a T);

impl<T: Field> Serialize for Put<'_, T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.put(out)
    }
}

/// Reads a field the way of [`Field`].
pub(super) struct Get<T>(pub T);

impl<'de, T: Field> Deserialize<'de> for Get<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        T::get(input).map(Self)
    }
}

/// Writes one entry of a map.
pub(super) fn put_entry<M: SerializeMap, T: Field>(map: &mut M, key: u8, value: &T) -> Result<(), M::Error> {
    map.serialize_entry(&key, &Put(value))
}

/// Reads one entry of a map, which must have this key.
pub(super) fn get_entry<'de, A: MapAccess<'de>, T: Field>(map: &mut A, key: u8) -> Result<T, A::Error> {
    match map.next_key::<u8>()? {
        Some(found) if found == key => map.next_value::<Get<T>>().map(|value| value.0),
        Some(found) => Err(de::Error::custom(format_args!("key {found} instead of {key}"))),
        None => Err(de::Error::custom(format_args!("key {key} is missing"))),
    }
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Map> Visitor<'de> for MapVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, a map", T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let message = T::read(&mut map)?;
        match map.next_key::<u8>()? {
            None => Ok(message),
            Some(key) => Err(de::Error::custom(format_args!("{} has no key {key} here", T::NAME))),
        }
    }
}

impl<T: Map> Field for T {
    fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.entries()))?;
        self.write(&mut map)?;
        map.end()
    }

    fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(MapVisitor(PhantomData))
    }
}
