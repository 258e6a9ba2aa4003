//! How `check-rdb` tells of what it has found.

use std::io::{self, Write};

use super::{Counts, Fault, tell};
use crate::rdb::snapshot::Stage;

/// How figures are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    /// A column a type, aligned.
    #[default]
    Table,
    /// A line a figure.
    Info,
    /// A column a type, parted by commas.
    Csv,
}

impl Format {
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"table" => Some(Self::Table),
            b"info" => Some(Self::Info),
            b"csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// The name of what was being read.
pub(super) fn doing(stage: Stage) -> &'static str {
    match stage {
        Stage::Type => "read-type",
        Stage::Expiry => "read-expire",
        Stage::Key => "read-key",
        Stage::Value => "read-object-value",
        Stage::Checksum => "check-sum",
        Stage::Length => "read-len",
        Stage::Aux => "read-aux",
        Stage::ModuleAux => "read-module-aux",
        Stage::Function => "read-functions",
    }
}

pub(super) fn fault(output: &mut dyn Write, fault: &Fault) -> io::Result<()> {
    writeln!(output, "--- RDB ERROR DETECTED ---")?;
    tell(output, fault.offset, &[fault.reason.as_bytes()])?;
    writeln!(output, "[additional info] While doing: {}", fault.doing)?;
    if let Some(key) = &fault.key {
        output.write_all(b"[additional info] Reading key '")?;
        output.write_all(key)?;
        output.write_all(b"'\n")?;
    }
    if let Some(form) = fault.form {
        writeln!(output, "[additional info] Reading type {} ({})", form.byte(), form.name())?;
    }
    Ok(())
}

pub(super) fn counts(output: &mut dyn Write, counts: &Counts) -> io::Result<()> {
    writeln!(output, "[info] {} keys read", counts.keys)?;
    writeln!(output, "[info] {} expires", counts.expires)?;
    writeln!(output, "[info] {} already expired", counts.already_expired)?;
    writeln!(output, "[info] {} functions", counts.functions)?;
    if counts.scripts > 0 {
        writeln!(output, "[info] {} lua scripts read", counts.scripts)?;
    }
    Ok(())
}
