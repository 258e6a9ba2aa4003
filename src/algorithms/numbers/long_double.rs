//! The 80-bit extended arithmetic of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Valkey adds in C's `long double` (x87 extended on its usual platforms) and prints `%.17Lf` without trailing zeros;
//! in doubles, 0.1 + 0.2 would not give 0.3. Numbers are read as glibc's `strtold` reads them.

use rustc_apfloat::ieee::{Double, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round};

/// Valkey reads into a buffer of 5 KiB that must also hold a closing NUL.
const MAX_TEXT: usize = 5 * 1024 - 1;
const FRACTION_DIGITS: usize = 17;
const TEN_TO_17: u128 = 100_000_000_000_000_000;

/// Why an addition was refused. The caller owns the words: Valkey's differ between strings and hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongDoubleError {
    /// One of the operands is not a number.
    NotAFloat,
    /// The result is no finite number.
    NanOrInfinity,
}

/// A number in x87 extended precision; never NaN.
#[derive(Debug, Clone, Copy)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Reads a number as Valkey's `string2ld`: decimal, scientific or hexadecimal, an optional sign, `inf` or
    /// `infinity`. Refused: surrounding spaces, NaN, and numbers that overflow or vanish to zero.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let magnitude =
            if is_infinity(unsigned) { X87DoubleExtended::INFINITY } else { parse_magnitude(unsigned)? };
        Some(Self(if negative { -magnitude } else { magnitude }))
    }

    /// Every 64-bit integer is exact in extended precision.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        Self(X87DoubleExtended::from_i128(i128::from(value)).value)
    }

    /// Every double but NaN is exact in extended precision.
    #[must_use]
    pub fn from_f64(value: f64) -> Self {
        let double = Double::from_bits(u128::from(value.to_bits()));
        Self(double.convert(&mut false).value)
    }

    /// Whether the number is not an infinity.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    /// The sum; `None` where it is infinite or no number at all.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let sum = (self.0 + other.0).value;
        sum.is_finite().then_some(Self(sum))
    }

    /// The product with `factor`, rounded up to an integer; an infinity is the largest or the smallest integer.
    #[must_use]
    pub fn times_rounded_up(self, factor: i64) -> i128 {
        (self.0 * Self::from_i64(factor).0).value.to_i128_r(128, Round::TowardPositive, &mut false).value
    }

    /// Prints the number as Valkey's `ld2string` does for humans: never in scientific form, at most 17 digits after
    /// the point, no trailing zeros, no minus zero.
    #[must_use]
    pub fn to_text(self) -> Vec<u8> {
        if !self.0.is_finite() {
            return if self.0.is_negative() { b"-inf".to_vec() } else { b"inf".to_vec() };
        }
        // Sign, fifteen bits of exponent, then a significand whose leading one is stored.
        let bits = self.0.to_bits();
        let significand = bits as u64;
        let biased = (bits >> 64) as i32 & 0x7fff;
        let exponent = biased.max(1) - 16_383 - 63;
        let (whole, fraction) = if exponent >= 0 {
            (shifted_to_decimal(significand, exponent as u32), 0)
        } else {
            let rounded = shift_right_to_even(u128::from(significand) * TEN_TO_17, exponent.unsigned_abs());
            (
                super::IntegerText::new().format(rounded / TEN_TO_17).as_bytes().to_vec(),
                (rounded % TEN_TO_17) as u64,
            )
        };
        let mut text = Vec::with_capacity(whole.len() + FRACTION_DIGITS + 2);
        if self.0.is_negative() && (fraction != 0 || whole != b"0") {
            text.push(b'-');
        }
        text.extend_from_slice(&whole);
        if fraction != 0 {
            text.extend_from_slice(format!(".{fraction:0FRACTION_DIGITS$}").trim_end_matches('0').as_bytes());
        }
        text
    }
}

/// Adds two numbers given as text and prints the sum.
///
/// # Errors
/// [`LongDoubleError::NotAFloat`] for an operand that cannot be read, [`LongDoubleError::NanOrInfinity`] for a sum
/// that is not finite.
pub fn add_long_double(left: &[u8], right: &[u8]) -> Result<Vec<u8>, LongDoubleError> {
    let left = LongDouble::parse(left).ok_or(LongDoubleError::NotAFloat)?;
    let right = LongDouble::parse(right).ok_or(LongDoubleError::NotAFloat)?;
    left.checked_add(right).map(LongDouble::to_text).ok_or(LongDoubleError::NanOrInfinity)
}

fn is_infinity(text: &str) -> bool {
    text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("infinity")
}

/// Reads an unsigned finite number. The grammar is checked here, since apfloat's own is laxer in places (an exponent
/// without digits) and stricter in others (a hexadecimal number without exponent).
fn parse_magnitude(text: &str) -> Option<X87DoubleExtended> {
    let bytes = text.as_bytes();
    let hexadecimal = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let (body, is_digit, marker): (_, fn(&u8) -> bool, _) = if hexadecimal {
        (&bytes[2..], u8::is_ascii_hexdigit, b'p')
    } else {
        (bytes, u8::is_ascii_digit, b'e')
    };
    let end = body.iter().position(|byte| byte.to_ascii_lowercase() == marker).unwrap_or(body.len());
    let (significand, exponent) = body.split_at(end);
    let mut digits = significand.iter().filter(|&&byte| byte != b'.');
    let points = significand.iter().filter(|&&byte| byte == b'.').count();
    if points > 1 || digits.clone().next().is_none() || !digits.all(is_digit) || !is_exponent(exponent) {
        return None;
    }
    if significand.iter().all(|byte| matches!(byte, b'0' | b'.')) {
        return Some(X87DoubleExtended::ZERO);
    }
    let parsed = if hexadecimal && exponent.is_empty() {
        format!("{text}p0").parse::<X87DoubleExtended>()
    } else {
        text.parse::<X87DoubleExtended>()
    };
    parsed.ok().filter(|value| value.is_finite() && !value.is_zero())
}

/// Nothing, or a marker, an optional sign and digits.
fn is_exponent(text: &[u8]) -> bool {
    let Some((_, signed)) = text.split_first() else { return true };
    let digits = signed.strip_prefix(b"-").or_else(|| signed.strip_prefix(b"+")).unwrap_or(signed);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// value / 2^`places`, rounded to nearest, ties to even.
fn shift_right_to_even(value: u128, places: u32) -> u128 {
    let Some(half) = 1_u128.checked_shl(places - 1) else { return 0 };
    let quotient = value.checked_shr(places).unwrap_or(0);
    let rest = value & (half | (half - 1));
    if rest > half || (rest == half && quotient & 1 == 1) { quotient + 1 } else { quotient }
}

/// `significand` × 2^`places` in decimal.
fn shifted_to_decimal(significand: u64, places: u32) -> Vec<u8> {
    const CHUNK: u64 = 10_000_000_000_000_000_000;
    let mut limbs = vec![0_u64; (places / 64) as usize];
    let wide = u128::from(significand) << (places % 64);
    limbs.extend([wide as u64, (wide >> 64) as u64]);
    let mut chunks = Vec::new();
    while limbs.last().is_some() {
        let mut rest = 0_u64;
        for limb in limbs.iter_mut().rev() {
            let dividend = u128::from(rest) << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(CHUNK)) as u64;
            rest = (dividend % u128::from(CHUNK)) as u64;
        }
        chunks.push(rest);
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
    }
    let mut text = Vec::with_capacity(chunks.len() * 19);
    for (index, chunk) in chunks.iter().rev().enumerate() {
        let digits = if index == 0 { chunk.to_string() } else { format!("{chunk:019}") };
        text.extend_from_slice(digits.as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn add(left: &str, right: &str) -> String {
        String::from_utf8(add_long_double(left.as_bytes(), right.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn sums_are_those_of_extended_precision() {
        for (left, right, sum) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("1", "1", "2"),
            ("-0.0", "0", "0"),
            ("0", "-0.000000000000000001", "0"),
            ("0x10", "0x.8", "16.5"),
            ("0x1p4", "1", "17"),
            ("-1.5", "0.25", "-1.25"),
            ("17179869184", "1", "17179869185"),
            ("1", "0.0001", "1.0001"),
            ("9007199254740993", "0", "9007199254740993"),
            ("1e30", "0", "1000000000000000000024696061952"),
            ("0", "0.00000000000000001", "0.00000000000000001"),
            ("+.5", "5.", "5.5"),
            ("1e-320", "0", "0"),
            ("3.14159265358979323846", "0", "3.14159265358979324"),
        ] {
            assert_eq!(add(left, right), sum, "{left} + {right}");
        }
    }

    #[test]
    fn large_numbers_print_in_full() {
        assert_eq!(add("1e400", "0").len(), 401);
        assert!(add("1e400", "0").starts_with("100000000000000000002818806839475865145864"));
        assert_eq!(add("1.18e4932", "0").len(), 4933);
        assert_eq!(add_long_double(b"1.18e4932", b"1.18e4932"), Err(LongDoubleError::NanOrInfinity));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", " 1", "1 ", "abc", "nan", "1e", "1e+", ".", "+", "-", "0x", "0x.", "0xg", "1.2.3", "--1",
            "1e5000", "1e-5000", "0x1p", "1p3", "infinite", "1\0",
        ] {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(LongDouble::parse(&[b'1'; MAX_TEXT + 1]).is_none());
        assert!(LongDouble::parse(b"\xff").is_none());
        assert!(LongDouble::parse(b"0e99999999999999999999").is_some());
        assert!(LongDouble::parse(b"inf").is_some_and(|value| !value.is_finite()));
        assert_eq!(add_long_double(b"1", b"x"), Err(LongDoubleError::NotAFloat));
        assert_eq!(add_long_double(b"-Infinity", b"inf"), Err(LongDoubleError::NanOrInfinity));
    }

    proptest! {
        #[test]
        fn integers_add_exactly(left: i32, right: i32) {
            prop_assert_eq!(add(&left.to_string(), &right.to_string()), (i64::from(left) + i64::from(right)).to_string());
            let sum = LongDouble::from_i64(left.into()).checked_add(LongDouble::from_i64(right.into())).unwrap();
            prop_assert_eq!(sum.to_text(), (i64::from(left) + i64::from(right)).to_string().into_bytes());
        }

        #[test]
        fn short_decimals_come_back(whole in 0..8_u32, fraction in 0..10_000_u32) {
            let text = format!("{whole}.{fraction:04}1");
            prop_assert_eq!(add(&text, "0"), text);
        }

        #[test]
        fn no_text_panics(text in "(0x|0X)?[-+0-9a-fA-Fp.]{0,12}([eEpP][-+]?[0-9]{0,12})?") {
            let _ = LongDouble::parse(text.as_bytes()).map(LongDouble::to_text);
        }
    }
}
