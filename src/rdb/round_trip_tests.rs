//! What the writer writes, the reader reads; and whatever is cut off or turned, the reader says so and where.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{self, Read};

use proptest::prelude::*;

use super::collections;
use super::dump::{self, DumpError};
use super::error::RdbErrorKind;
use super::format::{ValueType, VersionCheck};
use super::reader::Reader;
use super::snapshot::{ChecksumState, EntryHeader, Event, Snapshot};
use super::writer::{LastUse, Writer, WriterOptions};

const BUFFER_BYTES: usize = 256 * 1024;

/// An input that gives a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let step = out.len().min(self.1);
        (&mut self.0).take(step as u64).read(out)
    }
}

fn written(write: impl FnOnce(&mut Writer<io::Sink>) -> io::Result<()>) -> Vec<u8> {
    let mut writer = Writer::in_memory(WriterOptions::default());
    write(&mut writer).unwrap();
    let count = writer.bytes_written();
    let bytes = writer.into_bytes();
    assert_eq!(count, bytes.len() as u64);
    bytes
}

fn read_string_all_ways(bytes: &[u8]) -> Vec<u8> {
    let owned = Reader::of_slice(bytes).read_string_owned().unwrap();
    assert_eq!(Reader::of_slice(bytes).read_string().unwrap(), owned);
    assert_eq!(Reader::new(Trickle(bytes, 7)).read_string().unwrap(), owned);
    let mut reader = Reader::new(Trickle(bytes, 1000));
    reader.skip_string().unwrap();
    assert_eq!(reader.offset(), bytes.len() as u64);
    let mut small = Reader::with_buffer_bytes(bytes, 0);
    assert_eq!(small.read_string_owned().unwrap(), owned);
    assert_eq!(small.offset(), bytes.len() as u64);
    owned
}

#[test]
fn lengths_take_their_shortest_form_and_come_back() {
    let cases = [
        (0, 1),
        (63, 1),
        (64, 2),
        ((1 << 14) - 1, 2),
        (1 << 14, 5),
        (u64::from(u32::MAX), 5),
        (u64::from(u32::MAX) + 1, 9),
        (u64::MAX, 9),
    ];
    for (value, size) in cases {
        let bytes = written(|w| w.write_len(value));
        assert_eq!(bytes.len(), size, "{value}");
        let mut reader = Reader::of_slice(&bytes);
        assert_eq!(reader.read_len().unwrap(), value);
        assert_eq!(reader.offset(), size as u64);
    }
    for bad in [0x82, 0xBF, 0xC0, 0xFF] {
        assert!(matches!(Reader::of_slice(&[bad]).read_len().unwrap_err().kind, RdbErrorKind::Corrupt(_)));
    }
}

#[test]
fn integers_that_fit_are_stored_as_integers() {
    let cases: [(&[u8], usize); 14] = [
        (b"0", 2),
        (b"-128", 2),
        (b"127", 2),
        (b"128", 3),
        (b"-129", 3),
        (b"-32768", 3),
        (b"32767", 3),
        (b"32768", 5),
        (b"-2147483648", 5),
        (b"2147483647", 5),
        (b"2147483648", 11),
        (b"-0", 3),
        (b"007", 4),
        (b"12a4", 5),
    ];
    for (text, size) in cases {
        let bytes = written(|w| w.write_string(text));
        assert_eq!(bytes.len(), size, "{}", String::from_utf8_lossy(text));
        assert_eq!(read_string_all_ways(&bytes), text);
    }
    for value in [0, -1, 1 << 31, i64::MIN, i64::MAX] {
        let text = value.to_string().into_bytes();
        assert_eq!(written(|w| w.write_integer(value)), written(|w| w.write_string(&text)));
    }
}

#[test]
fn strings_of_every_size_class_come_back() {
    let sizes = [
        0,
        1,
        11,
        12,
        20,
        21,
        63,
        64,
        16383,
        16384,
        BUFFER_BYTES - 1,
        BUFFER_BYTES,
        BUFFER_BYTES + 1,
        3 << 20,
    ];
    for size in sizes {
        let noise: Vec<u8> =
            (0..size as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
        let text: Vec<u8> = b"weighbridge ".iter().copied().cycle().take(size).collect();
        for content in [noise, text] {
            let bytes = written(|w| w.write_string(&content));
            assert_eq!(read_string_all_ways(&bytes), content, "{size}");
        }
    }
}

#[test]
fn repetitive_strings_are_compressed_unless_told_not_to() {
    let content = [b'a'; 400];
    assert!(written(|w| w.write_string(&content)).len() < 40);
    let mut plain = Writer::in_memory(WriterOptions { compression: false, ..WriterOptions::default() });
    plain.write_string(&content).unwrap();
    assert_eq!(plain.into_bytes().len(), 402);
}

#[test]
fn a_length_is_not_believed_beyond_the_input() {
    let inputs: [&[u8]; 4] = [
        &[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3],
        &[0x81, 0x00, 0x00, 0x40, 0, 0, 0, 0, 0, 1, 2, 3],
        &[0x80, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3],
        &[0xC3, 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0x10, 1, 2, 3],
    ];
    for input in inputs {
        let error = Reader::of_slice(input).read_string_owned().unwrap_err();
        assert!(matches!(error.kind, RdbErrorKind::Truncated), "{error}");
        assert_eq!(error.offset, input.len() as u64);
    }
    // One compressed byte cannot stand for 16 MiB.
    let error = Reader::of_slice(&[0xC3, 0x01, 0x80, 0x01, 0, 0, 0, 0]).read_string_owned().unwrap_err();
    assert!(matches!(error.kind, RdbErrorKind::Corrupt(_)), "{error}");
}

#[test]
fn numbers_and_times_come_back() {
    for value in [0.0, -1.5, f64::INFINITY, f64::NEG_INFINITY, 1e-300] {
        let bytes = written(|w| w.write_double(value));
        assert_eq!(Reader::of_slice(&bytes).read_double().unwrap(), value);
    }
    assert_eq!(Reader::of_slice(b"\x043.25").read_ascii_double().unwrap(), 3.25);
    assert_eq!(Reader::of_slice(b"\xfe").read_ascii_double().unwrap(), f64::INFINITY);
    assert_eq!(Reader::of_slice(b"\xff").read_ascii_double().unwrap(), f64::NEG_INFINITY);
    assert!(Reader::of_slice(b"\xfd").read_ascii_double().unwrap().is_nan());
    assert!(Reader::of_slice(b"\x02xy").read_ascii_double().is_err());
    assert!(Reader::of_slice(b"\x00").read_ascii_double().is_err());
    let bytes = written(|w| w.write_ms(-1));
    assert_eq!(Reader::of_slice(&bytes).read_ms().unwrap(), -1);
}

/// A file with every record the writer knows.
fn sample(options: WriterOptions) -> Vec<u8> {
    let mut w = Writer::new(Vec::new(), options);
    w.write_header().unwrap();
    w.write_aux(b"valkey-ver", b"9.1.0").unwrap();
    w.write_aux_integer(b"used-mem", 1 << 40).unwrap();
    w.write_function(b"#!lua name=x\n").unwrap();
    w.write_database(2, 4, 1).unwrap();
    w.write_entry(ValueType::String, b"k1", Some(1234), LastUse::IdleSeconds(100)).unwrap();
    w.write_string(b"v1").unwrap();
    w.write_entry(ValueType::Hash2, b"k2", None, LastUse::Frequency(7)).unwrap();
    w.write_len(2).unwrap();
    for (field, expiry_ms) in [("f1", -1), ("f2", 99)] {
        w.write_string(field.as_bytes()).unwrap();
        w.write_string(b"value").unwrap();
        w.write_ms(expiry_ms).unwrap();
    }
    w.write_entry(ValueType::SortedSet2, b"12", None, LastUse::Unknown).unwrap();
    w.write_len(1).unwrap();
    w.write_string(b"member").unwrap();
    w.write_double(2.5).unwrap();
    w.write_entry(ValueType::String, b"long", None, LastUse::Unknown).unwrap();
    w.write_string(&[b'z'; 500]).unwrap();
    w.finish().unwrap()
}

fn events(bytes: &[u8], step: usize) -> super::reader::Result<Vec<Event>> {
    let mut snapshot = Snapshot::open(Reader::new(Trickle(bytes, step)), VersionCheck::Strict)?;
    let mut seen = Vec::new();
    loop {
        seen.push(snapshot.next_event()?);
        if let Some(Event::Eof(_)) = seen.last() {
            return Ok(seen);
        }
    }
}

fn entry(value_type: ValueType) -> EntryHeader {
    EntryHeader { value_type, expiry_ms: None, idle_seconds: None, frequency: None }
}

#[test]
fn a_file_comes_back_as_its_records() {
    let bytes = sample(WriterOptions::default());
    let expected = vec![
        Event::Aux { key: b"valkey-ver".to_vec(), value: b"9.1.0".to_vec() },
        Event::Aux { key: b"used-mem".to_vec(), value: b"1099511627776".to_vec() },
        Event::Function(b"#!lua name=x\n".to_vec()),
        Event::SelectDb(2),
        Event::ResizeDb { keys: 4, expiries: 1 },
        Event::Entry(EntryHeader {
            expiry_ms: Some(1234),
            idle_seconds: Some(100),
            ..entry(ValueType::String)
        }),
        Event::Entry(EntryHeader { frequency: Some(7), ..entry(ValueType::Hash2) }),
        Event::Entry(entry(ValueType::SortedSet2)),
        Event::Entry(entry(ValueType::String)),
        Event::Eof(ChecksumState::Verified),
    ];
    for step in [1, 2, 13, 1 << 20] {
        assert_eq!(events(&bytes, step).unwrap(), expected);
    }
}

#[test]
fn truncation_anywhere_is_an_error_at_the_end_of_the_input() {
    let bytes = sample(WriterOptions::default());
    for len in 0..bytes.len() {
        let error = events(&bytes[..len], 1 << 20).unwrap_err();
        assert!(matches!(error.kind, RdbErrorKind::Truncated), "{len}: {error}");
        assert_eq!(error.offset, len as u64);
    }
}

#[test]
fn a_turned_bit_anywhere_is_an_error() {
    let bytes = sample(WriterOptions::default());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            assert!(events(&broken, 1 << 20).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_wrong_checksum_names_both_numbers() {
    let mut bytes = sample(WriterOptions::default());
    let place = bytes.len() - 8;
    let right = u64::from_le_bytes(bytes[place..].try_into().unwrap());
    bytes[place..].copy_from_slice(&0xABCD_u64.to_le_bytes());
    let error = events(&bytes, 64).unwrap_err();
    assert!(matches!(error.kind, RdbErrorKind::Checksum { expected, got: 0xABCD } if expected == right));
    assert_eq!(
        error.to_string(),
        format!(
            "offset {}: Wrong RDB checksum expected: ({right:x}) but got (abcd). Aborting now.",
            bytes.len()
        )
    );
}

#[test]
fn without_checksum_eight_zero_bytes_end_the_file() {
    let bytes = sample(WriterOptions { checksum: false, ..WriterOptions::default() });
    assert!(bytes.ends_with(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(events(&bytes, 64).unwrap().pop(), Some(Event::Eof(ChecksumState::NotStored)));
}

#[test]
fn what_follows_the_file_is_left_to_the_caller() {
    let mut bytes = sample(WriterOptions { version: 11, ..WriterOptions::default() });
    assert!(bytes.starts_with(b"REDIS0011"));
    // A type of version 80 in a file of version 11.
    assert!(matches!(
        events(&bytes, 64).unwrap_err().kind,
        RdbErrorKind::ForeignType { byte: 22, version: 11 }
    ));

    bytes = sample(WriterOptions::default());
    let len = bytes.len();
    bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let mut snapshot = Snapshot::open(Reader::new(&bytes[..]), VersionCheck::Strict).unwrap();
    while !matches!(snapshot.next_event().unwrap(), Event::Eof(_)) {}
    assert_eq!(snapshot.offset(), len as u64);
    let (mut rest, mut ahead) = snapshot.into_reader().into_parts();
    rest.read_to_end(&mut ahead).unwrap();
    assert_eq!(ahead, b"*1\r\n$4\r\nPING\r\n");
}

#[test]
fn headers_that_are_not_ours_are_told_apart() {
    let open = |bytes: &[u8]| Snapshot::open(Reader::new(bytes), VersionCheck::Strict).unwrap_err();
    assert_eq!(
        open(b"NOTREDIS!").to_string(),
        "offset 9: Wrong signature trying to load DB from file: NOTREDIS!"
    );
    assert_eq!(open(b"REDIS0013").to_string(), "offset 9: Can't handle RDB format version 13");
    assert!(matches!(open(b"VALKEY011").kind, RdbErrorKind::UnsupportedVersion(11)));
    assert!(matches!(events(b"VALKEY080\x18", 9).unwrap_err().kind, RdbErrorKind::UnknownType(24)));
    assert!(matches!(events(b"VALKEY080\xf2", 9).unwrap_err().kind, RdbErrorKind::UnknownType(242)));
    assert!(matches!(
        events(b"REDIS0012\xf3", 9).unwrap_err().kind,
        RdbErrorKind::ForeignType { byte: 243, .. }
    ));
    assert_eq!(events(b"REDIS0003\xff", 9).unwrap(), [Event::Eof(ChecksumState::NotInFormat)]);
}

#[test]
fn a_slot_migration_has_a_name_of_forty_bytes() {
    let error = events(b"VALKEY080\xf3\x01A\x01\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00\x00", 3).unwrap_err();
    assert_eq!(error.kind.to_string(), "Invalid slot import job name length in RDB");
}

#[test]
fn old_and_rare_records_are_read() {
    let mut bytes = b"VALKEY080".to_vec();
    bytes.extend_from_slice(&[b"\xf3\x28".as_slice(), &[b'j'; 40], b"\x01\x05\x06"].concat()); // a slot migration
    bytes.extend_from_slice(b"\xf4\x01\x02\x03"); // sizes of a slot
    bytes.extend_from_slice(b"\xf7\x40\x41\x02\x01\x01\x05\x05\x03abc\x04\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00"); // module data
    bytes.extend_from_slice(b"\xfd\x10\x00\x00\x00\x07\x01m\x01\x05\x03abc\x02\x09\x00"); // module value, expiry in seconds
    bytes.extend_from_slice(b"\xff\x00\x00\x00\x00\x00\x00\x00\x00");
    assert_eq!(
        events(&bytes, 3).unwrap(),
        [
            Event::SlotImport { job: vec![b'j'; 40], ranges: vec![(5, 6)] },
            Event::SlotInfo { slot: 1, keys: 2, expiries: 3 },
            Event::ModuleAux { module_id: 0x41 },
            Event::Entry(EntryHeader { expiry_ms: Some(16000), ..entry(ValueType::Module2) }),
            Event::Eof(ChecksumState::NotStored),
        ]
    );
}

#[test]
fn dump_payloads_are_framed_and_verified() {
    let mut payload =
        written(|w| w.write_byte(ValueType::String.byte()).and_then(|()| w.write_string(b"hello")));
    dump::append_footer(&mut payload, 80);
    let opened = dump::verify(&payload, VersionCheck::Strict, true).unwrap();
    let (value_type, mut reader) = opened.open().unwrap();
    assert_eq!((value_type, reader.read_string().unwrap()), (ValueType::String, &b"hello"[..]));

    for at in 0..payload.len() {
        let mut broken = payload.clone();
        broken[at] ^= 1;
        assert!(dump::verify(&broken, VersionCheck::Strict, true).is_err());
    }
    payload[3] ^= 1;
    assert_eq!(dump::verify(&payload, VersionCheck::Strict, true).unwrap_err(), DumpError::Checksum);
    assert!(dump::verify(&payload, VersionCheck::Strict, false).is_ok());
    assert_eq!(dump::verify(&payload[..9], VersionCheck::Strict, false).unwrap_err(), DumpError::TooShort);
}

#[test]
fn foreign_hashes_yield_absolute_expiries() {
    // As Redis 8.0 writes it: earliest expiry, then ttl distance plus one before each field.
    let bytes = b"\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x03\x80\x00\x01\x86\xa1\x02f3\x02v3\x00\x02f1\x02v1\x01\x02f2\x02v2";
    let mut seen = Vec::new();
    let mut reader = Reader::of_slice(bytes);
    let count =
        collections::read_fields(&mut reader, ValueType::HashMetadata, drop, |field, _, expiry_ms| {
            seen.push((field.to_vec(), expiry_ms));
            Ok(())
        });
    assert_eq!(count.unwrap(), 3);
    assert_eq!(
        seen,
        [
            (b"f3".to_vec(), Some(4_102_444_900_000)),
            (b"f1".to_vec(), None),
            (b"f2".to_vec(), Some(4_102_444_800_000))
        ]
    );
    let mut reader = Reader::of_slice(b"\x01\x01f\x01v\xfe\xff\xff\xff\xff\xff\xff\xff");
    assert!(collections::read_fields(&mut reader, ValueType::Hash2, drop, |_, _, _| Ok(())).is_err());
}

#[test]
fn refusals_and_impossible_scores_carry_their_reason_and_place() {
    let mut reader = Reader::of_slice(b"\x02\x01a\x01a");
    let mut first = true;
    let error = collections::read_elements(&mut reader, drop, |_| {
        if std::mem::take(&mut first) { Ok(()) } else { Err("Duplicate set members detected") }
    });
    assert_eq!(error.unwrap_err().to_string(), "offset 5: Duplicate set members detected");

    let nan = written(|w| {
        w.write_len(1).and_then(|()| w.write_string(b"m")).and_then(|()| w.write_double(f64::NAN))
    });
    let error =
        collections::read_scored(&mut Reader::of_slice(&nan), ValueType::SortedSet2, drop, |_, _| Ok(()));
    assert_eq!(error.unwrap_err().to_string(), "offset 11: Zset with NAN score detected");
}

proptest! {
    #[test]
    fn any_strings_in_sequence_come_back(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40)) {
        let mut writer = Writer::new(Vec::new(), WriterOptions::default());
        for string in &strings {
            writer.write_string(string).unwrap();
        }
        writer.flush_buffer().unwrap();
        prop_assert!(writer.bytes_written() >= strings.len() as u64);
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(Trickle(&bytes, 50));
        for string in &strings {
            prop_assert_eq!(reader.read_string().unwrap(), string);
        }
    }

    #[test]
    fn no_bytes_panic(tail in prop::collection::vec(any::<u8>(), 0..200), valkey: bool) {
        let mut bytes = if valkey { b"VALKEY080".to_vec() } else { b"REDIS0012".to_vec() };
        bytes.extend(tail);
        let _ = events(&bytes, 16);
    }

    #[test]
    fn no_bytes_of_any_type_panic_when_skipped(byte in 0_u8..26, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        use super::format::Dialect;
        for dialect in [Dialect::Valkey, Dialect::Redis] {
            if let Some(value_type) = ValueType::from_byte(byte, dialect) {
                let _ = Reader::of_slice(&bytes).skip_value(value_type);
            }
        }
    }
}
