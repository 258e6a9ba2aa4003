//! The manifest of an append-only file: which files in which order make it up, and which are no longer needed.
//!
//! ```text
//! file appendonly.aof.1.base.rdb seq 1 type b
//! file appendonly.aof.1.incr.aof seq 1 type i
//! ```
//! One base at most, then history, then the increments, whose numbers only grow. Names are base names: nothing leads out
//! of the directory. Lines that begin with `#` are comments; keys that are not known are skipped (Valkey: `aof.c`).

use crate::config::{quote, split_arguments};
use crate::memory::{MemoryUsage, vec_usage};

/// Bytes of a line at most, its end included (Valkey: `MANIFEST_MAX_LINE`).
const LONGEST_LINE: usize = 1024;

/// What a file of the manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// The data set at one instant: a snapshot, or commands.
    Base,
    /// No longer needed; to be deleted.
    History,
    /// Commands that came after what is listed before.
    Increment,
}

impl FileKind {
    fn letter(self) -> char {
        match self {
            Self::Base => 'b',
            Self::History => 'h',
            Self::Increment => 'i',
        }
    }
}

/// A file that the manifest lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Its name within the directory.
    pub name: Vec<u8>,
    /// Its number among the files of its kind.
    pub sequence: i64,
    /// What it is.
    pub kind: FileKind,
}

impl ListedFile {
    fn line(&self) -> Vec<u8> {
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
        let name = if self.name.iter().all(plain) { self.name.clone() } else { quote(&self.name) };
        let rest = format!(" seq {} type {}\n", self.sequence, self.kind.letter());
        [b"file ", name.as_slice(), rest.as_bytes()].concat()
    }
}

/// Why a manifest was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// The line, from 1.
    pub line: usize,
    /// What stands there, as far as it was read.
    pub text: Option<Vec<u8>>,
    /// What is wrong with it, in Valkey's words.
    pub reason: &'static str,
}

impl ManifestError {
    /// The lines that say so in the log.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["\n*** FATAL AOF MANIFEST FILE ERROR ***\n".to_owned()];
        if let Some(text) = &self.text {
            lines.push(format!("Reading the manifest file, at line {}\n", self.line));
            lines.push(format!(">>> '{}'\n", String::from_utf8_lossy(text)));
        }
        lines.push(format!("{}\n", self.reason));
        lines
    }
}

/// The files of an append-only file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The base, if there is one.
    pub base: Option<ListedFile>,
    /// Files to be deleted.
    pub history: Vec<ListedFile>,
    /// Increments in order.
    pub increments: Vec<ListedFile>,
    base_sequence: i64,
    increment_sequence: i64,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The line and what is wrong with it; nothing of a manifest that is wrong anywhere is used.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        if bytes.is_empty() {
            let reason = "Found an empty AOF manifest";
            return Err(ManifestError { line: 0, text: None, reason });
        }
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let wrong = |text, reason| ManifestError { line: index + 1, text, reason };
            if line.first() == Some(&b'#') {
                continue;
            }
            if line.last() != Some(&b'\n') || line.len() > LONGEST_LINE {
                return Err(wrong(None, "The AOF manifest file contains too long line"));
            }
            let line = line.trim_ascii();
            parse_line(line)
                .and_then(|file| manifest.list(file))
                .map_err(|reason| wrong(Some(line.to_vec()), reason))?;
        }
        Ok(manifest)
    }

    fn list(&mut self, file: ListedFile) -> Result<(), &'static str> {
        match file.kind {
            FileKind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            FileKind::Base => {
                self.base_sequence = file.sequence;
                self.base = Some(file);
            }
            FileKind::History => self.history.push(file),
            FileKind::Increment if file.sequence <= self.increment_sequence => {
                return Err("Found a non-monotonic sequence number");
            }
            FileKind::Increment => {
                self.increment_sequence = file.sequence;
                self.increments.push(file);
            }
        }
        Ok(())
    }

    /// The manifest's text.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let files = self.base.iter().chain(&self.history).chain(&self.increments);
        files.flat_map(ListedFile::line).collect()
    }

    /// Whether it lists nothing that could be loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty()
    }

    /// The files that are loaded, in order.
    pub fn loaded(&self) -> impl Iterator<Item = &ListedFile> {
        self.base.iter().chain(&self.increments)
    }

    /// Lists a new base; the one before becomes history. Gives the new one's name.
    pub fn begin_base(&mut self, append_filename: &[u8], snapshot: bool) -> Vec<u8> {
        if let Some(mut before) = self.base.take() {
            before.kind = FileKind::History;
            self.history.insert(0, before);
        }
        self.base_sequence += 1;
        let suffix = if snapshot { "rdb" } else { "aof" };
        let name = numbered(append_filename, self.base_sequence, "base", suffix);
        self.set_base(name.clone(), self.base_sequence);
        name
    }

    /// Lists a file of any name as the base (an old single file that was moved into the directory).
    pub fn set_base(&mut self, name: Vec<u8>, sequence: i64) {
        self.base_sequence = sequence;
        self.base = Some(ListedFile { name, sequence, kind: FileKind::Base });
    }

    /// Lists a new increment and gives its name.
    pub fn begin_increment(&mut self, append_filename: &[u8]) -> Vec<u8> {
        self.increment_sequence += 1;
        let sequence = self.increment_sequence;
        let name = numbered(append_filename, sequence, "incr", "aof");
        self.increments.push(ListedFile { name: name.clone(), sequence, kind: FileKind::Increment });
        name
    }

    /// Every increment becomes history, but for the last `kept` ones.
    pub fn retire_increments(&mut self, kept: usize) {
        let retired = self.increments.len().saturating_sub(kept);
        for mut file in self.increments.drain(..retired).rev() {
            file.kind = FileKind::History;
            self.history.insert(0, file);
        }
    }
}

impl MemoryUsage for Manifest {
    fn memory_usage(&self) -> usize {
        let names = self.loaded().chain(&self.history).map(|file| vec_usage(&file.name)).sum::<usize>();
        vec_usage(&self.history) + vec_usage(&self.increments) + names
    }
}

fn numbered(append_filename: &[u8], sequence: i64, kind: &str, suffix: &str) -> Vec<u8> {
    [append_filename, format!(".{sequence}.{kind}.{suffix}").as_bytes()].concat()
}

/// Whether a name stays within the directory.
fn is_base_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0))
}

fn parse_line(line: &[u8]) -> Result<ListedFile, &'static str> {
    const INVALID: &str = "Invalid AOF manifest file format";
    let words = split_arguments(line).ok_or(INVALID)?;
    let (pairs, rest) = words.as_chunks::<2>();
    if pairs.len() < 3 || !rest.is_empty() {
        return Err(INVALID);
    }
    let (mut name, mut sequence, mut letter) = (None, None, None);
    for [key, value] in pairs {
        match key.to_ascii_lowercase().as_slice() {
            b"file" if !is_base_name(value) => return Err("File can't be a path, just a filename"),
            b"file" => name = Some(value.clone()),
            b"seq" => sequence = parse_sequence(value),
            b"type" => letter = value.first().copied(),
            _ => {}
        }
    }
    let (Some(name), Some(sequence), Some(letter)) = (name, sequence, letter) else { return Err(INVALID) };
    let kind = match letter {
        b'b' => FileKind::Base,
        b'h' => FileKind::History,
        b'i' => FileKind::Increment,
        _ => return Err("Unknown AOF file type"),
    };
    Ok(ListedFile { name, sequence, kind })
}

/// A number that the next ones can be counted from.
fn parse_sequence(text: &[u8]) -> Option<i64> {
    let number = std::str::from_utf8(text).ok()?.trim().parse::<i64>().ok()?;
    (number != 0 && number < i64::MAX / 2).then_some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn reason(text: &str) -> &'static str {
        Manifest::parse(text.as_bytes()).unwrap_err().reason
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let mut manifest = Manifest::default();
        assert!(manifest.is_empty());
        assert_eq!(manifest.begin_base(b"a.aof", true), b"a.aof.1.base.rdb");
        assert_eq!(manifest.begin_increment(b"a.aof"), b"a.aof.1.incr.aof");
        assert_eq!(manifest.begin_increment(b"a.aof"), b"a.aof.2.incr.aof");
        assert_eq!(manifest.begin_base(b"a.aof", false), b"a.aof.2.base.aof");
        manifest.retire_increments(1);
        let text = "file a.aof.2.base.aof seq 2 type b\nfile a.aof.1.incr.aof seq 1 type h\n\
                    file a.aof.1.base.rdb seq 1 type h\nfile a.aof.2.incr.aof seq 2 type i\n";
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), text);
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), manifest);
        assert_eq!(manifest.loaded().count(), 2);
    }

    #[test]
    fn names_with_blanks_and_quotes_are_quoted() {
        let mut manifest = Manifest::default();
        manifest.begin_base(b"it's \"a\" file\xff", true);
        let text = manifest.to_bytes();
        assert!(text.starts_with(br#"file "it's \"a\" file\xff.1.base.rdb" seq 1 type b"#));
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
    }

    #[test]
    fn comments_unknown_keys_and_gaps_are_accepted() {
        let text =
            "# made by hand\nFILE a SEQ 7 TYPE b extra word\nfile b seq 3 type incr\nfile c seq 9 type i\n";
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.begin_increment(b"x"), b"x.10.incr.aof");
        assert_eq!(manifest.begin_base(b"x", true), b"x.8.base.rdb");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        const FORMAT: &str = "Invalid AOF manifest file format";
        assert_eq!(reason(""), "Found an empty AOF manifest");
        assert_eq!(reason("file a seq 1 type b"), "The AOF manifest file contains too long line");
        let long = format!("file {} seq 1 type b\n", "a".repeat(1024));
        assert_eq!(reason(&long), "The AOF manifest file contains too long line");
        for text in [
            "\n",
            "file a seq 1 type\n",
            "file a seq 1\n",
            "file a seq 0 type b\n",
            "file \"a seq 1 type b\n",
        ] {
            assert_eq!(reason(text), FORMAT, "{text:?}");
        }
        for text in
            ["file a seq 1 nope b\n", "file a seq 9223372036854775807 type i\n", "file a seq x type b\n"]
        {
            assert_eq!(reason(text), FORMAT, "{text:?}");
        }
        assert_eq!(reason("file a seq 1 type x\n"), "Unknown AOF file type");
        for name in ["../a", "/etc/passwd", "a\\\\b", "..", "\"\""] {
            let text = format!("file {name} seq 1 type i\n");
            assert_eq!(reason(&text), "File can't be a path, just a filename", "{name}");
        }
        assert_eq!(
            reason("file a seq 1 type b\nfile b seq 2 type b\n"),
            "Found duplicate base file information"
        );
        let error = Manifest::parse(b"file a seq 2 type i\nfile b seq 2 type i\n").unwrap_err();
        assert_eq!((error.line, error.reason), (2, "Found a non-monotonic sequence number"));
        assert_eq!(error.lines()[2], ">>> 'file b seq 2 type i'\n");
    }
}
