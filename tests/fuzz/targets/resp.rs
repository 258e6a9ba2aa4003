//! Requests: however the bytes are cut into reads, the same requests and the same error come out of them.

use weighbridge::resp::{ArgRange, Limits, Parser, Progress};

use super::{request, words};
use crate::mutation::Grammar;

pub fn grammar() -> Grammar {
    let pieces = vec![
        request(&["SET", "key", "value"]),
        request(&["PING"]),
        request(&["MGET", "a", "", "ccc"]),
        b"PING\r\n".to_vec(),
        b"SET 'a b' \"\\x00\\n\\\"\"\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"*0\r\n".to_vec(),
        b"*-1\r\n".to_vec(),
    ];
    let words = words(&["\r\n", "\n", "*", "$", "*1\r\n", "$0\r\n\r\n", "'", "\"", "\\x", "\\", " ", "\0"]);
    // How it is read, see `run`.
    Grammar { head: vec![0x25, 1], pieces, tail: Vec::new(), words }
}

/// What came out: the requests, and how it ended.
type Parsed = (Vec<Vec<Vec<u8>>>, String);

/// Parses bytes as they come in reads of these sizes.
fn parse(bytes: &[u8], limits: &Limits, mut next_size: impl FnMut() -> usize) -> Parsed {
    let (mut buffer, mut rest) = (Vec::new(), bytes);
    let (mut parser, mut requests) = (Parser::new(), Vec::new());
    loop {
        let mut args: Vec<ArgRange> = Vec::new();
        match parser.parse(&mut buffer, limits, &mut args) {
            Progress::Request { consumed } => {
                assert!(consumed > 0 && consumed <= buffer.len());
                let request = &buffer[..consumed];
                requests.push(args.iter().map(|arg| arg.of(request).to_vec()).collect());
                assert!(args.iter().all(|arg| arg.start + arg.len <= consumed));
                buffer.drain(..consumed);
            }
            Progress::Empty { consumed } => {
                assert!(consumed > 0 && consumed <= buffer.len());
                buffer.drain(..consumed);
            }
            Progress::Incomplete { missing } => {
                assert!(missing > 0 && args.is_empty());
                if rest.is_empty() {
                    return (requests, "incomplete".to_owned());
                }
                let (read, left) = rest.split_at(next_size().clamp(1, rest.len()));
                buffer.extend_from_slice(read);
                rest = left;
            }
            Progress::Error(error) => return (requests, format!("{error:?}")),
        }
    }
}

pub fn run(input: &[u8]) {
    let [seed, flags, bytes @ ..] = input else { return };
    let limits = Limits {
        authenticated: flags & 1 != 0,
        max_bulk_len: if flags & 2 != 0 { 512 } else { 512 << 20 },
        from_primary: flags & 4 != 0,
    };
    let whole = parse(bytes, &limits, || usize::MAX);
    let mut random = fastrand::Rng::with_seed(u64::from(*seed));
    assert_eq!(parse(bytes, &limits, || random.usize(1..40)), whole);
    assert_eq!(parse(bytes, &limits, || 1), whole);
}
