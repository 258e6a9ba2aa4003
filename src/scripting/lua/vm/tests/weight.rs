//! What an interpreter says that it weighs, against a walk over its objects and against what is allocated.

use super::collection::CHANGES;
use super::{Alone, machine, run_in};
use crate::memory::{MemoryUsage, allocated_bytes, vec_usage};
use crate::scripting::lua::arena::{Arena, Object};
use crate::scripting::lua::vm::Vm;

fn walked<T: Object>(arena: &Arena<T>) -> usize {
    assert_eq!(arena.live_bytes(), arena.live().count() * size_of::<T>());
    arena.live().map(Object::weight).sum()
}

/// Checks that what is counted as objects come and go is what they weigh.
pub(super) fn check(vm: &Vm) {
    let heap = &vm.heap;
    let objects = walked(&heap.strings.objects)
        + walked(&heap.tables)
        + walked(&heap.functions)
        + walked(&heap.cells)
        + walked(&heap.threads)
        + walked(&heap.protos);
    assert_eq!(heap.bytes(), objects + vec_usage(&vm.stack) + vec_usage(&vm.frames));
}

/// Scripts that leave something of every kind, large tables and stacks included.
const LEAVING: [&str; 8] = [
    "kept = {} for i = 1, 3000 do kept[i] = {tostring(i), ['name' .. i] = string.rep('x', i % 300)} end",
    "for i = 1, 3000 do kept[i] = i % 3 == 0 and {} or nil end",
    "calls = {} for i = 1, 50 do calls[i] = coroutine.wrap(function(...) local function f(n) \
     if n > 0 then return 1 + f(n - 1) end coroutine.yield() return 0 end return f(i * 9) end) calls[i]() end",
    "for i = 1, 25 do calls[i]() end",
    "for i = 1, 60 do kept['f' .. i] = loadstring('local a, b = ... return function() return a .. b .. ' .. i .. ' end', \
     string.rep('name', i)) end",
    "local t = {} for i = 1, 9000 do t[#t + 1] = i end for i = 9000, 200, -1 do t[i] = nil end kept = {t}",
    "local t = {} for i = 1, 4000 do t['k' .. i] = i end for i = 1, 4000 do t['k' .. i] = nil t[i * 7] = i end kept[2] = t",
    "local f = function(n) return n end for i = 1, 300 do pcall(error, {i}) end error(kept)",
];

#[test]
fn what_is_counted_is_what_is_allocated() {
    // What is allocated once, whatever runs, is there before.
    run_in(&mut machine(), "return pcall(error, 'x')", &mut Alone::new());
    let changes = CHANGES.replace("ROUNDS", "800");
    for units in [0, 40, 700] {
        let before = allocated_bytes();
        let mut vm = Box::new(machine());
        let exact = |vm: &Vm| {
            check(vm);
            assert_eq!(vm.memory_usage(), allocated_bytes() - before);
        };
        exact(&vm);
        for source in LEAVING.into_iter().chain([changes.as_str()]) {
            drop(run_in(&mut vm, source, &mut Alone { pauses: units > 0, units, ..Alone::new() }));
            exact(&vm);
            vm.rest();
            exact(&vm);
            while vm.has_garbage() {
                vm.collect_some(100);
                exact(&vm);
            }
        }
        let (mut pieces, mut left) = (0, vm.memory_usage());
        while vm.heap.free_some(100) {
            assert!(vm.memory_usage() < left);
            left = vm.memory_usage();
            assert_eq!(left, allocated_bytes() - before);
            pieces += 1;
        }
        assert!(pieces > 10, "{pieces}");
        drop(vm);
        assert_eq!(allocated_bytes(), before);
    }
}
