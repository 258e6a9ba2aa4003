//! `bit`: operations on 32 bits.

use super::{Functions, register};
use crate::scripting::host::Host;
use crate::scripting::lua::value::{Result, Value};
use crate::scripting::lua::vm::{Arguments, NativeResult, Vm};

/// Added to a double, it leaves the rounded number's low bits at the end of the mantissa: 2^52 + 2^51.
const LOW_BITS: f64 = 6_755_399_441_055_744.0;

macro_rules! of_one {
    ($($name:ident $function:expr;)*) => {
        $(fn $name(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
            let bits = bits(vm, arguments, 0)?;
            let function: fn(u32) -> u32 = $function;
            give(vm, function(bits))
        })*
    };
}

macro_rules! of_many {
    ($($name:ident $function:expr;)*) => {
        $(fn $name(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
            let mut result = bits(vm, arguments, 0)?;
            let function: fn(u32, u32) -> u32 = $function;
            for index in 1..arguments.count {
                result = function(result, bits(vm, arguments, index)?);
            }
            give(vm, result)
        })*
    };
}

macro_rules! shifts {
    ($($name:ident $function:expr;)*) => {
        $(fn $name(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
            let (value, by) = (bits(vm, arguments, 0)?, bits(vm, arguments, 1)? & 31);
            let function: fn(u32, u32) -> u32 = $function;
            give(vm, function(value, by))
        })*
    };
}

of_one! {
    tobit |bits| bits;
    bnot |bits| !bits;
    bswap u32::swap_bytes;
}

of_many! {
    band |left, right| left & right;
    bor |left, right| left | right;
    bxor |left, right| left ^ right;
}

shifts! {
    lshift |bits, by| bits << by;
    rshift |bits, by| bits >> by;
    arshift |bits, by| ((bits as i32) >> by) as u32;
    rol u32::rotate_left;
    ror u32::rotate_right;
}

const FUNCTIONS: &Functions = &[
    ("tobit", tobit),
    ("bnot", bnot),
    ("band", band),
    ("bor", bor),
    ("bxor", bxor),
    ("lshift", lshift),
    ("rshift", rshift),
    ("arshift", arshift),
    ("rol", rol),
    ("ror", ror),
    ("bswap", bswap),
    ("tohex", tohex),
];

pub(super) fn open(vm: &mut Vm) {
    register(vm, "bit", FUNCTIONS);
}

fn bits(vm: &mut Vm, arguments: Arguments, index: usize) -> Result<u32> {
    let number = vm.number_argument(arguments, index)?;
    Ok((number + LOW_BITS).to_bits() as u32)
}

fn give(vm: &mut Vm, bits: u32) -> NativeResult {
    vm.give(Value::Number(f64::from(bits as i32)))
}

fn tohex(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let value = bits(vm, arguments, 0)?;
    let digits = match vm.argument(arguments, 1) {
        Value::Nil if arguments.count < 2 => 8,
        _ => bits(vm, arguments, 1)? as i32,
    };
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let shown = digits.unsigned_abs().min(8) as usize;
    let text = vm.string(&text.as_bytes()[8 - shown..]);
    vm.give(text)
}
