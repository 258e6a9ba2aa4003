//! The programs that check files while no server uses them: `check-rdb` and `check-aof`.
//!
//! They read as the server does when it loads, so what they call valid is what it takes. What they print, their options
//! and their exit codes are those of Valkey's programs of these names (`valkey-check-rdb.c`, `valkey-check-aof.c`).

mod check_aof;
mod check_rdb;

pub use check_rdb::examine;

use std::io::{self, BufRead, Write};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Valid,
    /// Something is wrong, or the program was not called as it should be.
    Invalid,
}

/// Where a program reads answers and writes to.
pub struct Terminal<'a> {
    /// Answers to its questions.
    pub input: &'a mut dyn BufRead,
    /// What it has found.
    pub output: &'a mut dyn Write,
    /// How it is to be called.
    pub errors: &'a mut dyn Write,
    /// What it says of its version.
    pub version: &'a str,
}

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Checks a snapshot.
    CheckRdb,
    /// Checks an append-only file.
    CheckAof,
}

impl Tool {
    /// The program that one goes by the name of, as Valkey tells from the last part of its path.
    #[must_use]
    pub fn of_program(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let is =
            |tool: &str| ["valkey", "redis"].iter().any(|maker| name.contains(&format!("{maker}-{tool}")));
        if is("check-rdb") {
            Some(Self::CheckRdb)
        } else if is("check-aof") {
            Some(Self::CheckAof)
        } else {
            None
        }
    }

    /// The program that the server's first argument asks for.
    #[must_use]
    pub fn of_argument(argument: &[u8]) -> Option<Self> {
        match argument {
            b"check-rdb" => Some(Self::CheckRdb),
            b"check-aof" => Some(Self::CheckAof),
            _ => None,
        }
    }

    /// Runs it. `program` is what it was called by.
    ///
    /// # Errors
    /// Those of writing to the terminal.
    pub fn run(
        self,
        program: &str,
        arguments: &[Vec<u8>],
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Verdict> {
        if let [b"-v" | b"--version"] = arguments.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] {
            writeln!(terminal.output, "{} {}", self.name(), terminal.version)?;
            return Ok(Verdict::Valid);
        }
        match self {
            Self::CheckRdb => check_rdb::run(program, arguments, terminal),
            Self::CheckAof => check_aof::run(program, arguments, terminal),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CheckRdb => "valkey-check-rdb",
            Self::CheckAof => "valkey-check-aof",
        }
    }
}
