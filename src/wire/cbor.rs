//! Canonical CBOR (RFC 8949). This is the only file that names the CBOR library.
//!
//! A message is a map whose keys are the integers 0, 1, 2 ... in order, all present and no others. A message is valid only
//! if encoding it again gives the same bytes, which excludes what the library tolerates (lengths and integers in longer
//! forms, indefinite lengths, tags). So a message cannot be varied to look new, and cannot carry ignored fields. New fields
//! need a new protocol version.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Maximum length in characters of an error text from the library, which may repeat what a peer sent.
const REASON_LEN_MAX: usize = 120;

/// Why bytes are not a valid message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The message is longer than its kind may be.
    #[error("{len} bytes exceed the limit of {max}")]
    Oversize {
        /// Bytes of the message.
        len: usize,
        /// Bytes that it may have.
        max: usize,
    },
    /// The message cannot be decoded, for this reason.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The message is valid but not in its canonical encoding.
    #[error("encoding not canonical")]
    NotCanonical,
}

/// A value inside a message.
pub trait Field: Sized {
    /// Writes the value.
    ///
    /// # Errors
    /// Those of the serializer.
    fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error>;

    /// Reads the value.
    ///
    /// # Errors
    /// The input is not what [`Self::put`] writes.
    fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error>;
}

/// A map with integer keys.
pub trait Map: Sized {
    /// Name of the message in error texts, with its article.
    const NAME: &'static str;

    /// Returns the number of entries.
    fn entries(&self) -> usize;

    /// Writes all entries in ascending order of keys.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Reads all entries in ascending order of keys.
    ///
    /// # Errors
    /// The input is not what [`Self::write`] writes.
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error>;
}

/// A message that is sent on its own.
pub trait Frame: Map {
    /// Maximum length in bytes.
    const LEN_MAX: usize;

    /// Encodes the message.
    fn encode(&self) -> Vec<u8> {
        serde_cbor::to_vec(&Put(self)).expect("writing maps, integers and byte strings to memory does not fail")
    }

    /// Decodes a message that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`Self::encode`] would not have written these bytes.
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

/// Serializes a [`Field`].
pub(super) struct Put<'a, T>(pub &'a T);

impl<T: Field> Serialize for Put<'_, T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.put(out)
    }
}

/// Deserializes a [`Field`].
pub(super) struct Get<T>(pub T);

impl<'de, T: Field> Deserialize<'de> for Get<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        T::get(input).map(Self)
    }
}

/// Writes an entry of a map.
pub(super) fn put_entry<M: SerializeMap, T: Field>(map: &mut M, key: u8, value: &T) -> Result<(), M::Error> {
    map.serialize_entry(&key, &Put(value))
}

/// Reads an entry of a map, which must have this key.
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
