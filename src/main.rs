//! The `weighbridge` binary: picks what to run from the name and the arguments it was called with.

fn main() {}
