//! Protocol transcripts, every way of splitting them, and mutated inputs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::resp::QueryBuffer;

const LIMITS: Limits = Limits { authenticated: true, max_bulk_len: 512 * 1024 * 1024, from_primary: false };
const UNAUTHENTICATED: Limits = Limits { authenticated: false, ..LIMITS };
const FROM_PRIMARY: Limits = Limits { from_primary: true, ..LIMITS };

type Requests = Vec<Vec<Vec<u8>>>;

/// A connection: what it received, what it parsed, how it ended.
#[derive(Default)]
struct Connection {
    buffer: QueryBuffer,
    parser: Parser,
    requests: Requests,
    error: Option<ProtocolError>,
    missing: usize,
}

impl Connection {
    fn receive(&mut self, bytes: &[u8], limits: &Limits) {
        self.buffer.extend(bytes);
        let mut args = Vec::new();
        while self.error.is_none() {
            args.clear();
            match self.parser.parse(self.buffer.unread_mut(), limits, &mut args) {
                Progress::Request { consumed } => {
                    let request = &self.buffer.unread()[..consumed];
                    self.requests.push(args.iter().map(|arg| arg.of(request).to_vec()).collect());
                    self.buffer.consume(consumed);
                }
                Progress::Empty { consumed } => self.buffer.consume(consumed),
                Progress::Incomplete { missing } => {
                    assert!(args.is_empty());
                    self.missing = missing;
                    return;
                }
                Progress::Error(error) => self.error = Some(error),
            }
        }
    }
}

fn parse_in_pieces(input: &[u8], sizes: &[usize], limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let mut connection = Connection::default();
    let mut rest = input;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() && connection.error.is_none() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        connection.receive(piece, limits);
        rest = behind;
    }
    (connection.requests, connection.error)
}

fn parse(input: &[u8]) -> (Requests, Option<ProtocolError>) {
    parse_in_pieces(input, &[usize::MAX], &LIMITS)
}

fn request(args: &[&str]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.as_bytes().to_vec()).collect()
}

const SET: &[&str] = &["SET", "key", "value"];

/// Input, the requests it holds, the error it ends with.
fn transcripts() -> Vec<(&'static [u8], Requests, Option<ProtocolError>)> {
    use ProtocolError::*;
    let ping = || vec![request(&["ping"])];
    let set_x = b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n";
    assert_eq!(set_x.len(), 20);
    vec![
        (b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", vec![request(SET)], None),
        (b"\r\n", vec![], None),
        (b"\n \t\r\n", vec![], None),
        (b"\r\n*1\r\n$4\r\nping\r\n", ping(), None),
        (b"*-10\r\n*1\r\n$4\r\nping\r\n", ping(), None),
        (b"*0\r\nping\r\n", ping(), None),
        (b"*1\r\n$0\r\n\r\n", vec![request(&[""])], None),
        (b"*1\r\n$4\r\n\r\n\r\n\r\n", vec![request(&["\r\n\r\n"])], None),
        (b"*3000000000\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*2147483648\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*2147483647\r\n", vec![], None),
        (b"*+1\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*01\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*00\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*-0\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*99999999999999999999\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", vec![], Some(ExpectedDollar(b'f'))),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", vec![], Some(InvalidBulkLength)),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", vec![], Some(InvalidBulkLength)),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$99999999999999\r\n", vec![], Some(InvalidBulkLength)),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n", vec![], Some(InvalidBulkLength)),
        (b"*1\r\n$+4\r\nping\r\n", vec![], Some(InvalidBulkLength)),
        (b"*1\r\n$04\r\nping\r\n", vec![], Some(InvalidBulkLength)),
        (b"*1\r\nfoo\r\n", vec![], Some(ExpectedDollar(b'f'))),
        (b"*1\r\n\r\n", vec![], Some(ExpectedDollar(b'\r'))),
        (b"*1\r\n*1\r\n$4\r\nping\r\n", vec![], Some(ExpectedDollar(b'*'))),
        (b"*1\r\nfoo\rx", vec![], Some(ExpectedDollar(b'f'))),
        (b"*3x\n$3\r\nSET\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*3\rx$3\r\nSET\r\n", vec![], Some(InvalidCrlf)),
        (b"*3xx$3\r\nSET\r\n", vec![], Some(InvalidMultibulkLength)),
        (b"*3\r\n$3x\nSET\r\n", vec![], Some(InvalidBulkLength)),
        (b"*3\r\n$3\rxSET\r\n", vec![], Some(InvalidCrlf)),
        (b"*3\r\n$3xxSET\r\n", vec![], Some(InvalidBulkLength)),
        (b"*3\r\n$3\r\nSET\rx$3\r\n", vec![], Some(InvalidCrlf)),
        (b"*3\r\n$3\r\nSETx\n$3\r\n", vec![], Some(InvalidCrlf)),
        (b"*3\r\n$3\r\nSETxx$3\r\n", vec![], Some(InvalidCrlf)),
        (b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvaluexx", vec![], Some(InvalidCrlf)),
        (b"PING\r\nECHO a\n", vec![request(&["PING"]), request(&["ECHO", "a"])], None),
        (b"  set \t k\x0b \x0b\x0cv  \r\n", vec![request(&["set", "k\x0b", "v"])], None),
        (
            b"set \"\"\"tes\"t-'k'e\"y\" \"test\"'-'value\r\nget test'-'key\r\n",
            vec![request(&["set", "test-key", "test-value"]), request(&["get", "test-key"])],
            None,
        ),
        (b"set foo 'b'a'r\r\nping\r\n", vec![], Some(UnbalancedQuotes)),
        (b"set foo \"b\"a\"r\r\nping\r\n", vec![], Some(UnbalancedQuotes)),
        (b"e \"\" ''\r\n", vec![request(&["e", "", ""])], None),
        (
            b"e \"a\\n\\r\\t\\b\\a\\q\\\"\\\\\\x41\\x4\" x\n",
            vec![request(&["e", "a\n\r\t\x08\x07q\"\\Ax4", "x"])],
            None,
        ),
        (b"e 'a\\n\\'b' \\n\n", vec![request(&["e", "a\\n'b", "\\n"])], None),
        (b"e \xff '\xff'\n", vec![vec![b"e".to_vec(), vec![0xff], vec![0xff]]], None),
        // The last byte of a line is out of reach of an escape.
        (b"e \"\\\"\n", vec![request(&["e", "\\"])], None),
        (b"e '\\'\r\n", vec![request(&["e", "\\"])], None),
        (b"e \"\\x41\r\n", vec![], Some(UnbalancedQuotes)),
    ]
}

#[test]
fn transcripts_hold_however_the_input_is_split() {
    for (input, requests, error) in transcripts() {
        let shown = String::from_utf8_lossy(input).into_owned();
        for first in 1..=input.len() {
            let got = parse_in_pieces(input, &[first, usize::MAX], &LIMITS);
            assert_eq!(got, (requests.clone(), error), "{shown:?} split at {first}");
        }
        assert_eq!(parse_in_pieces(input, &[1], &LIMITS), (requests, error), "{shown:?} byte by byte");
    }
}

#[test]
fn an_unauthenticated_client_has_little_room() {
    let of = |input: &[u8]| parse_in_pieces(input, &[usize::MAX], &UNAUTHENTICATED).1;
    assert_eq!(of(b"*10\r\n"), None);
    assert_eq!(of(b"*11\r\n"), Some(ProtocolError::UnauthenticatedMultibulkLength));
    assert_eq!(of(b"*1\r\n$16384\r\n"), None);
    assert_eq!(of(b"*1\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedBulkLength));
    assert_eq!(of(b"*1\r\n$2000000000\r\n"), Some(ProtocolError::InvalidBulkLength));
}

#[test]
fn a_primary_sends_long_arguments_and_only_empty_lines() {
    let of = |input: &[u8]| parse_in_pieces(input, &[usize::MAX], &FROM_PRIMARY).1;
    assert_eq!(of(b"*1\r\n$2000000000\r\n"), None);
    assert_eq!(of(b"\n\r\n*1\r\n$4\r\nPING\r\n\n"), None);
    assert_eq!(of(b"PING\r\n"), Some(ProtocolError::InlineFromPrimary));
    assert_eq!(of(b" \r\n"), Some(ProtocolError::InlineFromPrimary));
}

#[test]
fn desynchronised_streams_end_after_64_kib() {
    for (start, error) in [
        (&b"\x00"[..], ProtocolError::BigInlineRequest),
        (b"\x00\n", ProtocolError::BigInlineRequest),
        (b"x", ProtocolError::BigInlineRequest),
        (b"*\x00", ProtocolError::BigMultibulkCount),
        (b"$\x00", ProtocolError::BigInlineRequest),
        (b"*1\r\n$\x00", ProtocolError::BigBulkCount),
        (b"*1\r\nx", ProtocolError::BigBulkCount),
    ] {
        let header = if start.starts_with(b"*1") { 4 } else { 0 };
        let mut input = start.to_vec();
        input.resize(header + INLINE_MAX, b'A');
        let mut connection = Connection::default();
        connection.receive(&input, &LIMITS);
        assert_eq!(connection.error, None, "{start:?}");
        connection.receive(b"A", &LIMITS);
        assert_eq!(connection.error, Some(error), "{start:?}");
    }
}

#[test]
fn the_rest_of_an_argument_is_announced() {
    let mut connection = Connection::default();
    connection.receive(b"*2\r\n$3\r\nGET\r\n$100000\r\nabc", &LIMITS);
    assert_eq!(connection.missing, 100_002 - 3);
    assert!(connection.parser.is_within_request());
    connection.receive(&[b'x'; 99_997], &LIMITS);
    connection.receive(b"\r", &LIMITS);
    assert_eq!((connection.missing, connection.error), (1, None));
    connection.receive(b"\n", &LIMITS);
    assert_eq!(connection.requests[0][1].len(), 100_000);
}

#[test]
fn a_request_of_200_000_arguments_in_16_kib_reads_is_parsed_in_linear_time() {
    let mut input = b"*200001\r\n$4\r\nMSET\r\n".to_vec();
    for _ in 0..200_000 {
        input.extend_from_slice(b"$16\r\n0123456789abcdef\r\n");
    }
    let started = std::time::Instant::now();
    let (requests, error) = parse_in_pieces(&input, &[16 * 1024], &LIMITS);
    // A parser that begins anew with every read takes minutes of a debug build.
    assert!(started.elapsed().as_secs() < 10);
    assert_eq!(error, None);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].len(), 200_001);
    assert!(requests[0][1..].iter().all(|arg| arg == b"0123456789abcdef"));
}

#[test]
fn room_is_kept_for_small_unfinished_requests_only() {
    let mut connection = Connection::default();
    let mut input = b"*5000\r\n".to_vec();
    input.extend(b"$1\r\na\r\n".repeat(4999));
    connection.receive(&input, &LIMITS);
    assert_eq!(connection.parser.memory_usage(), vec_usage(&connection.parser.pending));
    assert!(connection.parser.memory_usage() >= 4999 * size_of::<ArgRange>());
    connection.receive(b"$1\r\na\r\n", &LIMITS);
    assert!(connection.parser.memory_usage() <= PENDING_KEPT * size_of::<ArgRange>());
    assert!(!connection.parser.is_within_request());
}

#[test]
fn a_refused_line_is_left_as_it_came() {
    let mut line = b"set \"a\\n\" \"b\r\n".to_vec();
    let before = line.clone();
    let progress = Parser::new().parse(&mut line, &LIMITS, &mut Vec::new());
    assert_eq!(progress, Progress::Error(ProtocolError::UnbalancedQuotes));
    assert_eq!(line, before);
}

#[test]
fn mutated_input_never_panics_and_splits_alike() {
    let seeds: Vec<&[u8]> = transcripts().into_iter().map(|(input, ..)| input).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let mut input = Vec::new();
        for _ in 0..random.usize(1..4) {
            input.extend_from_slice(seeds[random.usize(..seeds.len())]);
        }
        for _ in 0..random.usize(..4) {
            let at = random.usize(..input.len());
            match random.u8(..4) {
                0 => input[at] = random.u8(..),
                1 => input[at] = b"\r\n*$'\"\\\x00019-x "[random.usize(..14)],
                2 => {
                    input.insert(at, b"\r\n*$'\"\\09"[random.usize(..9)]);
                }
                _ => {
                    input.remove(at);
                    if input.is_empty() {
                        input.push(b'\n');
                    }
                }
            }
        }
        let whole = parse(&input);
        let sizes = [random.usize(1..9), random.usize(1..30), random.usize(1..4)];
        assert_eq!(parse_in_pieces(&input, &sizes, &LIMITS), whole, "{:?}", String::from_utf8_lossy(&input));
    }
}
