//! A reply as a tree, in either protocol, as it came: nothing is rounded, no kind is taken for another.

use std::fmt::{self, Write as _};
use std::io::{self, BufRead, Read};

/// A reply. Scalars keep their text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frame {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(Vec<u8>),
    Bulk(Vec<u8>),
    Double(Vec<u8>),
    Boolean(Vec<u8>),
    BigNumber(Vec<u8>),
    Verbatim(Vec<u8>),
    /// `_`, `$-1` or `*-1`, as the first byte says.
    Null(u8),
    Array(Vec<Self>),
    Set(Vec<Self>),
    /// Keys and values in turn.
    Map(Vec<Self>),
    Attribute(Vec<Self>),
    Push(Vec<Self>),
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn number(text: &[u8]) -> io::Result<i64> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(|| broken("no length"))
}

impl Frame {
    /// Reads one reply.
    pub fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed"));
        }
        let text = line.strip_suffix(b"\r\n").ok_or_else(|| broken("a line without its end"))?;
        let (kind, text) = text.split_first().ok_or_else(|| broken("an empty line"))?;
        let text = text.to_vec();
        match kind {
            b'+' => Ok(Self::Simple(text)),
            b'-' => Ok(Self::Error(text)),
            b':' => Ok(Self::Integer(text)),
            b',' => Ok(Self::Double(text)),
            b'#' => Ok(Self::Boolean(text)),
            b'(' => Ok(Self::BigNumber(text)),
            b'_' => Ok(Self::Null(b'_')),
            b'$' | b'*' if text == b"-1" => Ok(Self::Null(*kind)),
            b'$' => Ok(Self::Bulk(bytes(input, number(&text)?)?)),
            b'=' => Ok(Self::Verbatim(bytes(input, number(&text)?)?)),
            b'*' => Ok(Self::Array(children(input, number(&text)?)?)),
            b'~' => Ok(Self::Set(children(input, number(&text)?)?)),
            b'>' => Ok(Self::Push(children(input, number(&text)?)?)),
            b'%' => Ok(Self::Map(children(input, number(&text)? * 2)?)),
            b'|' => Ok(Self::Attribute(children(input, number(&text)? * 2)?)),
            _ => Err(broken("no kind of reply")),
        }
    }

    /// What is inside an aggregate; nothing for scalars.
    pub fn children(&self) -> &[Self] {
        match self {
            Self::Array(inner)
            | Self::Set(inner)
            | Self::Map(inner)
            | Self::Attribute(inner)
            | Self::Push(inner) => inner,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Integer(text)
            | Self::Bulk(text)
            | Self::Double(text)
            | Self::Boolean(text)
            | Self::BigNumber(text)
            | Self::Verbatim(text) => Some(text),
            _ => None,
        }
    }

    /// An integer's value.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(text) => number(text).ok(),
            _ => None,
        }
    }

    /// The same kind of reply, whatever its value.
    pub fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether this text stands anywhere in it.
    pub fn holds(&self, text: &[u8]) -> bool {
        self.text() == Some(text) || self.children().iter().any(|child| child.holds(text))
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Simple(_) => "+",
            Self::Error(_) => "-",
            Self::Integer(_) => ":",
            Self::Bulk(_) => "$",
            Self::Double(_) => ",",
            Self::Boolean(_) => "#",
            Self::BigNumber(_) => "(",
            Self::Verbatim(_) => "=",
            Self::Null(b'_') => "_",
            Self::Null(b'*') => "*-1",
            Self::Null(_) => "$-1",
            Self::Array(_) => "*",
            Self::Set(_) => "~",
            Self::Map(_) => "%",
            Self::Attribute(_) => "|",
            Self::Push(_) => ">",
        }
    }
}

fn bytes(input: &mut impl Read, length: i64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| broken("a negative length"))?;
    let mut bytes = vec![0; length + 2];
    input.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn children(input: &mut impl BufRead, count: i64) -> io::Result<Vec<Frame>> {
    (0..count).map(|_| Frame::read(input)).collect()
}

/// Longest text that is shown of a scalar.
const SHOWN: usize = 120;
/// Most elements that are shown of an aggregate.
const SHOWN_ELEMENTS: usize = 40;

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.kind())?;
        if let Some(text) = self.text() {
            write!(out, "{}", text[..text.len().min(SHOWN)].escape_ascii())?;
            if text.len() > SHOWN {
                write!(out, "… ({} bytes)", text.len())?;
            }
        } else if !matches!(self, Self::Null(_)) {
            out.write_char('[')?;
            for (index, child) in self.children().iter().enumerate() {
                if index == SHOWN_ELEMENTS {
                    write!(out, " … ({} elements)", self.children().len())?;
                    break;
                }
                write!(out, "{}{child}", if index == 0 { "" } else { " " })?;
            }
            out.write_char(']')?;
        }
        Ok(())
    }
}
