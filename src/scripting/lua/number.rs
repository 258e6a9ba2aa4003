//! Numbers as text, as C's `strtod` and `printf` have them.

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
    if number.fract() == 0.0 && number.abs() < 1e14 && !(number == 0.0 && number.is_sign_negative()) {
        output.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else {
        write_shortest_layout(output, number, 14, Layout::default());
    }
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

/// `%g`.
pub fn write_shortest_layout(output: &mut Vec<u8>, number: f64, precision: usize, layout: Layout) {
    if let Some(text) = special(number, layout.upper) {
        return output.extend_from_slice(text.as_bytes());
    }
    let precision = precision.max(1);
    let scientific = format!("{number:.*e}", precision - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return };
    let power: i32 = exponent.parse().unwrap_or(0);
    let keep = |text: &str| -> String {
        match (layout.alternate, text.contains('.')) {
            (true, false) => format!("{text}."),
            (false, true) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            _ => text.to_owned(),
        }
    };
    if power < -4 || power >= precision as i32 {
        output.extend_from_slice(keep(mantissa).as_bytes());
        write_exponent(output, power, layout.upper);
    } else {
        let decimals = usize::try_from(precision as i32 - 1 - power).unwrap_or(0);
        output.extend_from_slice(keep(&format!("{number:.decimals$}")).as_bytes());
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
