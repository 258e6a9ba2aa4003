//! The old flat encodings: real blobs, every edge, hostile bytes.
#![allow(clippy::unwrap_used)]

use super::*;

/// Writes a ziplist of entries that are given from their encoding byte on.
fn ziplist(entries: &[Vec<u8>]) -> Vec<u8> {
    let (mut body, mut previous, mut tail) = (Vec::new(), 0usize, ZIPLIST_HEADER);
    for entry in entries {
        let start = body.len();
        tail = ZIPLIST_HEADER + start;
        match u8::try_from(previous) {
            Ok(short) if short < BIG_LENGTH => body.push(short),
            _ => {
                body.push(BIG_LENGTH);
                body.extend_from_slice(&u32::try_from(previous).unwrap().to_le_bytes());
            }
        }
        body.extend_from_slice(entry);
        previous = body.len() - start;
    }
    let mut out = u32::try_from(body.len() + ZIPLIST_HEADER + 1).unwrap().to_le_bytes().to_vec();
    out.extend_from_slice(&u32::try_from(tail).unwrap().to_le_bytes());
    out.extend_from_slice(&u16::try_from(entries.len()).unwrap_or(COUNT_UNKNOWN).to_le_bytes());
    out.extend_from_slice(&body);
    out.push(END);
    out
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = match bytes.len() {
        len @ 0..=0x3f => vec![len as u8],
        len @ 0x40..=0x3fff => vec![0x40 | (len >> 8) as u8, len as u8],
        len => [&[0x80][..], &(len as u32).to_be_bytes()].concat(),
    };
    out.extend_from_slice(bytes);
    out
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let text = |value: Value<'_>| {
        let mut out = Vec::new();
        value.write_to(&mut out);
        String::from_utf8(out).unwrap()
    };
    Ziplist::parse(bytes).unwrap().iter().map(text).collect()
}

#[test]
fn ziplists_of_old_files_decode() {
    let list = b"\x0d\0\0\0\x0a\0\0\0\x01\0\0\xf8\xff";
    let hash = b"\x1b\0\0\0\x16\0\0\0\x04\0\0\x02f1\x04\x02v1\x04\x02f2\x04\x02v2\xff";
    let zset = b"\x19\0\0\0\x16\0\0\0\x04\0\0\x03one\x05\xf2\x02\x03two\x05\xf3\xff";
    assert_eq!(texts(list), ["7"]);
    assert_eq!(texts(hash), ["f1", "v1", "f2", "v2"]);
    assert_eq!(texts(zset), ["one", "1", "two", "2"]);
    assert!(Ziplist::parse(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff").unwrap().is_empty());
}

#[test]
fn every_ziplist_encoding_decodes() {
    let long = vec![b'x'; 20_000];
    let cases: [(Vec<u8>, Value<'_>); 17] = [
        (string(b""), Value::Bytes(b"")),
        (string(&long[..63]), Value::Bytes(&long[..63])),
        (string(&long[..64]), Value::Bytes(&long[..64])),
        (string(&long[..300]), Value::Bytes(&long[..300])),
        (string(&long[..16_383]), Value::Bytes(&long[..16_383])),
        (string(&long), Value::Bytes(&long)),
        (vec![0xf1], Value::Int(0)),
        (vec![0xfd], Value::Int(12)),
        (vec![0xfe, 0x80], Value::Int(-128)),
        (vec![0xfe, 0x7f], Value::Int(127)),
        (vec![0xc0, 0x00, 0x80], Value::Int(-32_768)),
        (vec![0xf0, 0x00, 0x00, 0x80], Value::Int(-8_388_608)),
        (vec![0xf0, 0xff, 0xff, 0x7f], Value::Int(8_388_607)),
        (vec![0xf0, 0xff, 0xff, 0xff], Value::Int(-1)),
        (vec![0xd0, 0, 0, 0, 0x80], Value::Int(-2_147_483_648)),
        (vec![0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80], Value::Int(i64::MIN)),
        (vec![0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Value::Int(i64::MAX)),
    ];
    let bytes = ziplist(&cases.clone().map(|(entry, _)| entry));
    let parsed = Ziplist::parse(&bytes).unwrap();
    assert_eq!(parsed.iter().len(), cases.len());
    assert!(parsed.iter().eq(cases.iter().map(|(_, value)| *value)));
}

#[test]
fn a_ziplist_of_unknown_count_is_counted() {
    let bytes = ziplist(&vec![vec![0xf5]; 70_000]);
    assert_eq!(Ziplist::parse(&bytes).unwrap().len(), 70_000);
}

#[test]
fn a_long_back_length_may_hold_a_short_value() {
    let bytes = b"\x13\0\0\0\x0c\0\0\0\x02\0\0\xf2\xfe\x02\0\0\0\xf3\xff";
    assert_eq!(texts(bytes), ["1", "2"]);
}

#[test]
fn what_is_wrong_with_a_ziplist_is_said() {
    let good = ziplist(&[string(b"one"), vec![0xf2], string(b"two")]);
    let wrong = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Ziplist::parse(&bytes).unwrap_err().0
    };
    assert_eq!(Ziplist::parse(&good[..9]).unwrap_err().0, "ziplist is too short");
    assert_eq!(wrong(0, 5), "ziplist size does not match its header");
    assert_eq!(wrong(good.len() - 1, 0), "ziplist has no terminator");
    assert_eq!(wrong(4, good.len() as u8), "ziplist tail is out of range");
    assert_eq!(wrong(4, 10), "ziplist tail is not the last entry");
    assert_eq!(wrong(8, 2), "ziplist count is wrong");
    assert_eq!(wrong(10, 1), "ziplist back length is wrong");
    assert_eq!(wrong(10, END), "ziplist entry is invalid");
    assert_eq!(wrong(11, 0xff), "ziplist entry is invalid");
    assert_eq!(wrong(11, 0x3f), "ziplist entry is invalid");
    for encoding in [0xc1, 0xd1, 0xe1, 0xef] {
        assert_eq!(wrong(16, encoding), "ziplist entry is invalid");
    }
    assert_eq!(Ziplist::parse(b"").unwrap_err().to_string(), "ziplist is too short");
}

const ZIPMAP: &[u8] = b"\x02\x02f1\x02\x00v1\x02f2\x02\x03v2abc\xff";

#[test]
fn zipmaps_decode() {
    let pairs: Vec<_> = Zipmap::parse(ZIPMAP).unwrap().into_iter().collect();
    assert_eq!(pairs, [(&b"f1"[..], &b"v1"[..]), (b"f2", b"v2")]);

    let long = vec![b'y'; 300];
    let mut bytes = b"\xfe\xfe\x2c\x01\0\0".to_vec();
    bytes.extend_from_slice(&long);
    bytes.extend_from_slice(b"\xfe\x2c\x01\0\0\x00");
    bytes.extend_from_slice(&long);
    bytes.push(END);
    let parsed = Zipmap::parse(&bytes).unwrap();
    assert_eq!((parsed.len(), parsed.iter().len()), (1, 1));
    assert!(parsed.iter().eq([(&long[..], &long[..])]));
}

#[test]
fn what_is_wrong_with_a_zipmap_is_said() {
    let wrong = |bytes: &[u8]| Zipmap::parse(bytes).unwrap_err().0;
    assert_eq!(wrong(b""), "zipmap is too short");
    assert_eq!(wrong(b"\x00"), "zipmap has no terminator");
    assert_eq!(wrong(b"\x00\xff"), "zipmap is empty");
    assert_eq!(wrong(b"\x02\x01a\x01\x00b\xff"), "zipmap count is wrong");
    assert_eq!(wrong(b"\x01\x01a\x01\x01b\xff"), "zipmap entry is invalid");
    assert_eq!(wrong(b"\x01\xfe\x01\0\0\0a\x01\x00b\xff"), "zipmap entry is invalid");
    assert_eq!(wrong(b"\x01\xfe\xff\xff\xff\xffa\x01\x00b\xff"), "zipmap entry is invalid");
    assert_eq!(wrong(b"\x01\x01a\xff\xff"), "zipmap entry is invalid");
}

/// Parses and, when that is accepted, walks; the walk must yield exactly what was counted.
fn exercise(bytes: &[u8]) {
    if let Ok(list) = Ziplist::parse(bytes) {
        assert_eq!(list.iter().count(), list.len());
    }
    if let Ok(map) = Zipmap::parse(bytes) {
        assert_eq!(map.iter().count(), map.len());
    }
}

#[test]
fn hostile_bytes_never_panic() {
    let seeds = [
        ziplist(&[string(b"one"), vec![0xf2], vec![0xc0, 1, 2], string(&[b'z'; 280]), vec![0xfe, 3]]),
        ziplist(&[]),
        ZIPMAP.to_vec(),
    ];
    let mut random = fastrand::Rng::with_seed(11);
    for seed in &seeds {
        for end in 0..=seed.len() {
            exercise(&seed[..end]);
        }
        for at in 0..seed.len().min(40) {
            for byte in 0..=u8::MAX {
                let mut bytes = seed.clone();
                bytes[at] = byte;
                exercise(&bytes);
            }
        }
        for _ in 0..20_000 {
            let mut bytes = seed.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(0..bytes.len());
                let any = random.u8(..);
                bytes[at] = *random.choice(&[0, 1, 0x3f, 0x40, 0x80, 0xf0, 0xfe, END, any]).unwrap();
            }
            exercise(&bytes);
        }
    }
}
