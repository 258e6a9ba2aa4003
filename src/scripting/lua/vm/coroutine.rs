//! Switching between coroutines.

use super::super::arena::Object;
use super::super::thread::{After, Frame, Status, Thread};
use super::super::value::{Result, Stop, ThreadRef, Value};
use super::{HOST_CALLS, NESTED_MAX, Vm};
use crate::scripting::host::Host;

impl Vm {
    /// A coroutine that will call a function.
    pub(in crate::scripting) fn new_thread(&mut self, function: Value) -> ThreadRef {
        self.heap.add_thread(Thread { stack: vec![function], top: 1, ..Thread::default() })
    }

    /// What `coroutine.status` says.
    pub(in crate::scripting) fn thread_status(&self, thread: ThreadRef) -> &'static str {
        match self.heap.threads.get(thread.0).status {
            Status::Suspended => "suspended",
            Status::Running => "running",
            Status::Normal => "normal",
            Status::Dead => "dead",
        }
    }

    /// The running coroutine; `None` for the main program.
    pub(in crate::scripting) fn running_thread(&self) -> Option<ThreadRef> {
        (self.current != self.main).then_some(self.current)
    }

    /// Puts the running coroutine away.
    pub(super) fn store_thread(&mut self, status: Status) {
        self.save_registers();
        let thread = self.heap.threads.get_mut(self.current.0);
        thread.stack = std::mem::take(&mut self.stack);
        thread.frames = std::mem::take(&mut self.frames);
        thread.top = self.top;
        thread.status = status;
        if status == Status::Dead {
            let dead = Thread { status, resumer: thread.resumer, ..Thread::default() };
            let freed = std::mem::replace(thread, dead).heap_bytes();
            self.heap.uncount(freed);
        }
    }

    pub(super) fn load_thread(&mut self, target: ThreadRef) {
        if self.heap.cycle.is_marking {
            self.heap.before_resuming(target);
        }
        let thread = self.heap.threads.get_mut(target.0);
        self.stack = std::mem::take(&mut thread.stack);
        self.frames = std::mem::take(&mut thread.frames);
        self.top = thread.top;
        thread.status = Status::Running;
        self.current = target;
        self.nested = thread.depth.max(HOST_CALLS) + self.frames.iter().map(Frame::nesting).sum::<usize>();
        self.restore_registers();
    }

    /// Moves the topmost values to the stack of another coroutine and switches to it.
    fn switch(&mut self, target: ThreadRef, status: Status, count: usize) {
        let values = self.stack.get(self.top - count..self.top).unwrap_or_default().to_vec();
        self.top -= count;
        self.store_thread(status);
        self.load_thread(target);
        for value in values {
            self.push(value);
        }
    }

    /// Resumes a suspended coroutine with the topmost values.
    pub(super) fn resume_thread(
        &mut self,
        thread: ThreadRef,
        count: usize,
        host: &mut dyn Host,
    ) -> Result<()> {
        // What is under way here counts there too, the call of `resume` included.
        let depth = self.nested;
        if depth > NESTED_MAX {
            return Err(self.error(b"C stack overflow"));
        }
        let caller = self.current;
        self.heap.threads.get_mut(thread.0).depth = depth;
        self.switch(thread, Status::Normal, count);
        let target = self.heap.threads.get_mut(thread.0);
        target.resumer = Some(caller);
        match target.yielded.take() {
            Some((function, after)) => self.finish(function, self.top - count, count, after, host),
            None => self.call_value(0, count, After::End, host),
        }
    }

    pub(super) fn yield_values(&mut self, function: usize, count: usize, after: After) -> Result<()> {
        let resumer = self.heap.threads.get(self.current.0).resumer;
        let Some(resumer) = resumer.filter(|_| self.frames.iter().all(|frame| frame.nesting() == 0)) else {
            return Err(self.plain_error(b"attempt to yield across metamethod/C-call boundary"));
        };
        let thread = self.heap.threads.get_mut(self.current.0);
        thread.yielded = Some((function, after));
        thread.resumer = None;
        self.switch(resumer, Status::Suspended, count);
        self.delivered = count;
        Err(Stop::Delivered)
    }

    /// The function of the running coroutine has returned.
    pub(super) fn end_thread(&mut self, first: usize, count: usize) -> Result<()> {
        self.stack.copy_within(first..first + count, 0);
        self.top = count;
        let Some(resumer) = self.heap.threads.get_mut(self.current.0).resumer.take() else {
            return Err(Stop::Finished);
        };
        self.switch(resumer, Status::Dead, count);
        self.delivered = count;
        Err(Stop::Delivered)
    }

    /// The running coroutine has failed: whoever resumed it runs on. `None` when it is the main program.
    pub(super) fn fail_thread(&mut self) -> Option<()> {
        let resumer = self.heap.threads.get_mut(self.current.0).resumer.take()?;
        self.store_thread(Status::Dead);
        self.load_thread(resumer);
        Some(())
    }
}
