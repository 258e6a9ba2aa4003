//! Bitmaps: bytes seen as bits, bit 0 being the most significant one of the first byte.
//!
//! What lies beyond the bytes is zero when it is read, and is not written.

use std::ops::Range;

/// Bytes that are looked at in one step.
const WORD: usize = size_of::<u64>();

/// The bit at `offset`.
#[must_use]
pub fn bit(bytes: &[u8], offset: usize) -> bool {
    bytes.get(offset / 8).is_some_and(|byte| byte & mask_of(offset) != 0)
}

/// Sets or clears the bit at `offset`.
pub fn set_bit(bytes: &mut [u8], offset: usize, value: bool) {
    if let Some(byte) = bytes.get_mut(offset / 8) {
        *byte = if value { *byte | mask_of(offset) } else { *byte & !mask_of(offset) };
    }
}

fn mask_of(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

/// The bytes that a range of bits touches, and which bits of the first and of the last one belong to it; `None` when
/// the range is empty or reaches beyond the bytes.
fn touched<'a>(bytes: &'a [u8], bits: &Range<usize>) -> Option<(&'a [u8], u8, u8)> {
    if bits.is_empty() {
        return None;
    }
    let last = bits.end - 1;
    let touched = bytes.get(bits.start / 8..=last / 8)?;
    Some((touched, 0xff >> (bits.start % 8), 0xff << (7 - last % 8)))
}

/// How many bits of a range are set. The range lies within the bytes.
#[must_use]
pub fn count_ones(bytes: &[u8], bits: Range<usize>) -> usize {
    let Some((touched, head, tail)) = touched(bytes, &bits) else { return 0 };
    let outside = |byte: Option<&u8>, mask: u8| byte.map_or(0, |byte| (byte & !mask).count_ones());
    let words = touched.chunks_exact(WORD);
    let rest: u32 = words.remainder().iter().map(|byte| byte.count_ones()).sum();
    let all = words.map(|word| u64::from(word_of(word).count_ones())).sum::<u64>() + u64::from(rest);
    all as usize - (outside(touched.first(), head) + outside(touched.last(), tail)) as usize
}

/// The first bit of a range that has this value. The range lies within the bytes.
#[must_use]
pub fn find_bit(bytes: &[u8], bits: Range<usize>, value: bool) -> Option<usize> {
    let (touched, head, tail) = touched(bytes, &bits)?;
    let base = bits.start / 8;
    // With the bits turned over, a search for zeros is one for ones.
    let turned = if value { 0 } else { 0xff };
    let within = |index: usize, mask: u8| {
        let byte = (touched.get(index)? ^ turned) & mask;
        (byte != 0).then(|| (base + index) * 8 + byte.leading_zeros() as usize)
    };
    let last = touched.len() - 1;
    if last == 0 {
        return within(0, head & tail);
    }
    let between = |from: usize| {
        let middle = touched.get(from..last)?;
        let uniform = u64::from_ne_bytes([turned; WORD]);
        let words = middle.chunks_exact(WORD).take_while(|word| word_of(word) == uniform).count();
        let skipped = words * WORD;
        let at = middle.get(skipped..)?.iter().position(|byte| *byte != turned)?;
        within(from + skipped + at, 0xff)
    };
    within(0, head).or_else(|| between(1)).or_else(|| within(last, tail))
}

fn word_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_ne_bytes)
}

/// Bytes that a field of 64 bits can touch.
const FIELD_BYTES: usize = 9;

/// Where a field lies within the window of bytes it touches: bits to its right, and its mask before they are added.
fn field_place(offset: usize, width: u32) -> (u32, u128) {
    let shift = FIELD_BYTES as u32 * 8 - (offset % 8) as u32 - width;
    (shift, (1 << width) - 1)
}

/// The field of `width` bits (1 to 64) at `offset`, as an unsigned number.
#[must_use]
pub fn field(bytes: &[u8], offset: usize, width: u32) -> u64 {
    let (shift, mask) = field_place(offset, width);
    ((window(bytes, offset / 8) >> shift) & mask) as u64
}

/// Overwrites the field of `width` bits (1 to 64) at `offset` with the low bits of `value`.
pub fn set_field(bytes: &mut [u8], offset: usize, width: u32, value: u64) {
    let (shift, mask) = field_place(offset, width);
    let window = window(bytes, offset / 8) & !(mask << shift) | (u128::from(value) & mask) << shift;
    let written = window.to_be_bytes();
    let (_, written) = written.split_at(written.len() - FIELD_BYTES);
    for (byte, new) in bytes.iter_mut().skip(offset / 8).zip(written) {
        *byte = *new;
    }
}

/// The bytes from `start` that a field can touch, as one number.
fn window(bytes: &[u8], start: usize) -> u128 {
    let bytes = bytes.get(start..).unwrap_or_default();
    (0..FIELD_BYTES).fold(0, |window, at| window << 8 | u128::from(bytes.get(at).copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// Bytes in which runs of equal bits of many lengths occur.
    fn sample(len: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut bytes = Vec::new();
        while bytes.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 3 {
                0 => bytes.extend(std::iter::repeat_n(0, (state >> 8) as usize % 40)),
                1 => bytes.extend(std::iter::repeat_n(0xff, (state >> 8) as usize % 40)),
                _ => bytes.push((state >> 16) as u8),
            }
        }
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn ranges_are_counted_and_searched_as_bit_by_bit() {
        let bytes = sample(90);
        let bits: Vec<bool> = (0..bytes.len() * 8).map(|offset| bit(&bytes, offset)).collect();
        for start in 0..bits.len() {
            for end in (start..bits.len()).step_by(7) {
                let range = &bits[start..end];
                assert_eq!(count_ones(&bytes, start..end), range.iter().filter(|bit| **bit).count());
                for value in [false, true] {
                    let first = range.iter().position(|bit| *bit == value).map(|at| start + at);
                    assert_eq!(find_bit(&bytes, start..end, value), first, "{start}..{end}");
                }
            }
        }
    }

    #[test]
    fn fields_are_read_and_written_as_bit_by_bit() {
        let bytes = sample(40);
        for width in 1..=64_u32 {
            for offset in 0..bytes.len() * 8 {
                let expected =
                    (0..width as usize).fold(0, |value, at| value << 1 | u64::from(bit(&bytes, offset + at)));
                assert_eq!(field(&bytes, offset, width), expected, "u{width} at {offset}");
                let mut changed = bytes.clone();
                set_field(&mut changed, offset, width, !expected);
                for at in 0..bytes.len() * 8 {
                    let inside = (offset..offset + width as usize).contains(&at);
                    assert_eq!(bit(&changed, at), bit(&bytes, at) ^ inside, "u{width} at {offset}");
                }
            }
        }
    }

    #[test]
    fn bits_are_counted_from_the_most_significant() {
        let mut bytes = [0; 2];
        set_bit(&mut bytes, 1, true);
        set_bit(&mut bytes, 15, true);
        set_bit(&mut bytes, 16, true);
        assert_eq!(bytes, [0x40, 1]);
        set_bit(&mut bytes, 1, false);
        assert_eq!(bytes, [0, 1]);
        assert!(bit(&bytes, 15) && !bit(&bytes, 14) && !bit(&bytes, 99));
    }
}
