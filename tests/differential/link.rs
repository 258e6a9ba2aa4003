//! A connection that sends requests without waiting and reads whole replies.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::frame::Frame;

/// A request as its words.
pub type Words = Vec<Vec<u8>>;

/// How long a reply may take before the server counts as hung.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection.
pub struct Link {
    stream: BufReader<TcpStream>,
}

/// A request of words without blanks.
pub fn words(text: &str) -> Words {
    text.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// The bytes of a request.
pub fn encode(request: &[Vec<u8>], bytes: &mut Vec<u8>) {
    write!(bytes, "*{}\r\n", request.len()).unwrap();
    for word in request {
        write!(bytes, "${}\r\n", word.len()).unwrap();
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

impl Link {
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream) })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn read(&mut self) -> io::Result<Frame> {
        Frame::read(&mut self.stream)
    }

    /// Sends a request and reads its one reply.
    pub fn ask(&mut self, request: &[Vec<u8>]) -> io::Result<Frame> {
        let mut bytes = Vec::new();
        encode(request, &mut bytes);
        self.send(&bytes)?;
        self.read()
    }

    /// Whether something can be read, waiting a moment for it.
    pub fn is_readable(&mut self) -> io::Result<bool> {
        if !self.stream.buffer().is_empty() {
            return Ok(true);
        }
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(Duration::from_micros(300)))?;
        let peeked = stream.peek(&mut [0]);
        stream.set_read_timeout(Some(PATIENCE))?;
        match peeked {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed")),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Everything up to the reply that has the marker in it, which is left out.
    pub fn read_until(&mut self, marker: &[u8]) -> io::Result<Vec<Frame>> {
        let mut frames = Vec::new();
        loop {
            let frame = self.read()?;
            if frame.holds(marker) {
                return Ok(frames);
            }
            frames.push(frame);
        }
    }
}
