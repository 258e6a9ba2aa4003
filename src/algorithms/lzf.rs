//! LZF, the compression of long strings in RDB files and of quicklist nodes.
//!
//! ```text
//! 000LLLLL literals…              L+1 literal bytes follow (1 to 32)
//! LLLooooo oooooooo               copy L+2 bytes (3 to 8) from o+1 bytes back
//! 111ooooo LLLLLLLL oooooooo      copy L+9 bytes (9 to 264) from o+1 bytes back
//! ```
//!
//! Any valid choice of copies decompresses to the same bytes, so the compressed form need not equal Valkey's. The
//! table of recent positions is sized by the input, so that short strings do not pay for clearing a large one.

const MAX_LITERALS: usize = 32;
const MIN_COPY: usize = 3;
const MAX_COPY: usize = 264;
const MAX_DISTANCE: usize = 8192;
/// Valkey compresses only when that saves at least four bytes.
const MIN_SAVING: usize = 4;

/// Appends the compressed form of `input` to `output` and returns true, or, where that would not save at least four
/// bytes, leaves `output` as it was and returns false.
pub fn compress(input: &[u8], output: &mut Vec<u8>) -> bool {
    match input.len() {
        0..=512 => compress_with::<512>(input, output),
        513..=4096 => compress_with::<4096>(input, output),
        _ => compress_with::<16384>(input, output),
    }
}

fn compress_with<const SLOTS: usize>(input: &[u8], output: &mut Vec<u8>) -> bool {
    if input.len() <= MIN_SAVING + MIN_COPY {
        return false;
    }
    let start = output.len();
    let limit = start + input.len() - MIN_SAVING;
    // Positions modulo 64 Ki: the bytes themselves are compared, so a stale or empty slot costs time, never correctness.
    let mut recent = [0_u16; SLOTS];
    let (mut at, mut literals_from) = (1, 0);
    while at + 4 <= input.len() {
        let window = u32::from_le_bytes([input[at], input[at + 1], input[at + 2], input[at + 3]]);
        let slot = slot::<SLOTS>(window);
        let candidate = resolve(recent[slot], at);
        recent[slot] = at as u16;
        let distance = at - candidate;
        if distance == 0 || distance > MAX_DISTANCE || input[candidate..candidate + 3] != input[at..at + 3] {
            at += 1;
            continue;
        }
        let length = copy_length(input, candidate, at);
        write_literals(&input[literals_from..at], output);
        write_copy(distance, length, output);
        if output.len() > limit {
            break;
        }
        at += length;
        literals_from = at;
        // Two more positions inside the copy are remembered: most of the gain of remembering all of them.
        for inside in [at - 2, at - 1] {
            if let Some(window) = input.get(inside..inside + 4) {
                recent[slot_of::<SLOTS>(window)] = inside as u16;
            }
        }
    }
    if output.len() <= limit {
        write_literals(&input[literals_from..], output);
    }
    if output.len() > limit {
        output.truncate(start);
        return false;
    }
    true
}

/// The slot of the first three bytes of a little-endian window of four.
#[inline]
fn slot<const SLOTS: usize>(window: u32) -> usize {
    let three = window & 0x00ff_ffff;
    (three.wrapping_mul(0x9e37_79b1) >> (32 - SLOTS.trailing_zeros())) as usize
}

#[inline]
fn slot_of<const SLOTS: usize>(window: &[u8]) -> usize {
    slot::<SLOTS>(u32::from_le_bytes([window[0], window[1], window[2], 0]))
}

/// The latest position up to `at` whose low 16 bits are `low`; `at` itself where there is none.
#[inline]
fn resolve(low: u16, at: usize) -> usize {
    let back = usize::from((at as u16).wrapping_sub(low));
    at.checked_sub(back).unwrap_or(at)
}

fn copy_length(input: &[u8], candidate: usize, at: usize) -> usize {
    let most = (input.len() - at).min(MAX_COPY);
    let same =
        input[candidate..].iter().zip(&input[at..at + most]).take_while(|(old, new)| old == new).count();
    same.max(MIN_COPY)
}

fn write_literals(literals: &[u8], output: &mut Vec<u8>) {
    for run in literals.chunks(MAX_LITERALS) {
        output.push((run.len() - 1) as u8);
        output.extend_from_slice(run);
    }
}

fn write_copy(distance: usize, length: usize, output: &mut Vec<u8>) {
    let (offset, length) = (distance - 1, length - 2);
    if length < 7 {
        output.push((length << 5 | offset >> 8) as u8);
    } else {
        output.extend_from_slice(&[(7 << 5 | offset >> 8) as u8, (length - 7) as u8]);
    }
    output.push(offset as u8);
}

/// Decompresses `input`, which must give exactly `expected_len` bytes: `None` for anything else. Allocates
/// `expected_len` bytes once, and not even that where no input of this length could yield so many; the caller checks
/// it against its own limits.
#[must_use]
pub fn decompress(input: &[u8], expected_len: usize) -> Option<Vec<u8>> {
    // Three bytes can stand for at most 264.
    if expected_len > input.len().saturating_mul(MAX_COPY / 3) {
        return None;
    }
    let mut output = Vec::new();
    output.try_reserve_exact(expected_len).ok()?;
    let mut rest = input;
    while let Some((&control, tail)) = rest.split_first() {
        rest = if control < MAX_LITERALS as u8 {
            let (literals, tail) = tail.split_at_checked(usize::from(control) + 1)?;
            if literals.len() > expected_len - output.len() {
                return None;
            }
            output.extend_from_slice(literals);
            tail
        } else {
            expand_copy(control, tail, expected_len, &mut output)?
        };
    }
    (output.len() == expected_len).then_some(output)
}

/// Carries out the copy that `control` opens; returns what follows it.
fn expand_copy<'a>(
    control: u8,
    tail: &'a [u8],
    expected_len: usize,
    output: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    let (mut length, mut tail) = (usize::from(control >> 5) + 2, tail);
    if length == 9 {
        let (&more, after) = tail.split_first()?;
        length += usize::from(more);
        tail = after;
    }
    let (&low, tail) = tail.split_first()?;
    let distance = (usize::from(control & 0x1f) << 8 | usize::from(low)) + 1;
    if length > expected_len - output.len() {
        return None;
    }
    let from = output.len().checked_sub(distance)?;
    // A copy may overlap what it writes; each round doubles what can be copied at once.
    let mut left = length;
    while left > 0 {
        let piece = left.min(output.len() - from);
        output.extend_from_within(from..from + piece);
        left -= piece;
    }
    Some(tail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn round_trip(input: &[u8]) -> Option<usize> {
        let mut compressed = b"kept".to_vec();
        if !compress(input, &mut compressed) {
            assert_eq!(compressed, b"kept");
            return None;
        }
        assert_eq!(&compressed[..4], b"kept");
        let body = &compressed[4..];
        assert!(body.len() + MIN_SAVING <= input.len());
        assert_eq!(decompress(body, input.len()).as_deref(), Some(input));
        assert_eq!(lzf::decompress(body, input.len()).unwrap(), input);
        Some(body.len())
    }

    #[test]
    fn repetition_shrinks_and_noise_is_left_alone() {
        assert!(round_trip(&[b'x'; 100_000]).unwrap() < 1300);
        assert!(round_trip(&b"hello world ".repeat(50)).unwrap() < 40);
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = (0..10_000).map(|_| random.u8(..)).collect();
        assert_eq!(round_trip(&noise), None);
        for length in 0..8 {
            assert_eq!(round_trip(&vec![0; length]), None);
        }
    }

    #[test]
    fn ratio_on_text_is_that_of_the_reference_within_a_few_percent() {
        let mut text = Vec::new();
        for number in 0..6000_u32 {
            text.extend_from_slice(
                format!("user:{} name=n{} mail={}@example.org;", number, number * 7, number % 97).as_bytes(),
            );
        }
        let reference = lzf::compress(&text).unwrap().len();
        let ours = round_trip(&text).unwrap();
        assert!(ours < reference + reference / 20, "ours {ours}, reference {reference}");
    }

    #[test]
    fn what_the_reference_compresses_is_read() {
        let text = b"the quick brown fox jumps over the quick brown dog ".repeat(40);
        let compressed = lzf::compress(&text).unwrap();
        assert_eq!(decompress(&compressed, text.len()).unwrap(), text);
    }

    #[test]
    fn malformed_input_is_refused() {
        for (input, length) in [
            (&[0x20_u8, 0x00][..], 3),
            (&[0x05, b'a'], 6),
            (&[0x00, b'a', 0x20], 4),
            (&[0x00, b'a', 0xe0, 1], 11),
            (&[0x00, b'a', 0x20, 0x01], 4),
            (&[0x00, b'a'], 2),
            (&[0x01, b'a', b'b'], 1),
            (&[], 1),
            (&[0, 0], usize::MAX),
        ] {
            assert_eq!(decompress(input, length), None, "{input:?}");
        }
        assert_eq!(decompress(&[0x00, b'a', 0x20, 0x00], 4).unwrap(), b"aaaa");
        assert_eq!(decompress(&[], 0).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn every_input_comes_back(input in proptest::collection::vec(0_u8..4, 0..3000)) {
            round_trip(&input);
        }

        #[test]
        fn arbitrary_bytes_never_yield_a_wrong_length(input in proptest::collection::vec(any::<u8>(), 0..200), length in 0_usize..2000) {
            if let Some(output) = decompress(&input, length) {
                prop_assert_eq!(output.len(), length);
            }
        }
    }

    #[test]
    fn long_inputs_cross_the_64_ki_position_wrap() {
        let mut random = fastrand::Rng::with_seed(3);
        let words: Vec<Vec<u8>> =
            (0..500).map(|_| (0..random.usize(3..20)).map(|_| random.u8(..)).collect()).collect();
        let mut input = Vec::new();
        while input.len() < 300_000 {
            input.extend_from_slice(&words[random.usize(..words.len())]);
        }
        assert!(round_trip(&input).is_some());
    }
}
