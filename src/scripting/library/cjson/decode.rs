//! JSON as values.

use std::ops::Range;

use super::{DEPTH_MAX, Setting, option};
use crate::scripting::host::Host;
use crate::scripting::lua::number::parse_number;
use crate::scripting::lua::value::{Result, Stop, Value};
use crate::scripting::lua::vm::{Arguments, NativeResult, Vm};

/// A token of JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// The [decoder](Decoder) has its bytes until the next one.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// What is wrong here.
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::String => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Wrong(what) => what,
        }
    }
}

struct Decoder<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the last token, or what is wrong with it, is.
    token_at: usize,
    depth: usize,
    depth_max: usize,
    /// Numbers that JSON does not have are read too.
    lenient: bool,
    /// Where the last string is in the text, if there are its bytes as they are.
    plain: Option<Range<usize>>,
    /// Else its bytes.
    unescaped: Vec<u8>,
}

pub(super) fn decode(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if arguments.count != 1 {
        return Err(vm.argument_error(0, "expected 1 argument"));
    }
    let text = vm.bytes_argument(arguments, 0)?;
    if text.len() >= 2 && text[..2].contains(&0) {
        return Err(vm.error(b"JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder {
        text: &text,
        at: 0,
        token_at: 0,
        depth: 0,
        depth_max: (option(vm, arguments, Setting::DecodeDepth) as usize).min(DEPTH_MAX),
        lenient: option(vm, arguments, Setting::DecodeInvalid) != 0.0,
        plain: None,
        unescaped: Vec::new(),
    };
    let token = decoder.next();
    let value = decoder.value(vm, token)?;
    match decoder.next() {
        Token::End => vm.give(value),
        token => Err(decoder.unexpected(vm, "the end", &token)),
    }
}

impl Decoder<'_> {
    /// The byte there; 0 at the end and beyond.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn unexpected(&self, vm: &mut Vm, expected: &str, token: &Token) -> Stop {
        let message =
            format!("Expected {expected} but found {} at character {}", token.name(), self.token_at + 1);
        vm.error(message.as_bytes())
    }

    fn wrong(&mut self, what: &'static str) -> Token {
        self.token_at = self.at;
        Token::Wrong(what)
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let single = match self.byte(self.at) {
            0 => return Token::End,
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.lenient && self.is_no_json_number() {
                    return self.wrong("invalid number");
                }
                return self.number();
            }
            _ => return self.word(),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        let rest = &self.text[self.at..];
        for (word, token) in
            [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)]
        {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        let may_be_number = matches!(rest.first(), Some(b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+'));
        if self.lenient && may_be_number && self.is_no_json_number() {
            return self.number();
        }
        self.wrong("invalid token")
    }

    /// Numbers that C reads and JSON does not have.
    fn is_no_json_number(&self) -> bool {
        if self.byte(self.at) == b'+' {
            return true;
        }
        let at = self.at + usize::from(self.byte(self.at) == b'-');
        if self.byte(at) == b'0' {
            let second = self.byte(at + 1);
            return second | 0x20 == b'x' || second.is_ascii_digit();
        }
        if self.byte(at) <= b'9' {
            return false;
        }
        let rest = self.text.get(at..at + 3).unwrap_or_default();
        rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"nan")
    }

    /// The whole number that begins here, if it is short and nothing follows that may belong to it; with its length.
    fn short_integer(&self) -> Option<(f64, usize)> {
        const EXACT: usize = 15;
        let negative = self.byte(self.at) == b'-';
        let digits = self.text.get(self.at + usize::from(negative)..)?;
        let (mut value, mut length) = (0_u64, 0);
        while let Some(digit @ b'0'..=b'9') = digits.get(length)
            && length <= EXACT
        {
            value = value * 10 + u64::from(digit - b'0');
            length += 1;
        }
        let goes_on = matches!(digits.get(length), Some(b'.' | b'e' | b'E' | b'x' | b'X'));
        if goes_on || !(1..=EXACT).contains(&length) || negative && value == 0 {
            return None;
        }
        let number = value as f64;
        Some((if negative { -number } else { number }, length + usize::from(negative)))
    }

    /// The longest number that begins here.
    fn number(&mut self) -> Token {
        if let Some((number, length)) = self.short_integer() {
            self.at += length;
            return Token::Number(number);
        }
        let rest = &self.text[self.at..];
        let length = number_length(rest);
        match parse_number(&rest[..length]).filter(|_| length > 0) {
            Some(number) => {
                self.at += length;
                Token::Number(number)
            }
            None => self.wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let mut start = self.at + 1;
        self.unescaped.clear();
        loop {
            let rest = self.text.get(start..).unwrap_or_default();
            self.at = start + memchr::memchr3(b'"', b'\\', 0, rest).unwrap_or(rest.len());
            match self.byte(self.at) {
                b'"' => break,
                b'\\' => {
                    self.unescaped.extend_from_slice(&self.text[start..self.at]);
                    if let Err(what) = self.escape() {
                        return self.wrong(what);
                    }
                    start = self.at;
                }
                _ => return self.wrong("unexpected end of string"),
            }
        }
        let last = start..self.at;
        self.at += 1;
        if self.unescaped.is_empty() {
            self.plain = Some(last);
        } else {
            self.unescaped.extend_from_slice(&self.text[last]);
            self.plain = None;
        }
        Token::String
    }

    /// The bytes of the string that the last token was.
    fn content(&self) -> &[u8] {
        match &self.plain {
            Some(range) => &self.text[range.clone()],
            None => &self.unescaped,
        }
    }

    /// Takes the escape that is here for the byte or the character that it means.
    fn escape(&mut self) -> std::result::Result<(), &'static str> {
        let byte = match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'u' => return self.unicode().ok_or("invalid unicode escape code"),
            _ => return Err("invalid escape code"),
        };
        self.unescaped.push(byte);
        self.at += 2;
        Ok(())
    }

    fn four_digits(&self, at: usize) -> Option<u32> {
        (at..at + 4).try_fold(0, |value, at| Some(value << 4 | char::from(self.byte(at)).to_digit(16)?))
    }

    /// `\uXXXX`, or two of them that are one character.
    fn unicode(&mut self) -> Option<()> {
        let mut code = self.four_digits(self.at + 2)?;
        let mut length = 6;
        if code & 0xf800 == 0xd800 {
            if code & 0x400 != 0 || self.byte(self.at + 6) != b'\\' || self.byte(self.at + 7) != b'u' {
                return None;
            }
            let low = self.four_digits(self.at + 8).filter(|low| low & 0xfc00 == 0xdc00)?;
            code = ((code & 0x3ff) << 10 | low & 0x3ff) + 0x1_0000;
            length = 12;
        }
        let character = char::from_u32(code)?;
        self.unescaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Some(())
    }

    fn descend(&mut self, vm: &mut Vm) -> Result<()> {
        self.depth += 1;
        if self.depth > self.depth_max {
            let message =
                format!("Found too many nested data structures ({}) at character {}", self.depth, self.at);
            return Err(vm.error(message.as_bytes()));
        }
        vm.check_room(1024)
    }

    fn value(&mut self, vm: &mut Vm, token: Token) -> Result<Value> {
        vm.spend(1);
        Ok(match token {
            Token::String => Value::String(vm.heap.string(self.content())),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::Null,
            Token::ObjectBegin => self.object(vm)?,
            Token::ArrayBegin => self.array(vm)?,
            other => return Err(self.unexpected(vm, "value", &other)),
        })
    }

    fn object(&mut self, vm: &mut Vm) -> Result<Value> {
        self.descend(vm)?;
        let table = vm.heap.new_table(0, 0);
        let mut token = self.next();
        if token != Token::ObjectEnd {
            loop {
                let key = match token {
                    Token::String => vm.heap.string(self.content()),
                    other => return Err(self.unexpected(vm, "object key string", &other)),
                };
                match self.next() {
                    Token::Colon => {}
                    other => return Err(self.unexpected(vm, "colon", &other)),
                }
                let next = self.next();
                let value = self.value(vm, next)?;
                vm.heap.set(table, Value::String(key), value);
                match self.next() {
                    Token::ObjectEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.unexpected(vm, "comma or object end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self, vm: &mut Vm) -> Result<Value> {
        self.descend(vm)?;
        let table = vm.heap.new_table(0, 0);
        let mut token = self.next();
        if token != Token::ArrayEnd {
            let mut index = 1.0;
            loop {
                let value = self.value(vm, token)?;
                vm.heap.set(table, Value::Number(index), value);
                index += 1.0;
                match self.next() {
                    Token::ArrayEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.unexpected(vm, "comma or array end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

/// How much of a text C's `strtod` takes for a number.
fn number_length(text: &[u8]) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let sign = usize::from(matches!(byte(0), b'-' | b'+'));
    if byte(sign).is_ascii_alphabetic() {
        let starts_with = |word: &&str| {
            text.get(sign..sign + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
        };
        return ["infinity", "inf", "nan"]
            .iter()
            .find(|word| starts_with(word))
            .map_or(0, |word| sign + word.len());
    }
    let hexadecimal =
        byte(sign) == b'0' && byte(sign + 1) | 0x20 == b'x' && byte(sign + 2).is_ascii_hexdigit();
    let is_digit = |byte: u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let mut at = sign + if hexadecimal { 2 } else { 0 };
    let start = at;
    let (mut digits, mut point) = (0, false);
    while is_digit(byte(at)) || byte(at) == b'.' && !point {
        point |= byte(at) == b'.';
        digits += usize::from(byte(at) != b'.');
        at += 1;
    }
    if digits == 0 {
        return if start > sign { sign + 1 } else { 0 };
    }
    if byte(at) | 0x20 == if hexadecimal { b'p' } else { b'e' } {
        let signed = usize::from(matches!(byte(at + 1), b'-' | b'+'));
        let exponent = text.get(at + 1 + signed..).unwrap_or_default();
        let length = exponent.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length > 0 {
            at += 1 + signed + length;
        }
    }
    at
}
