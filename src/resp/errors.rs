//! Every error text that a client can see, in one place.
//!
//! The texts are Valkey's to the letter, with their code first and without the leading `-`. Fixed texts are one line
//! of the table; texts with arguments are composed in [`CommandError::compose`]. An argument ends at its first NUL,
//! as it does in Valkey; line ends are taken out when the error is written.

use std::borrow::Cow;
use std::fmt;

use super::reply::Reply;

/// What makes a connection unusable: it gets the error and is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline request longer than 64 KiB.
    BigInlineRequest,
    /// No end of line within 64 KiB of a `*`.
    BigMultibulkCount,
    /// The count of arguments is no number, or above 2147483647.
    InvalidMultibulkLength,
    /// More arguments than a client may send before it is authenticated.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it is authenticated.
    UnauthenticatedBulkLength,
    /// No end of line within 64 KiB of a `$`.
    BigBulkCount,
    /// An argument began with another byte than `$`.
    ExpectedDollar(u8),
    /// The length of an argument is no number, negative, or above `proto-max-bulk-len`.
    InvalidBulkLength,
    /// A quote of an inline request was not closed.
    UnbalancedQuotes,
    /// A line or an argument did not end in `\r\n`.
    InvalidCrlf,
    /// A primary sent an inline request: the stream is corrupt, and nothing is replied.
    InlineFromPrimary,
}

impl ProtocolError {
    /// The error reply; `None` where the connection is closed without one.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'static, [u8]>> {
        let text: &'static str = match self {
            Self::BigInlineRequest => "ERR Protocol error: too big inline request",
            Self::BigMultibulkCount => "ERR Protocol error: too big mbulk count string",
            Self::InvalidMultibulkLength => "ERR Protocol error: invalid multibulk length",
            Self::UnauthenticatedMultibulkLength => "ERR Protocol error: unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "ERR Protocol error: unauthenticated bulk length",
            Self::BigBulkCount => "ERR Protocol error: too big bulk count string",
            Self::InvalidBulkLength => "ERR Protocol error: invalid bulk length",
            Self::UnbalancedQuotes => "ERR Protocol error: unbalanced quotes in request",
            Self::InvalidCrlf => "ERR Protocol error: invalid CRLF in request",
            Self::InlineFromPrimary => return None,
            Self::ExpectedDollar(byte) => {
                let text = [b"ERR Protocol error: expected '$', got '", &[*byte][..], b"'"].concat();
                return Some(Cow::Owned(text));
            }
        };
        Some(Cow::Borrowed(text.as_bytes()))
    }

    /// The words of the log line `Protocol error (<reason>) from client: ...`.
    #[must_use]
    pub fn log_reason(&self) -> &'static str {
        match self {
            Self::BigInlineRequest => "too big inline request",
            Self::BigMultibulkCount => "too big mbulk count string",
            Self::InvalidMultibulkLength => "invalid mbulk count",
            Self::UnauthenticatedMultibulkLength => "unauth mbulk count",
            Self::UnauthenticatedBulkLength => "unauth bulk length",
            Self::BigBulkCount => "too big bulk count string",
            Self::ExpectedDollar(_) => "expected $ but got something else",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnbalancedQuotes => "unbalanced quotes in inline request",
            Self::InvalidCrlf => "invalid CRLF in request",
            Self::InlineFromPrimary => "Master using the inline protocol. Desync?",
        }
    }

    /// Writes the error reply, if there is one.
    pub fn write(&self, reply: &mut Reply) {
        if let Some(text) = self.text() {
            reply.error(&text);
        }
    }
}

/// The name a server gives itself in the texts that contain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerTitle {
    /// Valkey's own.
    #[default]
    Valkey,
    /// With `extended-redis-compatibility yes`.
    Redis,
}

impl ServerTitle {
    /// The name as it stands in texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valkey => "Valkey",
            Self::Redis => "Redis",
        }
    }
}

macro_rules! command_errors {
    (
        fixed { $($fixed:ident = $text:literal,)* }
        composed { $($(#[$doc:meta])* $composed:ident $fields:tt,)* }
    ) => {
        /// A client's mistake, or a state of the server in which it refuses a command.
        #[derive(Debug, Clone, PartialEq)]
        pub enum CommandError {
            $(#[doc = concat!("`", $text, "`")] $fixed,)*
            $($(#[$doc])* $composed $fields,)*
        }

        impl CommandError {
            /// The text when it takes no arguments.
            fn fixed_text(&self) -> Option<&'static str> {
                match self {
                    $(Self::$fixed => Some($text),)*
                    _ => None,
                }
            }

            /// Every error without arguments, for tests over all texts.
            #[cfg(test)]
            pub(super) const FIXED: &'static [Self] = &[$(Self::$fixed),*];
        }
    };
}

command_errors! {
    fixed {
        // States of the server.
        NoAuth = "NOAUTH Authentication required.",
        WrongPass = "WRONGPASS invalid username-password pair or user is disabled.",
        OutOfMemory = "OOM command not allowed when used memory > 'maxmemory'.",
        ReadOnly = "READONLY You can't write against a read only replica.",
        MasterDown = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        NoReplicas = "NOREPLICAS Not enough good replicas to write.",
        NoMasterLink = "NOMASTERLINK Can't SYNC while not connected with my master",
        NoMasterLinkFailover = "NOMASTERLINK Can't SYNC while failing over",
        ReplicaCannotFollow = "ERR Command is not valid when client is a replica.",
        InvalidPrimaryPort = "ERR Invalid master port",
        ReplicaKeyspace = "ERR Replica can't interact with the keyspace",
        MaxClients = "ERR max number of clients reached",
        Denied = "DENIED Running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers, you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting from the same host the server is running, however MAKE SURE it's not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.",
        // Any command.
        Unspecified = "ERR",
        WrongType = "WRONGTYPE Operation against a key holding the wrong kind of value",
        Syntax = "ERR syntax error",
        NoSuchKey = "ERR no such key",
        NotAnInteger = "ERR value is not an integer or out of range",
        NotAFloat = "ERR value is not a valid float",
        OutOfRange = "ERR value is out of range",
        NotPositive = "ERR value is out of range, must be positive",
        IndexOutOfRange = "ERR index out of range",
        SameObject = "ERR source and destination objects are the same",
        DbIndexOutOfRange = "ERR DB index is out of range",
        InvalidFirstDb = "ERR invalid first DB index",
        InvalidSecondDb = "ERR invalid second DB index",
        InvalidCursor = "ERR invalid cursor",
        UnknownTypeObject = "ERR unknown type object",
        NumkeysNotPositive = "ERR numkeys should be greater than 0",
        CountNotPositive = "ERR count should be greater than 0",
        CountMustBePositive = "ERR COUNT must be > 0",
        CountNegative = "ERR COUNT can't be negative",
        LimitNegative = "ERR LIMIT can't be negative",
        KeysBeyondArguments = "ERR Number of keys can't be greater than number of args",
        NegativeKeys = "ERR Number of keys can't be negative",
        TransientMemory = "ERR Insufficient memory, failed allocating transient memory, too many args.",
        CrossSlot = "CROSSSLOT Keys in request don't hash to the same slot",
        TryAgain = "TRYAGAIN Multiple keys request during rehashing of slot",
        SlotNotServed = "CLUSTERDOWN Hash slot not served",
        ClusterDown = "CLUSTERDOWN The cluster is down",
        ClusterDownReads = "CLUSTERDOWN The cluster is down and only accepts read commands",
        ClusterDisabled = "ERR This instance has cluster support disabled",
        BusyKey = "BUSYKEY Target key name already exists.",
        InvalidTtl = "ERR Invalid TTL value, must be >= 0",
        InvalidIdletime = "ERR Invalid IDLETIME value, must be >= 0",
        InvalidFreq = "ERR Invalid FREQ value, must be >= 0 and <= 255",
        DumpPayload = "ERR DUMP payload version or checksum are wrong",
        BadDataFormat = "ERR Bad data format",
        LfuSelected = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        LfuNotSelected = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        NovaluesOnlyHscan = "ERR NOVALUES option can only be used in HSCAN",
        NoscoresOnlyZscan = "ERR NOSCORES option can only be used in ZSCAN",
        ScanSlotOnce = "ERR SLOT option can only be specified once",
        // Expiry and timeouts.
        ExpireNxConflict = "ERR NX and XX, GT or LT options at the same time are not compatible",
        ExpireGtLtConflict = "ERR GT and LT options at the same time are not compatible",
        TimeoutNotAFloat = "ERR timeout is not a float or out of range",
        TimeoutNotAnInteger = "ERR timeout is not an integer or out of range",
        TimeoutOutOfRange = "ERR timeout is out of range",
        TimeoutNegative = "ERR timeout is negative",
        // Strings and bits.
        StringTooLong = "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        OffsetOutOfRange = "ERR offset is out of range",
        IncrementOverflow = "ERR increment or decrement would overflow",
        DecrementOverflow = "ERR decrement would overflow",
        IncrementNan = "ERR increment would produce NaN or Infinity",
        InvalidNumkeys = "ERR invalid numkeys value or out of range",
        LcsNotStrings = "ERR The specified keys must contain string values",
        LcsBothForms = "ERR If you want both the length and indexes, please just use IDX.",
        LcsTooLong = "ERR String too long for LCS",
        LcsMemoryLimit = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        LcsMemory = "ERR Insufficient memory, failed allocating transient memory for LCS",
        BitOffset = "ERR bit offset is not an integer or out of range",
        BitValue = "ERR bit is not an integer or out of range",
        BitArgument = "ERR The bit argument must be 1 or 0.",
        BitfieldType = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        BitfieldOverflow = "ERR Invalid OVERFLOW type specified",
        BitfieldReadOnly = "ERR BITFIELD_RO only supports the GET subcommand",
        BitopNot = "ERR BITOP NOT must be called with a single source key.",
        NotHyperLogLog = "WRONGTYPE Key is not a valid HyperLogLog string value.",
        CorruptHyperLogLog = "INVALIDOBJ Corrupted HLL object detected",
        // Hashes, lists, sets, sorting.
        HashNotAnInteger = "ERR hash value is not an integer",
        HashNotAFloat = "ERR hash value is not a float",
        NanOrInfinity = "ERR value is NaN or Infinity",
        Numfields = "ERR numfields should be greater than 0 and match the provided number of fields",
        RankZero = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        MaxlenNegative = "ERR MAXLEN can't be negative",
        SortNotDouble = "ERR One or more scores can't be converted into double",
        SortByDenied = "ERR BY option of SORT denied due to insufficient ACL permissions.",
        SortGetDenied = "ERR GET option of SORT denied due to insufficient ACL permissions.",
        // Sorted sets and places.
        ZaddNxXx = "ERR XX and NX options at the same time are not compatible",
        ZaddGtLtNx = "ERR GT, LT, and/or NX options at the same time are not compatible",
        ZaddIncrPairs = "ERR INCR option supports a single increment-element pair",
        ScoreNan = "ERR resulting score is not a number (NaN)",
        MinMaxNotAFloat = "ERR min or max is not a float",
        MinMaxNotAString = "ERR min or max not valid string range item",
        WeightNotAFloat = "ERR weight value is not a float",
        ZrangeLimit = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ZrangeWithscoresLex = "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        GeoUnit = "ERR unsupported unit provided. please use M, KM, FT, MI",
        GeoRadius = "ERR need numeric radius",
        GeoNegativeRadius = "ERR radius cannot be negative",
        GeoWidth = "ERR need numeric width",
        GeoHeight = "ERR need numeric height",
        GeoNegativeBox = "ERR height or width cannot be negative",
        GeoVerticesNumber = "ERR invalid number of vertices",
        GeoVertices = "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices",
        GeoAnyWithoutCount = "ERR the ANY argument requires COUNT argument",
        // Streams.
        StreamId = "ERR Invalid stream ID specified as stream command argument",
        XaddIdZero = "ERR The ID specified in XADD must be greater than 0-0",
        XaddIdTooSmall = "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        XaddExhausted = "ERR The stream has exhausted the last possible ID, unable to add more items",
        XaddTooLarge = "ERR Elements are too large to be stored",
        MaxlenAndMinid = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        MaxlenArgument = "ERR The MAXLEN argument must be >= 0.",
        LimitArgument = "ERR The LIMIT argument must be >= 0.",
        LimitWithoutStrategy = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        LimitWithoutTilde = "ERR syntax error, LIMIT cannot be used without the special ~ option",
        XtrimStrategy = "ERR syntax error, XTRIM must be called with a trimming strategy",
        IntervalStart = "ERR invalid start ID for the interval",
        IntervalEnd = "ERR invalid end ID for the interval",
        XreadGroup = "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
        XreadNoack = "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
        XreadgroupMissingGroup = "ERR Missing GROUP option for XREADGROUP",
        XreadgroupDollar = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
        XreadgroupPlus = "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
        XreadGreater = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        StreamLastIdZero = "ERR the stream last element ID is 0-0",
        XgroupNoKey = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
        BusyGroup = "BUSYGROUP Consumer Group name already exists",
        EntriesRead = "ERR value for ENTRIESREAD must be positive or -1",
        EntriesAdded = "ERR entries_added must be positive",
        XsetidBelowMaxDeleted = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        XsetidBelowCurrentMaxDeleted = "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        XsetidBelowTop = "ERR The ID specified in XSETID is smaller than the target stream top item",
        XsetidEntriesAdded = "ERR The entries_added specified in XSETID is smaller than the target stream length",
        XclaimMinIdle = "ERR Invalid min-idle-time argument for XCLAIM",
        XclaimIdle = "ERR Invalid IDLE option argument for XCLAIM",
        XclaimTime = "ERR Invalid TIME option argument for XCLAIM",
        XclaimRetrycount = "ERR Invalid RETRYCOUNT option argument for XCLAIM",
        XautoclaimMinIdle = "ERR Invalid min-idle-time argument for XAUTOCLAIM",
        XautoclaimCount = "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        // Transactions and publishing.
        ExecAbort = "EXECABORT Transaction discarded because of previous errors.",
        ExecWithoutMulti = "ERR EXEC without MULTI",
        DiscardWithoutMulti = "ERR DISCARD without MULTI",
        SubscribeDenied = "ERR SUBSCRIBE isn't allowed for a DENY BLOCKING client",
        PsubscribeDenied = "ERR PSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        SsubscribeDenied = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        MonitorDenied = "ERR MONITOR isn't allowed for DENY BLOCKING client",
        Unblocked = "UNBLOCKED client unblocked via CLIENT UNBLOCK",
        UnblockedForced = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        // HELLO, AUTH, CLIENT.
        NoProto = "NOPROTO unsupported protocol version",
        ProtocolVersion = "ERR Protocol version is not an integer or out of range",
        HelloNoAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        AuthWithoutPassword = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        ClientName = "ERR Client names cannot contain spaces, newlines or special characters.",
        NoSuchClient = "ERR No such client",
        ClientIdNotPositive = "ERR client-id should be greater than 0",
        ClientMaxageNumber = "ERR maxage is not an integer or out of range",
        ClientMaxage = "ERR maxage should be greater than 0",
        ClientIdleNumber = "ERR idle is not an integer or out of range",
        ClientIdle = "ERR idle should be greater than 0",
        ClientDbNumber = "ERR DB is not an integer or out of range",
        ClientNotDbNumber = "ERR NOT-DB is not an integer or out of range",
        ClientResetKind = "ERR can only reset normal client connections",
        ClientUnblockReason = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ClientPauseMode = "ERR CLIENT PAUSE mode must be WRITE or ALL",
        TrackingRedirectOnce = "ERR A client can only redirect to a single other client",
        TrackingRedirectUnknown = "ERR The client ID you want redirect to does not exist",
        TrackingPrefixBcast = "ERR PREFIX option requires BCAST mode to be enabled",
        TrackingBcastSwitch = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
        TrackingOptBcast = "ERR OPTIN and OPTOUT are not compatible with BCAST",
        TrackingOptBoth = "ERR You can't specify both OPTIN mode and OPTOUT mode",
        TrackingOptSwitch = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
        CachingWithoutTracking = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        CachingYes = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        CachingNo = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        NotImporting = "ERR Server is not in import mode",
        // Administration.
        CommandInvalid = "ERR Invalid command specified",
        CommandNoKeys = "ERR The command has no key arguments",
        CommandKeyCount = "ERR Invalid number of arguments specified for command",
        CommandKeyArguments = "ERR Invalid arguments specified for command",
        NoConfigFile = "ERR The server is running without a config file",
        SaveInProgress = "ERR Background save already in progress",
        SaveNotInProgress = "ERR Background saving is currently not in progress or scheduled",
        ChildActive = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
        RewriteInProgress = "ERR Background append only file rewriting already in progress",
        RewriteFailed = "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
        ShutdownErrors = "ERR Errors trying to SHUTDOWN. Check logs.",
        ShutdownNone = "ERR No shutdown in progress.",
        ShutdownDenied = "ERR SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client",
        ShutdownFailover = "ERR SHUTDOWN FAILOVER is only supported in cluster mode.",
        PurgeFailed = "ERR Error purging dirty pages",
        CommandlogCount = "ERR count should be greater than or equal to -1",
        CommandlogType = "ERR type should be one of the following: slow, large-request, large-reply",
        DebugNotListpack = "ERR Not a listpack encoded object.",
        DebugOutOfRangeDb = "ERR Out of range database",
        DebugReloadOption = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        DebugReloadFailed = "ERR Error trying to load the RDB dump, check server logs.",
        // Replication.
        ReplicaofFailover = "ERR REPLICAOF not allowed while failing over.",
        ReplicaofFromReplica = "ERR Command is not valid when client is a replica.",
        ReplicaofPort = "ERR Invalid master port",
        WaitOnReplica = "ERR WAIT cannot be used with replica instances. Please also note that if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        WaitaofOnReplica = "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.",
        WaitaofWithoutAof = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        FailoverNone = "ERR No failover in progress.",
        FailoverInProgress = "ERR FAILOVER already in progress.",
        FailoverOnReplica = "ERR FAILOVER is not valid when server is a replica.",
        FailoverNoReplicas = "ERR FAILOVER requires connected replicas.",
        FailoverForce = "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        FailoverTarget = "ERR FAILOVER target HOST and PORT is not a replica.",
        FailoverTargetOffline = "ERR FAILOVER target replica is not online.",
        FailoverTimeout = "ERR FAILOVER timeout must be greater than 0",
        SyncFilterWithoutEof = "ERR Filtered replica requires EOF capability",
        PsyncFailoverToPrimary = "ERR PSYNC FAILOVER can't be sent to a master.",
        PsyncFailoverId = "ERR PSYNC FAILOVER replid must match my replid.",
        ReplconfFilterMissing = "ERR Missing rdb-filter-only values",
        SyncPendingOutput = "ERR SYNC and PSYNC are invalid with pending output",
        // Access control and scripts.
        NoPermKey = "NOPERM No permissions to access a key",
        NoPermChannel = "NOPERM No permissions to access a channel",
        NoPermDatabase = "NOPERM No permissions to access database",
        UserName = "ERR Usernames can't contain spaces or null characters",
        DefaultUserRemoved = "ERR The 'default' user cannot be removed",
        NoAclFile = "ERR This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the configuration.",
        AclSave = "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        ScriptingOff = "ERR Scripts and functions are turned off in this server's configuration ('scripting no').",
        NoScript = "NOSCRIPT No matching script.",
        NotBusy = "NOTBUSY No scripts in execution right now.",
        Unkillable = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        ScriptFlushOption = "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        FunctionFlushOption = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
        LibraryNotFound = "ERR Library not found",
        FunctionNotFound = "ERR Function not found",
    }
    composed {
        /// A command that does not exist, its name and its first arguments: [`CommandError::unknown_command`].
        UnknownCommand(Box<[u8]>),
        /// A container command without the subcommand asked for.
        UnknownSubcommand {
            /// The container as the client wrote it.
            command: Box<[u8]>,
            /// The subcommand as the client wrote it.
            subcommand: Box<[u8]>,
        },
        /// A subcommand whose arguments do not fit.
        SubcommandSyntax {
            /// The container as the client wrote it.
            command: Box<[u8]>,
            /// The subcommand as the client wrote it.
            subcommand: Box<[u8]>,
        },
        /// The count of arguments does not fit the command of this full name (`get`, `config|set`).
        WrongArity(Box<str>),
        /// The expiry a command of this full name was given is not positive or out of range.
        InvalidExpireTime(Box<str>),
        /// A command of this full name was given no keys.
        NoInputKeys(Box<str>),
        /// The primary (`host:port`) that the client has to go to.
        Redirect(Box<str>),
        /// Another node of the cluster serves the slot: `MOVED slot address`, or `ASK slot address`.
        Moved(Box<str>),
        /// A command of this full name may not be queued.
        NotInTransaction(Box<str>),
        /// A command of this full name may not run while the client is subscribed in RESP2.
        NotWhileSubscribed(Box<str>),
        /// DEBUG or MODULE (first) while its option (second) forbids it.
        Protected(&'static str, &'static str),
        /// The data is still being loaded.
        Loading(ServerTitle),
        /// What a script is refused for, or what it says itself, with its code.
        Script(Box<[u8]>),
        /// A script runs for longer than it may.
        BusyScript(ServerTitle),
        /// A function runs for longer than it may.
        BusyFunction(ServerTitle),
        /// Writes are refused since the last snapshot failed.
        MisconfSnapshot(ServerTitle),
        /// Writes are refused since the AOF cannot be written; the system's words for why.
        MisconfAof(Box<str>),
        /// EXEC was refused for this reason; the transaction is gone.
        ExecAbortBecause(Box<CommandError>),
        /// A number beyond the limits given, both allowed.
        OutOfLimits(i64, i64),
        /// An option that EXPIRE and its kin do not have.
        UnsupportedOption(Box<[u8]>),
        /// An option that REPLCONF does not know.
        ReplconfOption(Box<[u8]>),
        /// An address of so many bytes in REPLCONF.
        ReplconfAddress(usize),
        /// A part of snapshots that cannot be asked for.
        ReplconfFilter(Box<[u8]>),
        /// A version that is none.
        ReplconfVersion(Box<[u8]>),
        /// No client of this number gets a snapshot.
        ReplconfClient(i64),
        /// The TYPE of a SCAN.
        UnknownTypeName(Box<[u8]>),
        /// A HELLO option.
        HelloSyntax(Box<[u8]>),
        /// The TYPE of a CLIENT filter.
        UnknownClientType(Box<[u8]>),
        /// The USER of a CLIENT filter.
        NoSuchUser(Box<[u8]>),
        /// A CLIENT SETINFO attribute.
        UnrecognizedOption(Box<[u8]>),
        /// A CLIENT SETINFO value with forbidden bytes; the attribute.
        SpecialCharacters(Box<[u8]>),
        /// A CONFIG SET of an option that is not there.
        ConfigUnknown(Box<[u8]>),
        /// A CONFIG SET that failed at this option, for this reason.
        ConfigFailed {
            /// The option as the client wrote it.
            option: Box<[u8]>,
            /// Why, if there is more to say.
            reason: Option<Box<str>>,
        },
        /// CONFIG REWRITE failed; the system's words for why.
        ConfigRewrite(Box<str>),
        /// A stream's consumer group that is not there.
        NoGroup {
            /// The stream's key.
            key: Box<[u8]>,
            /// The group asked for.
            group: Box<[u8]>,
        },
        /// The same, as XREADGROUP says it.
        NoGroupRead {
            /// The stream's key.
            key: Box<[u8]>,
            /// The group asked for.
            group: Box<[u8]>,
        },
        /// The same, as XGROUP and XINFO say it.
        NoGroupForKey {
            /// The stream's key.
            key: Box<[u8]>,
            /// The group asked for.
            group: Box<[u8]>,
        },
        /// Keys and IDs of XREAD (`$`) or XREADGROUP (`>`) do not pair up: the command's name and that symbol.
        UnbalancedStreams(&'static str, char),
        /// An XCLAIM option.
        XclaimOption(Box<[u8]>),
        /// A longitude and a latitude outside of the map.
        GeoCoordinates(f64, f64),
        /// A member that is not in the sorted set of places.
        GeoMemberMissing(Box<[u8]>),
        /// A STORE together with WITH options; what the client used.
        GeoStoreConflict(&'static str),
        /// Not exactly one centre; the command as the client wrote it.
        GeoCentre(Box<[u8]>),
        /// Not exactly one shape; the command as the client wrote it.
        GeoShape(Box<[u8]>),
        /// The LATENCY event nothing is known of.
        NoLatencySamples(Box<[u8]>),
        /// A user who may not run a command: user, the command's full name.
        NoPermCommand(Box<[u8]>, Box<str>),
        /// EXEC of a command that is no longer allowed; why.
        NoPermExec(Box<str>),
        /// The rare rest: the whole text, code first. [`CommandError::custom`] makes one.
        Custom(Box<[u8]>),
    }
}

/// Bytes of a name, and of all arguments together, that the text of an unknown command repeats.
const REPEATED: usize = 128;

impl CommandError {
    /// Whether a cluster does not serve the keys; such an error is what it is even where EXEC gets it.
    #[must_use]
    pub fn is_redirection(&self) -> bool {
        matches!(
            self,
            Self::Redirect(_)
                | Self::Moved(_)
                | Self::TryAgain
                | Self::CrossSlot
                | Self::SlotNotServed
                | Self::ClusterDown
                | Self::ClusterDownReads
        )
    }

    /// An error of any text, which begins with its code (`ERR ...`).
    #[must_use]
    pub fn custom(text: impl Into<Vec<u8>>) -> Self {
        Self::Custom(text.into().into_boxed_slice())
    }

    /// The error for a command that does not exist, from its name and its arguments as the client wrote them.
    #[must_use]
    pub fn unknown_command<'a>(name: &[u8], args: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut repeated = Vec::new();
        for arg in args {
            if repeated.len() >= REPEATED {
                break;
            }
            let arg = c_string(arg, REPEATED - repeated.len());
            repeated.extend_from_slice(&[b"'", arg, b"' "].concat());
        }
        let name = c_string(name, REPEATED);
        Self::UnknownCommand(
            [b"ERR unknown command '", name, b"', with args beginning with: ", &repeated].concat().into(),
        )
    }

    /// The text, code first, as it is written but for line ends.
    #[must_use]
    pub fn text(&self) -> Cow<'_, [u8]> {
        match (self.fixed_text(), self) {
            (Some(text), _) => Cow::Borrowed(text.as_bytes()),
            (None, Self::Custom(text) | Self::UnknownCommand(text)) => Cow::Borrowed(text),
            (None, _) => Cow::Owned(self.compose()),
        }
    }

    /// The first word of the text, which INFO counts errors by (`errorstat_<code>`).
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        // Valkey looks for the end of the code in the first 32 bytes, the `-` among them.
        const LONGEST: usize = 31;
        if let Some(text) = self.fixed_text() {
            return Cow::Borrowed(text.split_once(' ').map_or(text, |(code, _)| code));
        }
        let text = self.text();
        let head = text.get(..LONGEST).unwrap_or(&text);
        match head.iter().position(|&byte| byte == b' ') {
            Some(end) => {
                Cow::Owned(String::from_utf8_lossy(head.get(..end).unwrap_or_default()).into_owned())
            }
            None => Cow::Borrowed("ERR"),
        }
    }

    /// Writes the error reply.
    pub fn write(&self, reply: &mut Reply) {
        reply.error(&self.text());
    }

    fn compose(&self) -> Vec<u8> {
        match self {
            Self::UnknownSubcommand { command, subcommand } => subcommand_text("", command, subcommand),
            Self::SubcommandSyntax { command, subcommand } => {
                subcommand_text(" or wrong number of arguments for", command, subcommand)
            }
            Self::WrongArity(name) => {
                around("ERR wrong number of arguments for '", name.as_bytes(), "' command")
            }
            Self::InvalidExpireTime(name) => {
                around("ERR invalid expire time in '", name.as_bytes(), "' command")
            }
            Self::NoInputKeys(name) => {
                around("ERR at least 1 input key is needed for '", name.as_bytes(), "' command")
            }
            Self::NotInTransaction(name) => {
                around("ERR Command '", name.as_bytes(), "' not allowed inside a transaction")
            }
            Self::Moved(text) => around("", text.as_bytes(), ""),
            Self::Redirect(address) => around("REDIRECT ", address.as_bytes(), ""),
            Self::NotWhileSubscribed(name) => around(
                "ERR Can't execute '",
                name.as_bytes(),
                "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            ),
            Self::NoPermCommand(user, command) => {
                let text = around("NOPERM User ", user, " has no permissions to run the '");
                [text.as_slice(), command.as_bytes(), b"' command"].concat()
            }
            Self::NoPermExec(reason) => around(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: ",
                reason.as_bytes(),
                "",
            ),
            Self::ExecAbortBecause(reason) => {
                let reason = reason.text();
                let reason = reason.strip_prefix(b"ERR ").unwrap_or(&reason);
                around("EXECABORT Transaction discarded because of: ", reason, "")
            }
            Self::ConfigUnknown(option) => {
                around("ERR Unknown option or number of arguments for CONFIG SET - '", option, "'")
            }
            Self::ConfigFailed { option, reason } => {
                let mut text = around("ERR CONFIG SET failed (possibly related to argument '", option, "')");
                if let Some(reason) = reason {
                    text.extend_from_slice(&[b" - ", reason.as_bytes()].concat());
                }
                text
            }
            Self::ConfigRewrite(reason) => around("ERR Rewriting config file: ", reason.as_bytes(), ""),
            Self::UnsupportedOption(option) => around("ERR Unsupported option ", option, ""),
            Self::UnknownTypeName(name) => around("ERR unknown type name '", name, "'"),
            Self::HelloSyntax(option) => around("ERR Syntax error in HELLO option '", option, "'"),
            Self::UnknownClientType(name) => around("ERR Unknown client type '", name, "'"),
            Self::NoSuchUser(name) => around("ERR No such user '", name, "'"),
            Self::UnrecognizedOption(option) => around("ERR Unrecognized option '", option, "'"),
            Self::SpecialCharacters(attribute) => {
                around("ERR ", attribute, " cannot contain spaces, newlines or special characters.")
            }
            Self::NoLatencySamples(event) => around("ERR No samples available for event '", event, "'"),
            _ => self
                .compose_state()
                .or_else(|| self.compose_replconf())
                .unwrap_or_else(|| self.compose_value()),
        }
    }

    /// The texts of REPLCONF.
    fn compose_replconf(&self) -> Option<Vec<u8>> {
        let text = match self {
            Self::ReplconfOption(option) => around("ERR Unrecognized REPLCONF option: ", option, ""),
            Self::ReplconfAddress(length) => {
                format!("ERR REPLCONF ip-address provided by replica instance is too long: {length} bytes")
                    .into_bytes()
            }
            Self::ReplconfFilter(part) => around("ERR Unsupported rdb-filter-only option: ", part, ""),
            Self::ReplconfVersion(text) => around("ERR Unrecognized version format: ", text, ""),
            Self::ReplconfClient(id) => format!("ERR Unrecognized RDB client id {id}").into_bytes(),
            _ => return None,
        };
        Some(text)
    }

    /// The texts about what the server is doing.
    fn compose_state(&self) -> Option<Vec<u8>> {
        let text = match self {
            Self::Protected(command, option) => format!(
                "ERR {command} command not allowed. If the {option} option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server."
            ),
            Self::Loading(title) => format!("LOADING {} is loading the dataset in memory", title.name()),
            Self::BusyScript(title) => format!(
                "BUSY {} is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                title.name()
            ),
            Self::BusyFunction(title) => format!(
                "BUSY {} is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
                title.name()
            ),
            Self::MisconfSnapshot(title) => format!(
                "MISCONF {0} is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the {0} logs for details about the RDB error.",
                title.name()
            ),
            Self::MisconfAof(reason) => format!("MISCONF Errors writing to the AOF file: {reason}"),
            _ => return None,
        };
        Some(text.into_bytes())
    }

    /// The texts about keys, members and numbers.
    fn compose_value(&self) -> Vec<u8> {
        match self {
            Self::Script(text) => text.to_vec(),
            Self::OutOfLimits(least, most) => {
                format!("ERR value is out of range, value must between {least} and {most}").into_bytes()
            }
            Self::NoGroup { key, group } => no_group(key, group, "'"),
            Self::NoGroupRead { key, group } => no_group(key, group, "' in XREADGROUP with GROUP option"),
            Self::NoGroupForKey { key, group } => {
                let text = around("NOGROUP No such consumer group '", group, "' for key name '");
                [text.as_slice(), c_string(key, usize::MAX), b"'"].concat()
            }
            Self::UnbalancedStreams(command, symbol) => format!(
                "ERR Unbalanced '{command}' list of streams: for each stream key an ID or '{symbol}' must be specified."
            )
            .into_bytes(),
            Self::XclaimOption(option) => around("ERR Unrecognized XCLAIM option '", option, "'"),
            Self::GeoCoordinates(longitude, latitude) => {
                format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into_bytes()
            }
            Self::GeoMemberMissing(member) => around("ERR member ", member, " does not exist"),
            Self::GeoStoreConflict(form) => {
                around("ERR ", form.as_bytes(), " is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
            }
            Self::GeoCentre(command) => {
                around("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ", command, "")
            }
            Self::GeoShape(command) => {
                around("ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for ", command, "")
            }
            // Every other error has its text above; this keeps a forgotten one an error.
            _ => b"ERR".to_vec(),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl std::error::Error for CommandError {}

/// What C's `%.<most>s` prints of `bytes`.
fn c_string(bytes: &[u8], most: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    bytes.get(..end.min(most)).unwrap_or_default()
}

fn around(before: &str, argument: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), c_string(argument, usize::MAX), after.as_bytes()].concat()
}

fn subcommand_text(between: &str, command: &[u8], subcommand: &[u8]) -> Vec<u8> {
    let subcommand = c_string(subcommand, REPEATED);
    let command = c_string(command, usize::MAX).to_ascii_uppercase();
    [b"ERR unknown subcommand", between.as_bytes(), b" '", subcommand, b"'. Try ", &command, b" HELP."]
        .concat()
}

fn no_group(key: &[u8], group: &[u8], after: &str) -> Vec<u8> {
    let text = around("NOGROUP No such key '", key, "' or consumer group '");
    [text.as_slice(), c_string(group, usize::MAX), after.as_bytes()].concat()
}
