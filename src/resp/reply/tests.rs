//! The bytes of every element in both protocols, and that a foreign decoder reads them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use redis_protocol::resp2;
use redis_protocol::resp3;
use redis_protocol::resp3::types::OwnedFrame as Resp3;

use super::*;
use crate::memory::allocated_bytes;
use crate::resp::{CommandError, ProtocolError, ServerTitle};

/// What `write` writes in RESP2 and in RESP3.
fn written(write: impl Fn(&mut Reply)) -> [Vec<u8>; 2] {
    [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
        let mut reply = Reply::new(protocol);
        write(&mut reply);
        reply.take()
    })
}

#[track_caller]
fn expect(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
    let [two, three] = written(write);
    assert_eq!(String::from_utf8_lossy(&two), resp2);
    assert_eq!(String::from_utf8_lossy(&three), resp3);
}

#[track_caller]
fn expect_both(write: impl Fn(&mut Reply), both: &str) {
    expect(write, both, both);
}

#[test]
fn elements_are_written_as_valkey_writes_them() {
    expect_both(|r| r.ok(), "+OK\r\n");
    expect_both(|r| r.simple("Background saving started"), "+Background saving started\r\n");
    expect_both(|r| r.simple("a\r\nb"), "+a  b\r\n");
    expect_both(|r| r.bulk(b""), "$0\r\n\r\n");
    expect_both(|r| r.bulk(b"0123456789"), "$10\r\n0123456789\r\n");
    expect_both(|r| r.bulk_int(-15), "$3\r\n-15\r\n");
    expect_both(|r| r.array(0), "*0\r\n");
    expect_both(|r| r.array(12_345), "*12345\r\n");
    expect(|r| r.null(), "$-1\r\n", "_\r\n");
    expect(|r| r.null_array(), "*-1\r\n", "_\r\n");
    expect(|r| r.map(5), "*10\r\n", "%5\r\n");
    expect(|r| r.set(2), "*2\r\n", "~2\r\n");
    expect(|r| r.push(3), "*3\r\n", ">3\r\n");
    expect(|r| r.bool(true), ":1\r\n", "#t\r\n");
    expect(|r| r.bool(false), ":0\r\n", "#f\r\n");
    expect(
        |r| r.big_number(b"1234567999999999999999999999999999999"),
        "$37\r\n1234567999999999999999999999999999999\r\n",
        "(1234567999999999999999999999999999999\r\n",
    );
    expect(
        |r| r.verbatim(b"txt", b"This is a verbatim\nstring"),
        "$25\r\nThis is a verbatim\nstring\r\n",
        "=29\r\ntxt:This is a verbatim\nstring\r\n",
    );
    expect(|r| r.double_text(b"3.0"), "$3\r\n3.0\r\n", ",3.0\r\n");
}

#[test]
fn integers_have_every_size() {
    for value in [0, 1, 9, 10, -1, 99, 100, i64::MAX, i64::MIN] {
        expect_both(|r| r.int(value), &format!(":{value}\r\n"));
    }
}

#[test]
fn doubles_are_valkeys() {
    for (value, text) in [
        (0.0, "0"),
        (3.0, "3"),
        (1.5, "1.5"),
        (-2.25, "-2.25"),
        (1e20, "1e+20"),
        (1e-7, "1e-7"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        expect(|r| r.double(value), &format!("${}\r\n{text}\r\n", text.len()), &format!(",{text}\r\n"));
    }
}

#[test]
fn attributes_are_left_out_in_resp2() {
    let write = |r: &mut Reply| {
        if r.attribute(1) {
            r.bulk(b"key-popularity");
            r.int(90);
        }
        r.ok();
    };
    expect(write, "+OK\r\n", "|1\r\n$14\r\nkey-popularity\r\n:90\r\n+OK\r\n");
}

#[test]
fn errors_stay_on_one_line() {
    expect_both(|r| r.error(b"ERR a\r\nb\n"), "-ERR a  b\r\n");
    expect_both(|r| r.error(b"ERR x 'y' "), "-ERR x 'y' \r\n");
    expect_both(|r| r.error(b"\r\n"), "-\r\n");
}

#[test]
fn deferred_lengths_of_any_size_nest() {
    for (outer_count, inner_count) in [(0, 0), (1, 9), (9, 10), (10, 123), (1000, 7), (123_456, 99_999)] {
        let with_deferred = |r: &mut Reply| {
            r.ok();
            let outer = r.deferred();
            r.bulk(b"a");
            let inner = r.deferred();
            r.bulk(b"b");
            r.set_map(inner, inner_count);
            r.int(1);
            r.set_array(outer, outer_count);
            r.ok();
        };
        let known = |r: &mut Reply| {
            r.ok();
            r.array(outer_count);
            r.bulk(b"a");
            r.map(inner_count);
            r.bulk(b"b");
            r.int(1);
            r.ok();
        };
        assert_eq!(written(with_deferred), written(known));
    }
    let set = |r: &mut Reply| {
        let set = r.deferred();
        r.set_set(set, 12);
        let push = r.deferred();
        r.set_push(push, 3);
    };
    expect(set, "*12\r\n*3\r\n", "~12\r\n>3\r\n");
}

#[test]
fn what_was_written_can_be_taken_back_sent_and_released() {
    let mut reply = Reply::new(Protocol::Resp2);
    reply.ok();
    let before = reply.len();
    reply.array(3);
    reply.bulk(b"half");
    reply.truncate(before);
    reply.int(7);
    assert_eq!(reply.as_slice(), b"+OK\r\n:7\r\n");
    reply.discard_front(5);
    assert_eq!(reply.as_slice(), b":7\r\n");
    assert_eq!(reply.take(), b":7\r\n");
    assert!(reply.is_empty());
    assert_eq!(reply.memory_usage(), 0);
}

#[test]
fn sent_bytes_stay_out_of_sight_while_more_is_written() {
    let mut reply = Reply::new(Protocol::Resp2);
    reply.bulk(&[b'x'; 100]);
    reply.discard_front(40);
    let start = reply.len();
    reply.int(5);
    reply.truncate(start);
    assert_eq!(reply.len(), 108 - 40);
    reply.discard_front(30);
    assert_eq!(reply.as_slice().len(), 38);
    reply.discard_front(1000);
    assert!(reply.is_empty() && reply.as_slice().is_empty());
}

#[test]
fn memory_usage_is_what_the_allocator_counts() {
    let before = allocated_bytes();
    let mut reply = Reply::new(Protocol::Resp3);
    for length in [1, 10, 1000, 100_000] {
        reply.bulk(&vec![b'x'; length]);
        assert_eq!(allocated_bytes() - before, reply.memory_usage());
    }
}

/// One of everything.
fn sample(reply: &mut Reply) {
    reply.array(11);
    reply.ok();
    CommandError::WrongType.write(reply);
    reply.int(-42);
    reply.bulk(b"bytes \r\n\0");
    reply.null();
    reply.map(1);
    reply.bulk(b"key");
    reply.double(0.25);
    reply.set(2);
    reply.bulk_int(1);
    reply.bulk_int(2);
    reply.bool(true);
    reply.big_number(b"123456789012345678901234567890");
    reply.verbatim(b"mkd", b"# title");
    let length = reply.deferred();
    for number in 0..11 {
        reply.int(number);
    }
    reply.set_array(length, 11);
}

#[test]
fn redis_protocol_decodes_what_is_written() {
    let [two, three] = written(sample);
    let (frame, used) = resp2::decode::decode(&two).unwrap().unwrap();
    assert_eq!(used, two.len());
    let resp2::types::OwnedFrame::Array(elements) = frame else { panic!("not an array: {frame:?}") };
    assert_eq!(elements[4], resp2::types::OwnedFrame::Null);
    assert_eq!(elements[9], resp2::types::OwnedFrame::BulkString(b"# title".to_vec()));

    let (frame, used) = resp3::decode::complete::decode(&three).unwrap().unwrap();
    assert_eq!(used, three.len());
    let Resp3::Array { data, .. } = frame else { panic!("not an array: {frame:?}") };
    assert!(matches!(&data[1], Resp3::SimpleError { data, .. } if data.starts_with("WRONGTYPE ")));
    assert_eq!(data[2], Resp3::Number { data: -42, attributes: None });
    assert_eq!(data[4], Resp3::Null);
    assert!(matches!(&data[5], Resp3::Map { data, .. } if data.len() == 1));
    assert!(matches!(&data[6], Resp3::Set { data, .. } if data.len() == 2));
    assert_eq!(data[7], Resp3::Boolean { data: true, attributes: None });
    assert!(matches!(&data[8], Resp3::BigNumber { data, .. } if data == b"123456789012345678901234567890"));
    assert!(matches!(&data[9], Resp3::VerbatimString { data, .. } if data == b"# title"));
    assert!(matches!(&data[10], Resp3::Array { data, .. } if data.len() == 11));
}

#[test]
fn every_fixed_error_is_one_line_with_a_code() {
    for error in CommandError::FIXED {
        let [two, _] = written(|reply| error.write(reply));
        let line = two.strip_prefix(b"-").unwrap().strip_suffix(b"\r\n").unwrap();
        assert_eq!(line, &*error.text());
        assert!(!line.contains(&b'\r') && !line.contains(&b'\n'));
        let code = error.code();
        assert!(
            line.starts_with(code.as_bytes()) && code.bytes().all(|byte| byte.is_ascii_uppercase()),
            "{code}"
        );
    }
}

#[track_caller]
fn expect_error(error: CommandError, text: &str) {
    expect_both(|reply| error.write(reply), &format!("-{text}\r\n"));
    assert_eq!(error.to_string().replace(['\r', '\n'], " "), text);
}

#[test]
fn errors_with_arguments_are_valkeys() {
    let bytes = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
    expect_error(
        CommandError::unknown_command(b"foo", [&b"a"[..], b"b\nc\0d"]),
        "ERR unknown command 'foo', with args beginning with: 'a' 'b c' ",
    );
    let long = "x".repeat(300);
    let cut = "x".repeat(128);
    expect_error(
        CommandError::unknown_command(long.as_bytes(), [long.as_bytes(), b"more"]),
        &format!("ERR unknown command '{cut}', with args beginning with: '{cut}' "),
    );
    expect_error(
        CommandError::UnknownSubcommand { command: bytes("config"), subcommand: bytes("nope") },
        "ERR unknown subcommand 'nope'. Try CONFIG HELP.",
    );
    expect_error(
        CommandError::SubcommandSyntax { command: bytes("Memory"), subcommand: bytes("usage") },
        "ERR unknown subcommand or wrong number of arguments for 'usage'. Try MEMORY HELP.",
    );
    expect_error(
        CommandError::WrongArity("config|get".into()),
        "ERR wrong number of arguments for 'config|get' command",
    );
    expect_error(
        CommandError::Loading(ServerTitle::Valkey),
        "LOADING Valkey is loading the dataset in memory",
    );
    expect_error(CommandError::Loading(ServerTitle::Redis), "LOADING Redis is loading the dataset in memory");
    expect_error(
        CommandError::ExecAbortBecause(Box::new(CommandError::WrongArity("exec".into()))),
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
    );
    expect_error(
        CommandError::ExecAbortBecause(Box::new(CommandError::OutOfMemory)),
        "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
    );
    expect_error(
        CommandError::ConfigFailed { option: bytes("save"), reason: Some("Invalid save parameters".into()) },
        "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters",
    );
    expect_error(
        CommandError::NoGroupRead { key: bytes("s"), group: bytes("g") },
        "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
    );
    expect_error(
        CommandError::NoGroupForKey { key: bytes("s"), group: bytes("g") },
        "NOGROUP No such consumer group 'g' for key name 's'",
    );
    expect_error(
        CommandError::NoPermCommand(bytes("bob"), "get".into()),
        "NOPERM User bob has no permissions to run the 'get' command",
    );
    expect_error(
        CommandError::GeoCoordinates(200.5, 100.0),
        "ERR invalid longitude,latitude pair 200.500000,100.000000",
    );
    expect_error(CommandError::OutOfLimits(-1, 5), "ERR value is out of range, value must between -1 and 5");
}

#[test]
fn codes_are_the_first_word() {
    assert_eq!(CommandError::Unspecified.code(), "ERR");
    assert_eq!(CommandError::BusyGroup.code(), "BUSYGROUP");
    assert_eq!(CommandError::Loading(ServerTitle::Valkey).code(), "LOADING");
    assert_eq!(CommandError::custom("MYERR what").code(), "MYERR");
    assert_eq!(CommandError::custom("nospace").code(), "ERR");
    assert_eq!(CommandError::custom(format!("{} x", "L".repeat(40))).code(), "ERR");
}

#[test]
fn protocol_errors_are_valkeys() {
    expect_both(|r| ProtocolError::InvalidCrlf.write(r), "-ERR Protocol error: invalid CRLF in request\r\n");
    expect_both(
        |r| ProtocolError::ExpectedDollar(b'f').write(r),
        "-ERR Protocol error: expected '$', got 'f'\r\n",
    );
    expect_both(
        |r| ProtocolError::ExpectedDollar(b'\r').write(r),
        "-ERR Protocol error: expected '$', got ' '\r\n",
    );
    expect_both(|r| ProtocolError::InlineFromPrimary.write(r), "");
}
