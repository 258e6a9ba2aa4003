//! The collector beside a running script: nothing that can be reached may be given back, whatever changes meanwhile.

use std::collections::HashSet;

use super::{Alone, machine, run_in};
use crate::memory::MemoryUsage;
use crate::scripting::lua::collector::STEP_UNITS;
use crate::scripting::lua::heap::Function;
use crate::scripting::lua::value::{CellRef, FunctionRef, ProtoRef, StrRef, TableRef, ThreadRef, Value};
use crate::scripting::lua::vm::Vm;

/// What can be reached, each object once.
struct Walk<'a> {
    vm: &'a Vm,
    seen: HashSet<(u8, u32)>,
    values: Vec<Value>,
    protos: Vec<ProtoRef>,
}

impl Walk<'_> {
    /// Of what refers to something that is not there, the interpreter is broken.
    fn reach(&mut self, value: Value) {
        let heap = &self.vm.heap;
        let (kind, place, is_there) = match value {
            Value::String(StrRef(place)) => (0, place, heap.strings.objects.is_there(place)),
            Value::Table(TableRef(place)) => (1, place, heap.tables.is_there(place)),
            Value::Function(FunctionRef(place)) => (2, place, heap.functions.is_there(place)),
            Value::Cell(CellRef(place)) => (3, place, heap.cells.is_there(place)),
            Value::Thread(ThreadRef(place)) => (4, place, heap.threads.is_there(place)),
            _ => return,
        };
        assert!(is_there, "{value:?} was given back");
        if self.seen.insert((kind, place)) {
            self.values.push(value);
        }
    }

    fn reach_code(&mut self, proto: ProtoRef) {
        assert!(self.vm.heap.protos.is_there(proto.0), "{proto:?} was given back");
        if self.seen.insert((5, proto.0)) {
            self.protos.push(proto);
        }
    }

    /// Registers that are not in use may name what was there before.
    fn reach_stack(&mut self, stack: &[Value]) {
        for value in stack {
            let heap = &self.vm.heap;
            let is_there = match *value {
                Value::Table(TableRef(place)) => heap.tables.is_there(place),
                Value::Function(FunctionRef(place)) => heap.functions.is_there(place),
                Value::Cell(CellRef(place)) => heap.cells.is_there(place),
                Value::Thread(ThreadRef(place)) => heap.threads.is_there(place),
                _ => false,
            };
            if is_there {
                self.reach(*value);
            }
        }
    }

    fn follow(&mut self, value: Value) {
        let heap = &self.vm.heap;
        match value {
            Value::Table(table) => {
                let table = heap.table(table);
                table.metatable.into_iter().for_each(|metatable| self.reach(Value::Table(metatable)));
                table
                    .nodes()
                    .iter()
                    .flat_map(|node| [node.key, node.value])
                    .for_each(|value| self.reach(value));
                table.array().iter().for_each(|value| self.reach(*value));
                if let Some(large) = table.large() {
                    large.entries().iter().for_each(|(key, value)| {
                        self.reach(*key);
                        self.reach(*value);
                    });
                    large.array().iter().for_each(|value| self.reach(*value));
                }
            }
            Value::Function(function) => match heap.function(function) {
                Function::Lua { proto, captured, globals } => {
                    self.reach_code(*proto);
                    self.reach(Value::Table(*globals));
                    captured.iter().for_each(|cell| self.reach(Value::Cell(*cell)));
                }
                Function::Native { values, .. } => values.iter().for_each(|value| self.reach(*value)),
                Function::None => {}
            },
            Value::Cell(CellRef(place)) => self.reach(*heap.cells.get(place)),
            Value::Thread(ThreadRef(place)) => {
                let thread = heap.threads.get(place);
                thread.resumer.into_iter().for_each(|resumer| self.reach(Value::Thread(resumer)));
                self.reach_stack(&thread.stack);
            }
            _ => {}
        }
    }
}

/// Checks that all that can be reached is there.
pub(super) fn check(vm: &Vm) {
    super::weight::check(vm);
    let mut walk = Walk { vm, seen: HashSet::new(), values: Vec::new(), protos: Vec::new() };
    walk.reach(Value::Table(vm.globals));
    vm.events.all().for_each(|event| walk.reach(event));
    [vm.main, vm.current].into_iter().for_each(|thread| walk.reach(Value::Thread(thread)));
    vm.registry.iter().for_each(|value| walk.reach(*value));
    walk.reach_code(vm.proto);
    walk.reach_stack(&vm.stack);
    loop {
        if let Some(value) = walk.values.pop() {
            walk.follow(value);
        } else if let Some(proto) = walk.protos.pop() {
            let proto = vm.heap.proto(proto);
            walk.reach(Value::String(proto.chunk));
            proto.constants.iter().for_each(|constant| walk.reach(*constant));
            proto.functions.iter().for_each(|inner| walk.reach_code(*inner));
        } else {
            return;
        }
    }
}

/// Objects of every kind, tied to each other anew all the time. Its sum depends on all that is left.
pub(super) const CHANGES: &str = "
    local list, map, cell, calls = {}, {}, {}, {}
    local function get() return cell end
    local function set(value) cell = value end
    for i = 1, 40 do list[i] = {i} map['k' .. i] = {i} end
    for i = 1, 5 do
        calls[i] = coroutine.wrap(function(a)
            local mine = {a}
            while true do local got = coroutine.yield(mine) mine = {got, mine[1]} end
        end)
    end
    for n = 1, ROUNDS do
        local what, at = math.random(12), math.random(#list)
        local key = 'k' .. math.random(60)
        if what == 1 then table.insert(list, at, {n})
        elseif what == 2 and #list > 20 then map[key] = table.remove(list, at)
        elseif what == 3 and #list > 20 then set(table.remove(list)) list[at] = {get()}
        elseif what == 4 then local value = map[key] map[key] = nil list[at] = value or list[at]
        elseif what == 5 then map[{n}] = list[at]
        elseif what == 6 then setmetatable(list[at], {__index = map[key], n = {n}})
        elseif what == 7 then local value = list[at] list[at] = {1} set(function() return value end)
        elseif what == 8 then local value = calls[n % 5 + 1](list[at]) list[at] = {value[1]}
        elseif what == 9 then list[at] = list[at] for k in pairs(map) do if type(k) == 'table' then map[k] = nil break end end
        elseif what == 10 then local all = {unpack(list, 1, 20)} list[#list + 1] = {all[at]}
        elseif what == 11 then list[at] = {loadstring('local s = ... return s .. ' .. n)('x' .. n)}
        else local t = {} for i = 1, 30 do t[31 - i] = list[i] end map[key] = t end
    end
    local seen, sum = {}, 0
    local function add(value)
        if type(value) == 'number' then sum = (sum * 31 + value) % 1000003
        elseif type(value) == 'string' then sum = (sum * 7 + #value) % 1000003
        elseif type(value) == 'function' then if value ~= add then add((value())) end
        elseif type(value) == 'table' and not seen[value] then
            seen[value] = true
            for i = 1, #value do add(value[i]) end
            local meta = getmetatable(value) if meta then add(meta.n) end
        end
    end
    add(list) add(get())
    for i = 1, 60 do add(map['k' .. i]) end
    return sum
";

#[test]
fn nothing_in_use_is_given_back_by_a_collector_that_works_in_between() {
    for (rounds, units) in [(300, 1), (600, 3), (1000, 17), (1500, 100), (1500, 500)] {
        let source = CHANGES.replace("ROUNDS", &rounds.to_string());
        let expected = run_in(&mut machine(), &source, &mut Alone::new());
        assert!(expected.parse::<f64>().is_ok(), "{expected}");
        let mut host = Alone { pauses: true, units, ..Alone::new() };
        let mut vm = machine();
        assert_eq!(run_in(&mut vm, &source, &mut host), expected, "{units} units at a time");
        // Cycles did come to their end.
        assert!(vm.heap.bytes() < 1 << 20, "{} bytes", vm.heap.bytes());
    }
}

#[test]
fn what_a_script_leaves_is_given_back_by_steps() {
    let mut vm = machine();
    vm.rest();
    vm.collect();
    let before = vm.memory_usage();
    let source =
        "local t = {} for i = 1, 30000 do t[i] = {tostring(i), function() return t end} end return #t";
    assert_eq!(run_in(&mut vm, source, &mut Alone::new()), "30000");
    let used = vm.memory_usage();
    assert!(used > before + 4_000_000);
    vm.rest();
    let mut steps = 0;
    while vm.has_garbage() {
        vm.collect_some(STEP_UNITS);
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
    assert!(vm.memory_usage() < before + 200_000, "{} of {used}, {before} before", vm.memory_usage());
}

#[test]
fn garbage_is_collected_on_request() {
    let mut vm = machine();
    let source = "local t = {} for i = 1, 20000 do t[i] = {} end local much = collectgarbage('count') t = nil \
        collectgarbage() local steps = 1 while not collectgarbage('step') do steps = steps + 1 end \
        return collectgarbage('count') < much - 1000, steps < 10, gcinfo() > 0";
    assert_eq!(run_in(&mut vm, source, &mut Alone::new()), "true true true");
    let mut host = Alone { pauses: true, units: 50, ..Alone::new() };
    let many = "local t = {} for i = 1, 3000 do t[i] = {} end collectgarbage() return #t";
    assert_eq!(run_in(&mut machine(), many, &mut host), "3000");
}

#[test]
fn what_was_let_go_of_without_allocating_is_found_once_nothing_runs() {
    let mut vm = machine();
    let source = "kept = {} for i = 1, 5000 do kept[i] = {} end";
    assert_eq!(run_in(&mut vm, source, &mut Alone::new()), "");
    vm.rest();
    while vm.has_garbage() {
        vm.collect_some(STEP_UNITS);
    }
    let used = vm.memory_usage();
    assert_eq!(run_in(&mut vm, "kept = nil", &mut Alone::new()), "");
    vm.rest();
    assert!(!vm.has_garbage());
    vm.idle();
    assert!(!vm.has_garbage());
    vm.idle();
    assert!(vm.has_garbage());
    while vm.has_garbage() {
        vm.collect_some(STEP_UNITS);
    }
    assert!(vm.memory_usage() < used / 2, "{} of {used}", vm.memory_usage());
}

/// What is counted is what the limit is held against: had a stack that is given back been counted for ever, scripts would
/// run out of memory in the end.
#[test]
fn what_a_stack_took_is_no_longer_counted_once_it_is_gone() {
    for source in [
        "return select('#', unpack({}, 1, 7000))",
        "local function f(n) if n > 0 then return 1 + f(n - 1) end return 0 end return f(5000)",
        "local c = coroutine.wrap(function() local function f(n) if n > 0 then return 1 + f(n - 1) end \
         coroutine.yield() return 0 end return f(3000) end) c() return 1",
        "return coroutine.wrap(function() return select('#', unpack({}, 1, 7000)) end)()",
        "coroutine.wrap(function() local function f(n) if n > 0 then return 1 + f(n - 1) end error('x') end \
         return f(3000) end)()",
    ] {
        let mut vm = machine();
        let mut counted = Vec::new();
        for _ in 0..4 {
            run_in(&mut vm, source, &mut Alone::new());
            vm.rest();
            vm.collect();
            counted.push(vm.heap.bytes());
        }
        assert_eq!(counted[1], counted[3], "{source}: {counted:?}");
    }
}
