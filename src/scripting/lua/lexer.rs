//! Source text into tokens, with the error texts of Lua 5.1.

use super::number::parse_number;

/// A syntax error's text, with chunk name and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError(pub Vec<u8>);

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// One character that is a token by itself, known or not.
    Char(u8),
    /// A reserved word or a sign of several characters.
    Word(&'static str),
    Name(Vec<u8>),
    String(Vec<u8>),
    Number(f64),
    End,
}

const RESERVED: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Lines a chunk may have (Lua: `MAX_INT - 2`); a request cannot hold as many.
const LINES_MAX: u32 = i32::MAX as u32 - 2;

/// Bytes that are shown of a source that is its own name.
pub(super) const SHOWN_NAME: usize = 60;

/// The same in errors of syntax (Lua: `MAXSRC`).
const SHOWN_IN_SYNTAX: usize = 80;

/// The state of reading.
pub(super) struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
    chunk: &'a [u8],
    /// The line being read.
    pub line: u32,
    /// The text of the token being read, as an error shows it.
    text: Vec<u8>,
}

/// How a chunk is called in messages, from the name it was loaded with.
pub(super) fn shown_name(name: &[u8], most: usize) -> Vec<u8> {
    match name.split_first() {
        Some((b'=', rest)) => rest.get(..most - 1).unwrap_or(rest).to_vec(),
        Some((b'@', rest)) if rest.len() > most - 8 => [b"...", &rest[rest.len() - (most - 8)..]].concat(),
        Some((b'@', rest)) => rest.to_vec(),
        _ => {
            let line = name.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(name.len());
            let room = most - " [string \"...\"] ".len() - 1;
            if line < name.len() || line > room {
                [b"[string \"", &name[..line.min(room)], b"...\"]"].concat()
            } else {
                [b"[string \"", name, b"\"]"].concat()
            }
        }
    }
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a [u8], chunk: &'a [u8]) -> Self {
        Self { source, at: 0, chunk, line: 1, text: Vec::new() }
    }

    fn current(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let found = self.current().is_some_and(|byte| set.contains(&byte));
        if found {
            self.save();
        }
        found
    }

    /// The same where Lua's own lexer, which looks for the byte in a string of C, finds its end too.
    fn accept_or_nul(&mut self, set: &[u8]) -> bool {
        self.accept(set) || self.accept(b"\0")
    }

    fn save(&mut self) {
        if let Some(byte) = self.current() {
            self.text.push(byte);
            self.at += 1;
        }
    }

    /// An error at the line being read, without a token.
    pub(super) fn plain_error(&self, message: &str) -> SyntaxError {
        let mut text = shown_name(self.chunk, SHOWN_IN_SYNTAX);
        text.extend_from_slice(format!(":{}: {message}", self.line).as_bytes());
        SyntaxError(text)
    }

    fn error_near(&self, message: &str, near: &[u8]) -> SyntaxError {
        let mut error = self.plain_error(message);
        error.0.extend_from_slice(b" near '");
        // Texts end at a NUL, as C's do.
        error.0.extend(near.iter().take_while(|byte| **byte != 0));
        error.0.push(b'\'');
        error
    }

    fn error_here(&self, message: &str) -> SyntaxError {
        self.error_near(message, &self.text)
    }

    /// An error at a token.
    pub(super) fn error_at(&self, message: &str, token: &Token) -> SyntaxError {
        match token {
            Token::Name(_) | Token::String(_) | Token::Number(_) => self.error_here(message),
            // Where Lua has no token it has no word for it.
            Token::Char(0) => self.plain_error(message),
            // Bytes beyond ASCII are shown as they are.
            Token::Char(byte) if !byte.is_ascii() => self.error_near(message, &[*byte]),
            token => self.error_near(message, token_text(token).as_bytes()),
        }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token, SyntaxError> {
        self.text.clear();
        loop {
            let Some(byte) = self.current() else { return Ok(Token::End) };
            match byte {
                b'\n' | b'\r' => self.end_line()?,
                b' ' | b'\t' | 0x0b | 0x0c => self.at += 1,
                b'-' if self.source.get(self.at + 1) == Some(&b'-') => self.skip_comment()?,
                b'[' => {
                    return match self.separator() {
                        Some(level) => self.long_string(level, "string").map(Token::String),
                        None if self.text.len() == 1 => Ok(Token::Char(b'[')),
                        None => Err(self.error_here("invalid long string delimiter")),
                    };
                }
                b'=' => return Ok(self.sign(b"=", "==")),
                b'<' => return Ok(self.sign(b"=", "<=")),
                b'>' => return Ok(self.sign(b"=", ">=")),
                b'~' => return Ok(self.sign(b"=", "~=")),
                b'"' | b'\'' => return self.string(byte).map(Token::String),
                b'.' => return self.dot(),
                b'0'..=b'9' => return self.number(),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => return Ok(self.word()),
                _ => {
                    self.at += 1;
                    return Ok(Token::Char(byte));
                }
            }
        }
    }

    fn sign(&mut self, second: &[u8], both: &'static str) -> Token {
        let first = self.current().unwrap_or_default();
        self.at += 1;
        if self.accept(second) { Token::Word(both) } else { Token::Char(first) }
    }

    fn dot(&mut self) -> Result<Token, SyntaxError> {
        self.save();
        if self.accept_or_nul(b".") {
            return Ok(Token::Word(if self.accept_or_nul(b".") { "..." } else { ".." }));
        }
        if self.current().is_some_and(|byte| byte.is_ascii_digit()) {
            self.number()
        } else {
            Ok(Token::Char(b'.'))
        }
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        while self.current().is_some_and(|byte| byte.is_ascii_digit() || byte == b'.') {
            self.save();
        }
        if self.accept_or_nul(b"Ee") {
            self.accept_or_nul(b"+-");
        }
        while self.current().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.save();
        }
        let digits = self.text.split(|byte| *byte == 0).next().unwrap_or_default();
        match parse_number(digits) {
            Some(number) => Ok(Token::Number(number)),
            None => Err(self.error_here("malformed number")),
        }
    }

    fn word(&mut self) -> Token {
        while self.current().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.save();
        }
        match RESERVED.iter().find(|word| word.as_bytes() == self.text) {
            Some(word) => Token::Word(word),
            None => Token::Name(self.text.clone()),
        }
    }

    fn end_line(&mut self) -> Result<(), SyntaxError> {
        let first = self.current();
        self.at += 1;
        if matches!(self.current(), Some(b'\n' | b'\r')) && self.current() != first {
            self.at += 1;
        }
        self.line += 1;
        if self.line >= LINES_MAX {
            return Err(self.plain_error("chunk has too many lines"));
        }
        Ok(())
    }

    fn skip_comment(&mut self) -> Result<(), SyntaxError> {
        self.at += 2;
        if self.current() == Some(b'[') {
            let level = self.separator();
            self.text.clear();
            if let Some(level) = level {
                self.long_string(level, "comment")?;
                self.text.clear();
                return Ok(());
            }
        }
        while !matches!(self.current(), None | Some(b'\n' | b'\r')) {
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a bracket and the `=` after it; how many they are if the second bracket follows.
    fn separator(&mut self) -> Option<usize> {
        let bracket = self.current();
        self.save();
        let mut level = 0;
        while self.accept(b"=") {
            level += 1;
        }
        (self.current() == bracket).then_some(level)
    }

    fn long_string(&mut self, level: usize, what: &str) -> Result<Vec<u8>, SyntaxError> {
        self.save();
        let mut content = Vec::new();
        if matches!(self.current(), Some(b'\n' | b'\r')) {
            self.end_line()?;
        }
        loop {
            match self.current() {
                None => return Err(self.error_near(&format!("unfinished long {what}"), b"<eof>")),
                Some(b']') => {
                    let start = self.at;
                    if self.separator() == Some(level) {
                        self.save();
                        return Ok(content);
                    }
                    content.extend_from_slice(&self.source[start..self.at]);
                }
                Some(b'\n' | b'\r') => {
                    content.push(b'\n');
                    self.text.push(b'\n');
                    self.end_line()?;
                }
                Some(b'[') if level == 0 && self.source.get(self.at + 1) == Some(&b'[') => {
                    self.at += 1;
                    return Err(self.error_near("nesting of [[...]] is deprecated", b"["));
                }
                Some(byte) => {
                    content.push(byte);
                    self.save();
                }
            }
        }
    }

    fn string(&mut self, quote: u8) -> Result<Vec<u8>, SyntaxError> {
        self.save();
        loop {
            match self.current() {
                None => return Err(self.error_near("unfinished string", b"<eof>")),
                Some(b'\n' | b'\r') => return Err(self.error_here("unfinished string")),
                Some(b'\\') => self.escape()?,
                Some(byte) if byte == quote => {
                    self.save();
                    return Ok(self.text[1..self.text.len() - 1].to_vec());
                }
                Some(_) => self.save(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        let Some(byte) = self.current() else { return Ok(()) };
        let meant = match byte {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\n' | b'\r' => {
                self.text.push(b'\n');
                return self.end_line();
            }
            b'0'..=b'9' => {
                let mut code = 0_u32;
                for _ in 0..3 {
                    let Some(digit) = self.current().filter(u8::is_ascii_digit) else { break };
                    code = code * 10 + u32::from(digit - b'0');
                    self.at += 1;
                }
                let Ok(code) = u8::try_from(code) else {
                    return Err(self.error_here("escape sequence too large"));
                };
                self.text.push(code);
                return Ok(());
            }
            other => other,
        };
        self.text.push(meant);
        self.at += 1;
        Ok(())
    }
}

/// How messages name a token that is no name, string or number.
pub(super) fn token_text(token: &Token) -> String {
    match token {
        Token::Char(byte) if byte.is_ascii_control() => format!("char({byte})"),
        Token::Char(byte) => char::from(*byte).to_string(),
        Token::Word(word) => (*word).to_owned(),
        Token::End => "<eof>".to_owned(),
        Token::Name(_) => "<name>".to_owned(),
        Token::String(_) => "<string>".to_owned(),
        Token::Number(_) => "<number>".to_owned(),
    }
}
