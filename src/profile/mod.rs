//! The memory profile: rows, identity, walk callback, report.
