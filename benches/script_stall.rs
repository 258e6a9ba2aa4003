//! The longest piece of an interpreter's work between two looks at whether others should run, for scripts that fill its
//! memory: objects, strings, tables of every shape, and what is left of them.
//!
//! CPU time of the thread, since a machine may be shared. A piece is a hundred jumps or calls of the script and, if it is
//! due, a step of the collector. Run: `cargo bench --bench script_stall [-- NAME]`.
#![allow(missing_docs, clippy::print_stdout)]

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use weighbridge::scripting::host::{CommandRequest, Host, Tick};
use weighbridge::scripting::library::{Versions, open_for_eval};
use weighbridge::scripting::lua::collector::STEP_UNITS;
use weighbridge::scripting::lua::value::Value;
use weighbridge::scripting::lua::vm::{Outcome, Vm};

const SCRIPTS: [(&str, &str); 16] = [
    ("strings", "local t = {} for i = 1, 1.2e7 do t[i] = 'x' .. i end"),
    ("strings as keys", "local t = {} for i = 1, 8e6 do t['x' .. i] = true end"),
    ("numbers as keys", "local t = {} for i = 1, 1e7 do t[i + 0.5] = true end"),
    ("array", "local t = {} for i = 1, 1e9 do t[i] = i end"),
    ("tables", "local t = {} for i = 1, 5e6 do t[i] = {} end"),
    ("list of tables", "local t = {} for i = 1, 5e6 do t = {t} end"),
    ("functions", "local t = {} for i = 1, 4e6 do t[i] = function() return i end end"),
    ("strings let go", "for i = 1, 2e7 do local s = 'x' .. i end"),
    (
        "array from its end",
        "local t = {} for i = 8e6, 1, -1 do t[i] = i end for i = 8e6 + 1, 9e6 do t[i] = i end return #t",
    ),
    (
        "array from the second",
        "local t = {} for i = 2, 8e6 do t[i] = i end t[1] = 1 t[8e6 + 1] = 1 return #t",
    ),
    (
        "array emptied",
        "local t = {} for i = 1, 2e7 do t[i] = i end for i = 1, 2e7 do t[i] = nil end return #t",
    ),
    (
        "array at its front",
        "local t = {} for i = 1, 3e6 do t[i] = i end \
        for i = 1, 3 do table.insert(t, 1, i) table.remove(t, 1) end return #t",
    ),
    (
        "keys emptied",
        "local t = {} for i = 1, 4e6 do t['x' .. i] = true end for k in pairs(t) do t[k] = nil end \
        for i = 1, 4e6 do t['y' .. i] = true end",
    ),
    (
        "queue",
        "local t = {} for i = 1, 2e6 do t[i + 0.5] = true end \
        for i = 1, 8e6 do t[i + 0.5] = nil t[i + 2e6 + 0.5] = true end",
    ),
    (
        "many at random",
        "local t = {} for i = 1, 2e7 do t[math.random(1e7)] = i % 2 == 0 and i or nil end return #t",
    ),
    (
        "calls",
        "local function f(n) if n > 0 then return 1 + f(n - 1) end return 0 end for i = 1, 100 do f(15000) end",
    ),
];

const VERSIONS: Versions<'_> = Versions { redis: "7.2.4", valkey: "9.1.0", name: "valkey" };

/// A host that only looks at the time.
struct Watch {
    request: CommandRequest,
    last: Duration,
    longest: Duration,
    /// Pieces beyond five milliseconds.
    long: usize,
}

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

impl Watch {
    fn look(&mut self) {
        let now = now();
        let piece = now - self.last;
        self.last = now;
        self.longest = self.longest.max(piece);
        self.long += usize::from(piece > Duration::from_millis(5));
    }
}

impl Host for Watch {
    fn tick(&mut self) -> Tick {
        self.look();
        Tick::Continue(100)
    }

    fn request(&mut self) -> &mut CommandRequest {
        &mut self.request
    }

    fn run(&mut self) {}

    fn reply(&self) -> &[u8] {
        b"+OK\r\n"
    }

    fn set_resp3(&mut self, _: bool) {}

    fn log(&mut self, _: u8, _: &[u8]) {}

    fn may_run(&mut self) -> Option<bool> {
        Some(true)
    }

    fn set_replication(&mut self, _: u8) {}
}

fn measure(name: &str, source: &str) {
    let mut vm = Vm::new();
    open_for_eval(&mut vm, VERSIONS, false);
    let Ok(function) = vm.compile(source.as_bytes(), b"@script") else {
        return println!("{name}: does not compile");
    };
    let mut host =
        Watch { request: CommandRequest::default(), last: now(), longest: Duration::ZERO, long: 0 };
    let begun = now();
    let outcome = vm.start(Value::Function(function), &[], &mut host);
    host.look();
    let used = vm.heap.bytes() >> 20;
    let (running, took) = (host.longest, now() - begun);
    let how = if outcome == Outcome::Finished { "ended" } else { "full" };
    host.longest = Duration::ZERO;
    host.last = now();
    vm.rest();
    host.look();
    while vm.has_garbage() {
        vm.collect_some(STEP_UNITS);
        host.look();
    }
    let resting = host.longest;
    let long = host.long;
    host.last = now();
    drop(vm);
    println!("{name:22} | {how} | {used:4} MB | {took:8.1?} | {running:9.2?} | {resting:9.2?} | {long}");
}

fn main() {
    // As the server does.
    weighbridge::memory::set_background_purge(true);
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    println!("script | how | used | CPU | longest piece while it runs | and after it | longer than 5 ms");
    for (name, source) in SCRIPTS {
        if only.as_ref().is_none_or(|only| name == only) {
            measure(name, source);
        }
    }
}
