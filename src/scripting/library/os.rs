//! `os`, of which scripts have the clock alone.

use super::{Functions, register};
use crate::scripting::host::Host;
use crate::scripting::lua::value::Value;
use crate::scripting::lua::vm::{Arguments, NativeResult, Vm};
use crate::sys::clock;

const FUNCTIONS: &Functions = &[("clock", clock)];

pub(super) fn open(vm: &mut Vm) {
    register(vm, "os", FUNCTIONS);
}

/// Seconds that pass as the process works; here those of a clock that never goes back.
fn clock(vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
    let seconds = clock::monotonic_us() as f64 / 1e6;
    vm.give(Value::Number(seconds))
}
