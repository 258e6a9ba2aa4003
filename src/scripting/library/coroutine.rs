//! `coroutine`.

use super::{Functions, register};
use crate::scripting::host::Host;
use crate::scripting::lua::value::{ThreadRef, Value};
use crate::scripting::lua::vm::{Arguments, Continue, Flow, NativeResult, Vm};

const FUNCTIONS: &Functions = &[
    ("create", create),
    ("resume", resume),
    ("running", running),
    ("status", status),
    ("wrap", wrap),
    ("yield", yield_values),
];

pub(super) fn open(vm: &mut Vm) {
    register(vm, "coroutine", FUNCTIONS);
}

fn create(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let function = lua_function(vm, arguments)?;
    let thread = vm.new_thread(function);
    vm.give(Value::Thread(thread))
}

fn lua_function(vm: &mut Vm, arguments: Arguments) -> Result<Value, crate::scripting::lua::value::Stop> {
    match vm.argument(arguments, 0) {
        function @ Value::Function(_) if vm.is_of_the_language(function) => Ok(function),
        _ => Err(vm.argument_error(0, "Lua function expected")),
    }
}

/// `resume`, or a function of `wrap`, while the coroutine runs.
#[derive(Debug)]
struct Resumed {
    wrapped: bool,
}

impl Continue for Resumed {
    fn resume(self: Box<Self>, vm: &mut Vm, _: &mut dyn Host, results: Arguments) -> NativeResult {
        if self.wrapped {
            return Ok(Flow::Return(results.count));
        }
        vm.insert(results, Value::Boolean(true));
        Ok(Flow::Return(results.count + 1))
    }

    fn catch(self: Box<Self>, vm: &mut Vm, error: Value) -> Option<NativeResult> {
        if self.wrapped {
            // The place of the caller is put before the message.
            let error = match error {
                Value::String(_) | Value::Number(_) => {
                    let mut text = vm.place(1);
                    vm.write_text(&mut text, error);
                    vm.plain_error(&text)
                }
                other => vm.throw(other),
            };
            return Some(Err(error));
        }
        vm.push(Value::Boolean(false));
        vm.push(error);
        Some(Ok(Flow::Return(2)))
    }
}

fn refusal(vm: &Vm, thread: ThreadRef) -> Option<String> {
    match vm.thread_status(thread) {
        "suspended" => None,
        status => Some(format!(
            "cannot resume {} coroutine",
            if status == "dead" { "dead" } else { "non-suspended" }
        )),
    }
}

fn thread_argument(
    vm: &mut Vm,
    arguments: Arguments,
) -> Result<ThreadRef, crate::scripting::lua::value::Stop> {
    match vm.argument(arguments, 0) {
        Value::Thread(thread) => Ok(thread),
        _ => Err(vm.argument_error(0, "coroutine expected")),
    }
}

fn resume(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let thread = thread_argument(vm, arguments)?;
    if let Some(message) = refusal(vm, thread) {
        vm.push(Value::Boolean(false));
        let message = vm.string(message.as_bytes());
        vm.push(message);
        return Ok(Flow::Return(2));
    }
    Ok(Flow::Resume(thread, arguments.count - 1, Box::new(Resumed { wrapped: false })))
}

fn wrap(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let function = lua_function(vm, arguments)?;
    let thread = vm.new_thread(function);
    let wrapped = vm.native(resume_wrapped, &[Value::Thread(thread)]);
    vm.give(wrapped)
}

fn resume_wrapped(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let Value::Thread(thread) = vm.own_value(arguments, 0) else { return Ok(Flow::Return(0)) };
    if let Some(message) = refusal(vm, thread) {
        return Err(vm.error(message.as_bytes()));
    }
    Ok(Flow::Resume(thread, arguments.count, Box::new(Resumed { wrapped: true })))
}

fn yield_values(_: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    Ok(Flow::Yield(arguments.count))
}

fn running(vm: &mut Vm, _: &mut dyn Host, _: Arguments) -> NativeResult {
    let thread = vm.running_thread().map_or(Value::Nil, Value::Thread);
    vm.give(thread)
}

fn status(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    let thread = thread_argument(vm, arguments)?;
    let status = vm.string(vm.thread_status(thread).as_bytes());
    vm.give(status)
}
