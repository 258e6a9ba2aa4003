//! Numbers as text, as C's `strtod` and `printf` have them.

use std::io::Write;

/// What a text means as a number: decimal, hexadecimal, infinite or not a number, with blanks around it.
#[must_use]
pub fn parse_number(text: &[u8]) -> Option<f64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    // As C's strings, numbers end at a NUL.
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let start = text.iter().position(|byte| !is_blank(byte))?;
    let end = text.iter().rposition(|byte| !is_blank(byte))? + 1;
    let text = std::str::from_utf8(&text[start..end]).ok()?;
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => parse_hexadecimal(hexadecimal.as_bytes())?,
        None => digits.parse::<f64>().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// Digits with an optional point and an optional power of two.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let (mantissa, power) = match text.iter().position(|byte| matches!(byte, b'p' | b'P')) {
        Some(at) => {
            let digits = std::str::from_utf8(&text[at + 1..]).ok()?;
            (&text[..at], digits.parse::<i64>().ok()?)
        }
        None => (text, 0),
    };
    let (mut value, mut exponent, mut digits, mut fraction) = (0.0_f64, power, 0, false);
    for byte in mantissa {
        if *byte == b'.' && !fraction {
            fraction = true;
            continue;
        }
        value = value * 16.0 + f64::from(char::from(*byte).to_digit(16)?);
        exponent = exponent.saturating_sub(if fraction { 4 } else { 0 });
        digits += 1;
    }
    let exponent = exponent.clamp(-5000, 5000) as i32;
    (digits > 0).then(|| value * 2.0_f64.powi(exponent))
}

/// What `tostring` makes of a number: 14 significant digits (`%.14g`).
pub fn write_number(output: &mut Vec<u8>, number: f64) {
    write_shortest_layout(output, number, 14, Layout::default());
}

/// How a conversion of `printf` lays a number out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// `#`: a point always, no zeros dropped.
    pub alternate: bool,
    /// Capital letters.
    pub upper: bool,
}

/// Infinity and what is not a number; `None` for other numbers.
fn special(number: f64, upper: bool) -> Option<&'static str> {
    let text = match (number.is_nan(), number.is_sign_negative(), number.is_infinite()) {
        (true, true, _) => ["-nan", "-NAN"],
        (true, false, _) => ["nan", "NAN"],
        (_, true, true) => ["-inf", "-INF"],
        (_, false, true) => ["inf", "INF"],
        _ => return None,
    };
    Some(text[usize::from(upper)])
}

/// Whether a number is whole and not longer than so many digits, nor than those that are exact: as text it is its digits.
fn is_short_integer(number: f64, digits: usize) -> bool {
    const EXACT: usize = 15;
    let limit = 10_u64.pow(digits.min(EXACT) as u32) as f64;
    number.fract() == 0.0 && number.abs() < limit && !(number == 0.0 && number.is_sign_negative())
}

fn write_integer(output: &mut Vec<u8>, number: f64) {
    output.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
}

/// `%g`.
pub fn write_shortest_layout(output: &mut Vec<u8>, number: f64, precision: usize, layout: Layout) {
    if let Some(text) = special(number, layout.upper) {
        return output.extend_from_slice(text.as_bytes());
    }
    let precision = precision.max(1);
    if !layout.alternate && is_short_integer(number, precision) {
        return write_integer(output, number);
    }
    let start = output.len();
    // Writing to memory does not fail.
    let _ = write!(output, "{number:.*e}", precision - 1);
    let Some(mark) = memchr::memrchr(b'e', output).filter(|mark| *mark > start) else { return };
    let power = std::str::from_utf8(&output[mark + 1..]).ok().and_then(|text| text.parse().ok());
    let power: i32 = power.unwrap_or(0);
    output.truncate(mark);
    let first = start + usize::from(output[start] == b'-');
    let is_scientific = power < -4 || power >= precision as i32;
    if !is_scientific {
        move_point(output, first, power);
    }
    match (layout.alternate, output[first..].contains(&b'.')) {
        (true, false) => output.push(b'.'),
        (false, true) => {
            while output.last() == Some(&b'0') {
                output.pop();
            }
            output.pop_if(|last| *last == b'.');
        }
        _ => {}
    }
    if is_scientific {
        write_exponent(output, power, layout.upper);
    }
}

/// Moves the point, which is after the first digit if there is one, by so many digits that are there, or before up to four
/// zeros that are not.
fn move_point(output: &mut Vec<u8>, first: usize, power: i32) {
    match usize::try_from(power) {
        Ok(right) => {
            if let Some(digits) = output.get_mut(first + 1..first + 2 + right) {
                digits.rotate_left(1);
            }
        }
        Err(_) => {
            if output.len() > first + 1 {
                output.remove(first + 1);
            }
            let zeros = &b"0.000"[..1 + power.unsigned_abs().min(4) as usize];
            output.splice(first..first, zeros.iter().copied());
        }
    }
}

fn write_exponent(output: &mut Vec<u8>, power: i32, upper: bool) {
    output.push(if upper { b'E' } else { b'e' });
    output.push(if power < 0 { b'-' } else { b'+' });
    output.extend_from_slice(format!("{:02}", power.unsigned_abs()).as_bytes());
}

/// `%e`.
pub fn write_scientific(output: &mut Vec<u8>, number: f64, precision: usize, layout: Layout) {
    if let Some(text) = special(number, layout.upper) {
        return output.extend_from_slice(text.as_bytes());
    }
    let scientific = format!("{number:.precision$e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return };
    output.extend_from_slice(mantissa.as_bytes());
    if layout.alternate && precision == 0 {
        output.push(b'.');
    }
    write_exponent(output, exponent.parse().unwrap_or(0), layout.upper);
}

/// `%f`.
pub fn write_fixed(output: &mut Vec<u8>, number: f64, precision: usize, layout: Layout) {
    if let Some(text) = special(number, layout.upper) {
        return output.extend_from_slice(text.as_bytes());
    }
    output.extend_from_slice(format!("{number:.precision$}").as_bytes());
    if layout.alternate && precision == 0 {
        output.push(b'.');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(number: f64) -> String {
        let mut output = Vec::new();
        write_number(&mut output, number);
        String::from_utf8_lossy(&output).into_owned()
    }

    #[test]
    fn numbers_are_shown_as_printf_shows_them() {
        let cases = [
            (0.1 + 0.2, "0.3"),
            (1e15, "1e+15"),
            (1e14, "1e+14"),
            (123_456_789_012_345.0, "1.2345678901234e+14"),
            (10.0 / 3.0, "3.3333333333333"),
            (-0.0, "-0"),
            (1e100, "1e+100"),
            (1e-5, "1e-05"),
            (f64::INFINITY, "inf"),
            (-5.0, "-5"),
        ];
        for (number, text) in cases {
            assert_eq!(shown(number), text);
        }
    }

    /// Digits laid out by the rule: those of `%e` or of `%f`, whichever the power asks for, without zeros at the end.
    fn by_rule(number: f64, precision: usize, alternate: bool) -> String {
        let scientific = format!("{number:.*e}", precision - 1);
        let (mantissa, power) = scientific.split_once('e').unwrap();
        let power: i32 = power.parse().unwrap();
        let fixed = format!("{number:.*}", usize::try_from(precision as i32 - 1 - power).unwrap_or(0));
        let is_scientific = power < -4 || power >= precision as i32;
        let text = if is_scientific { mantissa.to_owned() } else { fixed };
        let text = match (alternate, text.contains('.')) {
            (true, false) => format!("{text}."),
            (false, true) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            _ => text,
        };
        let sign = if power < 0 { '-' } else { '+' };
        if is_scientific { format!("{text}e{sign}{:02}", power.abs()) } else { text }
    }

    #[test]
    fn the_shortest_layout_follows_the_rule() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..40_000 {
            let number = match round % 5 {
                0 => f64::from_bits(random.u64(..)),
                1 => f64::from(random.i32(..)) / 10_f64.powi(random.i32(0..12)),
                2 => random.i64(..) as f64 / 10_f64.powi(random.i32(0..4)),
                3 => 10_f64.powi(random.i32(-20..20)) * [1.0, -1.0, 0.99999, 9.5][random.usize(..4)],
                _ => [0.0, -0.0, 1.0, -1.0, 5e-5, 9.9995, 999_999.5, 0.5][random.usize(..8)],
            };
            if !number.is_finite() {
                continue;
            }
            let (precision, alternate) = (random.usize(1..25), random.bool());
            let mut output = b"before e".to_vec();
            write_shortest_layout(&mut output, number, precision, Layout { alternate, upper: false });
            let expected = format!("before e{}", by_rule(number, precision, alternate));
            assert_eq!(String::from_utf8_lossy(&output), expected, "{number:e} {precision} {alternate}");
        }
    }

    #[test]
    fn texts_are_numbers_as_strtod_takes_them() {
        for (text, number) in
            [("0x10", 16.0), (" 12 ", 12.0), ("1.", 1.0), (".5", 0.5), ("0x.8p1", 1.0), ("-0x1", -1.0)]
        {
            assert_eq!(parse_number(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", " ", "1e", "0x", "--1", "+-1", "1 2", "abc"] {
            assert_eq!(parse_number(text.as_bytes()), None, "{text}");
        }
    }
}
