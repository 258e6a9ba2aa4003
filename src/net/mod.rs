//! Listener, connection task, batch execution, flushing.
