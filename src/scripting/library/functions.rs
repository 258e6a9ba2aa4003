//! What libraries of functions have: `register_function` while they are loaded, and the server's functions afterwards.
//!
//! All code shares one empty table of global variables. What a name in it means is decided by its metatable: while a
//! library is loaded a table of little more than `register_function`, else the real globals.

use super::api::{self, Versions};
use super::{fill, nonexistent_global, open, protect_globals};
use crate::scripting::FLAG_NAMES;
use crate::scripting::host::Host;
use crate::scripting::lua::value::{Result, Stop, TableRef, Value};
use crate::scripting::lua::vm::{Arguments, Flow, NativeResult, Outcome, Vm};
use crate::scripting::replies;

/// A function that a library has registered.
#[derive(Debug)]
pub struct Registration {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is for.
    pub description: Option<Vec<u8>>,
    /// Which of [`FLAG_NAMES`] it has.
    pub flags: [bool; FLAG_NAMES.len()],
    /// Its place in the interpreter's registry.
    pub place: usize,
}

/// The tables that names are looked up in.
#[derive(Debug, Clone, Copy)]
pub struct FunctionTables {
    metatable: TableRef,
    loading: TableRef,
    globals: TableRef,
}

/// Gives an interpreter all that functions have, and protects it.
pub fn open_for_functions(vm: &mut Vm, versions: Versions<'_>, insecure: bool) -> FunctionTables {
    open(vm, insecure);
    api::open(vm, versions, false);
    protect_globals(vm);
    let globals = vm.globals;
    let loading = loading_table(vm, versions);
    let (shared, metatable) = (vm.heap.new_table(0, 0), vm.heap.new_table(0, 1));
    vm.heap.set_field(metatable, "__index", Value::Table(globals));
    vm.heap.set_metatable(shared, Some(metatable));
    for table in [shared, metatable] {
        vm.heap.make_readonly(table);
    }
    vm.registry.extend([globals, loading].map(Value::Table));
    vm.globals = shared;
    FunctionTables { metatable, loading, globals }
}

/// What the code of a library sees while it is loaded.
fn loading_table(vm: &mut Vm, versions: Versions<'_>) -> TableRef {
    let server = vm.heap.new_table(0, 0);
    fill(vm, server, &[("register_function", register_function)]);
    api::add_log(vm, server);
    api::add_versions(vm, server, versions);
    let table = vm.heap.new_table(0, 0);
    for name in ["server", "redis"] {
        vm.heap.set_field(table, name, Value::Table(server));
    }
    for object in [server, table] {
        let metatable = vm.heap.new_table(0, 1);
        let handler = vm.native(nonexistent_global, &[]);
        vm.heap.set_field(metatable, "__index", handler);
        vm.heap.set_metatable(object, Some(metatable));
        vm.heap.make_readonly(object);
        vm.heap.make_readonly(metatable);
    }
    table
}

/// Runs the code of a library; what it has registered, each kept in the registry.
///
/// # Errors
/// The text of what went wrong. Nothing is kept then.
pub fn load_library(
    vm: &mut Vm,
    tables: FunctionTables,
    code: &[u8],
    host: &mut dyn Host,
) -> std::result::Result<Vec<Registration>, Vec<u8>> {
    let function = vm
        .compile(code, b"@user_function")
        .map_err(|message| [b"Error compiling function: ", message.as_slice()].concat())?;
    vm.heap.set_field(tables.metatable, "__index", Value::Table(tables.loading));
    vm.registrations = Some(Vec::new());
    let outcome = vm.start(Value::Function(function), &[], host);
    vm.heap.set_field(tables.metatable, "__index", Value::Table(tables.globals));
    let registered = vm.registrations.take().unwrap_or_default();
    if outcome == Outcome::Finished {
        return Ok(registered);
    }
    for registration in &registered {
        vm.release(registration.place);
    }
    let mut text = b"Error registering functions: ".to_vec();
    if outcome == Outcome::Failed {
        text.extend(super::thrown_text(vm).0);
    } else {
        text.extend_from_slice(b"ERR FUNCTION LOAD timeout");
    }
    Err(text)
}

fn refuse(vm: &mut Vm, message: &str) -> Stop {
    let error = replies::error_table(vm, message.as_bytes());
    vm.throw(error)
}

fn text(vm: &Vm, value: Value) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    vm.write_text(&mut bytes, value);
    matches!(value, Value::String(_) | Value::Number(_)).then_some(bytes)
}

fn register_function(vm: &mut Vm, _: &mut dyn Host, arguments: Arguments) -> NativeResult {
    if vm.registrations.is_none() {
        return Err(refuse(vm, "server.register_function can only be called on FUNCTION LOAD command"));
    }
    let registration = match arguments.count {
        1 => named(vm, arguments)?,
        2 => positional(vm, arguments)?,
        _ => return Err(refuse(vm, "wrong number of arguments to server.register_function")),
    };
    if let Some(registrations) = &mut vm.registrations {
        registrations.push(registration);
    }
    Ok(Flow::Return(0))
}

fn positional(vm: &mut Vm, arguments: Arguments) -> Result<Registration> {
    let Some(name) = text(vm, vm.argument(arguments, 0)) else {
        return Err(refuse(vm, "first argument to server.register_function must be a string"));
    };
    let Value::Function(function) = vm.argument(arguments, 1) else {
        return Err(refuse(vm, "second argument to server.register_function must be a function"));
    };
    let place = vm.keep(function);
    Ok(Registration { name, description: None, flags: [false; FLAG_NAMES.len()], place })
}

fn named(vm: &mut Vm, arguments: Arguments) -> Result<Registration> {
    let Value::Table(table) = vm.argument(arguments, 0) else {
        return Err(refuse(
            vm,
            "calling server.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ));
    };
    let (mut name, mut description, mut function) = (None, None, None);
    let mut flags = [false; FLAG_NAMES.len()];
    let mut key = Value::Nil;
    while let Ok(Some((next, value))) = vm.heap.next(table, key) {
        key = next;
        let Some(argument) = text(vm, next) else {
            return Err(refuse(vm, "named argument key given to server.register_function is not a string"));
        };
        let wrong = match argument.to_ascii_lowercase().as_slice() {
            b"function_name" => {
                name = text(vm, value);
                name.is_none()
                    .then_some("function_name argument given to server.register_function must be a string")
            }
            b"description" => {
                description = text(vm, value);
                description
                    .is_none()
                    .then_some("description argument given to server.register_function must be a string")
            }
            b"callback" => {
                function = if let Value::Function(function) = value { Some(function) } else { None };
                function
                    .is_none()
                    .then_some("callback argument given to server.register_function must be a function")
            }
            b"flags" => match value {
                Value::Table(list) => read_flags(vm, list, &mut flags).err(),
                _ => Some(
                    "flags argument to server.register_function must be a table representing function flags",
                ),
            },
            _ => Some("unknown argument given to server.register_function"),
        };
        if let Some(wrong) = wrong {
            return Err(refuse(vm, wrong));
        }
    }
    let Some(name) = name else {
        return Err(refuse(vm, "server.register_function must get a function name argument"));
    };
    let Some(function) = function else {
        return Err(refuse(vm, "server.register_function must get a callback argument"));
    };
    let place = vm.keep(function);
    Ok(Registration { name, description, flags, place })
}

fn read_flags(vm: &Vm, list: TableRef, flags: &mut [bool]) -> std::result::Result<(), &'static str> {
    for index in 1.. {
        let value = vm.heap.get(list, Value::Number(f64::from(index)));
        if value.is_nil() {
            break;
        }
        let name = text(vm, value).unwrap_or_default();
        let known = FLAG_NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        *known.and_then(|place| flags.get_mut(place)).ok_or("unknown flag given")? = true;
    }
    Ok(())
}
