//! Doubles as text: read as Valkey's `string2d`, printed as its `d2string`.
//!
//! Digits come from Grisu2 as fpconv implements it: they always read back as the same double and are the shortest
//! such digits in all but about one case in a thousand. Replies must equal Valkey's to the byte, so its choice is kept.

mod powers;

use powers::{FIRST_POWER, POWER_STEP, POWERS_OF_TEN, power_exponent};

/// Reads a double as Valkey 9.1's `string2d` does: decimal or scientific, an optional sign, `inf` or `infinity` in any
/// case. Refused: surrounding spaces, hexadecimal, NaN, and numbers that overflow or vanish to zero.
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if value.is_nan() {
        return None;
    }
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if value.is_infinite() {
        let spelled_out = unsigned.first().is_some_and(u8::is_ascii_alphabetic);
        return spelled_out.then_some(value);
    }
    if value == 0.0 {
        let mut significand = unsigned.iter().take_while(|byte| !byte.is_ascii_alphabetic());
        return significand.all(|byte| matches!(byte, b'0' | b'.')).then_some(value);
    }
    Some(value)
}

/// A printed double: at most 32 ASCII bytes, on the stack.
#[derive(Clone, Copy)]
pub struct FloatText {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl FloatText {
    const CAPACITY: usize = 32;

    fn new() -> Self {
        Self { bytes: [0; Self::CAPACITY], length: 0 }
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        debug_assert!(end <= Self::CAPACITY, "no double needs more than 25 bytes");
        if let Some(free) = self.bytes.get_mut(self.length..end) {
            free.copy_from_slice(bytes);
            self.length = end;
        }
    }

    fn extend_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.push(b'0');
        }
    }
}

impl std::ops::Deref for FloatText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl std::fmt::Debug for FloatText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Doubles with no fraction and at most this large print as integers.
const LARGEST_PLAIN_INTEGER: f64 = (1_u64 << 62) as f64;

/// Prints a double as Valkey prints scores and RESP3 doubles (`d2string`): `nan`, `inf`, `-inf`, `0`, `-0`, integers
/// up to 2^62 as integers, all else in fpconv's layout (`1e+20`, `0.1`, `1e-7`).
#[must_use]
pub fn format_f64(value: f64) -> FloatText {
    if value.abs() <= LARGEST_PLAIN_INTEGER && value == value.trunc() && value != 0.0 {
        let mut text = FloatText::new();
        text.extend(super::IntegerText::new().format(value as i64).as_bytes());
        return text;
    }
    format_f64_by_layout(value)
}

/// Prints a double in fpconv's layout, integers too (`1.2345678901234568e+17`): what `DEBUG DIGEST` hashes of a score.
#[must_use]
pub fn format_f64_by_layout(value: f64) -> FloatText {
    let mut text = FloatText::new();
    if value.is_nan() {
        text.extend(b"nan");
        return text;
    }
    let negative = value.is_sign_negative();
    if negative {
        text.push(b'-');
    }
    if value == 0.0 {
        text.push(b'0');
    } else if value.is_infinite() {
        text.extend(b"inf");
    } else {
        let digits = grisu2(value.abs());
        lay_out(digits.bytes(), digits.exponent, negative, &mut text);
    }
    text
}

/// Writes digits × 10^exponent as fpconv lays it out.
fn lay_out(digits: &[u8], exponent: i32, negative: bool, text: &mut FloatText) {
    let count = digits.len() as i32;
    let scientific = exponent + count - 1;
    if exponent >= 0 && scientific < count + 7 {
        text.extend(digits);
        text.extend_zeros(exponent as usize);
    } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
        let point = count + exponent;
        if point <= 0 {
            text.extend(b"0.");
            text.extend_zeros(point.unsigned_abs() as usize);
            text.extend(digits);
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            text.extend(whole);
            text.push(b'.');
            text.extend(fraction);
        }
    } else {
        let kept = digits.len().min(if negative { 17 } else { 18 });
        text.extend(&digits[..1]);
        if kept > 1 {
            text.push(b'.');
            text.extend(&digits[1..kept]);
        }
        text.push(b'e');
        text.push(if scientific < 0 { b'-' } else { b'+' });
        text.extend(super::IntegerText::new().format(scientific.unsigned_abs()).as_bytes());
    }
}

/// The digits of a double and the power of ten of the last one.
struct Digits {
    buffer: [u8; Self::CAPACITY],
    length: usize,
    exponent: i32,
}

impl Digits {
    const CAPACITY: usize = 24;

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    fn push_unless_leading_zero(&mut self, digit: u64) {
        if (digit != 0 || self.length > 0) && self.length < Self::CAPACITY {
            self.buffer[self.length] = b'0' + digit as u8;
            self.length += 1;
        }
    }

    /// Lowers the last digit while that brings the number nearer to the true value. `rest` is how far below the upper
    /// bound the digits stand, `unit` what one step of the last digit is worth, `target` how far below the true value stands.
    fn round(&mut self, room: u64, mut rest: u64, unit: u64, target: u64) {
        let Some(last) = self.length.checked_sub(1) else { return };
        while rest < target
            && room - rest >= unit
            && (rest.wrapping_add(unit) < target
                || target - rest > rest.wrapping_add(unit).wrapping_sub(target))
        {
            self.buffer[last] -= 1;
            rest = rest.wrapping_add(unit);
        }
    }
}

/// fraction × 2^exponent.
#[derive(Clone, Copy)]
struct Scaled {
    fraction: u64,
    exponent: i32,
}

impl Scaled {
    const HIDDEN_BIT: u64 = 1 << 52;

    fn of(value: f64) -> Self {
        let bits = value.to_bits();
        let fraction = bits & (Self::HIDDEN_BIT - 1);
        match (bits >> 52 & 0x7ff) as i32 {
            0 => Self { fraction, exponent: -1074 },
            biased => Self { fraction: fraction | Self::HIDDEN_BIT, exponent: biased - 1075 },
        }
    }

    /// The same number with the top bit of the fraction set.
    fn normalized(self) -> Self {
        let shift = self.fraction.leading_zeros();
        Self { fraction: self.fraction << shift, exponent: self.exponent - shift as i32 }
    }

    /// Half-way to the neighbours below and above, both at the exponent of the latter, normalized.
    fn boundaries(self) -> (Self, Self) {
        let upper = Self { fraction: (self.fraction << 1) + 1, exponent: self.exponent - 1 }.normalized();
        // The neighbour below a power of two is only half as far.
        let shift = if self.fraction == Self::HIDDEN_BIT { 2 } else { 1 };
        let lower_exponent = self.exponent - shift;
        let lower = ((self.fraction << shift) - 1) << (lower_exponent - upper.exponent);
        (Self { fraction: lower, exponent: upper.exponent }, upper)
    }

    /// The upper 64 bits of the product, rounded.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.fraction) * u128::from(other.fraction);
        Self { fraction: ((product + (1 << 63)) >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// A cached power of ten that brings `exponent` into -60..=-32, and its decimal exponent.
fn cached_power(exponent: i32) -> (Scaled, i32) {
    const ONE_LOG_TEN: f64 = 0.301_029_995_663_981_14;
    let approximate = (f64::from(-(exponent + POWERS_OF_TEN.len() as i32)) * ONE_LOG_TEN) as i32;
    let mut index = ((approximate - FIRST_POWER) / POWER_STEP).clamp(0, POWERS_OF_TEN.len() as i32 - 1);
    loop {
        let decimal = FIRST_POWER + index * POWER_STEP;
        let power = Scaled { fraction: POWERS_OF_TEN[index as usize], exponent: power_exponent(decimal) };
        match exponent + power.exponent + 64 {
            ..-60 => index += 1,
            -31.. => index -= 1,
            _ => return (power, decimal),
        }
    }
}

/// The digits of a positive finite double.
fn grisu2(value: f64) -> Digits {
    let exact = Scaled::of(value);
    let (lower, upper) = exact.boundaries();
    let (power, decimal) = cached_power(upper.exponent);
    let value = exact.normalized().times(power);
    let mut upper = upper.times(power);
    let mut lower = lower.times(power);
    // The products may be off by one: stay inside.
    lower.fraction += 1;
    upper.fraction -= 1;
    generate_digits(value, lower, upper, -decimal)
}

fn generate_digits(value: Scaled, lower: Scaled, upper: Scaled, exponent: i32) -> Digits {
    let mut digits = Digits { buffer: [0; Digits::CAPACITY], length: 0, exponent };
    let target = upper.fraction - value.fraction;
    let mut room = upper.fraction - lower.fraction;
    let shift = -upper.exponent;
    let one = 1_u64 << shift;
    let mut whole = upper.fraction >> shift;
    let mut fraction = upper.fraction & (one - 1);

    let mut unit = 1_000_000_000_u64;
    for remaining in (0..10).rev() {
        let digit = whole / unit;
        digits.push_unless_leading_zero(digit);
        whole -= digit * unit;
        let rest = (whole << shift) + fraction;
        if rest <= room {
            digits.exponent += remaining;
            digits.round(room, rest, unit << shift, target);
            return digits;
        }
        unit /= 10;
    }
    let mut scale = 1_u64;
    loop {
        fraction = fraction.wrapping_mul(10);
        room = room.wrapping_mul(10);
        scale = scale.wrapping_mul(10);
        digits.exponent -= 1;
        digits.push_unless_leading_zero(fraction >> shift);
        fraction &= one - 1;
        if fraction < room {
            digits.round(room, fraction, one, target.wrapping_mul(scale));
            return digits;
        }
    }
}

#[cfg(test)]
mod tests;
