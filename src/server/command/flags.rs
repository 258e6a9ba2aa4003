//! Flags, groups and categories of commands and keys, with the names Valkey prints.

/// Command flags, as COMMAND INFO names them.
pub mod flag {
    /// Changes data.
    pub const WRITE: u64 = 1;
    /// Only reads data.
    pub const READONLY: u64 = 1 << 1;
    /// Refused when memory is over the limit.
    pub const DENYOOM: u64 = 1 << 2;
    /// For administrators.
    pub const ADMIN: u64 = 1 << 3;
    /// Of the publish/subscribe family.
    pub const PUBSUB: u64 = 1 << 4;
    /// Not from scripts.
    pub const NOSCRIPT: u64 = 1 << 5;
    /// May block the client.
    pub const BLOCKING: u64 = 1 << 6;
    /// Allowed while a data set is loading.
    pub const LOADING: u64 = 1 << 7;
    /// Allowed on a replica with stale data.
    pub const STALE: u64 = 1 << 8;
    /// Not shown to MONITOR.
    pub const SKIP_MONITOR: u64 = 1 << 9;
    /// Not in the slow log.
    pub const SKIP_COMMANDLOG: u64 = 1 << 10;
    /// O(1) or O(log n).
    pub const FAST: u64 = 1 << 11;
    /// Allowed before authentication.
    pub const NO_AUTH: u64 = 1 << 12;
    /// May replicate though it is no write command.
    pub const MAY_REPLICATE: u64 = 1 << 13;
    /// Not inside MULTI.
    pub const NO_MULTI: u64 = 1 << 14;
    /// Key positions cannot be told from the first key alone.
    pub const MOVABLE_KEYS: u64 = 1 << 15;
    /// Allowed while a script or module is busy.
    pub const ALLOW_BUSY: u64 = 1 << 16;
    /// Not while a data set loads in the background.
    pub const NO_ASYNC_LOADING: u64 = 1 << 17;
    /// Never asks for keys that must be in one slot.
    pub const ASKING: u64 = 1 << 18;
    /// For the server itself, not for clients.
    pub const ONLY_SENTINEL: u64 = 1 << 19;
    /// Keys may be missing.
    pub const NO_MANDATORY_KEYS: u64 = 1 << 20;
    /// Reaches all databases.
    pub const ALL_DBS: u64 = 1 << 21;
    /// Comes across keys that the request does not name: those it expires have nothing to do with each other.
    pub const TOUCHES_ARBITRARY_KEYS: u64 = 1 << 22;

    /// Flags with the names that COMMAND INFO prints, in its order; the others are not shown.
    pub const NAMES: &[(u64, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_COMMANDLOG, "skip_commandlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (MOVABLE_KEYS, "movablekeys"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// The group a command is documented under; gives its ACL category too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    Hyperloglog,
    List,
    Pubsub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Geo => "geo",
            Self::Hash => "hash",
            Self::Hyperloglog => "hyperloglog",
            Self::List => "list",
            Self::Pubsub => "pubsub",
            Self::Scripting => "scripting",
            Self::Server => "server",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

/// Explicit ACL categories; those that follow from flags are derived.
pub mod category {
    #![allow(missing_docs)]
    pub const KEYSPACE: u32 = 1;
    pub const READ: u32 = 1 << 1;
    pub const WRITE: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const SORTEDSET: u32 = 1 << 4;
    pub const LIST: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const STRING: u32 = 1 << 7;
    pub const BITMAP: u32 = 1 << 8;
    pub const HYPERLOGLOG: u32 = 1 << 9;
    pub const GEO: u32 = 1 << 10;
    pub const STREAM: u32 = 1 << 11;
    pub const PUBSUB: u32 = 1 << 12;
    pub const ADMIN: u32 = 1 << 13;
    pub const FAST: u32 = 1 << 14;
    pub const SLOW: u32 = 1 << 15;
    pub const BLOCKING: u32 = 1 << 16;
    pub const DANGEROUS: u32 = 1 << 17;
    pub const CONNECTION: u32 = 1 << 18;
    pub const TRANSACTION: u32 = 1 << 19;
    pub const SCRIPTING: u32 = 1 << 20;

    /// The category of this name, in any case of letters.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<u32> {
        let found = NAMES.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(found.0)
    }

    /// Names in Valkey's order.
    pub const NAMES: &[(u32, &str)] = &[
        (KEYSPACE, "keyspace"),
        (READ, "read"),
        (WRITE, "write"),
        (SET, "set"),
        (SORTEDSET, "sortedset"),
        (LIST, "list"),
        (HASH, "hash"),
        (STRING, "string"),
        (BITMAP, "bitmap"),
        (HYPERLOGLOG, "hyperloglog"),
        (GEO, "geo"),
        (STREAM, "stream"),
        (PUBSUB, "pubsub"),
        (ADMIN, "admin"),
        (FAST, "fast"),
        (SLOW, "slow"),
        (BLOCKING, "blocking"),
        (DANGEROUS, "dangerous"),
        (CONNECTION, "connection"),
        (TRANSACTION, "transaction"),
        (SCRIPTING, "scripting"),
    ];
}

/// What a command does to the keys of one specification, as COMMAND INFO names it.
pub mod key_flag {
    #![allow(missing_docs)]
    pub const RO: u32 = 1;
    pub const RW: u32 = 1 << 1;
    pub const OW: u32 = 1 << 2;
    pub const RM: u32 = 1 << 3;
    pub const ACCESS: u32 = 1 << 4;
    pub const UPDATE: u32 = 1 << 5;
    pub const INSERT: u32 = 1 << 6;
    pub const DELETE: u32 = 1 << 7;
    pub const NOT_KEY: u32 = 1 << 8;
    pub const INCOMPLETE: u32 = 1 << 9;
    pub const VARIABLE_FLAGS: u32 = 1 << 10;

    /// Names in Valkey's order.
    pub const NAMES: &[(u32, &str)] = &[
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (NOT_KEY, "not_key"),
        (INCOMPLETE, "incomplete"),
        (VARIABLE_FLAGS, "variable_flags"),
    ];
}
