//! The operating system: fork, pipes, clock, signals, process figures. The only module that touches libc.
