//! A conversation in which replies become text: one line for each scalar, nested ones indented, so that two servers
//! can be compared and a person can read it.

#![allow(dead_code, unreachable_pub)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::Server;

/// One connection to a server.
pub struct Conversation {
    stream: BufReader<TcpStream>,
}

impl Conversation {
    /// Connects.
    pub fn open(server: &Server) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", server.port)).unwrap())
    }

    /// Speaks over a connection that is there.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends a request written as an inline one, as a multibulk request, and gives the reply as text.
    pub fn ask(&mut self, request: &str) -> String {
        let words = weighbridge::config::split_arguments(request.as_bytes()).expect("balanced quotes");
        self.send(&words);
        self.read()
    }

    /// Sends a request.
    pub fn send(&mut self, words: &[impl AsRef<[u8]>]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word = word.as_ref();
            bytes.extend(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).unwrap();
    }

    /// Whether the server has ended the connection and nothing is left to be read; waits until one of it shows.
    pub fn is_over(&mut self) -> bool {
        self.stream.fill_buf().map_or(true, <[u8]>::is_empty)
    }

    /// The next reply as text.
    pub fn read(&mut self) -> String {
        let mut text = String::new();
        self.render(0, "", &mut text);
        text
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\r\n"), "the connection was closed");
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    fn bulk(&mut self, len: usize) -> String {
        let mut bytes = vec![0; len + 2];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes[..len].escape_ascii().to_string()
    }

    fn render(&mut self, depth: usize, label: &str, text: &mut String) {
        let line = self.line();
        let (kind, rest) = line.split_at(1);
        let indent = "   ".repeat(depth);
        let scalar = match (kind, rest) {
            ("+", rest) => rest.to_owned(),
            ("-", rest) => format!("(error) {rest}"),
            (":", rest) => format!("(integer) {rest}"),
            (",", rest) => format!("(double) {rest}"),
            ("#", rest) => format!("(boolean) {rest}"),
            ("(", rest) => format!("(big number) {rest}"),
            ("_", _) | ("$", "-1") => "(nil)".to_owned(),
            ("*", "-1") => "(nil array)".to_owned(),
            ("$", rest) => format!("\"{}\"", self.bulk(rest.parse().unwrap())),
            ("=", rest) => format!("(verbatim) \"{}\"", self.bulk(rest.parse().unwrap())),
            ("*" | "~" | ">" | "%" | "|", rest) => {
                return self.render_aggregate(kind, rest.parse().unwrap(), depth, label, text);
            }
            _ => panic!("no RESP: {line}"),
        };
        writeln!(text, "{indent}{label}{scalar}").unwrap();
    }

    fn render_aggregate(&mut self, kind: &str, count: usize, depth: usize, label: &str, text: &mut String) {
        let (name, elements) = match kind {
            "*" => ("array", count),
            "~" => ("set", count),
            ">" => ("push", count),
            "%" => ("map", count * 2),
            _ => ("attribute", count * 2),
        };
        writeln!(text, "{}{label}({name} of {count})", "   ".repeat(depth)).unwrap();
        for index in 0..elements {
            let label = if elements == count {
                format!("{}) ", index + 1)
            } else if index % 2 == 0 {
                "key ".to_owned()
            } else {
                "  = ".to_owned()
            };
            self.render(depth + 1, &label, text);
        }
    }
}
