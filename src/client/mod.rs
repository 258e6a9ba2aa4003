//! The built-in client: a blocking RESP2 connection whose bytes redis-protocol makes and reads, and what runs on it.
//!
//! The peer is a server of ours, so the decoder's lack of limits does no harm here; requests of strangers never pass it.
#![deny(clippy::indexing_slicing)]

pub mod demo;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::encode::extend_encode;
pub use redis_protocol::resp2::types::BytesFrame as Reply;

use bytes::BytesMut;

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A connection to a server.
pub struct Connection {
    stream: Box<dyn ReadWrite>,
    received: BytesMut,
}

impl Connection {
    /// Connects over TCP.
    ///
    /// # Errors
    /// What the system says.
    pub fn tcp(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Box::new(stream), received: BytesMut::new() })
    }

    /// Connects through a unix socket.
    ///
    /// # Errors
    /// What the system says.
    pub fn unix(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: Box::new(UnixStream::connect(path)?), received: BytesMut::new() })
    }

    /// Sends requests without waiting for their replies.
    ///
    /// # Errors
    /// What the system says.
    pub fn send<'a>(&mut self, requests: impl IntoIterator<Item = &'a [&'a [u8]]>) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        for request in requests {
            let words = request.iter().map(|word| Reply::BulkString(word.to_vec().into())).collect();
            extend_encode(&mut bytes, &Reply::Array(words), false).map_err(io::Error::other)?;
        }
        self.stream.write_all(&bytes)
    }

    /// The next reply.
    ///
    /// # Errors
    /// What the system says, an unexpected end, or bytes that are no RESP.
    pub fn receive(&mut self) -> io::Result<Reply> {
        loop {
            if let Some((reply, _, _)) = decode_bytes_mut(&mut self.received).map_err(io::Error::other)? {
                return Ok(reply);
            }
            let mut chunk = [0; 16 * 1024];
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }

    /// Sends one request and gives its reply.
    ///
    /// # Errors
    /// What the system says; an error reply becomes an error too.
    pub fn call(&mut self, request: &[&[u8]]) -> io::Result<Reply> {
        self.send([request])?;
        match self.receive()? {
            Reply::Error(text) => Err(io::Error::other(text.to_string())),
            reply => Ok(reply),
        }
    }

    /// Sends many requests and reads all their replies, which must not be errors.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn pipeline(&mut self, requests: &[Vec<Vec<u8>>]) -> io::Result<()> {
        /// Requests sent before their replies are read: few enough that neither side's socket buffer fills.
        const CHUNK: usize = 256;
        for chunk in requests.chunks(CHUNK) {
            let words: Vec<Vec<&[u8]>> =
                chunk.iter().map(|request| request.iter().map(Vec::as_slice).collect()).collect();
            self.send(words.iter().map(Vec::as_slice))?;
            for _ in chunk {
                if let Reply::Error(text) = self.receive()? {
                    return Err(io::Error::other(text.to_string()));
                }
            }
        }
        Ok(())
    }
}

/// A reply's text, for people: bulk and simple strings as they are, integers as digits, arrays line by line.
#[must_use]
pub fn text_of(reply: &Reply) -> String {
    match reply {
        Reply::SimpleString(bytes) | Reply::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Error(text) => format!("(error) {text}"),
        Reply::Integer(value) => value.to_string(),
        Reply::Null => "(nil)".to_owned(),
        Reply::Array(replies) => replies.iter().map(text_of).collect::<Vec<_>>().join("\n"),
    }
}
