//! Reading the requests of an append-only file, one after the other.
//!
//! A record is a request in the wire's array form, or a line that begins with `#` and says something about the file. A file
//! that ends within a record is truncated there; anything else that is no record makes the file malformed. The difference
//! matters: a truncated tail may be cut off, a malformed file is refused. Memory grows with what is there, never with
//! what a length claims.

use std::io::{self, Read};

use memchr::memchr;

use crate::resp::ArgRange;

/// Bytes asked of the file at a time.
const CHUNK: usize = 64 * 1024;
/// Bytes of a line at most, its end included (Valkey: `AOF_ANNOTATION_LINE_MAX_LEN`).
const LONGEST_LINE: usize = 1024;
/// A buffer above this size is given back after the record that needed it.
const BUFFER_KEPT: usize = 1 << 20;
/// Arguments that room is made for before they are there.
const ARGUMENTS_RESERVED: usize = 1024;

/// What stands next in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// A request, see [`Requests::request`].
    Request,
    /// A line about the file, see [`Requests::annotation`].
    Annotation,
    /// The file ends here, after a whole record.
    End,
}

/// Why there is no next record.
#[derive(Debug)]
pub enum RecordError {
    /// The file ends within the record.
    Truncated,
    /// This is no record.
    Malformed,
    /// The file cannot be read.
    Io(io::Error),
}

/// Reads records. After an error it stands where it stood before.
#[derive(Debug)]
pub struct Requests<R> {
    input: R,
    buffer: Vec<u8>,
    /// First byte in the buffer of the record that comes next.
    start: usize,
    /// Its offset in the file.
    offset: u64,
    /// Bytes of the record given last, which are still to be passed over.
    given: usize,
    args: Vec<ArgRange>,
}

impl<R: Read> Requests<R> {
    /// Reads from `input`; `ahead` was already read from it, and begins at `offset` of the file.
    pub fn new(input: R, ahead: Vec<u8>, offset: u64) -> Self {
        Self { input, buffer: ahead, start: 0, offset, given: 0, args: Vec::new() }
    }

    /// Where the record given last ends: all before it is whole.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset + self.given as u64
    }

    /// The bytes of the request read last, and where its arguments stand in them: one at least.
    #[must_use]
    pub fn request(&self) -> (&[u8], &[ArgRange]) {
        (self.record().get(..self.given).unwrap_or_default(), &self.args)
    }

    /// The annotation read last, without its `#` and its end.
    #[must_use]
    pub fn annotation(&self) -> &[u8] {
        self.record().get(1..self.given).unwrap_or_default().trim_ascii_end()
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// See [`RecordError`]; [`Self::offset`] is then where the bad record begins.
    pub fn advance(&mut self) -> Result<Record, RecordError> {
        self.pass_over();
        let first = match self.byte(0) {
            Ok(first) => first,
            Err(RecordError::Truncated) => return Ok(Record::End),
            Err(error) => return Err(error),
        };
        match first {
            b'#' => {
                self.given = self.line(0)?;
                Ok(Record::Annotation)
            }
            b'*' => {
                self.given = self.read_request()?;
                Ok(Record::Request)
            }
            _ => Err(RecordError::Malformed),
        }
    }

    fn pass_over(&mut self) {
        self.start += self.given;
        self.offset += self.given as u64;
        if self.given > BUFFER_KEPT {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.shrink_to(BUFFER_KEPT);
        }
        self.given = 0;
    }

    /// Reads a request; gives its length.
    fn read_request(&mut self) -> Result<usize, RecordError> {
        self.args.clear();
        let (count, mut position) = self.length(0, b'*')?;
        if count == 0 {
            return Err(RecordError::Malformed);
        }
        self.args.reserve(count.min(ARGUMENTS_RESERVED));
        for _ in 0..count {
            let (len, start) = self.length(position, b'$')?;
            position =
                start.checked_add(len).and_then(|end| end.checked_add(2)).ok_or(RecordError::Malformed)?;
            self.require(position)?;
            if self.record().get(start + len..position) != Some(b"\r\n") {
                return Err(RecordError::Malformed);
            }
            self.args.push(ArgRange { start, len });
        }
        Ok(position)
    }

    /// Reads a line of `mark` and a number that begins at `from`; gives the number and where the line ends.
    fn length(&mut self, from: usize, mark: u8) -> Result<(usize, usize), RecordError> {
        if self.byte(from)? != mark {
            return Err(RecordError::Malformed);
        }
        let end = self.line(from)?;
        let line = self.record().get(from + 1..end).unwrap_or_default();
        let digits = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line);
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok());
        let number = number.ok_or(RecordError::Malformed)?;
        Ok((number as usize, end))
    }

    /// Where the line ends that begins at `from`, behind its newline.
    fn line(&mut self, from: usize) -> Result<usize, RecordError> {
        let mut searched = from;
        loop {
            let rest = self.record().get(searched..).unwrap_or_default();
            if let Some(newline) = memchr(b'\n', rest) {
                return Ok(searched + newline + 1);
            }
            searched += rest.len();
            if searched - from >= LONGEST_LINE {
                return Err(RecordError::Malformed);
            }
            self.fill()?;
        }
    }

    fn byte(&mut self, at: usize) -> Result<u8, RecordError> {
        self.require(at + 1)?;
        self.record().get(at).copied().ok_or(RecordError::Truncated)
    }

    fn require(&mut self, len: usize) -> Result<(), RecordError> {
        while self.record().len() < len {
            self.fill()?;
        }
        Ok(())
    }

    /// The bytes from the current record on, as far as they were read.
    fn record(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads more of the file.
    fn fill(&mut self) -> Result<(), RecordError> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK, 0);
        let read = loop {
            match self.input.read(self.buffer.get_mut(held..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(held + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => Err(RecordError::Truncated),
            Ok(_) => Ok(()),
            Err(error) => Err(RecordError::Io(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nv1\r\n";

    /// What a file holds, and how its reading ended: `E`nd, `T`runcated, `M`alformed; and the offset there.
    fn read(file: &[u8]) -> (Vec<Vec<Vec<u8>>>, char, u64) {
        let mut requests = Requests::new(file, Vec::new(), 0);
        let mut seen = Vec::new();
        loop {
            match requests.advance() {
                Ok(Record::Request) => {
                    let (bytes, args) = requests.request();
                    seen.push(args.iter().map(|arg| arg.of(bytes).to_vec()).collect());
                }
                Ok(Record::Annotation) => seen.push(vec![b"#".to_vec(), requests.annotation().to_vec()]),
                Ok(Record::End) => return (seen, 'E', requests.offset()),
                Err(RecordError::Truncated) => return (seen, 'T', requests.offset()),
                Err(_) => return (seen, 'M', requests.offset()),
            }
        }
    }

    #[test]
    fn requests_and_annotations_come_in_order() {
        let file = [b"#TS:1700000000\r\n".as_slice(), SET, b"*1\n$4\nPING\r\n"].concat();
        let (seen, ended, offset) = read(&file);
        assert_eq!(seen[0], [b"#".to_vec(), b"TS:1700000000".to_vec()]);
        assert_eq!(seen[1], [b"SET".to_vec(), b"k".to_vec(), b"v1".to_vec()]);
        assert_eq!(seen[2], [b"PING".to_vec()]);
        assert_eq!((ended, offset), ('E', file.len() as u64));
    }

    #[test]
    fn a_cut_at_every_byte_of_the_last_record_is_seen_and_placed() {
        let whole = [b"#TS:17\r\n".as_slice(), SET].concat();
        for last in [SET, b"#TS:1700000000\r\n"] {
            for cut in 1..last.len() {
                let file = [whole.as_slice(), &last[..cut]].concat();
                let (seen, ended, offset) = read(&file);
                assert_eq!((seen.len(), ended, offset), (2, 'T', whole.len() as u64), "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_record_is_malformed() {
        for tail in [
            b"\0\0\0\0".as_slice(),
            b"PING\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"*x\r\n",
            b"*1\r\n+4\r\nPING\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$4\r\nPINGxx",
            b"*1\r\n$99999999999\r\n",
        ] {
            let file = [SET, tail].concat();
            let (seen, ended, offset) = read(&file);
            assert_eq!((seen.len(), ended, offset), (1, 'M', SET.len() as u64), "{tail:?}");
        }
        let endless = [b"#".as_slice(), &[b'a'; 100_000]].concat();
        assert_eq!(read(&endless).1, 'M');
    }

    #[test]
    fn a_length_that_nothing_follows_takes_no_memory() {
        let file = b"*1\r\n$4000000000\r\nabc";
        let mut requests = Requests::new(file.as_slice(), Vec::new(), 0);
        assert!(matches!(requests.advance(), Err(RecordError::Truncated)));
        assert!(requests.buffer.capacity() < 4 * CHUNK);
    }

    #[test]
    fn arguments_larger_than_the_buffer_are_read_whole_and_their_room_is_given_back() {
        let value = vec![b'x'; 3 << 20];
        let big = [format!("*2\r\n$4\r\nECHO\r\n${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
        let file = [SET, &big, SET].concat();
        let (seen, ended, offset) = read(&file);
        assert_eq!((seen.len(), ended, offset), (3, 'E', file.len() as u64));
        assert!(seen[1][1] == value);
        let mut requests = Requests::new(file.get(10..).unwrap(), file[..10].to_vec(), 0);
        while !matches!(requests.advance().unwrap(), Record::End) {}
        assert!(requests.buffer.capacity() <= BUFFER_KEPT + CHUNK);
    }
}
