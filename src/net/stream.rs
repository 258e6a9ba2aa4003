//! A client's socket: TCP or unix, in two halves. The executor reads; whoever has replies writes.
//!
//! Reads go through `AsyncRead`, not `try_read`: a read that did not fill its buffer then counts as having emptied the
//! socket, which saves the second read that would say so.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// The half that reads.
#[derive(Debug)]
pub(super) enum Reader {
    /// TCP, IPv4 or IPv6.
    Tcp(tcp::OwnedReadHalf),
    /// A unix socket.
    Unix(unix::OwnedReadHalf),
}

/// The half that writes.
#[derive(Debug)]
pub(super) enum Writer {
    /// TCP, IPv4 or IPv6.
    Tcp(tcp::OwnedWriteHalf),
    /// A unix socket.
    Unix(unix::OwnedWriteHalf),
}

/// Both halves of a TCP connection.
pub(super) fn of_tcp(stream: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Tcp(reader), Writer::Tcp(writer))
}

/// Both halves of a connection through a unix socket.
pub(super) fn of_unix(stream: UnixStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Unix(reader), Writer::Unix(writer))
}

impl Reader {
    /// Reads what the socket has, once; 0 at its end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => pin!(half.read(buffer)).poll(cx),
            Self::Unix(half) => pin!(half.read(buffer)).poll(cx),
        }
    }

    /// Whether there may be more to read; if not, who waits is woken when there is.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => AsRef::<TcpStream>::as_ref(half).poll_read_ready(cx),
            Self::Unix(half) => AsRef::<UnixStream>::as_ref(half).poll_read_ready(cx),
        }
    }

    /// The same into the vector's spare capacity.
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => pin!(half.read_buf(buffer)).poll(cx),
            Self::Unix(half) => pin!(half.read_buf(buffer)).poll(cx),
        }
    }
}

impl Writer {
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::Unix(half) => half.writable().await,
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        match self {
            Self::Tcp(half) => AsRef::<TcpStream>::as_ref(half).as_raw_fd(),
            Self::Unix(half) => AsRef::<UnixStream>::as_ref(half).as_raw_fd(),
        }
    }
}
