//! Requests as they stand one behind the other in an append-only file or a replica's stream.
#![allow(dead_code, unreachable_pub, missing_docs)]

use weighbridge::resp::{Limits, Parser, Progress};

/// The words of each request. They must be whole.
pub fn requests(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let limits = Limits { authenticated: true, max_bulk_len: 1 << 20, from_primary: true };
    let mut requests = Vec::new();
    let mut input = bytes.to_vec();
    let mut rest = input.as_mut_slice();
    while !bytes.is_empty() {
        let mut args = Vec::new();
        let Progress::Request { consumed } = Parser::new().parse(rest, &limits, &mut args) else {
            panic!("no whole request: {}", bytes.escape_ascii());
        };
        requests.push(args.iter().map(|arg| bytes[arg.start..arg.start + arg.len].to_vec()).collect());
        bytes = &bytes[consumed..];
        rest = &mut rest[consumed..];
    }
    requests
}
