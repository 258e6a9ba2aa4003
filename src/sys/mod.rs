//! The operating system: fork, clock, files, process figures, helper threads. The only layer that touches libc.
//!
//! Everything unsafe about talking to the kernel stays in here, one operation a block; what is offered upwards is safe
//! to call. Linux only.

pub mod barrier;
pub mod clock;
pub mod crash;
pub mod files;
pub mod fork;
pub mod listen;
pub mod process;
pub mod restart;
pub mod signals;
pub mod streams;
pub mod supervisor;
