//! Lists and byte strings of limited length.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserializer, Serializer};
use thiserror::Error;

use super::cbor::{Field, Get, Put};

/// The error of a list or byte string that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("length {len} exceeds the limit of {max}")]
pub struct TooLong {
    pub len: usize,
    pub max: usize,
}

/// A list of at most `MAX` items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Takes the first `MAX` items.
    pub fn first_of(all: impl IntoIterator<Item = T>) -> Self {
        Self(all.into_iter().take(MAX).collect())
    }

    /// Returns the items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = TooLong;

    fn try_from(all: Vec<T>) -> Result<Self, TooLong> {
        match all.len() {
            len if len > MAX => Err(TooLong { len, max: MAX }),
            _ => Ok(Self(all)),
        }
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Field, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // The claimed length is not trusted: memory is allocated as items arrive.
        let mut all = Vec::new();
        while let Some(Get(item)) = items.next_element()? {
            if all.len() == MAX {
                return Err(de::Error::custom(format_args!("more than {MAX} in a list")));
            }
            all.push(item);
        }
        Ok(List(all))
    }
}

impl<T: Field, const MAX: usize> Field for List<T, MAX> {
    fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut items = out.serialize_seq(Some(self.len()))?;
        for item in self.iter() {
            items.serialize_element(&Put(item))?;
        }
        items.end()
    }

    fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// A byte string of at most `MAX` bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Bytes<MAX> {
    /// Returns the bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> TryFrom<Vec<u8>> for Bytes<MAX> {
    type Error = TooLong;

    fn try_from(all: Vec<u8>) -> Result<Self, TooLong> {
        match all.len() {
            len if len > MAX => Err(TooLong { len, max: MAX }),
            _ => Ok(Self(all)),
        }
    }
}

impl<const MAX: usize> Deref for Bytes<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> AsRef<[u8]> for Bytes<MAX> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Bytes<MAX> {
    /// Shows the length only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<const MAX: usize> Field for Bytes<MAX> {
    fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bytes(&self.0)
    }

    fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        read_bytes(input, "a byte string", |bytes| Self::try_from(bytes.to_vec()).ok())
    }
}

/// Reads a byte string and converts it with `parse`.
pub(super) fn read_bytes<'de, D: Deserializer<'de>, T>(
    input: D,
    what: &'static str,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, D::Error> {
    struct BytesVisitor<P>(&'static str, P);

    impl<T, P: FnOnce(&[u8]) -> Option<T>> Visitor<'_> for BytesVisitor<P> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<T, E> {
            let what = self.0;
            (self.1)(bytes).ok_or_else(|| E::custom(format_args!("{} bytes are not {what}", bytes.len())))
        }
    }

    input.deserialize_bytes(BytesVisitor(what, parse))
}
