//! An entry: key, optional expiry and value (or the word that owns it) in one allocation, one pointer wide.
//!
//! ```text
//! | header u32 | expiry i64? | word u64? | key length u8 or u32 | key ... | value length u8, value ... (embstr only) |
//!   bits 0-3 encoding · 4 has an expiry · 5 long key · 8-31 access clock (LRU seconds or LFU)
//! ```
//! Every encoding but `embstr` has the word: the integer itself, or the pointer that owns the value.
//! Invariant: the block is of the size class that its parts say, so its weight follows from them.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::algorithms::numbers;
use crate::memory::{MemoryUsage, Mover, Relocate, raw, usable_size};
use crate::structures::hash_table::{Borrowed, Element, Mark, Marks};
use crate::structures::raw_string::RawString;
use crate::structures::word::Word;
use crate::types::string::StringRef;
use crate::types::{Encoding, EntryValue, Hash, List, Set, SortedSet, Stream, Value, ValueType};

const HEADER: usize = 4;
const HAS_EXPIRY: u32 = 1 << 4;
const LONG_KEY: u32 = 1 << 5;
const CLOCK_SHIFT: u32 = 8;
const WORD: usize = 8;
/// The largest access clock; it has 24 bits as in Valkey.
pub const CLOCK_MAX: u32 = (1 << 24) - 1;

/// An owned entry of a database.
#[derive(Debug)]
#[repr(transparent)]
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns everything it points to.
unsafe impl Send for Entry {}

/// How a string of these lengths is encoded. Valkey embeds key and value in one object of at most 128 bytes
/// (`shouldEmbedStringObject`); so do we, by its arithmetic, that `OBJECT ENCODING` agrees.
fn embeds(key_len: usize, value_len: usize, has_expiry: bool) -> bool {
    const OBJECT: usize = 8;
    const LIMIT: usize = 128;
    let key_header = match key_len {
        0..=31 => 1,
        32..=255 => 3,
        _ => 5,
    };
    let expiry = if has_expiry { 8 } else { 0 };
    value_len <= 255 && OBJECT + (key_header + key_len + 1) + 1 + expiry + (3 + value_len + 1) <= LIMIT
}

enum Parts<'a> {
    Word(u64),
    Embedded(&'a [u8]),
}

impl Entry {
    /// A string entry; the encoding follows from the value (`int` for what prints back the same).
    #[must_use]
    pub fn string(key: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Self {
        match numbers::parse_i64(value) {
            Some(integer) => Self::integer(key, integer, expiry_ms),
            None => Self::text(key, value, expiry_ms),
        }
    }

    /// A string entry that is never of encoding `int`, whatever its bytes say (Valkey: what INCRBYFLOAT leaves).
    #[must_use]
    pub fn text(key: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Self {
        if embeds(key.len(), value.len(), expiry_ms.is_some()) {
            return Self::build(key, Encoding::Embstr, expiry_ms, &Parts::Embedded(value));
        }
        Self::raw_string(key, RawString::new(value), expiry_ms)
    }

    /// A string entry of encoding `int`.
    #[must_use]
    pub fn integer(key: &[u8], value: i64, expiry_ms: Option<i64>) -> Self {
        Self::build(key, Encoding::Int, expiry_ms, &Parts::Word(value as u64))
    }

    /// A string entry of encoding `raw`, however short.
    #[must_use]
    pub fn raw_string(key: &[u8], value: RawString, expiry_ms: Option<i64>) -> Self {
        Self::build(key, Encoding::Raw, expiry_ms, &Parts::Word(value.into_word()))
    }

    /// An entry that owns a collection.
    #[must_use]
    pub fn collection<V: EntryValue>(key: &[u8], value: V, expiry_ms: Option<i64>) -> Self {
        let (encoding, word) = value.into_parts();
        Self::build(key, encoding, expiry_ms, &Parts::Word(word))
    }

    /// An entry that owns any value.
    #[must_use]
    pub fn with_value(key: &[u8], value: Value, expiry_ms: Option<i64>) -> Self {
        match value {
            Value::String(bytes) => Self::string(key, &bytes, expiry_ms),
            Value::List(list) => Self::collection(key, list, expiry_ms),
            Value::Set(set) => Self::collection(key, set, expiry_ms),
            Value::SortedSet(sorted_set) => Self::collection(key, sorted_set, expiry_ms),
            Value::Hash(hash) => Self::collection(key, hash, expiry_ms),
            Value::Stream(stream) => Self::collection(key, stream, expiry_ms),
        }
    }

    fn build(key: &[u8], encoding: Encoding, expiry_ms: Option<i64>, parts: &Parts<'_>) -> Self {
        let long_key = key.len() > usize::from(u8::MAX);
        let key_header = if long_key { 4 } else { 1 };
        let value_len = match parts {
            Parts::Word(_) => 0,
            Parts::Embedded(bytes) => 1 + bytes.len(),
        };
        let fixed = HEADER + expiry_ms.map_or(0, |_| 8) + if value_len == 0 { WORD } else { 0 };
        let block = raw::allocate(fixed + key_header + key.len() + value_len);
        let mut at = Cursor { at: block };
        let flags =
            expiry_ms.map_or(0, |_| HAS_EXPIRY) | if long_key { LONG_KEY } else { 0 } | encoding as u32;
        at.put(&flags.to_le_bytes());
        if let Some(expiry_ms) = expiry_ms {
            at.put(&expiry_ms.to_le_bytes());
        }
        if let Parts::Word(word) = parts {
            at.put(&word.to_le_bytes());
        }
        if long_key {
            at.put(&(key.len() as u32).to_le_bytes());
        } else {
            at.put(&[key.len() as u8]);
        }
        at.put(key);
        if let Parts::Embedded(bytes) = parts {
            at.put(&[bytes.len() as u8]);
            at.put(bytes);
        }
        Self(block)
    }

    #[inline]
    fn header(&self) -> u32 {
        // SAFETY: every block begins with the header and is 8-byte aligned.
        unsafe { self.0.cast::<u32>().read() }
    }

    fn set_header(&mut self, header: u32) {
        // SAFETY: as in `header`.
        unsafe { self.0.cast::<u32>().write(header) }
    }

    #[inline]
    fn read_word(&self, offset: usize) -> u64 {
        // SAFETY: callers pass the offset of a word that the header says is there.
        let at = unsafe { self.0.add(offset) };
        // SAFETY: the eight bytes lie inside the block.
        unsafe { at.cast::<u64>().read_unaligned() }
    }

    fn write_word(&mut self, offset: usize, word: u64) {
        // SAFETY: callers pass the offset of a word that the header says is there.
        let at = unsafe { self.0.add(offset) };
        // SAFETY: the eight bytes lie inside the block.
        unsafe { at.cast::<u64>().write_unaligned(word) }
    }

    #[inline]
    fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        // SAFETY: callers pass a range that the block's own lengths say is there.
        let at = unsafe { self.0.add(offset) };
        // SAFETY: the range is initialised and lives as long as the entry.
        unsafe { std::slice::from_raw_parts(at.as_ptr(), len) }
    }

    #[inline]
    fn word_offset(&self) -> usize {
        if self.header() & HAS_EXPIRY == 0 { HEADER } else { HEADER + 8 }
    }

    #[inline]
    fn key_length_offset(&self) -> usize {
        self.word_offset() + if self.encoding() == Encoding::Embstr { 0 } else { WORD }
    }

    /// Where the key begins and how long it is.
    #[inline]
    fn key_span(&self) -> (usize, usize) {
        let at = self.key_length_offset();
        if self.header() & LONG_KEY == 0 {
            (at + 1, usize::from(self.bytes(at, 1)[0]))
        } else {
            let length = self.bytes(at, 4);
            (at + 4, u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize)
        }
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        let (at, len) = self.key_span();
        self.bytes(at, len)
    }

    /// The encoding of the value.
    #[inline]
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        Encoding::ALL[(self.header() & 15) as usize]
    }

    /// The type of the value.
    #[inline]
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.encoding().value_type()
    }

    /// When the entry expires: Unix time in milliseconds.
    #[inline]
    #[must_use]
    pub fn expiry_ms(&self) -> Option<i64> {
        (self.header() & HAS_EXPIRY != 0).then(|| self.read_word(HEADER) as i64)
    }

    /// Whether the entry has expired at `now_ms`: it lives through the millisecond of its expiry, as in Valkey.
    #[inline]
    #[must_use]
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expiry_ms().is_some_and(|expiry_ms| expiry_ms < now_ms)
    }

    /// The access clock: 24 bits of LRU seconds or LFU minutes and counter.
    #[inline]
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.header() >> CLOCK_SHIFT
    }

    /// Sets the access clock; only its low 24 bits count.
    pub fn set_clock(&mut self, clock: u32) {
        let flags = self.header() & ((1 << CLOCK_SHIFT) - 1);
        self.set_header(flags | (clock << CLOCK_SHIFT));
    }

    /// Sets or takes away the expiry; the entry moves when its block has to change.
    pub fn set_expiry(&mut self, expiry_ms: Option<i64>) {
        match (self.header() & HAS_EXPIRY != 0, expiry_ms) {
            (true, Some(expiry_ms)) => self.write_word(HEADER, expiry_ms as u64),
            (false, None) => {}
            _ => {
                let rebuilt = self.rebuilt(expiry_ms);
                let clock = self.clock();
                self.abandon_value();
                *self = rebuilt;
                self.set_clock(clock);
            }
        }
    }

    /// The same entry in a new block with another expiry; the value's ownership is copied, not moved.
    fn rebuilt(&self, expiry_ms: Option<i64>) -> Self {
        match self.encoding() {
            Encoding::Embstr => {
                let value = self.embedded();
                if embeds(self.key().len(), value.len(), expiry_ms.is_some()) {
                    Self::build(self.key(), Encoding::Embstr, expiry_ms, &Parts::Embedded(value))
                } else {
                    Self::raw_string(self.key(), RawString::new(value), expiry_ms)
                }
            }
            encoding => {
                Self::build(self.key(), encoding, expiry_ms, &Parts::Word(self.read_word(self.word_offset())))
            }
        }
    }

    /// Makes the entry own nothing but its block: its value lives on elsewhere.
    fn abandon_value(&mut self) {
        if self.encoding() != Encoding::Embstr {
            let header = self.header() & !15;
            self.set_header(header | Encoding::Int as u32);
        }
    }

    /// The same value under another key; clock and expiry stay.
    #[must_use]
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let clock = self.clock();
        let expiry_ms = self.expiry_ms();
        let mut renamed = if self.encoding() == Encoding::Embstr {
            Self::text(key, self.embedded(), expiry_ms)
        } else {
            let word = self.read_word(self.word_offset());
            Self::build(key, self.encoding(), expiry_ms, &Parts::Word(word))
        };
        self.abandon_value();
        renamed.set_clock(clock);
        renamed
    }

    #[inline]
    fn embedded(&self) -> &[u8] {
        let (key_at, key_len) = self.key_span();
        let at = key_at + key_len;
        self.bytes(at + 1, usize::from(self.bytes(at, 1)[0]))
    }

    /// The string value; `None` for another type.
    #[inline]
    #[must_use]
    pub fn as_string(&self) -> Option<StringRef<'_>> {
        match self.encoding() {
            Encoding::Int => Some(StringRef::Int(self.read_word(self.word_offset()) as i64)),
            Encoding::Embstr => Some(StringRef::Bytes(self.embedded())),
            Encoding::Raw => {
                let word = self.read_word(self.word_offset());
                // SAFETY: the word owns a raw string as long as the entry lives; it is not dropped here.
                let string = ManuallyDrop::new(unsafe { RawString::from_word(word) });
                let bytes: *const [u8] = string.as_bytes();
                // SAFETY: the bytes live in the raw string's own block, which the entry keeps.
                Some(StringRef::Bytes(unsafe { &*bytes }))
            }
            _ => None,
        }
    }

    /// Sets the integer of a string entry of encoding `int` in place; `false` for any other entry.
    pub fn set_integer(&mut self, value: i64) -> bool {
        let is_integer = self.encoding() == Encoding::Int;
        if is_integer {
            self.write_word(self.word_offset(), value as u64);
        }
        is_integer
    }

    /// Takes another entry of the same key in its place; the access clock stays.
    pub fn become_entry(&mut self, mut other: Self) {
        other.set_clock(self.clock());
        *self = other;
    }

    /// Gives the entry another string value and expiry without a new block, where the new ones take a block of the
    /// same size; `false` leaves it as it was. Overwriting in place saves a free and an allocation.
    pub fn overwrite(&mut self, value: &[u8], expiry_ms: Option<i64>) -> bool {
        let expires = self.header() & HAS_EXPIRY != 0;
        if expires != expiry_ms.is_some() {
            return false;
        }
        let done = match (self.encoding(), numbers::parse_i64(value)) {
            (Encoding::Int, Some(integer)) => self.set_integer(integer),
            (Encoding::Embstr, None) => self.overwrite_embedded(value),
            (Encoding::Raw, None) if !embeds(self.key().len(), value.len(), expires) => {
                self.overwrite_raw(value)
            }
            _ => false,
        };
        if let (true, Some(expiry_ms)) = (done, expiry_ms) {
            self.write_word(HEADER, expiry_ms as u64);
        }
        done
    }

    fn overwrite_embedded(&mut self, value: &[u8]) -> bool {
        let (key_at, key_len) = self.key_span();
        let at = key_at + key_len;
        let old = usize::from(self.bytes(at, 1)[0]);
        let expires = self.header() & HAS_EXPIRY != 0;
        if usable_size(at + 1 + value.len()) != usable_size(at + 1 + old)
            || !embeds(key_len, value.len(), expires)
        {
            return false;
        }
        // SAFETY: the block has room for a length byte and `value.len()` bytes from `at` on: its size class is theirs.
        let place = unsafe { self.0.add(at) };
        let mut place = Cursor { at: place };
        place.put(&[value.len() as u8]);
        place.put(value);
        true
    }

    fn overwrite_raw(&mut self, value: &[u8]) -> bool {
        let offset = self.word_offset();
        // SAFETY: the word owns a raw string; it is put back below, changed.
        let mut string = ManuallyDrop::new(unsafe { RawString::from_word(self.read_word(offset)) });
        string.assign(value);
        self.write_word(offset, ManuallyDrop::into_inner(string).into_word());
        true
    }

    /// The collection, to read; `None` when the entry is of another type.
    #[must_use]
    pub fn value<V: EntryValue>(&self) -> Option<ValueRef<'_, V>> {
        (self.value_type() == V::TYPE).then(|| {
            // SAFETY: type and encoding agree; the value is not dropped by the guard.
            let value = unsafe { V::from_parts(self.encoding(), self.read_word(self.word_offset())) };
            ValueRef { value: ManuallyDrop::new(value), entry: PhantomData }
        })
    }

    /// Usable bytes of every allocation of this entry: its block and all that its value owns.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> usize {
        match self.encoding() {
            Encoding::Int | Encoding::Embstr => self.block_usage(),
            _ => self.block_usage() + self.value_usage(),
        }
    }

    /// A copy under another key, with the same expiry; `None` for a type that cannot be copied.
    #[must_use]
    pub fn duplicate(&self, key: &[u8]) -> Option<Self> {
        let expiry_ms = self.expiry_ms();
        Some(match self.value_type() {
            ValueType::String => match self.as_string()? {
                StringRef::Int(value) => Self::integer(key, value, expiry_ms),
                StringRef::Bytes(bytes) if self.encoding() == Encoding::Raw => {
                    Self::raw_string(key, RawString::new(bytes), expiry_ms)
                }
                StringRef::Bytes(bytes) => Self::text(key, bytes, expiry_ms),
            },
            ValueType::List => Self::collection(key, self.value::<List>()?.duplicate(), expiry_ms),
            ValueType::Set => Self::collection(key, self.value::<Set>()?.duplicate(), expiry_ms),
            ValueType::SortedSet => Self::collection(key, self.value::<SortedSet>()?.duplicate(), expiry_ms),
            ValueType::Hash => Self::collection(key, self.value::<Hash>()?.duplicate(), expiry_ms),
            ValueType::Stream => Self::collection(key, self.value::<Stream>()?.duplicate(), expiry_ms),
        })
    }

    /// How many allocations have to be freed with the entry, about (Valkey: `lazyfreeGetFreeEffort`).
    #[must_use]
    pub fn effort(&self) -> usize {
        match self.value_type() {
            ValueType::String => 1,
            ValueType::List => self.value::<List>().map_or(1, |value| value.effort()),
            ValueType::Set => self.value::<Set>().map_or(1, |value| value.effort()),
            ValueType::SortedSet => self.value::<SortedSet>().map_or(1, |value| value.effort()),
            ValueType::Hash => self.value::<Hash>().map_or(1, |value| value.effort()),
            ValueType::Stream => self.value::<Stream>().map_or(1, |value| value.effort()),
        }
    }

    #[inline]
    fn block_usage(&self) -> usize {
        let (key_at, key_len) = self.key_span();
        let embedded = if self.encoding() == Encoding::Embstr { 1 + self.embedded().len() } else { 0 };
        usable_size(key_at + key_len + embedded)
    }

    fn value_usage(&self) -> usize {
        fn of<V: EntryValue>(entry: &Entry) -> usize {
            entry.value::<V>().map_or(0, |value| value.memory_usage())
        }
        match self.encoding() {
            Encoding::Int | Encoding::Embstr => 0,
            Encoding::Raw => {
                let word = self.read_word(self.word_offset());
                // SAFETY: the word owns a raw string; it is not dropped here.
                ManuallyDrop::new(unsafe { RawString::from_word(word) }).memory_usage()
            }
            encoding => match encoding.value_type() {
                ValueType::List => of::<List>(self),
                ValueType::Set => of::<Set>(self),
                ValueType::SortedSet => of::<SortedSet>(self),
                ValueType::Hash => of::<Hash>(self),
                ValueType::Stream => of::<Stream>(self),
                ValueType::String => 0,
            },
        }
    }

    fn relocate_value(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        fn of<V: EntryValue>(entry: &mut Entry, cursor: usize, mover: &mut Mover) -> usize {
            ValueMut::<_, V>::of(entry).map_or(0, |mut value| value.relocate(cursor, mover))
        }
        match self.encoding() {
            Encoding::Int | Encoding::Embstr => 0,
            Encoding::Raw => RawStringMut::of(self).map_or(0, |mut string| string.relocate(cursor, mover)),
            encoding => match encoding.value_type() {
                ValueType::List => of::<List>(self, cursor, mover),
                ValueType::Set => of::<Set>(self, cursor, mover),
                ValueType::SortedSet => of::<SortedSet>(self, cursor, mover),
                ValueType::Hash => of::<Hash>(self, cursor, mover),
                ValueType::Stream => of::<Stream>(self, cursor, mover),
                ValueType::String => 0,
            },
        }
    }

    fn drop_value(&mut self) {
        fn drop_as<V: EntryValue>(encoding: Encoding, word: u64) {
            // SAFETY: called once, when the entry goes, with what the entry holds.
            drop(unsafe { V::from_parts(encoding, word) });
        }
        let encoding = self.encoding();
        if matches!(encoding, Encoding::Int | Encoding::Embstr) {
            return;
        }
        let word = self.read_word(self.word_offset());
        match encoding.value_type() {
            // SAFETY: a string that is neither `int` nor `embstr` owns a raw string; it is dropped once.
            ValueType::String => drop(unsafe { RawString::from_word(word) }),
            ValueType::List => drop_as::<List>(encoding, word),
            ValueType::Set => drop_as::<Set>(encoding, word),
            ValueType::SortedSet => drop_as::<SortedSet>(encoding, word),
            ValueType::Hash => drop_as::<Hash>(encoding, word),
            ValueType::Stream => drop_as::<Stream>(encoding, word),
        }
    }
}

/// First the entry's own block; the cursor is the value's.
impl Relocate for Entry {
    fn relocate(&mut self, cursor: usize, mover: &mut Mover) -> usize {
        if cursor == 0 {
            // SAFETY: the block is owned and replaced at once.
            self.0 = unsafe { mover.relocate(self.0) };
        }
        self.relocate_value(cursor, mover)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.drop_value();
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) }
    }
}

// SAFETY: the block comes from `memory::raw` (8-byte aligned, user space) and stays where it is while owned.
unsafe impl Element for Entry {
    fn into_block(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    unsafe fn from_block(block: NonNull<u8>) -> Self {
        Self(block)
    }

    fn key(&self) -> &[u8] {
        Entry::key(self)
    }

    fn marks(&self) -> Marks {
        let volatile =
            self.encoding() == Encoding::HashHashtable && self.due_ms(Mark::FieldsExpire) != i64::MAX;
        Marks::NONE.with(Mark::Expires, self.header() & HAS_EXPIRY != 0).with(Mark::FieldsExpire, volatile)
    }

    fn due_ms(&self, mark: Mark) -> i64 {
        if mark == Mark::Expires {
            return self.expiry_ms().unwrap_or(i64::MAX);
        }
        self.value::<Hash>().and_then(|hash| hash.earliest_expiry_ms()).unwrap_or(i64::MAX)
    }
}

struct Cursor {
    at: NonNull<u8>,
}

impl Cursor {
    fn put(&mut self, bytes: &[u8]) {
        // SAFETY: the builder allocated the sum of all it puts; source and destination are distinct.
        unsafe { self.at.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        // SAFETY: at most one past the end of the block.
        self.at = unsafe { self.at.add(bytes.len()) };
    }
}

/// A collection seen through its entry.
pub struct ValueRef<'a, V> {
    value: ManuallyDrop<V>,
    entry: PhantomData<&'a Entry>,
}

impl<'a, V: EntryValue> ValueRef<'a, V> {
    /// The collection of an entry borrowed from its table; `None` when the entry is of another type.
    #[must_use]
    pub fn of(entry: &Borrowed<'a, Entry>) -> Option<Self> {
        entry.value::<V>().map(|value| Self { value: value.value, entry: PhantomData })
    }
}

impl<V> Deref for ValueRef<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

/// A collection being changed through `E` (an `&mut Entry`, or an entry borrowed from its table); its word and
/// encoding go back into the entry when this is dropped.
pub struct ValueMut<E: DerefMut<Target = Entry>, V: EntryValue> {
    entry: E,
    value: ManuallyDrop<V>,
}

impl<E: DerefMut<Target = Entry>, V: EntryValue> ValueMut<E, V> {
    /// Opens the collection; `None` when the entry is of another type.
    pub fn of(entry: E) -> Option<Self> {
        if entry.value_type() != V::TYPE {
            return None;
        }
        // SAFETY: type and encoding agree; the guard gives the value back.
        let value = unsafe { V::from_parts(entry.encoding(), entry.read_word(entry.word_offset())) };
        Some(Self { entry, value: ManuallyDrop::new(value) })
    }
}

impl<E: DerefMut<Target = Entry>, V: EntryValue> Deref for ValueMut<E, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<E: DerefMut<Target = Entry>, V: EntryValue> DerefMut for ValueMut<E, V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.value
    }
}

impl<E: DerefMut<Target = Entry>, V: EntryValue> Drop for ValueMut<E, V> {
    fn drop(&mut self) {
        // SAFETY: the value is taken once, here, and given back to the entry.
        let (encoding, word) = unsafe { ManuallyDrop::take(&mut self.value) }.into_parts();
        let header = self.entry.header() & !15;
        self.entry.set_header(header | encoding as u32);
        let offset = self.entry.word_offset();
        self.entry.write_word(offset, word);
    }
}

/// A raw string being changed through `E`; its block goes back into the entry when this is dropped.
pub struct RawStringMut<E: DerefMut<Target = Entry>> {
    entry: E,
    string: ManuallyDrop<RawString>,
}

impl<E: DerefMut<Target = Entry>> RawStringMut<E> {
    /// Opens the string; one of another encoding becomes `raw` first. `None` when the entry is of another type.
    pub fn of(mut entry: E) -> Option<Self> {
        let value = entry.as_string()?;
        if entry.encoding() != Encoding::Raw {
            let raw = RawString::new(value.as_bytes(&mut itoa::Buffer::new()));
            let mut rebuilt = Entry::raw_string(entry.key(), raw, entry.expiry_ms());
            rebuilt.set_clock(entry.clock());
            *entry = rebuilt;
        }
        let word = entry.read_word(entry.word_offset());
        // SAFETY: the word owns a raw string; the guard writes it back and never drops it.
        let string = ManuallyDrop::new(unsafe { RawString::from_word(word) });
        Some(Self { entry, string })
    }
}

impl<E: DerefMut<Target = Entry>> Deref for RawStringMut<E> {
    type Target = RawString;

    fn deref(&self) -> &RawString {
        &self.string
    }
}

impl<E: DerefMut<Target = Entry>> DerefMut for RawStringMut<E> {
    fn deref_mut(&mut self) -> &mut RawString {
        &mut self.string
    }
}

impl<E: DerefMut<Target = Entry>> Drop for RawStringMut<E> {
    fn drop(&mut self) {
        // SAFETY: the string is taken once, here, and given back to the entry.
        let word = unsafe { ManuallyDrop::take(&mut self.string) }.into_word();
        let offset = self.entry.word_offset();
        self.entry.write_word(offset, word);
    }
}

impl<'a> StringRef<'a> {
    /// The string of an entry borrowed from its table; `None` for another type.
    #[must_use]
    pub fn of(entry: &Borrowed<'a, Entry>) -> Option<Self> {
        match entry.as_string()? {
            StringRef::Int(value) => Some(StringRef::Int(value)),
            StringRef::Bytes(bytes) => {
                let bytes: *const [u8] = bytes;
                // SAFETY: the bytes live in blocks that the entry owns, and the entry is borrowed for 'a.
                Some(StringRef::Bytes(unsafe { &*bytes }))
            }
        }
    }
}
