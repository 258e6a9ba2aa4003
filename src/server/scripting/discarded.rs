//! Scripts and an interpreter that nobody will use again, given back piece by piece by the helper thread.

use hashbrown::HashMap;
use hashbrown::hash_map::IntoIter;

use super::{Script, ScriptName};
use crate::algorithms::hash::FastHasher;
use crate::memory::{MemoryUsage, usable_size};
use crate::scripting::lua::vm::Vm;

/// What a flush left.
#[derive(Debug)]
pub struct Discarded {
    vm: Option<Box<Vm>>,
    scripts: IntoIter<ScriptName, Script>,
    /// Bytes of the table of scripts, and of the sources that are still in it.
    scripts_bytes: usize,
}

impl Discarded {
    /// An interpreter, and cached scripts that weigh so many bytes.
    pub(super) fn new(
        vm: Option<Box<Vm>>,
        scripts: HashMap<ScriptName, Script, FastHasher>,
        scripts_bytes: usize,
    ) -> Self {
        Self { vm, scripts: scripts.into_iter(), scripts_bytes }
    }

    /// Gives back up to so many objects; false once nothing is left.
    pub fn free_some(&mut self, objects: usize) -> bool {
        let mut freed = 0;
        for (_, script) in self.scripts.by_ref().take(objects) {
            self.scripts_bytes = self.scripts_bytes.saturating_sub(usable_size(script.body.len()));
            freed += 1;
        }
        if freed > 0 {
            return true;
        }
        let left = self.vm.as_mut().is_some_and(|vm| vm.heap.free_some(objects));
        if !left {
            self.vm = None;
        }
        left
    }

    /// Bytes that are yet to be given back.
    #[must_use]
    pub fn usage(&self) -> usize {
        self.scripts_bytes + self.vm.as_ref().map_or(0, |vm| vm.memory_usage())
    }
}
