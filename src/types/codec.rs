//! One door to the RDB codecs of all types: which of them reads a stored form.
#![deny(clippy::indexing_slicing)]

use std::io::Read;

use super::{ExpiredFields, Hash, Limits, List, Set, SortedSet, Stream, Value};
use crate::rdb::{RdbError, Reader, ValueType as Form};

impl Value {
    /// Reads a value of any form; `None` when nothing is left of a collection: it was empty, which older servers could
    /// store by mistake, or all its fields had expired (see [`Hash::read_rdb`]; `None` keeps them).
    ///
    /// # Errors
    /// What is wrong with the bytes, and where.
    pub fn read_rdb<R: Read>(
        reader: &mut Reader<R>,
        form: Form,
        limits: &Limits,
        expired: Option<&mut ExpiredFields>,
    ) -> Result<Option<Self>, RdbError> {
        Ok(match form {
            Form::String => Some(Self::String(reader.read_string_owned()?)),
            Form::List | Form::ListZiplist | Form::ListQuicklist | Form::ListQuicklist2 => {
                List::read_rdb(reader, form, limits)?.map(Self::List)
            }
            Form::Set | Form::SetIntset | Form::SetListpack => {
                Set::read_rdb(reader, form, limits)?.map(Self::Set)
            }
            Form::SortedSet | Form::SortedSet2 | Form::SortedSetZiplist | Form::SortedSetListpack => {
                SortedSet::read_rdb(reader, form, limits)?.map(Self::SortedSet)
            }
            Form::Hash
            | Form::HashZipmap
            | Form::HashZiplist
            | Form::HashListpack
            | Form::Hash2
            | Form::HashMetadata
            | Form::HashListpackExpiry => Hash::read_rdb(reader, form, limits, expired)?.map(Self::Hash),
            Form::StreamListpacks | Form::StreamListpacks2 | Form::StreamListpacks3 => {
                Stream::read_rdb(reader, form, limits)?.map(Self::Stream)
            }
            Form::Module2 | Form::ModulePreGa => {
                return Err(reader.corrupt("The RDB file contains module data I can't load"));
            }
        })
    }
}
