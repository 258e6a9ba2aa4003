//! The forms of collections that are a plain count and elements, whoever wrote them.
//!
//! Each function reads one form to its end and hands every element to a closure, which may refuse with a reason; the reason
//! becomes a [`RdbErrorKind::Corrupt`](super::RdbErrorKind) at the right offset. Each returns how many elements it read:
//! zero means an empty collection, which older servers could write by mistake and which Valkey drops silently.
//! `prepare` is called once, first, with a count that is safe to make room for.

use std::io::Read;

use super::format::ValueType;
use super::reader::{Reader, Result};

/// Why an element is refused.
pub type Refusal = &'static str;

/// Where a field's time stands in the form being read.
#[derive(Clone, Copy)]
enum FieldExpiry {
    None,
    /// After the value, absolute, -1 for none.
    Absolute,
    /// Before the field, as a distance to the earliest one plus one, 0 for none.
    Relative(i64),
}

/// One node of a list.
#[derive(Debug, PartialEq, Eq)]
pub enum ListNode<'a> {
    /// A listpack of elements.
    Listpack(&'a [u8]),
    /// A ziplist of elements.
    Ziplist(&'a [u8]),
    /// One large element.
    Plain(&'a [u8]),
}

/// Containers of a list's nodes in [`ValueType::ListQuicklist2`].
pub mod container {
    /// One large element.
    pub const PLAIN: u64 = 1;
    /// A listpack.
    pub const PACKED: u64 = 2;
}

/// Reads [`ValueType::List`] or [`ValueType::Set`].
pub fn read_elements<R: Read>(
    reader: &mut Reader<R>,
    prepare: impl FnOnce(usize),
    mut element: impl FnMut(&[u8]) -> std::result::Result<(), Refusal>,
) -> Result<u64> {
    let (count, room) = reader.read_count()?;
    prepare(room);
    for _ in 0..count {
        if let Err(reason) = element(reader.read_string()?) {
            return Err(reader.corrupt(reason));
        }
    }
    Ok(count)
}

/// Reads [`ValueType::SortedSet`] or [`ValueType::SortedSet2`]. No score handed on is NaN.
pub fn read_scored<R: Read>(
    reader: &mut Reader<R>,
    value_type: ValueType,
    prepare: impl FnOnce(usize),
    mut element: impl FnMut(&[u8], f64) -> std::result::Result<(), Refusal>,
) -> Result<u64> {
    let (count, room) = reader.read_count()?;
    prepare(room);
    let mut member = Vec::new();
    for _ in 0..count {
        reader.read_string_into(&mut member)?;
        let score = match value_type {
            ValueType::SortedSet => reader.read_ascii_double()?,
            _ => reader.read_double()?,
        };
        if score.is_nan() {
            return Err(reader.corrupt("Zset with NAN score detected"));
        }
        if let Err(reason) = element(&member, score) {
            return Err(reader.corrupt(reason));
        }
    }
    Ok(count)
}

/// Reads [`ValueType::Hash`], [`ValueType::Hash2`] or [`ValueType::HashMetadata`]: field, value, expiry in absolute ms.
pub fn read_fields<R: Read>(
    reader: &mut Reader<R>,
    value_type: ValueType,
    prepare: impl FnOnce(usize),
    mut element: impl FnMut(&[u8], &[u8], Option<i64>) -> std::result::Result<(), Refusal>,
) -> Result<u64> {
    let form = match value_type {
        ValueType::Hash2 => FieldExpiry::Absolute,
        ValueType::HashMetadata => FieldExpiry::Relative(reader.read_ms()?),
        _ => FieldExpiry::None,
    };
    let (count, room) = reader.read_count()?;
    prepare(room);
    let (mut field, mut value) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let before = match form {
            FieldExpiry::Relative(earliest) => read_relative_expiry(reader, earliest)?,
            _ => None,
        };
        reader.read_string_into(&mut field)?;
        reader.read_string_into(&mut value)?;
        let expiry_ms = match form {
            FieldExpiry::Absolute => read_absolute_expiry(reader)?,
            _ => before,
        };
        if let Err(reason) = element(&field, &value, expiry_ms) {
            return Err(reader.corrupt(reason));
        }
    }
    Ok(count)
}

fn read_absolute_expiry<R: Read>(reader: &mut Reader<R>) -> Result<Option<i64>> {
    match reader.read_ms()? {
        -1 => Ok(None),
        negative if negative < 0 => Err(reader.corrupt("Invalid hash field expiry")),
        expiry_ms => Ok(Some(expiry_ms)),
    }
}

fn read_relative_expiry<R: Read>(reader: &mut Reader<R>, earliest: i64) -> Result<Option<i64>> {
    let Some(distance) = reader.read_len()?.checked_sub(1) else { return Ok(None) };
    match earliest.checked_add_unsigned(distance) {
        Some(expiry_ms) if expiry_ms >= 0 => Ok(Some(expiry_ms)),
        _ => Err(reader.corrupt("Invalid hash field expiry")),
    }
}

/// Reads [`ValueType::HashListpackExpiry`]: lends the listpack of field, value, expiry (absolute ms, 0 for none).
pub fn read_listpack_with_expiry<R: Read>(reader: &mut Reader<R>) -> Result<&[u8]> {
    // The earliest expiry is also in the listpack, which is ordered by it.
    reader.read_ms()?;
    reader.read_string()
}

/// Reads [`ValueType::ListQuicklist`] or [`ValueType::ListQuicklist2`]. The count is of nodes; a node can be empty.
pub fn read_list_nodes<R: Read>(
    reader: &mut Reader<R>,
    value_type: ValueType,
    mut node: impl FnMut(ListNode<'_>) -> std::result::Result<(), Refusal>,
) -> Result<u64> {
    let count = reader.read_len()?;
    for _ in 0..count {
        let container = match value_type {
            ValueType::ListQuicklist2 => Some(reader.read_len()?),
            _ => None,
        };
        if !matches!(container, None | Some(container::PLAIN | container::PACKED)) {
            return Err(reader.corrupt("Quicklist integrity check failed."));
        }
        let bytes = reader.read_string()?;
        let outcome = match container {
            _ if bytes.is_empty() => Err("Quicklist node without content"),
            Some(container::PLAIN) => node(ListNode::Plain(bytes)),
            Some(_) => node(ListNode::Listpack(bytes)),
            None => node(ListNode::Ziplist(bytes)),
        };
        if let Err(reason) = outcome {
            return Err(reader.corrupt(reason));
        }
    }
    Ok(count)
}
