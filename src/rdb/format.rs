//! The numbers of the RDB format: opcodes, value types, string encodings, versions and the magic of a file.
//!
//! Two families write RDB. Up to version 11 they agree. From there Valkey continues at version 80 under the magic
//! `VALKEY`, and Redis at 12 under `REDIS`; the bytes 22 and above mean different things in each, so a value type is always
//! read together with its [`Dialect`].
//! Redis 7.4 and 8.0 (version 12) are read as far as their types exist here.

/// The version this server writes (Valkey 9.0 and 9.1).
pub const VERSION: u16 = 80;
/// The last version both families share (Redis 7.2, Valkey 7.2 to 8.1).
pub const LAST_SHARED_VERSION: u16 = 11;
/// First version that belongs to Redis alone.
pub const FOREIGN_VERSION_MIN: u16 = 12;
/// Last version reserved for Redis alone.
pub const FOREIGN_VERSION_MAX: u16 = 79;
/// The one version of Redis alone that is read without being asked to (Redis 7.4 and 8.0).
pub const READABLE_FOREIGN_VERSION: u16 = 12;
/// Bytes of the magic and the version at the start of a file.
pub const HEADER_LEN: usize = 9;

/// Opcodes of the top level; they count down from 255.
pub mod opcode {
    /// A slot migration under way (Valkey 9.0).
    pub const SLOT_IMPORT: u8 = 243;
    /// Sizes of one cluster slot (Redis 7.4; Valkey uses the auxiliary field `slot-info`).
    pub const SLOT_INFO: u8 = 244;
    /// The source text of a function library.
    pub const FUNCTION2: u8 = 245;
    /// A function library as release candidates of Redis 7.0 wrote it; refused.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// Data of a module outside of the keyspace.
    pub const MODULE_AUX: u8 = 247;
    /// Idle time of the next entry, in seconds (LRU).
    pub const IDLE: u8 = 248;
    /// Access frequency of the next entry, 0..=255 (LFU).
    pub const FREQUENCY: u8 = 249;
    /// A pair of strings about the file.
    pub const AUX: u8 = 250;
    /// How many keys and expiries the database holds.
    pub const RESIZE_DB: u8 = 251;
    /// Expiry of the next entry, absolute, milliseconds, 8 bytes.
    pub const EXPIRY_MS: u8 = 252;
    /// Expiry of the next entry, absolute, seconds, 4 bytes (before version 3).
    pub const EXPIRY_SECONDS: u8 = 253;
    /// Number of the database that follows.
    pub const SELECT_DB: u8 = 254;
    /// End of the file; the checksum follows.
    pub const EOF: u8 = 255;
}

/// Opcodes inside a module's data, each written as a length.
pub mod module_opcode {
    /// End of the module's data.
    pub const EOF: u64 = 0;
    /// A signed integer, as a length.
    pub const SIGNED: u64 = 1;
    /// An unsigned integer, as a length.
    pub const UNSIGNED: u64 = 2;
    /// 4 bytes.
    pub const FLOAT: u64 = 3;
    /// 8 bytes.
    pub const DOUBLE: u64 = 4;
    /// A string.
    pub const STRING: u64 = 5;
}

/// The two top bits and the marks of a length.
///
/// ```text
/// 00xxxxxx                     6 bits
/// 01xxxxxx xxxxxxxx            14 bits, big endian
/// 10000000 + 4 bytes           32 bits, big endian
/// 10000001 + 8 bytes           64 bits, big endian
/// 11kkkkkk                     no length: a string encoding, see `ENC_*`
/// ```
pub mod length {
    /// First byte of a 32-bit length.
    pub const BITS32: u8 = 0x80;
    /// First byte of a 64-bit length.
    pub const BITS64: u8 = 0x81;
    /// The two bits that say "a string encoding".
    pub const ENCODED: u8 = 0xC0;
    /// One signed byte.
    pub const ENC_INT8: u8 = 0;
    /// Two bytes, little endian.
    pub const ENC_INT16: u8 = 1;
    /// Four bytes, little endian.
    pub const ENC_INT32: u8 = 2;
    /// Compressed length, original length, LZF bytes.
    pub const ENC_LZF: u8 = 3;
}

/// Whose numbering the bytes 22 and above follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Valkey, version 80 and later.
    Valkey,
    /// Redis, and everything written before the two parted.
    Redis,
}

impl Dialect {
    /// The dialect of a version.
    pub fn of(version: u16) -> Self {
        if version > FOREIGN_VERSION_MAX { Self::Valkey } else { Self::Redis }
    }
}

/// The form in which a value is stored: what the byte before a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueType {
    /// A string. Every version.
    String,
    /// Count and strings. Redis before 3.2.
    List,
    /// Count and strings; hash table encoding. Every version.
    Set,
    /// Count, strings and ASCII scores. Redis before 4.0.
    SortedSet,
    /// Count and pairs of strings; hash table encoding. Every version.
    Hash,
    /// Count, strings and binary scores; skip list encoding. Since Redis 4.0.
    SortedSet2,
    /// Module data without annotations. Release candidates of Redis 4.0; refused.
    ModulePreGa,
    /// Module data that can be skipped without the module. Since Redis 4.0.
    Module2,
    /// A zipmap in a string. Redis before 2.6.
    HashZipmap,
    /// A ziplist in a string. Redis before 3.2.
    ListZiplist,
    /// An intset in a string. Every version since Redis 2.4.
    SetIntset,
    /// A ziplist in a string. Redis 2.4 to 6.2.
    SortedSetZiplist,
    /// A ziplist in a string. Redis 2.6 to 6.2.
    HashZiplist,
    /// Count and ziplists. Redis 3.2 to 6.2.
    ListQuicklist,
    /// Redis 5.0 to 6.2.
    StreamListpacks,
    /// A listpack in a string. Since Redis 7.0.
    HashListpack,
    /// A listpack in a string. Since Redis 7.0.
    SortedSetListpack,
    /// Count, and nodes that are a container kind and a string. Since Redis 7.0.
    ListQuicklist2,
    /// Adds first id, greatest deleted id, entries added, group offsets. Redis 7.0.
    StreamListpacks2,
    /// A listpack in a string. Since Redis 7.2.
    SetListpack,
    /// Adds the active time of consumers. Since Redis 7.2.
    StreamListpacks3,
    /// Count, and triples of field, value, expiry (-1: none). Valkey 9.0 and later.
    Hash2,
    /// Earliest expiry, count, and triples of ttl, field, value; hash table encoding. Redis 7.4 and later.
    HashMetadata,
    /// Earliest expiry, and a listpack of field, value, expiry (0: none). Redis 7.4 and later.
    HashListpackExpiry,
}

/// Bytes shared by both dialects, in order; 8 is unused.
const SHARED_TYPES: [(u8, ValueType, &str); 21] = [
    (0, ValueType::String, "string"),
    (1, ValueType::List, "list-linked"),
    (2, ValueType::Set, "set-hashtable"),
    (3, ValueType::SortedSet, "zset-v1"),
    (4, ValueType::Hash, "hash-hashtable"),
    (5, ValueType::SortedSet2, "zset-v2"),
    (6, ValueType::ModulePreGa, "module-pre-release"),
    (7, ValueType::Module2, "module-value"),
    (9, ValueType::HashZipmap, "hash-zipmap"),
    (10, ValueType::ListZiplist, "list-ziplist"),
    (11, ValueType::SetIntset, "set-intset"),
    (12, ValueType::SortedSetZiplist, "zset-ziplist"),
    (13, ValueType::HashZiplist, "hash-ziplist"),
    (14, ValueType::ListQuicklist, "quicklist"),
    (15, ValueType::StreamListpacks, "stream"),
    (16, ValueType::HashListpack, "hash-listpack"),
    (17, ValueType::SortedSetListpack, "zset-listpack"),
    (18, ValueType::ListQuicklist2, "quicklist-v2"),
    (19, ValueType::StreamListpacks2, "stream-v2"),
    (20, ValueType::SetListpack, "set-listpack"),
    (21, ValueType::StreamListpacks3, "stream-v3"),
];

/// Bytes that only Valkey gives this meaning.
const VALKEY_TYPES: [(u8, ValueType, &str); 1] = [(22, ValueType::Hash2, "hash-volatile-items")];

/// Bytes that only Redis gives this meaning; its 22 and 23 were in release candidates alone and stay unknown.
const REDIS_TYPES: [(u8, ValueType, &str); 2] =
    [(24, ValueType::HashMetadata, "hash-metadata"), (25, ValueType::HashListpackExpiry, "hash-listpack-ex")];

impl ValueType {
    /// The type a byte stands for in a dialect.
    pub fn from_byte(byte: u8, dialect: Dialect) -> Option<Self> {
        let own: &[_] = match dialect {
            Dialect::Valkey => &VALKEY_TYPES,
            Dialect::Redis => &REDIS_TYPES,
        };
        SHARED_TYPES.iter().chain(own).find(|row| row.0 == byte).map(|row| row.1)
    }

    /// The byte that stands for this type.
    pub fn byte(self) -> u8 {
        match self {
            Self::Hash2 => 22,
            Self::HashMetadata => 24,
            Self::HashListpackExpiry => 25,
            // The shared bytes follow the order of the variants, except that 8 is unused.
            shared => {
                let rank = shared as u8;
                if rank >= 8 { rank + 1 } else { rank }
            }
        }
    }

    /// The name Valkey's check tool prints for it.
    pub fn name(self) -> &'static str {
        let rows = SHARED_TYPES.iter().chain(&VALKEY_TYPES).chain(&REDIS_TYPES);
        rows.into_iter().find(|row| row.1 == self).map_or("", |row| row.2)
    }
}

/// Valkey: `rdb-version-check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionCheck {
    /// Only versions that are known to be understood.
    #[default]
    Strict,
    /// Any version; what is not understood fails where it is met.
    Relaxed,
}

/// Whether a file with this magic and version is read. Strict takes what Valkey takes, and version 12 of Redis.
pub fn accepts_file(version: u16, valkey_magic: bool, check: VersionCheck) -> bool {
    if version == 0 || valkey_magic != (version > FOREIGN_VERSION_MAX) {
        return false;
    }
    check == VersionCheck::Relaxed || version == READABLE_FOREIGN_VERSION || is_native(version)
}

/// Whether a DUMP payload of this version is read: exactly Valkey's answer, since clients test for it.
pub fn accepts_dump(version: u16, check: VersionCheck) -> bool {
    version != 0 && (check == VersionCheck::Relaxed || is_native(version))
}

fn is_native(version: u16) -> bool {
    version <= LAST_SHARED_VERSION || version == VERSION
}

/// The nine bytes a file of this version starts with.
pub fn header(version: u16) -> [u8; HEADER_LEN] {
    let mut bytes = if version > FOREIGN_VERSION_MAX { *b"VALKEY000" } else { *b"REDIS0000" };
    let digits = [version / 100 % 10, version / 10 % 10, version % 10];
    for (place, digit) in bytes.iter_mut().skip(HEADER_LEN - digits.len()).zip(digits) {
        *place = b'0' + digit as u8;
    }
    bytes
}

/// The magic and version of a file: whether the magic is Valkey's, and the number. `None`: not an RDB file.
pub fn parse_header(bytes: &[u8; HEADER_LEN]) -> Option<(bool, u16)> {
    let valkey = bytes.starts_with(b"VALKEY");
    if !valkey && !bytes.starts_with(b"REDIS0") {
        return None;
    }
    let digits = bytes.iter().skip(6).take_while(|b| b.is_ascii_digit());
    Some((valkey, digits.fold(0, |n, b| n * 10 + u16::from(b - b'0'))))
}

/// The name a module type's id spells: nine characters of six bits above a ten-bit version.
pub fn module_type_name(id: u64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = |i: u32| ALPHABET.get((id >> (10 + 6 * (8 - i)) & 63) as usize).copied().unwrap_or(b'?');
    (0..9).map(|i| char::from(place(i))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_type_has_one_byte_and_one_name_in_its_dialect() {
        for (rows, dialects) in [
            (&SHARED_TYPES[..], &[Dialect::Valkey, Dialect::Redis][..]),
            (&VALKEY_TYPES[..], &[Dialect::Valkey][..]),
            (&REDIS_TYPES[..], &[Dialect::Redis][..]),
        ] {
            for &(byte, value_type, name) in rows {
                assert_eq!(value_type.byte(), byte);
                assert_eq!(value_type.name(), name);
                for &dialect in dialects {
                    assert_eq!(ValueType::from_byte(byte, dialect), Some(value_type));
                }
            }
        }
        assert_eq!(ValueType::from_byte(8, Dialect::Valkey), None);
        assert_eq!(ValueType::from_byte(22, Dialect::Redis), None);
        assert_eq!(ValueType::from_byte(24, Dialect::Valkey), None);
    }

    #[test]
    fn headers_name_family_and_version() {
        assert_eq!(&header(80), b"VALKEY080");
        assert_eq!(&header(11), b"REDIS0011");
        assert_eq!(parse_header(b"VALKEY080"), Some((true, 80)));
        assert_eq!(parse_header(b"REDIS0006"), Some((false, 6)));
        assert_eq!(parse_header(b"REDIS00x1"), Some((false, 0)));
        assert_eq!(parse_header(b"REDIS1011"), None);
    }

    #[test]
    fn strict_check_takes_native_versions_and_redis_twelve() {
        let strict = |v, valkey| accepts_file(v, valkey, VersionCheck::Strict);
        assert!(strict(1, false) && strict(11, false) && strict(12, false) && strict(80, true));
        assert!(
            !strict(0, false)
                && !strict(13, false)
                && !strict(80, false)
                && !strict(11, true)
                && !strict(81, true)
        );
        assert!(
            accepts_file(13, false, VersionCheck::Relaxed) && accepts_file(81, true, VersionCheck::Relaxed)
        );
        assert!(!accepts_dump(12, VersionCheck::Strict) && accepts_dump(12, VersionCheck::Relaxed));
    }

    #[test]
    fn module_ids_spell_names() {
        // "ReJSON-RL" with encoding version 3.
        let id = b"ReJSON-RL".iter().fold(0u64, |id, b| {
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            id << 6 | alphabet.iter().position(|c| c == b).unwrap() as u64
        }) << 10
            | 3;
        assert_eq!(module_type_name(id), "ReJSON-RL");
    }
}
