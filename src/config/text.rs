//! Byte strings as options hold them, and the quoting rules shared by the file reader and the rewriter.
//!
//! Values are bytes, not `str`: a password or a path need not be UTF-8. Quoting follows Valkey's
//! configuration files: double quotes with `\n \r \t \a \b \xHH` escapes, single quotes with `\'` only.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A byte string option value; empty means "not set" for the options that can be unset.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Vec<u8>);

impl Text {
    /// The text made of these bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Text {
        Text(bytes.as_ref().to_vec())
    }

    /// The bytes as given.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For messages and for values known to be ASCII; invalid UTF-8 is replaced.
    pub fn as_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The bytes as a file name.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// True when the option is unset or set to the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// Splits a configuration line into its arguments, unquoting them. `None`: unbalanced quotes.
pub fn split_arguments(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = line;
    let mut arguments = Vec::new();
    loop {
        rest = skip_blanks(rest);
        if rest.is_empty() {
            return Some(arguments);
        }
        let (argument, after) = take_argument(rest)?;
        arguments.push(argument);
        rest = after;
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0x0b).count();
    text.get(blanks..).unwrap_or_default()
}

/// One argument from the start of `text` (quoted and bare parts may touch), and what follows it.
fn take_argument(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut argument = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b' ' | b'\n' | b'\r' | b'\t' => return Some((argument, after)),
            b'"' => take_double_quoted(after, &mut argument)?,
            b'\'' => take_single_quoted(after, &mut argument)?,
            _ => {
                argument.push(byte);
                after
            }
        };
    }
    Some((argument, rest))
}

fn take_double_quoted<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                argument.push(hex_digit(*high) * 16 + hex_digit(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                argument.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                argument.push(*byte);
                after
            }
            [] => return None,
        };
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                argument.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                argument.push(*byte);
                after
            }
            [] => return None,
        };
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.to_ascii_uppercase().wrapping_sub(b'A').wrapping_add(10),
    }
}

/// The value in double quotes, escaped so that [`split_arguments`] reads the same bytes back.
pub fn quote(value: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(value.len() + 2);
    quoted.push(b'"');
    for &byte in value {
        match byte {
            b'\\' | b'"' => quoted.extend_from_slice(&[b'\\', byte]),
            b'\n' => quoted.extend_from_slice(b"\\n"),
            b'\r' => quoted.extend_from_slice(b"\\r"),
            b'\t' => quoted.extend_from_slice(b"\\t"),
            0x07 => quoted.extend_from_slice(b"\\a"),
            0x08 => quoted.extend_from_slice(b"\\b"),
            0x20..=0x7e => quoted.push(byte),
            _ => quoted.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    quoted.push(b'"');
    quoted
}

/// `value` without the blanks around it (space, tab, carriage return, newline).
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = value.iter().take_while(|b| blank(b)).count();
    let end = value.len() - value.iter().rev().take_while(|b| blank(b)).count();
    value.get(start..end).unwrap_or_default()
}

/// What the operating system calls this error, without Rust's error number.
pub fn os_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text.chars().take(end).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn split(line: &str) -> Option<Vec<String>> {
        let arguments = split_arguments(line.as_bytes())?;
        Some(arguments.into_iter().map(|a| String::from_utf8(a).unwrap()).collect())
    }

    #[test]
    fn arguments_are_split_at_blanks_and_unquoted() {
        assert_eq!(split("  save 3600\t1 ").unwrap(), ["save", "3600", "1"]);
        assert_eq!(split(r#"a "b c" 'd "e' "#).unwrap(), ["a", "b c", "d \"e"]);
        assert_eq!(split(r#"save """#).unwrap(), ["save", ""]);
        assert_eq!(split(r#""\x41\n\q" 'it\'s' "a"b"#).unwrap(), ["A\nq", "it's", "ab"]);
        assert_eq!(split("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        assert_eq!(split("a \"b"), None);
        assert_eq!(split("a 'b"), None);
        assert_eq!(split("a \"b\\\""), None);
    }

    #[test]
    fn quoting_reads_back_the_same_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split_arguments(&quote(&all)).unwrap(), [all]);
        assert_eq!(quote(b"a\"\x07\xff"), br#""a\"\a\xff""#);
    }
}
