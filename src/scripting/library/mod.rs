//! The libraries of scripts: the language's own, and those that Valkey adds.
//!
//! Every function is bounded in time and memory by what it is given, or counts its work and can be paused.

mod arguments;
mod base;
mod bits;
mod coroutine;
mod math;
mod os;
mod strings;
mod tables;

use super::lua::value::{TableRef, Value};
use super::lua::vm::{Native, Vm};

/// A library: its functions by name.
type Functions = [(&'static str, Native)];

/// Makes the functions the fields of a table.
fn fill(vm: &mut Vm, table: TableRef, functions: &Functions) {
    for (name, native) in functions {
        let function = vm.native(*native, &[]);
        vm.heap.set_field(table, name, function);
    }
}

/// A global table of functions.
fn register(vm: &mut Vm, name: &str, functions: &Functions) -> TableRef {
    let table = vm.heap.new_table(0, functions.len());
    fill(vm, table, functions);
    let globals = vm.globals;
    vm.heap.set_field(globals, name, Value::Table(table));
    table
}

/// Gives an interpreter all libraries but the server's own.
pub(super) fn open(vm: &mut Vm) {
    base::open(vm);
    coroutine::open(vm);
    tables::open(vm);
    strings::open(vm);
    math::open(vm);
    os::open(vm);
    bits::open(vm);
}
