//! Numbers as text, exactly as Valkey reads and prints them.
//!
//! Integers are strict (what parses prints back as the same bytes), doubles print as fpconv prints them (Grisu2, which
//! is not always the shortest form), and INCRBYFLOAT works in 80-bit extended precision.

mod float;
mod integer;
mod long_double;

pub use float::{FloatText, format_f64, format_f64_by_layout, parse_f64};
pub use integer::{
    IntegerText, decimal_length, parse_i64, parse_memory_size, parse_u64, write_i64, write_u64,
};
pub use long_double::{LongDouble, LongDoubleError, add_long_double};
