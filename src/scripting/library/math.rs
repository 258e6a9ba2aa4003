//! `math`. Random numbers are Valkey's: the same sequence after the same seed, and the same seed for each script.

use super::{Functions, register};
use crate::scripting::host::Host;
use crate::scripting::lua::value::{Result, Value};
use crate::scripting::lua::vm::{Arguments, Flow, NativeResult, Vm};

macro_rules! of_one {
    ($($name:ident $function:expr;)*) => {
        $(fn $name(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
            let number = vm.number_argument(arguments, 0)?;
            let function: fn(f64) -> f64 = $function;
            vm.give(Value::Number(function(number)))
        })*
    };
}

of_one! {
    abs f64::abs;
    acos f64::acos;
    asin f64::asin;
    atan f64::atan;
    ceil f64::ceil;
    cos f64::cos;
    cosh f64::cosh;
    deg |number| number / (std::f64::consts::PI / 180.0);
    exp f64::exp;
    floor f64::floor;
    log f64::ln;
    log10 f64::log10;
    rad |number| number * (std::f64::consts::PI / 180.0);
    sin f64::sin;
    sinh f64::sinh;
    sqrt f64::sqrt;
    tan f64::tan;
    tanh f64::tanh;
}

const FUNCTIONS: &Functions = &[
    ("abs", abs),
    ("acos", acos),
    ("asin", asin),
    ("atan2", atan2),
    ("atan", atan),
    ("ceil", ceil),
    ("cosh", cosh),
    ("cos", cos),
    ("deg", deg),
    ("exp", exp),
    ("floor", floor),
    ("fmod", fmod),
    ("frexp", frexp),
    ("ldexp", ldexp),
    ("log10", log10),
    ("log", log),
    ("max", max),
    ("min", min),
    ("modf", modf),
    ("pow", pow),
    ("rad", rad),
    ("random", random),
    ("randomseed", randomseed),
    ("sinh", sinh),
    ("sin", sin),
    ("sqrt", sqrt),
    ("tanh", tanh),
    ("tan", tan),
];

pub(super) fn open(vm: &mut Vm) {
    let table = register(vm, "math", FUNCTIONS);
    vm.heap.set_field(table, "pi", Value::Number(std::f64::consts::PI));
    vm.heap.set_field(table, "huge", Value::Number(f64::INFINITY));
    let fmod = vm.heap.get_field(table, "fmod");
    vm.heap.set_field(table, "mod", fmod);
}

/// Of two arguments the second is looked at first, as in C.
fn two_numbers(vm: &mut Vm, arguments: Arguments) -> Result<(f64, f64)> {
    let second = vm.number_argument(arguments, 1)?;
    Ok((vm.number_argument(arguments, 0)?, second))
}

fn atan2(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let (y, x) = two_numbers(vm, arguments)?;
    vm.give(Value::Number(y.atan2(x)))
}

fn fmod(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let (x, y) = two_numbers(vm, arguments)?;
    vm.give(Value::Number(x % y))
}

fn pow(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let (x, y) = two_numbers(vm, arguments)?;
    vm.give(Value::Number(x.powf(y)))
}

fn modf(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let number = vm.number_argument(arguments, 0)?;
    vm.push(Value::Number(number.trunc()));
    let rest = if number.is_infinite() { 0.0 } else { number - number.trunc() };
    // A rest of nothing has the number's sign.
    vm.push(Value::Number(rest.copysign(number)));
    Ok(Flow::Return(2))
}

fn frexp(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let number = vm.number_argument(arguments, 0)?;
    let (mantissa, exponent) = split(number);
    vm.push(Value::Number(mantissa));
    vm.push(Value::Number(f64::from(exponent)));
    Ok(Flow::Return(2))
}

/// A number as a half to one, times a power of two.
fn split(number: f64) -> (f64, i32) {
    if number == 0.0 || !number.is_finite() {
        return (number, 0);
    }
    let bits = number.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    if exponent == 0 {
        // Subnormal: made normal first.
        let (mantissa, exponent) = split(number * 2.0_f64.powi(64));
        return (mantissa, exponent - 64);
    }
    (f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52), exponent - 1022)
}

fn ldexp(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let exponent = vm.integer_argument(arguments, 1)?;
    let mut number = vm.number_argument(arguments, 0)?;
    let mut left = (exponent as i32).clamp(-5000, 5000);
    while left != 0 && number != 0.0 && number.is_finite() {
        let step = left.clamp(-1000, 1000);
        number *= 2.0_f64.powi(step);
        left -= step;
    }
    vm.give(Value::Number(number))
}

fn extreme(vm: &mut Vm, arguments: Arguments, better: fn(f64, f64) -> bool) -> NativeResult {
    let mut best = vm.number_argument(arguments, 0)?;
    for index in 1..arguments.count {
        let number = vm.number_argument(arguments, index)?;
        if better(number, best) {
            best = number;
        }
    }
    vm.give(Value::Number(best))
}

fn max(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    extreme(vm, arguments, |number, best| number > best)
}

fn min(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    extreme(vm, arguments, |number, best| number < best)
}

/// The largest random number (Valkey: `SERVER_LRAND_MAX`).
const RANDOM_MAX: f64 = 2_147_483_647.0;

fn random(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let drawn = f64::from(vm.random.draw()) % RANDOM_MAX / RANDOM_MAX;
    let (low, high) = match arguments.count {
        0 => return vm.give(Value::Number(drawn)),
        1 => (1, vm.integer_argument(arguments, 0)? as i32),
        2 => (vm.integer_argument(arguments, 0)? as i32, vm.integer_argument(arguments, 1)? as i32),
        _ => return Err(vm.error(b"wrong number of arguments")),
    };
    if low > high {
        return Err(vm.argument_error(arguments.count - 1, "interval is empty"));
    }
    // As in C, the width of the interval wraps around.
    let width = if arguments.count == 1 { high } else { high.wrapping_sub(low).wrapping_add(1) };
    vm.give(Value::Number((drawn * f64::from(width)).floor() + f64::from(low)))
}

fn randomseed(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let seed = vm.integer_argument(arguments, 0)? as i32;
    vm.random.seed(seed);
    Ok(Flow::Return(0))
}
