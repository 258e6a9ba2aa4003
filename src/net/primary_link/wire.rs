//! The socket to the primary before it is a client's: lines and requests of the handshake, bytes of a snapshot.

use std::io;

use tokio::net::TcpStream;

use crate::memory::vec_usage;

/// The longest line that a primary sends (Valkey: 1024).
const LINE_MAX: usize = 1024;
/// What is kept for later is given room in steps of one part in so many.
const GROWTH: usize = 4;
/// Bytes asked of the socket at once while a snapshot comes.
pub(super) const CHUNK_BYTES: usize = 128 * 1024;

pub(in crate::net) struct Wire {
    socket: TcpStream,
    /// Received and not used.
    unread: Vec<u8>,
    /// The peer closes it when all is sent: what it is sent then would cost what is still on its way.
    one_way: bool,
}

impl Wire {
    pub(in crate::net) fn new(socket: TcpStream) -> Self {
        Self { socket, unread: Vec::new(), one_way: false }
    }

    /// From here on nothing is sent any more.
    pub(super) fn only_receive(&mut self) {
        self.one_way = true;
    }

    pub(in crate::net) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.socket, self.unread)
    }

    /// Sends a request as an array of bulk strings.
    pub(in crate::net) async fn send(&self, args: &[&[u8]]) -> io::Result<()> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.send_raw(&request).await
    }

    pub(super) async fn send_raw(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.writable().await?;
            match self.socket.try_write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that this server is alive, if the socket takes a byte.
    pub(super) fn send_newline(&self) {
        if self.one_way {
            return;
        }
        let _ = self.socket.try_write(b"\n");
    }

    /// The next line without its end. Safe to be cancelled.
    pub(in crate::net) async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let rest = self.unread.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.unread, rest);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.unread.len() > LINE_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
            let mut unread = std::mem::take(&mut self.unread);
            let outcome = self.read_more(&mut unread, LINE_MAX).await;
            self.unread = unread;
            if outcome? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Appends what came before and what the socket has; 0 at its end. Safe to be cancelled: nothing is lost.
    pub(super) async fn chunk(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        if !self.unread.is_empty() {
            let unread = std::mem::take(&mut self.unread);
            into.extend_from_slice(&unread);
            return Ok(unread.len());
        }
        self.read_more(into, CHUNK_BYTES).await
    }

    /// Reads more of what comes later; 0 at the end of the connection. Safe to be cancelled.
    pub(super) async fn keep_more(&mut self) -> io::Result<usize> {
        loop {
            self.socket.readable().await?;
            if self.unread.capacity() - self.unread.len() < CHUNK_BYTES {
                self.unread.reserve_exact(CHUNK_BYTES.max(self.unread.len() / GROWTH));
            }
            match self.socket.try_read_buf(&mut self.unread) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Bytes that are kept for later.
    pub(super) fn waiting(&self) -> usize {
        self.unread.len()
    }

    /// What they take of memory.
    pub(super) fn usage(&self) -> usize {
        vec_usage(&self.unread)
    }

    /// Takes what is kept for later: it is of no use any more.
    pub(super) fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Bytes that belong to what comes next.
    pub(super) fn put_back(&mut self, bytes: Vec<u8>) {
        self.unread = bytes;
    }

    async fn read_more(&self, into: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        loop {
            self.socket.readable().await?;
            into.reserve(room);
            match self.socket.try_read_buf(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}
