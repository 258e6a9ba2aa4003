//! The options whose value is one of a few words, one enum each, and the word sets of `shutdown-on-*`.
//!
//! A word is recognised in any case and printed in lower case, with the first spelling of its variant.

use super::spec::{Kind, OptionSpec};
use super::value::{OptionValue, Reason, replace};

macro_rules! word_options {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $word:literal $(| $other:literal)*),+ $(,)? })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $vdoc])+ $variant),+
        }

        impl $name {
            /// Every accepted word, in the order Valkey lists them.
            pub const WORDS: &'static [&'static str] = &[$($word $(, $other)*),+];

            /// The word this value is printed as.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            fn from_word(word: &[u8]) -> Option<Self> {
                $(if word.eq_ignore_ascii_case($word.as_bytes()) $(|| word.eq_ignore_ascii_case($other.as_bytes()))* {
                    return Some(Self::$variant);
                })+
                None
            }
        }

        impl OptionValue for $name {
            fn print(&self, _: &OptionSpec) -> Vec<u8> {
                self.word().as_bytes().to_vec()
            }

            fn assign(&mut self, arguments: &[&[u8]], spec: &OptionSpec) -> Result<bool, Reason> {
                let new = match arguments {
                    [word] => Self::from_word(word),
                    _ => None,
                };
                Ok(replace(self, new.ok_or_else(|| not_a_word(spec))?, spec))
            }
        }
    )+};
}

fn not_a_word(spec: &OptionSpec) -> Reason {
    let words = match spec.kind {
        Kind::Enum(words) | Kind::EnumSet(words) => words,
        _ => &[],
    };
    format!("argument(s) must be one of the following: {}", words.join(", ")).into()
}

word_options! {
    /// Which keys are evicted at the memory limit, and by which rule.
    MaxmemoryPolicy {
        /// Least recently used, of the keys with an expiry.
        VolatileLru = "volatile-lru",
        /// Least frequently used, of the keys with an expiry.
        VolatileLfu = "volatile-lfu",
        /// Any key with an expiry.
        VolatileRandom = "volatile-random",
        /// The nearest expiry first.
        VolatileTtl = "volatile-ttl",
        /// Least recently used of all keys.
        AllkeysLru = "allkeys-lru",
        /// Least frequently used of all keys.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// Nothing is evicted; writes are refused.
        NoEviction = "noeviction",
    }
    /// The syslog facility that messages carry.
    SyslogFacility {
        /// LOG_USER.
        User = "user",
        /// LOG_LOCAL0.
        Local0 = "local0",
        /// LOG_LOCAL1.
        Local1 = "local1",
        /// LOG_LOCAL2.
        Local2 = "local2",
        /// LOG_LOCAL3.
        Local3 = "local3",
        /// LOG_LOCAL4.
        Local4 = "local4",
        /// LOG_LOCAL5.
        Local5 = "local5",
        /// LOG_LOCAL6.
        Local6 = "local6",
        /// LOG_LOCAL7.
        Local7 = "local7",
    }
    /// The least important messages that are still logged.
    LogLevel {
        /// Everything.
        Debug = "debug",
        /// Much, little of it of use every day.
        Verbose = "verbose",
        /// What a production server should say.
        Notice = "notice",
        /// Important messages only.
        Warning = "warning",
        /// Nothing at all.
        Nothing = "nothing",
    }
    /// Which supervisor started the server.
    Supervised {
        /// Upstart: stop with SIGSTOP when ready.
        Upstart = "upstart",
        /// systemd: notify through its socket.
        Systemd = "systemd",
        /// Look at the environment.
        Auto = "auto",
        /// None.
        No = "no",
    }
    /// When the append-only file is forced to disk.
    AppendFsync {
        /// Once a second, in the background.
        Everysec = "everysec",
        /// After every write command.
        Always = "always",
        /// When the operating system likes.
        No = "no",
    }
    /// How a replica loads the snapshot it receives over the socket.
    ReplDisklessLoad {
        /// Through a file.
        Disabled = "disabled",
        /// Directly, when it holds no data.
        OnEmptyDb = "on-empty-db",
        /// Directly, beside the old data.
        Swapdb = "swapdb",
        /// Directly, after dropping the old data.
        FlushBeforeLoad = "flush-before-load",
    }
    /// Whether TLS clients must present a certificate.
    TlsAuthClients {
        /// It is not asked for.
        No = "no",
        /// It is required.
        Yes = "yes",
        /// It is checked when presented.
        Optional = "optional",
    }
    /// The certificate field that names the user a TLS client is.
    TlsAuthClientsUser {
        /// The common name.
        CommonName = "CN",
        /// The alternative name that is a URI.
        Uri = "URI",
        /// None.
        Off = "off",
    }
    /// Whether and how `oom_score_adj` is set.
    OomScoreAdj {
        /// Left alone.
        No = "no",
        /// Relative to the value at start.
        Relative = "yes" | "relative",
        /// As given.
        Absolute = "absolute",
    }
    /// What a new user may do with channels.
    AclPubsubDefault {
        /// Every channel.
        AllChannels = "allchannels",
        /// None.
        ResetChannels = "resetchannels",
    }
    /// Who may use a protected feature.
    ProtectedAction {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Clients on this machine.
        Local = "local",
    }
    /// What cluster clients are told to connect to.
    ClusterPreferredEndpointType {
        /// The address.
        Ip = "ip",
        /// The host name.
        Hostname = "hostname",
        /// Nothing: the client keeps the address it used.
        UnknownEndpoint = "unknown-endpoint",
    }
    /// What happens when the cluster configuration file cannot be saved.
    ClusterConfigSaveBehavior {
        /// The server exits.
        Sync = "sync",
        /// It goes on.
        BestEffort = "best-effort",
    }
    /// What happens when a replicated command fails.
    PropagationErrorBehavior {
        /// It is logged.
        Ignore = "ignore",
        /// The server stops.
        Panic = "panic",
        /// The server stops if it is a replica.
        PanicOnReplicas = "panic-on-replicas",
    }
    /// The layout of a log line.
    LogFormat {
        /// The classic one.
        Legacy = "legacy",
        /// key=value pairs.
        Logfmt = "logfmt",
        /// A JSON object.
        Json = "json",
    }
    /// The layout of the time in a log line.
    LogTimestampFormat {
        /// Day, month name and local time with milliseconds.
        Legacy = "legacy",
        /// ISO 8601 with the offset from UTC.
        Iso8601 = "iso8601",
        /// Milliseconds since 1970.
        Milliseconds = "milliseconds",
    }
    /// Whether snapshots of a newer format version are refused.
    RdbVersionCheck {
        /// They are.
        Strict = "strict",
        /// They are tried.
        Relaxed = "relaxed",
    }
}

/// What a shutdown by signal does (`shutdown-on-sigint`, `shutdown-on-sigterm`); no bit set is the default way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOnSignal(u8);

impl ShutdownOnSignal {
    /// Save even without save points.
    pub const SAVE: ShutdownOnSignal = ShutdownOnSignal(1);
    /// Do not save.
    pub const NOSAVE: ShutdownOnSignal = ShutdownOnSignal(2);
    /// Do not wait for replicas.
    pub const NOW: ShutdownOnSignal = ShutdownOnSignal(4);
    /// Exit even when saving fails.
    pub const FORCE: ShutdownOnSignal = ShutdownOnSignal(8);
    /// Refuse when it is not safe.
    pub const SAFE: ShutdownOnSignal = ShutdownOnSignal(16);
    /// Hand over to a replica first.
    pub const FAILOVER: ShutdownOnSignal = ShutdownOnSignal(32);
    /// Every accepted word.
    pub const WORDS: &'static [&'static str] =
        &["default", "save", "nosave", "now", "force", "safe", "failover"];

    /// The default way: no bit set.
    pub const DEFAULT: ShutdownOnSignal = ShutdownOnSignal(0);

    /// True when the bits of `other` are set.
    pub const fn has(self, other: ShutdownOnSignal) -> bool {
        self.0 & other.0 == other.0
    }

    fn from_word(word: &[u8]) -> Option<u8> {
        let position = Self::WORDS.iter().position(|w| word.eq_ignore_ascii_case(w.as_bytes()))?;
        Some(if position == 0 { 0 } else { 1 << (position - 1) })
    }
}

impl OptionValue for ShutdownOnSignal {
    fn print(&self, _: &OptionSpec) -> Vec<u8> {
        let set = Self::WORDS.iter().skip(1).enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        let words: Vec<&str> = set.map(|(_, word)| *word).collect();
        if words.is_empty() { b"default".to_vec() } else { words.join(" ").into_bytes() }
    }

    fn assign(&mut self, arguments: &[&[u8]], spec: &OptionSpec) -> Result<bool, Reason> {
        if arguments.is_empty() {
            return Err(not_a_word(spec));
        }
        let mut bits = 0;
        for word in arguments {
            bits |= Self::from_word(word).ok_or_else(|| not_a_word(spec))?;
        }
        let new = ShutdownOnSignal(bits);
        if new.has(Self::SAVE) && new.has(Self::NOSAVE) {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(replace(self, new, spec))
    }
}
