//! Doubles as text, against values that the C library and Valkey print.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn printed(value: f64) -> String {
    String::from_utf8(format_f64(value).to_vec()).unwrap()
}

#[test]
fn doubles_print_as_valkey_prints_them() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-17.0, "-17"),
        (0.1, "0.1"),
        (3.25, "3.25"),
        (-2.5, "-2.5"),
        (1e20, "1e+20"),
        (1e-7, "1e-7"),
        (1e15, "1000000000000000"),
        (4_611_686_018_427_387_904.0, "4611686018427387904"),
        (1e19, "1e+19"),
        (1.5e300, "1.5e+300"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN, "-1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (0.30000000000000004, "0.30000000000000004"),
        (0.000001, "0.000001"),
        (0.0000015, "1.5e-6"),
        (1.2345e-5, "1.2345e-5"),
        (123456.789, "123456.789"),
        (f64::NAN, "nan"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (0.09656, "0.09656000000000001"),
    ] {
        assert_eq!(printed(value), text);
    }
}

#[test]
fn doubles_are_read_as_valkey_reads_them() {
    for (text, value) in [
        ("5", 5.0),
        ("+5", 5.0),
        ("5.", 5.0),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("1E+5", 100_000.0),
        ("inf", f64::INFINITY),
        ("+INF", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("1e-320", 1e-320),
        ("0e999999", 0.0),
        ("00", 0.0),
        ("0e-99999999999", 0.0),
        ("1.7976931348623157e308", f64::MAX),
    ] {
        assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
    }
    for text in [
        "",
        ".",
        "-",
        "+",
        "1e",
        "e5",
        "0x10",
        " 1",
        "1 ",
        "nan",
        "-NaN",
        "+-5",
        "++5",
        "1_0",
        "1e400",
        "-1e400",
        "1e-400",
        "infinit",
        "1,5",
        "1e99999999999999999999",
        "12a",
        "1\0",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
    }
    assert_eq!(parse_f64(b"\xff"), None);
}

proptest! {
    #[test]
    fn every_double_comes_back(bits: u64) {
        let value = f64::from_bits(bits);
        if !value.is_nan() {
            let text = format_f64(value);
            prop_assert_eq!(parse_f64(&text), Some(value), "{:?}", text);
        }
    }

    #[test]
    fn decimals_come_back(whole in -1_000_000_i64..1_000_000, cents in 0..100_u32) {
        let value: f64 = format!("{whole}.{cents:02}").parse().unwrap();
        prop_assert_eq!(parse_f64(&format_f64(value)), Some(value));
    }
}
