//! The keys of the selected database at one instant: how commands look up, change and delete entries.
//!
//! An expired entry is never seen: whoever comes across it deletes it.

use super::entry::{Entry, RawStringMut, ValueMut, ValueRef};
use super::{Database, ExpiredEntries, Happening, Keyspace};
use crate::algorithms::hash::hash;
use crate::algorithms::slot::SLOTS;
use crate::resp::CommandError;
use crate::structures::hash_table::{Borrowed, BorrowedMut, Position};
use crate::types::EntryValue;
use crate::types::hash::IGNORE_EXPIRY;
use crate::types::string::StringRef;

/// A key whose hash was computed ahead, while the batch was prefetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash {
    /// Where the key lies; the hint holds for this very slice.
    pub address: usize,
    /// Its hash.
    pub hash: u64,
    /// The database it was expected in.
    pub database: usize,
    /// Where its entry probably is.
    pub position: Option<Position>,
}

/// The selected database, the instant, and the accounting of look-ups.
pub struct Keys<'a> {
    /// All databases.
    pub keyspace: &'a mut Keyspace,
    /// The selected one.
    pub database: usize,
    /// The instant of the command, Unix time in milliseconds.
    pub now_ms: i64,
    /// The hash of the command's first key, if it was computed ahead.
    pub hint: Option<&'a KeyHash>,
    /// Whether reads change access clocks (CLIENT NO-TOUCH says no).
    pub touches: bool,
}

/// What a write does to the expiry that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteExpiry {
    /// Takes it away.
    Clear,
    /// Leaves it.
    Keep,
    /// Sets it, Unix ms.
    At(i64),
}

type Found<T> = Result<Option<T>, CommandError>;

impl Keys<'_> {
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        match self.hint_for(key) {
            Some(hint) => hint.hash,
            None => hash(key),
        }
    }

    #[inline]
    fn hint_for(&self, key: &[u8]) -> Option<&KeyHash> {
        self.hint.filter(|hint| hint.address == key.as_ptr() as usize)
    }

    /// The selected database.
    #[must_use]
    pub fn db(&self) -> &Database {
        &self.keyspace.databases[self.database]
    }

    /// The selected database, to change.
    pub fn db_mut(&mut self) -> &mut Database {
        &mut self.keyspace.databases[self.database]
    }

    /// The instant by which fields of hashes are expired: the command's, or none where expired ones are found
    /// ([`ExpiredEntries::Find`]).
    #[must_use]
    pub fn fields_at_ms(&self) -> i64 {
        if self.keyspace.expired == ExpiredEntries::Find { IGNORE_EXPIRY } else { self.now_ms }
    }

    /// Where a live entry is; an expired one is deleted.
    pub fn find(&mut self, key: &[u8]) -> Option<Position> {
        self.find_hashed(self.hash(key), key)
    }

    fn find_hashed(&mut self, hash: u64, key: &[u8]) -> Option<Position> {
        let guess = self.hint_for(key).and_then(|hint| hint.position);
        let table = self.keyspace.databases[self.database].table();
        let (position, entry) = table.find_near(guess, hash, key)?;
        if !entry.is_expired(self.now_ms) {
            return Some(position);
        }
        match self.keyspace.expired {
            ExpiredEntries::Find => return Some(position),
            ExpiredEntries::Hide => {}
            ExpiredEntries::Delete => self.expire_at(position),
        }
        None
    }

    /// Deletes an entry whose time has come, and leaves a note of it for whoever runs the command.
    #[cold]
    fn expire_at(&mut self, position: Position) {
        let entry = self.db_mut().remove(position);
        self.keyspace.counters.expired += 1;
        self.keyspace.note(self.database, Happening::Expired, entry.key());
        self.keyspace.discard(entry);
    }

    /// Whether the key exists. Counts as neither hit nor miss and touches nothing.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// The entry, without touching or counting (OBJECT, DEBUG, TTL of others).
    pub fn peek(&mut self, key: &[u8]) -> Option<Borrowed<'_, Entry>> {
        let position = self.find(key)?;
        Some(self.db().table().get(position))
    }

    /// The entry whether it has expired or not, for who looks at what is there (DEBUG).
    pub fn raw(&self, key: &[u8]) -> Option<Borrowed<'_, Entry>> {
        let table = self.db().table();
        table.find(self.hash(key), key).map(|position| table.get(position))
    }

    /// The entry, to read: counts a hit or a miss and touches the access clock.
    pub fn read(&mut self, key: &[u8]) -> Option<Borrowed<'_, Entry>> {
        let position = self.look_up(key)?;
        Some(self.touch(position))
    }

    /// The entry, to read: counts a hit or a miss, and leaves the access clock alone (EXISTS, TYPE, TTL).
    pub fn read_untouched(&mut self, key: &[u8]) -> Option<Borrowed<'_, Entry>> {
        let position = self.look_up(key)?;
        Some(self.db().table().get(position))
    }

    /// The same without reporting a miss (OBJECT).
    pub fn inspect(&mut self, key: &[u8]) -> Option<Borrowed<'_, Entry>> {
        let position = self.find_counted(key)?;
        Some(self.db().table().get(position))
    }

    fn look_up(&mut self, key: &[u8]) -> Option<Position> {
        let position = self.find_counted(key);
        if position.is_none() && self.keyspace.reports.misses {
            self.keyspace.note(self.database, Happening::Missed, key);
        }
        position
    }

    fn find_counted(&mut self, key: &[u8]) -> Option<Position> {
        let position = self.find(key);
        let counters = &mut self.keyspace.counters;
        if position.is_some() {
            counters.hits += 1;
        } else {
            counters.misses += 1;
        }
        position
    }

    /// Moves the access clock of an entry on, and lends the entry.
    #[inline]
    fn touch(&mut self, position: Position) -> Borrowed<'_, Entry> {
        let touches = self.touches && !self.keyspace.child_alive;
        let Keyspace { databases, access_policy, random, .. } = &mut *self.keyspace;
        databases[self.database].table_mut().amend(position, |entry| {
            if touches {
                let clock = entry.clock();
                let touched = access_policy.touched(clock, self.now_ms, random);
                // A page that is not written stays shared with a forked child, and a line with the other core.
                if touched != clock {
                    entry.set_clock(touched);
                }
            }
        })
    }

    /// The string under a key, to read.
    ///
    /// # Errors
    /// WRONGTYPE when the key holds another type.
    pub fn read_string(&mut self, key: &[u8]) -> Found<StringRef<'_>> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) => StringRef::of(&entry).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The collection under a key, to read.
    ///
    /// # Errors
    /// WRONGTYPE when the key holds another type.
    pub fn read_as<V: EntryValue>(&mut self, key: &[u8]) -> Found<ValueRef<'_, V>> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) => ValueRef::of(&entry).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The entry, to change (its key must stay).
    pub fn write(&mut self, key: &[u8]) -> Option<BorrowedMut<'_, Entry>> {
        let position = self.find(key)?;
        self.touch(position);
        Some(self.db_mut().table_mut().get_mut(position))
    }

    /// The collection under a key, to change.
    ///
    /// # Errors
    /// WRONGTYPE when the key holds another type.
    pub fn write_as<V: EntryValue>(&mut self, key: &[u8]) -> Found<ValueMut<BorrowedMut<'_, Entry>, V>> {
        match self.write(key) {
            None => Ok(None),
            Some(entry) => ValueMut::of(entry).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The collection under a key, to change; a missing one is made by `create` first.
    ///
    /// # Errors
    /// WRONGTYPE when the key holds another type.
    pub fn write_or_create<V: EntryValue>(
        &mut self,
        key: &[u8],
        create: impl FnOnce() -> V,
    ) -> Result<ValueMut<BorrowedMut<'_, Entry>, V>, CommandError> {
        let hash = self.hash(key);
        let position = match self.find_hashed(hash, key) {
            Some(position) => {
                self.touch(position);
                position
            }
            None => self.insert_hashed(hash, Entry::collection(key, create(), None)),
        };
        let entry = self.db_mut().table_mut().get_mut(position);
        ValueMut::of(entry).ok_or(CommandError::WrongType)
    }

    /// The string under a key as growable bytes, to change in place; its encoding becomes `raw`.
    ///
    /// # Errors
    /// WRONGTYPE when the key holds another type.
    pub fn write_string(&mut self, key: &[u8]) -> Found<RawStringMut<BorrowedMut<'_, Entry>>> {
        match self.write(key) {
            None => Ok(None),
            Some(entry) => RawStringMut::of(entry).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// Puts an entry whose key is absent; its access clock starts now.
    pub fn insert(&mut self, entry: Entry) -> Position {
        self.insert_hashed(hash(entry.key()), entry)
    }

    fn insert_hashed(&mut self, hash: u64, mut entry: Entry) -> Position {
        entry.set_clock(self.keyspace.access_policy.fresh(self.now_ms));
        if self.keyspace.reports.new_keys {
            self.keyspace.note(self.database, Happening::New, entry.key());
        }
        self.db_mut().insert(hash, entry)
    }

    /// Makes a key hold this string, whatever it held; gives back an entry that had to make room.
    pub fn set_string(&mut self, key: &[u8], value: &[u8], expiry: WriteExpiry) -> Option<Entry> {
        let hash = self.hash(key);
        match self.find_hashed(hash, key) {
            Some(position) => self.set_string_at(position, key, value, expiry),
            None => {
                self.insert_hashed(hash, new_string(key, value, expiry));
                None
            }
        }
    }

    /// Puts a string under a key that is absent.
    pub fn insert_string(&mut self, key: &[u8], value: &[u8], expiry: WriteExpiry) {
        self.insert_hashed(self.hash(key), new_string(key, value, expiry));
    }

    /// Makes the entry of `key`, which is at `position`, this string: in its own block where that fits, else in a new
    /// one, and then the old entry is given back.
    pub fn set_string_at(
        &mut self,
        position: Position,
        key: &[u8],
        value: &[u8],
        expiry: WriteExpiry,
    ) -> Option<Entry> {
        let Keyspace { databases, access_policy, random, .. } = &mut *self.keyspace;
        let table = databases[self.database].table_mut();
        let mut entry = table.get_mut(position);
        let expiry_ms = match expiry {
            WriteExpiry::Clear => None,
            WriteExpiry::Keep => entry.expiry_ms(),
            WriteExpiry::At(expiry_ms) => Some(expiry_ms),
        };
        let clock = access_policy.touched(entry.clock(), self.now_ms, random);
        if entry.overwrite(value, expiry_ms) {
            entry.set_clock(clock);
            return None;
        }
        let mut replacement = Entry::string(key, value, expiry_ms);
        replacement.set_clock(clock);
        Some(std::mem::replace(&mut *entry, replacement))
    }

    /// Does something in another database, at the same instant.
    pub fn within<T>(&mut self, database: usize, act: impl FnOnce(&mut Keys<'_>) -> T) -> T {
        act(&mut Keys { keyspace: self.keyspace, database, ..*self })
    }

    /// Puts an entry in the place of whatever its key holds, and gives that back.
    pub fn put(&mut self, key: &[u8], mut entry: Entry) -> Option<Entry> {
        let hash = self.hash(key);
        match self.find_hashed(hash, key) {
            Some(position) => {
                entry.set_clock(self.keyspace.access_policy.fresh(self.now_ms));
                Some(self.db_mut().table_mut().replace(position, entry))
            }
            None => {
                self.insert_hashed(hash, entry);
                None
            }
        }
    }

    /// Takes a live entry out.
    pub fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let position = self.find(key)?;
        Some(self.db_mut().remove(position))
    }

    /// Takes an entry out, expired or not: what a command stores takes the place of either.
    pub fn remove_any(&mut self, key: &[u8]) -> Option<Entry> {
        let position = self.db().table().find(self.hash(key), key)?;
        Some(self.db_mut().remove(position))
    }

    /// Deletes a live entry; says whether there was one.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.remove(key).is_some()
    }

    /// Sets or takes away the expiry of a live entry; says whether there is one.
    pub fn set_expiry(&mut self, key: &[u8], expiry_ms: Option<i64>) -> bool {
        let Some(position) = self.find(key) else { return false };
        self.db_mut().table_mut().get_mut(position).set_expiry(expiry_ms);
        true
    }

    /// A live key, every one as likely as another; `None` when the database is empty.
    pub fn random_key(&mut self) -> Option<Vec<u8>> {
        /// Expired keys met before one is returned all the same, as Valkey does on a replica full of them.
        const ATTEMPTS: usize = 100;
        for attempt in 1..=ATTEMPTS {
            let Keyspace { databases, random, .. } = &mut *self.keyspace;
            let table = databases[self.database].table();
            let position = table.random(random)?;
            let key = table.get(position).key().to_vec();
            if self.keyspace.is_hidden(&key) {
                continue;
            }
            let gives_up = attempt == ATTEMPTS && self.keyspace.expired == ExpiredEntries::Hide;
            if gives_up || self.contains(&key) {
                return Some(key);
            }
        }
        self.first_visible_key()
    }

    /// A live key that is not hidden, where nearly all are: of the first slot from a random one on that has any.
    fn first_visible_key(&mut self) -> Option<Vec<u8>> {
        let Keyspace { importing, random, databases, .. } = &mut *self.keyspace;
        let hidden = importing.as_ref()?;
        let (database, now_ms) = (&databases[self.database], self.now_ms);
        let start = random.u16(..SLOTS as u16);
        let mut slots = (start..SLOTS as u16).chain(0..start).filter(|slot| !hidden.contains(*slot));
        slots.find_map(|slot| {
            let entry = database.entries_in_slot(slot).find(|entry| !entry.is_expired(now_ms))?;
            Some(entry.key().to_vec())
        })
    }
}

fn new_string(key: &[u8], value: &[u8], expiry: WriteExpiry) -> Entry {
    let expiry_ms = match expiry {
        WriteExpiry::At(expiry_ms) => Some(expiry_ms),
        WriteExpiry::Keep | WriteExpiry::Clear => None,
    };
    Entry::string(key, value, expiry_ms)
}
