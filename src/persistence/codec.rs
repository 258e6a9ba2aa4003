//! An entry's value as RDB bytes: the form it is stored in, and the writing of it.

use std::io::{self, Write};

use crate::keyspace::{Entry, StringRef};
use crate::rdb::dump::append_footer;
use crate::rdb::{ValueType as Form, Writer, WriterOptions};
use crate::types::{Hash, List, Set, SortedSet, Stream, ValueType};

/// Calls a method of an entry's collection, whatever its type.
macro_rules! of_collection {
    ($entry:expr, $value:ident => $call:expr) => {
        match $entry.value_type() {
            ValueType::List => $entry.value::<List>().map(|$value| $call),
            ValueType::Set => $entry.value::<Set>().map(|$value| $call),
            ValueType::SortedSet => $entry.value::<SortedSet>().map(|$value| $call),
            ValueType::Hash => $entry.value::<Hash>().map(|$value| $call),
            ValueType::Stream => $entry.value::<Stream>().map(|$value| $call),
            ValueType::String => None,
        }
    };
}

/// The form in which an entry's value is stored in a snapshot of this version.
#[must_use]
pub fn stored_form(entry: &Entry, version: u16) -> Form {
    of_collection!(entry, value => value.rdb_type(version)).unwrap_or(Form::String)
}

/// Writes an entry's value in its [`stored_form`].
///
/// # Errors
/// The sink's.
#[inline]
pub fn write_value<W: Write>(entry: &Entry, writer: &mut Writer<W>) -> io::Result<()> {
    match entry.as_string() {
        Some(StringRef::Int(value)) => writer.write_integer(value),
        Some(StringRef::Bytes(bytes)) => writer.write_string(bytes),
        None => of_collection!(entry, value => value.write_rdb(writer)).unwrap_or(Ok(())),
    }
}

/// An entry's value as DUMP gives it and RESTORE takes it.
///
/// # Errors
/// Those of writing to memory, which never fails.
pub fn dump_payload(entry: &Entry, compress: bool) -> io::Result<Vec<u8>> {
    let options = WriterOptions { compression: compress, ..WriterOptions::default() };
    let mut writer = Writer::in_memory(options);
    writer.write_byte(stored_form(entry, options.version).byte())?;
    write_value(entry, &mut writer)?;
    let mut payload = writer.into_bytes();
    append_footer(&mut payload, options.version);
    Ok(payload)
}
