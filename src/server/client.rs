//! The record of each client: who it is, what it may do, and what its connection holds, byte for byte.
//!
//! Connections live in tasks of their own, yet every buffer must be weighed at the instant of a fork: a record knows
//! the query buffer's and the reply buffer's allocations at every moment outside of a socket call.

use crate::memory::{MemoryUsage, box_usage, vec_usage};
use crate::replication::{PrimaryStream, Replica};
use crate::resp::{Protocol, Reply};

use super::acl::Login;
use super::blocking::Blocked;
use super::client_eviction::Weighed;
use super::command::TableEntry;
use super::pubsub::Subscriptions;
use super::slot_migration::{Direction, SlotLink};
use super::tracking::{ClientTracking, TrackingMode};

/// A client's place in the registry while it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(usize);

impl ClientKey {
    /// The place as a number: small, and used again after the client is gone.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// The classes that `CLIENT KILL TYPE`, output limits and the profile tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    /// Everyone else.
    Normal,
    /// With at least one subscription.
    Pubsub,
    /// A replica that is fed by this server.
    Replica,
    /// The link to this server's primary.
    Primary,
    /// The node that slots come from.
    SlotImport,
    /// The node that slots go to.
    SlotExport,
}

impl ClientClass {
    /// The name in `CLIENT LIST TYPE`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Pubsub => "pubsub",
            Self::Replica => "replica",
            Self::Primary => "primary",
            Self::SlotImport => "slot-import",
            Self::SlotExport => "slot-export",
        }
    }
}

/// Whether a name consists of visible ASCII characters only, so that it cannot break the lines of CLIENT LIST.
#[must_use]
pub fn is_plain_word(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_graphic)
}

/// Which replies a client wants (`CLIENT REPLY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// All of them.
    #[default]
    On,
    /// None.
    Off,
    /// The next one is dropped; the command that asks for it replies nothing by itself.
    SkipNext,
    /// The one being made is dropped, then all again.
    Skip,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    /// The number that `CLIENT ID` replies; never used twice.
    pub id: u64,
    /// Its place in the registry.
    pub key: ClientKey,
    /// `address:port`, or the socket's path and `:0`.
    pub address: String,
    /// The server's end.
    pub local_address: String,
    /// The socket's descriptor, as a number to show.
    pub descriptor: i32,
    /// Through the unix socket.
    pub unix_socket: bool,
    /// `CLIENT SETNAME`; empty for none.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: Vec<u8>,
    /// The selected database.
    pub database: usize,
    /// Whom it acts as.
    pub login: Login,
    /// That user has not every right there is: what it asks for has to be checked.
    pub restricted: bool,
    /// May run commands that need authentication.
    pub authenticated: bool,
    /// Has been authenticated before, if it is not now: what limits strangers does not limit it.
    pub ever_authenticated: bool,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// `CLIENT IMPORT-SOURCE`.
    pub import_source: bool,
    /// `CLIENT CAPA redirect`.
    pub follows_redirects: bool,
    /// It is fed every command (`MONITOR`).
    pub monitor: bool,
    /// `CLIENT REPLY`.
    pub reply_mode: ReplyMode,
    /// `READONLY` was called.
    pub readonly: bool,
    /// `ASKING` was called for the next request.
    pub asking: bool,
    /// Close once the output is flushed.
    pub close_after_reply: bool,
    /// Close at once.
    pub close_now: bool,
    /// `DEBUG PROTECT-CLIENT`: the server does not close it.
    pub protected: bool,
    /// In the list of those whose connections have to look at their records.
    pub attention: bool,
    /// Since when its output has been over the soft limit, Unix ms.
    pub over_soft_limit_since_ms: Option<i64>,
    /// When it connected, Unix ms.
    pub created_ms: i64,
    /// When it last sent something, Unix ms.
    pub last_interaction_ms: i64,
    /// The command it ran last.
    pub last_command: Option<&'static TableEntry>,
    /// What it waits for, if it is blocked.
    pub blocked: Option<Box<Blocked>>,
    /// The transaction it is collecting, if it is in MULTI.
    pub transaction: Option<Box<super::transaction::Transaction>>,
    /// The channels and patterns it subscribes to, if there are any.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// How it tracks keys, if it does.
    pub tracking: Option<Box<ClientTracking>>,
    /// Keys it watches, as (database, key).
    pub watched: Vec<(usize, Vec<u8>)>,
    /// Bytes of the names in `watched`.
    pub watched_bytes: usize,
    /// A watched key was changed: EXEC will fail.
    pub watch_broken: bool,
    /// The offset of the stream after its last write.
    pub write_offset: i64,
    /// What is known of it as a replica, once it has introduced itself as one.
    pub replica: Option<Box<Replica>>,
    /// It is this server's primary: its stream.
    pub primary: Option<Box<PrimaryStream>>,
    /// It is the other end of a migration of slots.
    pub slot_link: Option<SlotLink>,
    /// Replies that wait to be sent.
    pub output: Reply,
    /// When the most that `output` has held was last forgotten, Unix ms.
    pub output_peak_reset_ms: i64,
    /// What of them waits for a sync of the append-only file.
    pub gate: super::aof::Gate,
    /// The server's own, without a connection: no list shows it.
    pub hidden: bool,
    /// Bytes received and not yet run, and the capacity of their buffer.
    pub query: QueryFigures,
    /// Bytes that the connection's own task and socket objects allocated.
    pub connection_bytes: usize,
    /// What it weighed last towards `maxmemory-clients`.
    pub weighed: Weighed,
    /// Bytes received since it connected.
    pub bytes_in: u64,
    /// Bytes sent since it connected.
    pub bytes_out: u64,
    /// Commands run since it connected.
    pub commands: u64,
}

/// What a connection's query buffer holds.
#[derive(Debug, Default, Clone, Copy)]
pub struct QueryFigures {
    /// Bytes that wait to be parsed.
    pub pending: usize,
    /// Bytes that still fit.
    pub spare: usize,
    /// Usable bytes of the buffer and the parser's arguments.
    pub allocated: usize,
    /// Bytes of an unfinished request that are parsed.
    pub arguments: usize,
}

impl Client {
    /// A client that has just connected.
    #[must_use]
    pub fn new(key: ClientKey, id: u64, now_ms: i64) -> Self {
        Self {
            id,
            key,
            address: String::new(),
            local_address: String::new(),
            descriptor: -1,
            unix_socket: false,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            database: 0,
            login: Login::Default,
            restricted: false,
            authenticated: false,
            ever_authenticated: false,
            no_evict: false,
            no_touch: false,
            import_source: false,
            follows_redirects: false,
            monitor: false,
            reply_mode: ReplyMode::On,
            readonly: false,
            asking: false,
            close_after_reply: false,
            close_now: false,
            protected: false,
            attention: false,
            over_soft_limit_since_ms: None,
            created_ms: now_ms,
            last_interaction_ms: now_ms,
            last_command: None,
            blocked: None,
            transaction: None,
            subscriptions: None,
            tracking: None,
            watched: Vec::new(),
            watched_bytes: 0,
            watch_broken: false,
            write_offset: 0,
            replica: None,
            primary: None,
            slot_link: None,
            output: Reply::new(Protocol::Resp2),
            output_peak_reset_ms: now_ms,
            gate: Default::default(),
            hidden: false,
            query: QueryFigures::default(),
            connection_bytes: 0,
            weighed: Weighed::default(),
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
        }
    }

    /// The class it belongs to.
    #[must_use]
    pub fn class(&self) -> ClientClass {
        if self.primary.is_some() {
            ClientClass::Primary
        } else if let Some(link) = self.slot_link {
            match link.direction {
                Direction::Import => ClientClass::SlotImport,
                Direction::Export => ClientClass::SlotExport,
            }
        } else if self.replica.as_ref().is_some_and(|replica| replica.is_attached()) {
            ClientClass::Replica
        } else if self.subscriptions.is_some() {
            ClientClass::Pubsub
        } else {
            ClientClass::Normal
        }
    }

    /// Whether its requests are history that was made elsewhere: they are run whatever the state of this server.
    #[must_use]
    pub fn is_obeyed(&self) -> bool {
        self.primary.is_some() || self.hidden || self.imports_slots()
    }

    /// Whether its requests bring the keys of slots that are on their way here.
    #[inline]
    #[must_use]
    pub fn imports_slots(&self) -> bool {
        self.slot_link.is_some_and(|link| link.direction == Direction::Import)
    }

    /// Lets it in, or has it ask to be let in.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
        self.ever_authenticated |= authenticated;
    }

    /// Seconds since it last sent something.
    #[must_use]
    pub fn idle_seconds(&self, now_ms: i64) -> i64 {
        (now_ms - self.last_interaction_ms).max(0) / 1000
    }

    /// The number of the client that is told of changes in its place: 0 for none, -1 if it does not track.
    #[must_use]
    pub fn redirect(&self) -> i64 {
        let redirect =
            |tracking: &ClientTracking| tracking.redirect.map_or(0, |client| client.id.cast_signed());
        self.tracking.as_deref().map_or(-1, redirect)
    }

    /// Whether it tracks, has lost the client that it redirects to, and broadcasts.
    #[must_use]
    pub fn tracking_flags(&self) -> [bool; 3] {
        self.tracking.as_ref().map_or([false; 3], |tracking| {
            [true, tracking.redirect_is_broken, tracking.mode == TrackingMode::Broadcast]
        })
    }

    /// Forgets the transaction and what it watched.
    pub fn discard_transaction(&mut self) {
        self.transaction = None;
        self.watch_broken = false;
    }
}

impl MemoryUsage for Client {
    fn memory_usage(&self) -> usize {
        box_usage::<Self>()
            + crate::memory::usable_size(self.address.capacity())
            + crate::memory::usable_size(self.local_address.capacity())
            + vec_usage(&self.name)
            + vec_usage(&self.library_name)
            + vec_usage(&self.library_version)
            + vec_usage(&self.watched)
            + self.watched_bytes
            + self.blocked.as_ref().map_or(0, |blocked| box_usage::<Blocked>() + blocked.memory_usage())
            + self.transaction.as_ref().map_or(0, |transaction| transaction.memory_usage())
            + self.subscriptions.as_ref().map_or(0, |all| box_usage::<Subscriptions>() + all.memory_usage())
            + self.replica.as_ref().map_or(0, |replica| box_usage::<Replica>() + replica.memory_usage())
            + self.primary.as_ref().map_or(0, |stream| box_usage::<PrimaryStream>() + stream.memory_usage())
            + self
                .tracking
                .as_ref()
                .map_or(0, |tracking| box_usage::<ClientTracking>() + tracking.memory_usage())
            + self.output.memory_usage()
            + self.query.allocated
            + self.connection_bytes
    }
}

/// Every connected client.
#[derive(Debug, Default)]
pub struct Clients {
    slots: Vec<Option<Box<Client>>>,
    free: Vec<usize>,
    connected: usize,
    next_id: u64,
    /// Clients whose output grew, or whose state needs their connection's attention, outside of their own request.
    attention: Vec<ClientKey>,
}

impl Clients {
    /// Registers a client made by `make` from its key and number.
    pub fn add(&mut self, make: impl FnOnce(ClientKey, u64) -> Client) -> ClientKey {
        self.next_id += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let key = ClientKey(index);
        self.slots[index] = Some(Box::new(make(key, self.next_id)));
        self.connected += 1;
        key
    }

    /// Registers a client of the server's own, which is not among the connected ones.
    pub fn add_hidden(&mut self, now_ms: i64) -> ClientKey {
        let last_id = self.next_id;
        let key = self.add(|key, _| Client::of_aof(key, now_ms));
        self.next_id = last_id;
        self.connected -= 1;
        key
    }

    /// Takes a client's record away; its key may be given to another.
    pub fn remove(&mut self, key: ClientKey) -> Option<Box<Client>> {
        let client = self.slots.get_mut(key.0)?.take()?;
        self.free.push(key.0);
        self.connected -= usize::from(!client.hidden);
        if client.attention {
            self.attention.retain(|other| *other != key);
        }
        Some(client)
    }

    /// A client.
    #[must_use]
    pub fn get(&self, key: ClientKey) -> Option<&Client> {
        self.slots.get(key.0)?.as_deref()
    }

    /// A client, to change.
    pub fn get_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        self.slots.get_mut(key.0)?.as_deref_mut()
    }

    /// The client with this number.
    #[must_use]
    pub fn by_id(&self, id: u64) -> Option<&Client> {
        self.iter().find(|client| client.id == id)
    }

    /// All clients, by place.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().flatten().map(Box::as_ref).filter(|client| !client.hidden)
    }

    /// All clients, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().flatten().map(Box::as_mut)
    }

    /// How many are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connected
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connected == 0
    }

    /// The number that the next client gets, less one.
    #[must_use]
    pub fn last_id(&self) -> u64 {
        self.next_id
    }

    /// Has the connection of a client look at its record after this batch: there is output, or it has to close.
    pub fn needs_attention(&mut self, key: ClientKey) {
        let Some(client) = self.get_mut(key) else { return };
        if !std::mem::replace(&mut client.attention, true) {
            self.attention.push(key);
        }
    }

    /// Closes a client at once, or after its output when it is the one whose request is running.
    pub fn close(&mut self, key: ClientKey, running: Option<ClientKey>) {
        if let Some(client) = self.get_mut(key).filter(|client| !client.protected) {
            if running == Some(key) {
                client.close_after_reply = true;
            } else {
                client.close_now = true;
            }
            self.needs_attention(key);
        }
    }

    /// Takes the list of those whose connections have to look.
    pub fn take_attention(&mut self) -> Vec<ClientKey> {
        let keys = std::mem::take(&mut self.attention);
        for key in &keys {
            if let Some(client) = self.get_mut(*key) {
                client.attention = false;
            }
        }
        keys
    }

    /// Whether some connection has to look at its record.
    #[must_use]
    pub fn has_attention(&self) -> bool {
        !self.attention.is_empty()
    }

    /// Bytes of the registry itself; the clients' own bytes are counted by class.
    #[must_use]
    pub fn registry_usage(&self) -> usize {
        vec_usage(&self.slots) + vec_usage(&self.free) + vec_usage(&self.attention)
    }
}
