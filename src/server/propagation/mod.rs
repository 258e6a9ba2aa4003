//! Propagation: what a command did, told to the append-only file and to the replicas.
//!
//! Effects are collected, encoded as requests, while a *unit of execution* runs (a command, an EXEC or a script with all
//! they call, one blocked client served, one turn of expiry or eviction), and handed out when it ends: several effects of
//! a unit stand between MULTI and EXEC, so that whoever applies them applies all or none. The engine's entry points end
//! units; what runs inside of a command (`Context::run`) only collects, so no depth is counted.
//!
//! Effects stand in the order in which they were said; what look-ups noted (expired keys) goes before the command that
//! met it, and the request itself comes last unless the handler said something in its place. With nobody listening a
//! command pays one branch and nothing is encoded. Two streams, because each selects its database by itself and
//! a script may feed one of them only.

#[cfg(test)]
mod tests;

use super::command::Args;
use super::{Context, Server};
use crate::memory::{MemoryUsage, vec_usage};

/// A buffer keeps this many bytes when it has been handed out.
const KEPT_BYTES: usize = 16 * 1024;
/// The list of a unit's effects keeps room for this many.
const KEPT_EFFECTS: usize = 64;

/// Who is told of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Targets {
    /// The append-only file.
    pub aof: bool,
    /// The backlog and the replicas.
    pub replicas: bool,
}

impl Targets {
    /// Nobody.
    pub const NONE: Self = Self { aof: false, replicas: false };
    /// Both.
    pub const ALL: Self = Self { aof: true, replicas: true };
    /// The append-only file alone.
    pub const AOF: Self = Self { aof: true, replicas: false };
    /// The replicas alone.
    pub const REPLICAS: Self = Self { aof: false, replicas: true };

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { aof: self.aof || other.aof, replicas: self.replicas || other.replicas }
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { aof: self.aof && other.aof, replicas: self.replicas && other.replicas }
    }

    /// Whether there is one.
    #[must_use]
    pub const fn any(self) -> bool {
        self.aof || self.replicas
    }
}

/// One of the two streams.
#[derive(Debug, Default)]
pub struct Stream {
    /// The database that its last SELECT named; `None`: the next effect is preceded by one.
    database: Option<usize>,
}

impl Stream {
    /// The database that is selected where the stream ends.
    #[must_use]
    pub fn database(&self) -> Option<usize> {
        self.database
    }

    /// The stream begins anew (another file, another replica): its next effect is preceded by SELECT.
    pub fn reset_database(&mut self) {
        self.database = None;
    }
}

/// One effect of the running unit.
#[derive(Debug, Clone, Copy)]
struct Effect {
    database: usize,
    targets: Targets,
    /// It is told to the targets of its slot, too, if that is on its way.
    exported: bool,
    /// Where its request ends in the unit's bytes; it begins where the one before ends.
    end: usize,
}

/// What becomes of the request that a handler runs for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OwnRequest {
    /// Something else was said in its place, or that nothing is to be.
    replaced: bool,
    /// Who is told even if nothing changed.
    forced: Targets,
}

/// What the running unit has done so far, and how far the two streams are.
#[derive(Debug)]
pub struct Propagation {
    listeners: Targets,
    /// Slots are on their way to other nodes, which are told what replicas are told.
    exports: bool,
    /// Whom the commands that run now may reach: less than all while a script says so (`set_repl`). Expiry does not ask.
    pub allowed: Targets,
    /// The requests of the unit's effects, one behind the other.
    bytes: Vec<u8>,
    effects: Vec<Effect>,
    /// What goes to the append-only file.
    pub aof: Stream,
    /// What goes to the backlog and the replicas.
    pub replicas: Stream,
}

impl Default for Propagation {
    fn default() -> Self {
        Self {
            listeners: Targets::NONE,
            exports: false,
            allowed: Targets::ALL,
            bytes: Vec::new(),
            effects: Vec::new(),
            aof: Stream::default(),
            replicas: Stream::default(),
        }
    }
}

impl Propagation {
    /// Whether anybody listens; if not, nothing need be said.
    #[inline]
    #[must_use]
    pub fn listens(&self) -> bool {
        self.listeners.any() | self.exports
    }

    /// Slots begin or end to be on their way to other nodes.
    pub fn set_exports(&mut self, exports: bool) {
        self.exports = exports;
    }

    /// The append-only file begins or ends to listen. Its stream begins anew with it.
    pub fn set_aof_listens(&mut self, listens: bool) {
        self.listeners.aof = listens;
        self.aof.reset_database();
    }

    /// The backlog or replicas begin or end to listen. A replica's primary feeds its backlog, so it does not listen here.
    pub fn set_replicas_listen(&mut self, listens: bool) {
        self.listeners.replicas = listens;
        self.replicas.reset_database();
    }

    /// Whether the running unit has said something.
    #[inline]
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Says that a request of these arguments would do what was done.
    pub fn push<'a>(
        &mut self,
        database: usize,
        targets: Targets,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
    ) {
        let exported = targets.replicas && self.exports;
        let targets = targets.and(self.listeners);
        if targets.any() || exported {
            encode(&mut self.bytes, args);
            self.effects.push(Effect { database, targets, exported, end: self.bytes.len() });
        }
    }

    /// The same of a request that may stand encoded already.
    fn push_request(&mut self, database: usize, targets: Targets, args: Args<'_>) {
        let exported = targets.replicas && self.exports;
        let heard = targets.and(self.listeners);
        if let (true, Some(encoded)) = (heard.any() || exported, args.encoded()) {
            self.bytes.extend_from_slice(encoded);
            self.effects.push(Effect { database, targets: heard, exported, end: self.bytes.len() });
        } else {
            self.push(database, targets, args.iter());
        }
    }

    /// Writes what one stream gets of the unit.
    fn write_unit(
        &self,
        database: &mut Option<usize>,
        is_target: fn(Targets) -> bool,
        wrapped: bool,
        out: &mut Vec<u8>,
    ) {
        if !self.effects.iter().any(|effect| is_target(effect.targets)) {
            return;
        }
        out.reserve(self.bytes.len());
        if wrapped {
            encode(out, [b"MULTI".as_slice()].into_iter());
        }
        let mut start = 0;
        for effect in &self.effects {
            if is_target(effect.targets) {
                if *database != Some(effect.database) {
                    let number = itoa::Buffer::new().format(effect.database).to_owned();
                    encode(out, [b"SELECT".as_slice(), number.as_bytes()].into_iter());
                    *database = Some(effect.database);
                }
                out.extend_from_slice(self.bytes.get(start..effect.end).unwrap_or_default());
            }
            start = effect.end;
        }
        if wrapped {
            encode(out, [b"EXEC".as_slice()].into_iter());
        }
    }

    /// Whether the unit's bytes are what the replicas get: one effect that is theirs, in the database that is selected.
    fn is_plain(&self, database: Option<usize>) -> bool {
        matches!(self.effects[..], [effect] if effect.targets.replicas && database == Some(effect.database))
    }

    /// Bytes of the effects that replicas are told, without what parts and selects.
    fn bytes_of_replicas(&self) -> usize {
        let mut start = 0;
        let told = |effect: &Effect| {
            let bytes = effect.end - std::mem::replace(&mut start, effect.end);
            if effect.targets.replicas { bytes } else { 0 }
        };
        self.effects.iter().map(told).sum()
    }

    fn forget_unit(&mut self) {
        self.effects.clear();
        self.effects.shrink_to(KEPT_EFFECTS);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

impl MemoryUsage for Propagation {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.bytes) + vec_usage(&self.effects)
    }
}

/// Appends a request: an array of bulk strings.
fn encode<'a>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    let header = |out: &mut Vec<u8>, mark, length: usize| {
        out.push(mark);
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    header(out, b'*', args.len());
    for arg in args {
        header(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

impl Server {
    /// Ends the unit of execution: what it said goes out, between MULTI and EXEC if it is more than one effect.
    #[inline]
    pub fn end_unit(&mut self) {
        // A script that was put aside has not done all of its unit.
        if self.propagation.is_pending() && !self.scripting.is_busy() {
            let wrapped = self.propagation.effects.len() > 1;
            self.hand_out(wrapped);
        }
    }

    /// Ends a unit whose effects do not depend on each other (expiry, eviction, SCAN): they go out one by one.
    #[inline]
    pub fn end_unit_of_independent(&mut self) {
        if self.propagation.is_pending() && !self.scripting.is_busy() {
            self.hand_out(false);
        }
    }

    #[cold]
    fn hand_out(&mut self, wrapped: bool) {
        let propagation = &mut self.propagation;
        if propagation.listeners.aof && self.aof.listens() {
            let mut database = propagation.aof.database;
            let seconds = self.config.aof_timestamp_enabled.then_some(self.now_ms / 1000);
            let out = self.aof.begin_feed(seconds);
            propagation.write_unit(&mut database, |targets| targets.aof, wrapped, out);
            propagation.aof.database = database;
            self.aof.end_feed();
        }
        if propagation.listeners.replicas {
            let mut database = propagation.replicas.database;
            if propagation.is_plain(database) {
                self.replication.feed(&propagation.bytes);
                self.count_slot_feed(self.propagation.bytes.len());
            } else {
                let mut unit = Vec::new();
                propagation.write_unit(&mut database, |targets| targets.replicas, wrapped, &mut unit);
                propagation.replicas.database = database;
                self.replication.feed(&unit);
                let told = self.propagation.bytes_of_replicas();
                self.count_slot_feed(told);
            }
        } else {
            // WAITAOF tells writes apart by the offset, whether there are replicas or not.
            self.replication.count_unfed();
        }
        if self.propagation.exports {
            self.hand_to_exports();
        }
        self.propagation.forget_unit();
    }

    /// What a unit did goes to the nodes that its slots are on their way to. It shows there at once with the slots, so
    /// nothing stands between MULTI and EXEC.
    #[cold]
    fn hand_to_exports(&mut self) {
        let Propagation { bytes, effects, .. } = &mut self.propagation;
        let (bytes, effects) = (std::mem::take(bytes), std::mem::take(effects));
        let mut start = 0;
        for effect in &effects {
            if effect.exported {
                self.feed_slot_exports(effect.database, bytes.get(start..effect.end).unwrap_or_default());
            }
            start = effect.end;
        }
        (self.propagation.bytes, self.propagation.effects) = (bytes, effects);
    }

    /// Says that a key was deleted that no command deleted: its time had come, or memory was short.
    pub fn propagate_deletion(&mut self, database: usize, key: &[u8], lazily: bool) {
        let name = if lazily { b"UNLINK".as_slice() } else { b"DEL" };
        self.propagation.push(database, Targets::ALL, [name, key].into_iter());
    }

    /// Says that fields of a hash were deleted as their time had come.
    pub fn propagate_field_deletion(&mut self, database: usize, key: &[u8], fields: &[Vec<u8>]) {
        let mut args = Vec::with_capacity(fields.len() + 2);
        args.extend([b"HDEL".as_slice(), key]);
        args.extend(fields.iter().map(Vec::as_slice));
        self.propagation.push(database, Targets::ALL, args.into_iter());
    }
}

impl Context<'_> {
    /// Whether anybody listens: a handler need not make up arguments when nobody does.
    #[inline]
    #[must_use]
    pub fn propagates(&self) -> bool {
        self.server.propagation.listens()
    }

    /// Says what is to be told in the place of the request; may be called more than once.
    pub fn propagate_as(&mut self, args: &[&[u8]]) {
        self.own_request.replaced = true;
        self.also_propagate(self.keys.database, args);
    }

    /// The request is told with other arguments at some places; one at its end is added.
    pub fn propagate_with(&mut self, args: Args<'_>, changes: &[(usize, &[u8])]) {
        if self.propagates() {
            let mut words: Vec<&[u8]> = args.iter().collect();
            for &(at, word) in changes {
                match words.get_mut(at) {
                    Some(old) => *old = word,
                    None => words.push(word),
                }
            }
            self.propagate_as(&words);
        }
    }

    /// The request itself is not told.
    pub fn propagate_nothing(&mut self) {
        self.own_request.replaced = true;
    }

    /// Says another effect, in a database; it comes before the request itself.
    pub fn also_propagate(&mut self, database: usize, args: &[&[u8]]) {
        if self.propagates() {
            self.settle();
            let allowed = self.server.propagation.allowed;
            self.server.propagation.push(database, allowed, args.iter().copied());
        }
    }

    /// The request is told to these even if it changed nothing.
    pub fn force_propagation(&mut self, targets: Targets) {
        self.own_request.forced = self.own_request.forced.or(targets);
    }

    /// Tells the request that has run, unless the handler said otherwise.
    pub(super) fn propagate_own(&mut self, args: Args<'_>, changed: bool) {
        let OwnRequest { replaced, forced } = self.own_request;
        let targets = if changed { Targets::ALL } else { forced };
        if !replaced && targets.any() {
            let propagation = &mut self.server.propagation;
            propagation.push_request(self.keys.database, targets.and(propagation.allowed), args);
        }
    }
}
