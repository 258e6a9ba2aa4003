//! Integers and amounts of memory as text.

/// Prints an integer into a buffer on the stack: `IntegerText::new().format(value)`.
pub use itoa::Buffer as IntegerText;

/// Reads a signed integer as Valkey's `string2ll`: an optional minus, then digits; no plus sign, no leading zero, no
/// space, no minus zero. What it accepts is exactly what [`write_i64`] prints.
#[inline]
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        // Nineteen digits cannot overflow 64 bits unsigned.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads an unsigned integer as Valkey's `string2ull`: what [`parse_i64`] accepts unless negative, else what the C
/// library's `strtoull` accepts as a whole: leading spaces, a sign (a minus wraps) and leading zeros. Stream ids are
/// read this way.
#[must_use]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_i64(text) {
        return u64::try_from(value).ok();
    }
    let spaces = text.iter().take_while(|&&byte| is_c_space(byte)).count();
    let (negative, digits) = match &text[spaces..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let magnitude = parse_digits(digits)?;
    Some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// Digits only, leading zeros allowed; none at all is zero.
fn parse_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// What C's `isspace` says in the C locale.
pub(super) fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads an amount of memory as Valkey's `memtoull`: digits, then nothing, `b`, `k` (1000), `kb` (1024), `m`, `mb`,
/// `g` or `gb` in any case. No digits count as zero; a product over 64 bits is refused.
#[must_use]
pub fn parse_memory_size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at(digits);
    let multiplier: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    parse_digits(digits)?.checked_mul(multiplier)
}

/// Appends `value` in decimal.
#[inline]
pub fn write_i64(output: &mut Vec<u8>, value: i64) {
    output.extend_from_slice(IntegerText::new().format(value).as_bytes());
}

/// Appends `value` in decimal.
#[inline]
pub fn write_u64(output: &mut Vec<u8>, value: u64) {
    output.extend_from_slice(IntegerText::new().format(value).as_bytes());
}

/// How many bytes `value` takes in decimal, its sign included.
#[inline]
#[must_use]
pub fn decimal_length(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(value < 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn signed_integers_are_read_strictly() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), Some(value));
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1a",
            "a",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "18446744073709551617",
            "1.0",
            "1\0",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn unsigned_integers_are_read_as_the_c_library_reads_them() {
        for (text, value) in [
            ("0", 0),
            ("18446744073709551615", u64::MAX),
            ("0001", 1),
            ("+5", 5),
            (" 5", 5),
            ("-01", u64::MAX),
        ] {
            assert_eq!(parse_u64(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in ["", "-1", "-", "+", "1x", "1 ", "18446744073709551616", " ", "*"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn amounts_of_memory_have_units() {
        for (text, value) in [
            ("1gb", 1 << 30),
            ("1G", 1_000_000_000),
            ("2Mb", 2 << 20),
            ("2m", 2_000_000),
            ("3kB", 3072),
            ("3k", 3000),
            ("100", 100),
            ("5b", 5),
            ("", 0),
            ("kb", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_memory_size(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["-1", "1tb", "1 gb", "1.5gb", "gbx", "18446744073709551616", "18446744073709551615kb"] {
            assert_eq!(parse_memory_size(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_integer_comes_back(value: i64) {
            let mut text = Vec::new();
            write_i64(&mut text, value);
            prop_assert_eq!(parse_i64(&text), Some(value));
            prop_assert_eq!(text.len(), decimal_length(value));
        }

        #[test]
        fn only_canonical_text_is_accepted(text in "[-+0-9 ]{0,6}") {
            if let Some(value) = parse_i64(text.as_bytes()) {
                prop_assert_eq!(value.to_string(), text);
            }
        }
    }
}
