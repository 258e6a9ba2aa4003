//! A field of a hash with its value and its expiry: the element of a hash's table.
//!
//! ```text
//! | head u8 | expiry i64? | longer length u16 or u64? | field ... | value length u8 | value ... |     value inside
//!                                                                 | address, 6 bytes | length, 5 bytes |    value apart
//!   head: bits 0-5 length of the field (62: a u16 follows, 63: a u64) · 6 has an expiry · 7 value apart
//! ```
//! A value stands inside or in a block of its own, whichever takes fewer bytes of the allocator; so a value of a power
//! of two is not pushed into the next size class. Invariant: blocks are as large as their parts say, up to the size
//! class, so the weight follows from the parts.

use std::ptr::{self, NonNull};

use super::hash_table::{Borrowed, Element, Mark, Marks};
use crate::memory::{MemoryUsage, Mover, Relocate, raw, usable_size};

const HEAD: usize = 1;
const EXPIRY: usize = 8;
const LENGTH: u8 = 0b0011_1111;
const LENGTH_U16: u8 = 62;
const LENGTH_U64: u8 = 63;
const HAS_EXPIRY: u8 = 1 << 6;
const VALUE_APART: u8 = 1 << 7;
/// Bytes of the address of a value that stands apart; addresses are below 2^47.
const ADDRESS: usize = 6;
/// Address and length of a value that stands apart.
const REFERENCE: usize = ADDRESS + 5;

/// An owned field, with its value.
#[derive(Debug)]
#[repr(transparent)]
pub struct Field(NonNull<u8>);

// SAFETY: a field owns its blocks alone.
unsafe impl Send for Field {}
// SAFETY: nothing is changed through a shared reference.
unsafe impl Sync for Field {}

/// What decides where the parts of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    field: usize,
    value: usize,
    expires: bool,
    apart: bool,
}

impl Shape {
    fn new(field: usize, value: usize, expires: bool) -> Self {
        let inside = Self { field, value, expires, apart: false };
        let apart = Self { apart: true, ..inside };
        let too_long = value > usize::from(u8::MAX);
        if too_long || (value > 0 && inside.weight() > apart.weight()) { apart } else { inside }
    }

    fn head(self) -> u8 {
        let length = match self.field {
            0..=61 => self.field as u8,
            62..=0xFFFF => LENGTH_U16,
            _ => LENGTH_U64,
        };
        length | if self.expires { HAS_EXPIRY } else { 0 } | if self.apart { VALUE_APART } else { 0 }
    }

    /// Where the field's bytes begin.
    fn field_at(self) -> usize {
        let longer = match self.field {
            0..=61 => 0,
            62..=0xFFFF => size_of::<u16>(),
            _ => size_of::<u64>(),
        };
        HEAD + if self.expires { EXPIRY } else { 0 } + longer
    }

    fn value_at(self) -> usize {
        self.field_at() + self.field
    }

    fn block(self) -> usize {
        self.value_at() + if self.apart { REFERENCE } else { 1 + self.value }
    }

    /// Usable bytes of the block and of the value's own.
    fn weight(self) -> usize {
        usable_size(self.block()) + if self.apart { usable_size(self.value) } else { 0 }
    }
}

impl Field {
    /// A field of these bytes; `expiry_ms` is Unix time.
    #[must_use]
    pub fn new(field: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Self {
        let shape = Shape::new(field.len(), value.len(), expiry_ms.is_some());
        let mut new = Self::with_field(shape, field, expiry_ms);
        if shape.apart {
            let block = raw::allocate(value.len());
            new.refer(shape, block);
            new.fill_apart(value);
        } else {
            new.put_inside(shape, value);
        }
        new
    }

    /// A block of this shape without its value.
    fn with_field(shape: Shape, field: &[u8], expiry_ms: Option<i64>) -> Self {
        let mut new = Self(raw::allocate(shape.block()));
        new.write(0, &[shape.head()]);
        if let Some(expiry_ms) = expiry_ms {
            new.write(HEAD, &expiry_ms.to_le_bytes());
        }
        match shape.head() & LENGTH {
            LENGTH_U16 => new.write(shape.field_at() - size_of::<u16>(), &(field.len() as u16).to_le_bytes()),
            LENGTH_U64 => new.write(shape.field_at() - size_of::<u64>(), &(field.len() as u64).to_le_bytes()),
            _ => {}
        }
        new.write(shape.field_at(), field);
        new
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: callers pass a range inside of the block, whose size follows from the shape.
        let target = unsafe { self.0.add(at) };
        // SAFETY: as above; the source is borrowed and the block is owned, so they do not overlap.
        unsafe { target.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    #[inline]
    fn bytes(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: callers pass a range inside of the block, as the head and the lengths say.
        let start = unsafe { self.0.add(at) };
        // SAFETY: the range is initialised and lives as long as the field.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    #[inline]
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        // SAFETY: callers pass a range inside of the block, as the head and the lengths say.
        let start = unsafe { self.0.add(at) };
        // SAFETY: the range is initialised, and an array of bytes needs no alignment.
        unsafe { start.cast::<[u8; N]>().read() }
    }

    #[inline]
    fn head(&self) -> u8 {
        let [head] = self.array(0);
        head
    }

    /// Where the field's bytes are and how many.
    #[inline]
    fn field_span(&self) -> (usize, usize) {
        let head = self.head();
        let at = HEAD + if head & HAS_EXPIRY == 0 { 0 } else { EXPIRY };
        match head & LENGTH {
            LENGTH_U16 => (at + size_of::<u16>(), usize::from(u16::from_le_bytes(self.array(at)))),
            LENGTH_U64 => (at + size_of::<u64>(), u64::from_le_bytes(self.array(at)) as usize),
            length => (at, usize::from(length)),
        }
    }

    /// Where the value's length (and address) are.
    #[inline]
    fn value_at(&self) -> usize {
        let (at, len) = self.field_span();
        at + len
    }

    #[inline]
    fn is_apart(&self) -> bool {
        self.head() & VALUE_APART != 0
    }

    fn shape(&self) -> Shape {
        let (_, field) = self.field_span();
        let expires = self.head() & HAS_EXPIRY != 0;
        Shape { field, value: self.value().len(), expires, apart: self.is_apart() }
    }

    /// Address and length of a value that stands apart.
    fn reference(&self) -> (*mut u8, usize) {
        let at = self.value_at();
        let [a, b, c, d, e, f] = self.array::<ADDRESS>(at);
        let address = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let [a, b, c, d, e] = self.array::<{ REFERENCE - ADDRESS }>(at + ADDRESS);
        let len = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
        (ptr::with_exposed_provenance_mut(address as usize), len as usize)
    }

    /// Makes `block`, of `shape.value` bytes, the value.
    fn refer(&mut self, shape: Shape, block: NonNull<u8>) {
        let address = block.as_ptr().expose_provenance() as u64;
        self.write(shape.value_at(), &address.to_le_bytes()[..ADDRESS]);
        let len = (shape.value as u64).to_le_bytes();
        self.write(shape.value_at() + ADDRESS, &len[..REFERENCE - ADDRESS]);
    }

    fn put_inside(&mut self, shape: Shape, value: &[u8]) {
        self.write(shape.value_at(), &[value.len() as u8]);
        self.write(shape.value_at() + 1, value);
    }

    fn fill_apart(&mut self, value: &[u8]) {
        let (start, _) = self.reference();
        // SAFETY: the value's own block has room for the value; it is owned, so that a borrowed value is elsewhere.
        unsafe { start.copy_from_nonoverlapping(value.as_ptr(), value.len()) };
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &[u8] {
        if self.is_apart() {
            let (start, len) = self.reference();
            // SAFETY: the value's own block holds `len` initialised bytes as long as the field lives.
            return unsafe { std::slice::from_raw_parts(start, len) };
        }
        let at = self.value_at();
        let [len] = self.array(at);
        self.bytes(at + 1, usize::from(len))
    }

    /// When the field expires: Unix time in milliseconds.
    #[inline]
    #[must_use]
    pub fn expiry_ms(&self) -> Option<i64> {
        (self.head() & HAS_EXPIRY != 0).then(|| i64::from_le_bytes(self.array(HEAD)))
    }

    /// Whether the field's time is over.
    #[inline]
    #[must_use]
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expiry_ms().is_some_and(|expiry_ms| now_ms > expiry_ms)
    }

    /// Changes value and expiry; in place where the size classes stay the same.
    pub fn set(&mut self, value: &[u8], expiry_ms: Option<i64>) {
        let old = self.shape();
        let new = Shape::new(old.field, value.len(), expiry_ms.is_some());
        let in_place = old.expires == new.expires
            && old.apart == new.apart
            && usable_size(old.block()) == usable_size(new.block());
        if !in_place {
            *self = Self::new(self.key(), value, expiry_ms);
            return;
        }
        if let Some(expiry_ms) = expiry_ms {
            self.write(HEAD, &expiry_ms.to_le_bytes());
        }
        if !new.apart {
            self.put_inside(new, value);
            return;
        }
        if usable_size(old.value) != usable_size(new.value) {
            let block = raw::allocate(new.value);
            self.free_value();
            self.refer(new, block);
        } else if let Some(block) = NonNull::new(self.reference().0) {
            self.refer(new, block);
        }
        self.fill_apart(value);
    }

    /// Changes or takes away the expiry. A value that stands apart and stays so is not copied.
    pub fn set_expiry(&mut self, expiry_ms: Option<i64>) {
        let old = self.shape();
        let new = Shape::new(old.field, old.value, expiry_ms.is_some());
        match expiry_ms {
            Some(expiry_ms) if old.expires => self.write(HEAD, &expiry_ms.to_le_bytes()),
            None if !old.expires => {}
            _ if old.apart && new.apart => {
                let mut moved = Self::with_field(new, self.key(), expiry_ms);
                if let Some(block) = NonNull::new(self.reference().0) {
                    moved.refer(new, block);
                }
                // Now the value belongs to the new block; the old one is let go alone.
                let old = std::mem::replace(self, moved).into_block();
                // SAFETY: the block was owned and is not used again.
                unsafe { raw::free(old) };
            }
            _ => *self = Self::new(self.key(), self.value(), expiry_ms),
        }
    }

    fn free_value(&mut self) {
        if self.is_apart()
            && let Some(block) = NonNull::new(self.reference().0)
        {
            // SAFETY: the value's own block is owned; the caller replaces the reference or drops the field.
            unsafe { raw::free(block) };
        }
    }
}

impl Clone for Field {
    fn clone(&self) -> Self {
        Self::new(self.key(), self.value(), self.expiry_ms())
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.free_value();
        // SAFETY: the block is owned and not used again.
        unsafe { raw::free(self.0) };
    }
}

impl MemoryUsage for Field {
    #[inline]
    fn memory_usage(&self) -> usize {
        self.shape().weight()
    }
}

impl Relocate for Field {
    fn relocate(&mut self, _: usize, mover: &mut Mover) -> usize {
        // SAFETY: the block is owned and replaced at once.
        self.0 = unsafe { mover.relocate(self.0) };
        if self.is_apart()
            && let Some(value) = NonNull::new(self.reference().0)
        {
            let shape = self.shape();
            // SAFETY: the value's own block is owned, and the reference to it replaced at once.
            let value = unsafe { mover.relocate(value) };
            self.refer(shape, value);
        }
        0
    }
}

// SAFETY: the block comes from `memory::raw` (8-byte aligned, user space) and stays where it is until it is changed;
// the field's bytes are in it.
unsafe impl Element for Field {
    #[inline]
    fn into_block(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0
    }

    #[inline]
    unsafe fn from_block(block: NonNull<u8>) -> Self {
        Self(block)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        let (at, len) = self.field_span();
        self.bytes(at, len)
    }

    #[inline]
    fn marks(&self) -> Marks {
        Marks::NONE.with(Mark::Expires, self.head() & HAS_EXPIRY != 0)
    }

    fn due_ms(&self, _: Mark) -> i64 {
        self.expiry_ms().unwrap_or(i64::MAX)
    }
}

impl<'a> Borrowed<'a, Field> {
    /// The field's value, for as long as the table is lent.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        let value: *const [u8] = Field::value(self);
        // SAFETY: the value lies in blocks that the field owns, which stay as they are during 'a.
        unsafe { &*value }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;
    use crate::memory::allocated_bytes;

    const LENGTHS: [usize; 16] = [0, 1, 8, 20, 61, 62, 63, 64, 100, 120, 200, 255, 256, 1024, 65_535, 65_600];

    fn text(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    }

    fn check(field: &Field, key: &[u8], value: &[u8], expiry_ms: Option<i64>) {
        assert!(field.key() == key && field.value() == value);
        assert_eq!(field.expiry_ms(), expiry_ms);
    }

    #[test]
    fn holds_every_combination_of_lengths_and_weighs_what_the_allocator_counts() {
        for key_len in LENGTHS {
            for value_len in LENGTHS {
                for expiry_ms in [None, Some(-1), Some(i64::MAX)] {
                    let (key, value) = (text(key_len, 1), text(value_len, 2));
                    let before = allocated_bytes();
                    let field = Field::new(&key, &value, expiry_ms);
                    assert_eq!(allocated_bytes() - before, field.memory_usage(), "{key_len} {value_len}");
                    check(&field, &key, &value, expiry_ms);
                    drop(field);
                    assert_eq!(allocated_bytes(), before);
                }
            }
        }
    }

    #[test]
    fn changes_between_all_shapes() {
        let mut random = fastrand::Rng::with_seed(3);
        for key_len in [0, 5, 61, 62, 300, 70_000] {
            let key = text(key_len, 7);
            let mut value = text(10, 8);
            let mut expiry_ms = None;
            let mut field = Field::new(&key, &value, expiry_ms);
            for step in 0..400 {
                expiry_ms = if random.bool() { Some(random.i64(0..1 << 40)) } else { None };
                if random.u8(..3) == 0 {
                    field.set_expiry(expiry_ms);
                } else {
                    let fresh = text(LENGTHS[random.usize(..LENGTHS.len())] + random.usize(..9), step as u8);
                    field.set(&fresh, expiry_ms);
                    value = fresh;
                }
                check(&field, &key, &value, expiry_ms);
                check(&field.clone(), &key, &value, expiry_ms);
            }
            let (with, weight) = (allocated_bytes(), field.memory_usage());
            drop(field);
            assert_eq!(with - allocated_bytes(), weight);
        }
    }

    #[test]
    fn a_value_of_a_power_of_two_costs_no_larger_class() {
        for (value_len, most) in [(5, 16), (100, 112), (128, 152), (256, 280), (1024, 1048)] {
            assert!(
                Field::new(b"fieldname", &text(value_len, 0), None).memory_usage() <= most,
                "{value_len}"
            );
        }
    }
}
