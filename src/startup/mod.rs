//! Load data, build the server, run.
