//! Reading past a value without understanding it, for tools that only count or list.

use std::io::Read;

use super::format::{ValueType, module_opcode};
use super::reader::{Reader, Result};

/// A stream id and the like: two 64-bit numbers.
const STREAM_ID_BYTES: u64 = 16;
/// A time.
const MS_BYTES: u64 = 8;

impl<R: Read> Reader<R> {
    /// Reads past the value of an entry. Fails on forms that cannot be skipped (module data before Redis 4.0).
    pub fn skip_value(&mut self, value_type: ValueType) -> Result<()> {
        use ValueType as T;
        match value_type {
            T::String
            | T::HashZipmap
            | T::ListZiplist
            | T::SetIntset
            | T::SortedSetZiplist
            | T::HashZiplist
            | T::HashListpack
            | T::SortedSetListpack
            | T::SetListpack => self.skip_string(),
            T::List | T::Set | T::ListQuicklist => self.skip_each(Self::skip_string),
            T::Hash => self.skip_each(|r| r.skip_string().and_then(|()| r.skip_string())),
            T::SortedSet => {
                self.skip_each(|r| r.skip_string().and_then(|()| r.read_ascii_double().map(drop)))
            }
            T::SortedSet2 => self.skip_each(|r| r.skip_string().and_then(|()| r.skip_bytes(8))),
            T::ListQuicklist2 => self.skip_each(|r| r.read_len().and_then(|_| r.skip_string())),
            T::Hash2 => self.skip_each(|r| {
                r.skip_string()?;
                r.skip_string()?;
                r.skip_bytes(MS_BYTES)
            }),
            T::HashMetadata => {
                self.skip_bytes(MS_BYTES)?;
                self.skip_each(|r| {
                    r.read_len()?;
                    r.skip_string()?;
                    r.skip_string()
                })
            }
            T::HashListpackExpiry => self.skip_bytes(MS_BYTES).and_then(|()| self.skip_string()),
            T::StreamListpacks => self.skip_stream(1),
            T::StreamListpacks2 => self.skip_stream(2),
            T::StreamListpacks3 => self.skip_stream(3),
            T::Module2 => self.read_len().and_then(|_| self.skip_module_data()),
            T::ModulePreGa => Err(self.corrupt("Pre-release module format not supported")),
        }
    }

    fn skip_each(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        for _ in 0..self.read_len()? {
            element(self)?;
        }
        Ok(())
    }

    fn skip_lens(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.read_len()?;
        }
        Ok(())
    }

    fn skip_stream(&mut self, form: u8) -> Result<()> {
        self.skip_each(|r| r.skip_string().and_then(|()| r.skip_string()))?;
        // Length and last id; then first id, greatest deleted id, entries added.
        self.skip_lens(if form >= 2 { 8 } else { 3 })?;
        self.skip_each(|r| {
            r.skip_string()?;
            // Last delivered id, and the offset.
            r.skip_lens(if form >= 2 { 3 } else { 2 })?;
            r.skip_each(|r| r.skip_bytes(STREAM_ID_BYTES + MS_BYTES).and_then(|()| r.read_len().map(drop)))?;
            r.skip_each(|r| {
                r.skip_string()?;
                // Seen time, and active time.
                r.skip_bytes(if form >= 3 { 2 * MS_BYTES } else { MS_BYTES })?;
                r.skip_each(|r| r.skip_bytes(STREAM_ID_BYTES))
            })
        })
    }

    /// Reads past annotated module data, its end mark included.
    pub(super) fn skip_module_data(&mut self) -> Result<()> {
        loop {
            match self.read_len()? {
                module_opcode::EOF => return Ok(()),
                module_opcode::SIGNED | module_opcode::UNSIGNED => self.skip_lens(1)?,
                module_opcode::FLOAT => self.skip_bytes(4)?,
                module_opcode::DOUBLE => self.skip_bytes(8)?,
                module_opcode::STRING => self.skip_string()?,
                other => return Err(self.corrupt(format!("Unknown module opcode {other}"))),
            }
        }
    }
}
